//! The program under measurement, running.

use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use super::processor::{Processor, pin};

/// How long the program may take to attach or to end.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How much of its output is kept: its last line is in it.
const TAIL: usize = 256 * 1024;

/// How much the kernel keeps of its output until it is read; the most that it allows by default.
const PIPE: libc::c_int = 1 << 20;

/// The program, auditing, with JSON lines into a pipe that is read as fast as they come. Ended
/// when dropped.
pub struct Audit {
    child: Child,
    reader: Option<JoinHandle<io::Result<Vec<u8>>>>,
    /// How long it took from its start until everything was attached.
    pub attached_after: Duration,
}

/// What the `stop` event tells.
#[derive(Debug, Deserialize)]
pub struct Stop {
    totals: Totals,
    losses: Vec<Loss>,
}

#[derive(Debug, Deserialize)]
struct Totals {
    requests: u64,
}

#[derive(Debug, Deserialize)]
struct Loss {
    what: String,
    reason: String,
    count: u64,
}

impl Stop {
    /// Returns how many requests were reported.
    pub fn requests(&self) -> u64 {
        self.totals.requests
    }

    /// Returns how much of a unit was lost, such as `requests`. What a caller's share kept from the
    /// output was seen, and is in the totals.
    pub fn lost(&self, unit: &str) -> u64 {
        let is_lost = |loss: &&Loss| loss.what == unit && loss.reason != "share";
        self.losses.iter().filter(is_lost).map(|loss| loss.count).sum()
    }
}

impl Audit {
    /// Starts the program and waits until everything is attached.
    ///
    /// # Errors
    /// Returns an error if it cannot be started, or ends.
    pub fn start(program: &Path, arguments: &[&str], processor: Processor) -> Result<Self> {
        Self::start_with(program, arguments, processor, |_| {})
    }

    /// As [`Audit::start`], and shows each piece of the output to `look` as soon as it is read.
    ///
    /// # Errors
    /// Returns the same errors.
    pub fn start_with(
        program: &Path,
        arguments: &[&str],
        processor: Processor,
        look: impl FnMut(&[u8]) + Send + 'static,
    ) -> Result<Self> {
        Self::start_command(Command::new(program), arguments, processor, look)
    }

    /// As [`Audit::start_with`], of a command that starts the program.
    ///
    /// # Errors
    /// Returns the same errors.
    pub fn start_command(
        mut command: Command,
        arguments: &[&str],
        processor: Processor,
        look: impl FnMut(&[u8]) + Send + 'static,
    ) -> Result<Self> {
        let program = command.get_program().to_owned();
        command.args(["run", "--format", "json"]).args(arguments).env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        // SAFETY: the closure runs between fork and exec; it makes one system call and allocates
        // nothing.
        unsafe {
            command.pre_exec(move || pin(processor));
        }
        let start = Instant::now();
        let mut child =
            command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
        let output = child.stdout.take().context("no standard output")?;
        let (begun, first_line) = mpsc::sync_channel(1);
        let reader = thread::spawn(move || read(output, look, &begun));
        let mut audit = Self { child, reader: Some(reader), attached_after: Duration::ZERO };
        if first_line.recv_timeout(TIMEOUT).is_err() {
            bail!("{} does not start: {:?}", program.display(), audit.child.try_wait());
        }
        audit.attached_after = start.elapsed();
        Ok(audit)
    }

    /// Returns the number of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to end, and returns its last event.
    ///
    /// # Errors
    /// Returns an error if it does not end, or not well.
    pub fn stop(mut self) -> Result<Stop> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let reader = self.reader.take().context("stopped twice")?;
        let tail = match reader.join() {
            Ok(tail) => tail.context("cannot read the program's output")?,
            Err(_) => bail!("the reader of the program's output panicked"),
        };
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the program ended with {status}");
        }
        let text = String::from_utf8_lossy(&tail);
        let last = text.lines().last().context("the program wrote nothing")?;
        serde_json::from_str(last).with_context(|| format!("not a stop event: {last}"))
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        // After `stop` both are gone already.
        self.child.kill().ok();
        self.child.wait().ok();
        if let Some(reader) = self.reader.take() {
            reader.join().ok();
        }
    }
}

/// Reads to the end, and returns the last bytes.
fn read(
    mut output: ChildStdout,
    mut look: impl FnMut(&[u8]),
    begun: &mpsc::SyncSender<()>,
) -> io::Result<Vec<u8>> {
    // Refused where the user has too many such pipes; a smaller one does.
    // SAFETY: the descriptor is open, and the call takes a number.
    unsafe { libc::fcntl(output.as_raw_fd(), libc::F_SETPIPE_SZ, PIPE) };
    let mut tail = Vec::new();
    let mut piece = vec![0; 1 << 20];
    let mut begun = Some(begun);
    loop {
        let count = output.read(&mut piece)?;
        let bytes = piece.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(tail);
        }
        look(bytes);
        if begun.is_some() && bytes.contains(&b'\n') {
            begun.take().map(|begun| begun.send(()));
        }
        tail.extend_from_slice(bytes);
        if tail.len() > 2 * TAIL {
            tail.drain(..tail.len() - TAIL);
        }
    }
}
