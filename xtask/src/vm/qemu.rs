//! A virtual machine, from power-on to its verdict.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::command;
use crate::vm::emulator::Emulator;
use crate::vm::guest_report::Verdict;

/// How long a machine may take, and how long it may be silent: each of its tests says something.
const TIMEOUT: Duration = Duration::from_secs(3_600);
const SILENCE: Duration = Duration::from_secs(600);
/// The most of a console's end that an error shows.
const MAX_SHOWN: usize = 64 << 10;
/// The machine's clock counts its instructions, one a nanosecond, and passes over the time in which
/// nothing happens: however busy the host is, what has a second's time in the machine gets it.
const CLOCK: [&str; 4] = ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"];
/// A panic restarts the machine, which `-no-reboot` turns into its end.
const COMMAND_LINE: &str = "loglevel=4 panic=-1 rdinit=/init";

/// What a machine is started with, beside its kernel.
pub struct Start<'a> {
    /// Its files.
    pub initramfs: &'a Path,
    /// Its memory in MiB.
    pub memory: &'a str,
    /// Options that the kernel needs.
    pub options: &'a [&'a str],
    /// What else the kernel's command line has.
    pub command_line: &'a str,
}

/// Boots a kernel and returns its report; its console is kept in a file.
///
/// # Errors
/// Returns an error if the machine panicked, took too long or ended without a verdict; the error
/// has its console.
pub fn run(emulator: &Emulator, kernel: &Path, start: &Start<'_>, log: &Path) -> Result<Verdict> {
    let mut qemu = emulator.command();
    let machine = &emulator.architecture.machine;
    qemu.args(CLOCK)
        .args(machine.options)
        .args(start.options)
        .args(["-smp", "1", "-m", start.memory])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .args(["-serial", "stdio", "-append"])
        .arg(format!("console={} {COMMAND_LINE} {}", machine.console, start.command_line))
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(start.initramfs)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = qemu.spawn().with_context(|| format!("cannot run {}", command::line(&qemu)))?;
    let output = child.stdout.take().context("the emulator has no output")?;
    let mut console = Console { file: File::create(log)?, text: Vec::new() };
    let verdict = match console.follow(&read(output))? {
        End::Off => {
            child.wait()?;
            Verdict::parse(&String::from_utf8_lossy(&console.text))
        }
        End::Hung(why) => {
            end(&mut child)?;
            Err(anyhow!("{why}"))
        }
    };
    verdict.with_context(|| format!("its console, whole in {}:\n{}", log.display(), console.end()))
}

fn end(child: &mut Child) -> Result<()> {
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// Reads an output on a thread of its own, which ends with it.
fn read(mut output: ChildStdout) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut bytes) {
            let Some(read) = bytes.get(..count) else { break };
            // Nobody listens any more where the machine was given up.
            if sender.send(read.to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// How a machine's console ended.
enum End {
    /// The machine is off.
    Off,
    /// It took too long.
    Hung(String),
}

/// What a machine wrote.
struct Console {
    /// Where it is kept, for whoever wants to look in the meantime.
    file: File,
    text: Vec<u8>,
}

impl Console {
    fn follow(&mut self, output: &Receiver<Vec<u8>>) -> Result<End> {
        let start = Instant::now();
        while start.elapsed() < TIMEOUT {
            match output.recv_timeout(SILENCE) {
                Ok(bytes) => {
                    self.file.write_all(&bytes)?;
                    self.text.extend(bytes);
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(End::Off),
                Err(RecvTimeoutError::Timeout) => {
                    return Ok(End::Hung(format!("silent for {} s", SILENCE.as_secs())));
                }
            }
        }
        Ok(End::Hung(format!("no end after {} s", TIMEOUT.as_secs())))
    }

    /// Returns the end of what was written.
    fn end(&self) -> String {
        let start = self.text.len().saturating_sub(MAX_SHOWN);
        String::from_utf8_lossy(self.text.get(start..).unwrap_or_default()).into_owned()
    }
}
