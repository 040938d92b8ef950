//! A virtual machine, from power-on to its verdict.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command;
use crate::vm::emulator::Emulator;
use crate::vm::verdict::Verdict;

/// How long a machine may take. A run under emulation takes 15 to 25 s on two cores.
const PATIENCE: Duration = Duration::from_secs(900);
/// The most of a console that is kept.
const MAX_CONSOLE: u64 = 4 << 20;
/// Under emulation `cmpxchg16b` once made a kernel panic, and five-level page tables cost time.
const PROCESSOR: &str = "max,-cx16,-la57";
/// A panic restarts the machine, which `-no-reboot` turns into its end.
const COMMAND_LINE: &str = "console=ttyS0 loglevel=4 panic=-1 rdinit=/init";

/// Boots a kernel with an initramfs and returns what it told.
///
/// # Errors
/// The machine panicked, took too long or ended without a verdict; the error has its console.
pub fn run(emulator: &Emulator, kernel: &Path, initramfs: &Path) -> Result<Verdict> {
    let mut qemu = emulator.command();
    qemu.args(["-accel", "tcg", "-cpu", PROCESSOR, "-smp", "1", "-m", "768"])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .args(["-serial", "stdio", "-append", COMMAND_LINE, "-kernel"])
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = qemu.spawn().with_context(|| format!("cannot run {}", command::line(&qemu)))?;
    let output = child.stdout.take().context("the emulator has no output")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut console = Vec::new();
        let result = output.take(MAX_CONSOLE).read_to_end(&mut console);
        // Nobody listens any more only where this function has failed already.
        let _ = sender.send(result.map(|_| console));
    });
    let is_in_time = wait(&mut child)?;
    let console = receiver.recv().context("the console's reader is gone")??;
    let console = String::from_utf8_lossy(&console);
    if !is_in_time {
        bail!("no end after {} s; its console:\n{console}", PATIENCE.as_secs());
    }
    Verdict::parse(&console).with_context(|| format!("its console:\n{console}"))
}

/// Waits for the machine's end; ends it when it takes too long. Returns whether it was in time.
fn wait(child: &mut Child) -> Result<bool> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if child.try_wait()?.is_some() {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(100));
    }
    child.kill()?;
    child.wait()?;
    Ok(false)
}
