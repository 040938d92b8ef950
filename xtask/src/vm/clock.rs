//! A machine whose clock counts instructions, for measuring.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Error, Result, bail};

use crate::architecture::Architecture;
use crate::command;
use crate::vm::emulator::Emulator;
use crate::vm::initramfs::Archive;
use crate::vm::kernels;
use crate::workspace::Workspace;

/// The kernel: of the series that most hosts run.
const SERIES: &str = "6.1";
const ARCHITECTURE: &str = "x86_64";
/// How long a machine may take: two minutes of its own time are ten of a busy host's.
const PATIENCE: Duration = Duration::from_secs(1_200);
/// One instruction a nanosecond; time in which nothing happens is passed over.
const CLOCK: [&str; 6] =
    ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-smp", "1"];
/// In MiB.
pub const MEMORY: &str = "1024";
/// See [`super::qemu`].
const PROCESSOR: [&str; 2] = ["-cpu", "max,-cx16,-la57"];
/// See [`super::qemu`].
const COMMAND_LINE: &str = "console=ttyS0 loglevel=4 panic=-1 rdinit=/init";

/// A program of this machine, and its place in the other.
pub struct Packed {
    /// Where it is here.
    pub program: PathBuf,
    /// Where it is there.
    pub place: &'static str,
}

/// Boots the machine with an init of the caller's, and further programs, each
/// with its libraries. Returns what stands on the console behind `mark`, and the kernel's name.
///
/// # Errors
/// The kernel cannot be had, or the machine ends without such a line; the error has its console.
pub fn run(
    workspace: &Workspace,
    init: &Path,
    packed: &[Packed],
    mark: &str,
) -> Result<(String, String)> {
    let architecture = Architecture::find(ARCHITECTURE).map_err(Error::msg)?;
    let folder = workspace.target.join("vm").join(architecture.debian);
    std::fs::create_dir_all(&folder)?;
    let emulator = Emulator::find(architecture, &folder)?;
    let kernel = kernels::claimed(architecture).find(|kernel| kernel.series == SERIES);
    let image = kernels::image(kernel.context("no such kernel")?, architecture, &folder)?;

    let mut archive = Archive::new();
    archive.program("init", init)?;
    let mut needed = BTreeSet::new();
    for Packed { program, place } in packed {
        archive.program(place, program)?;
        needed.extend(libraries(program)?);
    }
    for library in needed {
        archive.program(&library, Path::new(&library))?;
    }
    let initramfs = folder.join("initramfs-clock");
    archive.write(&initramfs)?;

    let mut qemu = emulator.command();
    qemu.args(CLOCK)
        .args(PROCESSOR)
        .args(["-m", MEMORY, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .args(["-serial", "stdio", "-append", COMMAND_LINE, "-kernel"])
        .arg(&image)
        .arg("-initrd")
        .arg(&initramfs)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let console = console(&mut qemu)?;
    let found = console.lines().find_map(|line| line.trim_end().strip_prefix(mark));
    let found = found.with_context(|| format!("no result on the console:\n{console}"))?;
    let name = image.file_name().map(|name| name.to_string_lossy().replace("vmlinuz-", ""));
    Ok((found.to_owned(), name.unwrap_or_default()))
}

/// Returns the shared libraries that a program is loaded with, and its loader.
fn libraries(program: &Path) -> Result<Vec<String>> {
    // `name => path (address)`, and `path (address)` of the loader. A static program has none.
    let output = Command::new("ldd").arg(program).output().context("cannot run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if text.contains("not found") {
        bail!("{}: {text}", program.display());
    }
    let paths = text.split_ascii_whitespace().filter(|word| word.starts_with('/'));
    Ok(paths.map(str::to_owned).collect())
}

/// Runs a machine to its end and returns what it wrote.
fn console(qemu: &mut Command) -> Result<String> {
    let mut child = qemu.spawn().with_context(|| format!("cannot run {}", command::line(qemu)))?;
    let mut output = child.stdout.take().context("the emulator has no output")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let result = output.read_to_end(&mut bytes);
        // Nobody listens any more only where the machine was given up.
        let _ = sender.send(result.map(|_| bytes));
    });
    let console = receiver.recv_timeout(PATIENCE);
    // Where it has ended by itself there is nothing to end.
    child.kill().ok();
    child.wait()?;
    let console = console.map_err(|_| {
        anyhow::anyhow!("the machine did not end within {} s", PATIENCE.as_secs())
    })??;
    Ok(String::from_utf8_lossy(&console).into_owned())
}
