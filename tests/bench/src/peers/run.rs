//! A tool that watches.

use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use imds_audit::simulator::Namespace;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::super::usage::{most_resident, resident};
use super::parse::Seen;
use super::tool::{Ready, Tool};

/// How long a tool may take to start: Python and a compiler, in an emulated machine.
const TIMEOUT: Duration = Duration::from_secs(300);
/// How often is looked whether it has started; so exact is the time.
const LOOK: Duration = Duration::from_millis(1);
/// How long a tool may take to write down what it saw, and how long it is then silent.
const SILENCE: Duration = Duration::from_millis(1_500);
const MOST: Duration = Duration::from_secs(60);
/// The file in which the kernel lists its probes.
const PROBES: &str = "/sys/kernel/debug/kprobes/list";

/// A tool, running. What it writes goes to files: a pipe would have to be read by this process,
/// which one of the tools stops at every system call. Ended when dropped.
pub struct Running<'a> {
    /// Which.
    pub tool: &'a Tool,
    child: Child,
    folder: TempDir,
    /// How long it took from its start until it sees what happens.
    pub ready_after: Duration,
}

impl<'a> Running<'a> {
    /// Starts a tool and waits until it sees what happens.
    ///
    /// # Errors
    /// Returns an error if it cannot be started, or ends.
    pub fn start(tool: &'a Tool, namespace: &Namespace) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = tool.command(namespace, folder.path())?;
        command.stdin(Stdio::null());
        command.stdout(File::create(folder.path().join("out"))?);
        command.stderr(File::create(folder.path().join("err"))?);
        let start = Instant::now();
        let child = command.spawn().context("cannot be run")?;
        let mut running = Self { tool, child, folder, ready_after: Duration::ZERO };
        while !running.is_ready() {
            let status = running.child.try_wait()?;
            if status.is_some() || start.elapsed() > TIMEOUT {
                let said = [running.text("out"), running.text("err")].concat();
                bail!("does not start ({status:?}): {said}");
            }
            sleep(LOOK);
        }
        running.ready_after = start.elapsed();
        Ok(running)
    }

    fn is_ready(&self) -> bool {
        match self.tool.ready {
            Ready::Says(words) => {
                self.text("out").contains(words) || self.text("err").contains(words)
            }
            Ready::Probes(function) => {
                // ffffffff9d0a1b20  k  tcp_sendmsg+0x0    [FTRACE]
                let list = fs::read_to_string(PROBES).unwrap_or_default();
                list.lines().any(|line| {
                    line.contains(&format!(" {function}+0x0 ")) && !line.contains("[DISABLED]")
                })
            }
        }
    }

    /// Waits until the tool has written down what it saw, and returns all that it saw so far.
    ///
    /// # Errors
    /// Returns an error if it goes on and on.
    pub fn settled(&self) -> Result<Seen> {
        let start = Instant::now();
        let mut written = self.text("out");
        loop {
            sleep(SILENCE);
            let now = self.text("out");
            if now == written {
                return Ok((self.tool.read)(&now));
            }
            if start.elapsed() > MOST {
                bail!("does not come to rest");
            }
            written = now;
        }
    }

    /// Returns how much is resident in memory, in MiB.
    ///
    /// # Errors
    /// Returns an error if it has ended.
    pub fn resident(&self) -> Result<f64> {
        resident(self.child.id())
    }

    /// Returns the most that was ever resident in memory, in MiB.
    ///
    /// # Errors
    /// Returns an error if it has ended.
    pub fn most_resident(&self) -> Result<f64> {
        most_resident(self.child.id())
    }

    /// Ends the tool, and returns what it wrote to standard output.
    ///
    /// # Errors
    /// Returns an error if it cannot be waited for.
    pub fn stop(mut self) -> Result<String> {
        kill_process(Pid::from_child(&self.child), Signal::INT)?;
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            if start.elapsed() > MOST {
                bail!("does not end");
            }
            sleep(LOOK);
        }
        Ok(self.text("out"))
    }

    fn text(&self, name: &str) -> String {
        // There from the start; a tool may write what is not UTF-8.
        let bytes = fs::read(self.folder.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // After `stop` it is gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
