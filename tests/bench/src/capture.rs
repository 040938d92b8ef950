//! The program under measurement, capturing.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::processor::{Processor, pin};

/// The program, capturing into a folder of its own. Ended when dropped.
pub struct Capture {
    child: Child,
    stderr: BufReader<ChildStderr>,
    _folder: TempDir,
}

impl Capture {
    /// Starts the program and waits until everything is attached.
    ///
    /// # Errors
    /// Returns an error if it cannot be started, or ends.
    pub fn start(program: &Path, arguments: &[&str], processor: Processor) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(program);
        command.arg("capture").arg("--output").arg(folder.path().join("a.pcapng"));
        command.args(arguments).env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // SAFETY: the closure runs between fork and exec; it makes one system call and allocates
        // nothing.
        unsafe {
            command.pre_exec(move || pin(processor));
        }
        let mut child =
            command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
        let stderr = child.stderr.take().context("no standard error")?;
        let mut capture = Self { child, stderr: BufReader::new(stderr), _folder: folder };
        let mut line = String::new();
        while !line.contains("capturing") {
            line.clear();
            if capture.stderr.read_line(&mut line)? == 0 {
                bail!("{} does not start: {:?}", program.display(), capture.child.try_wait());
            }
        }
        Ok(capture)
    }

    /// Tells it to end. It must have written every packet.
    ///
    /// # Errors
    /// Returns an error if it does not end, or not well.
    pub fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let mut said = String::new();
        self.stderr.read_to_string(&mut said)?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the capture ended with {status}: {said}");
        }
        Ok(())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // After `stop` it is gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
