//! A machine whose clock counts instructions, for measuring.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, bail};

use crate::apt::{Private, sources};
use crate::architecture::Architecture;
use crate::command;
use crate::vm::emulator::Emulator;
use crate::vm::initramfs::Archive;
use crate::vm::kernels;
use crate::vm::modules;
use crate::workspace::Workspace;

/// The kernel: of the series that most hosts run.
const SERIES: &str = "6.1";
/// The suite of Debian that has it.
const SUITE: &str = "bookworm";
const ARCHITECTURE: &str = "x86_64";
/// How long a machine may take: a minute of its own time may be ten of a busy host's.
const TIMEOUT: Duration = Duration::from_secs(3_600);
/// How often is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(100);
/// One instruction a nanosecond; time in which nothing happens is passed over.
const CLOCK: [&str; 6] =
    ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-smp", "1"];
/// See [`super::qemu`].
const PROCESSOR: [&str; 2] = ["-cpu", "max,-cx16,-la57"];
/// See [`super::qemu`].
const COMMAND_LINE: &str = "console=ttyS0 loglevel=4 panic=-1 rdinit=/init";

/// Something of this machine, and its place in the other.
pub enum Packed {
    /// A program, with its libraries. Its own name may be another there.
    Program(PathBuf, &'static str),
    /// Everything in a folder, and the libraries of its modules, but what is named.
    Tree(PathBuf, String, &'static [&'static str]),
    /// A symbolic link to a target.
    Link(String, String),
    /// A text.
    Text(&'static str, &'static str),
}

/// What a machine has beside its kernel.
pub struct Contents<'a> {
    /// What they are called.
    pub name: &'a str,
    /// The first process.
    pub init: &'a Path,
    /// What else there is.
    pub packed: &'a [Packed],
    /// Modules of the kernel.
    pub modules: &'a [&'a str],
}

/// The kernel of the machine.
pub struct Kernel {
    folder: PathBuf,
    image: PathBuf,
    modules: PathBuf,
    /// Its release.
    pub release: String,
}

impl Kernel {
    /// Finds it, and fetches it where it is not there.
    ///
    /// # Errors
    /// Returns an error if it cannot be had.
    pub fn find(workspace: &Workspace) -> Result<Self> {
        let architecture = Architecture::find(ARCHITECTURE).map_err(Error::msg)?;
        let folder = workspace.target.join("vm").join(architecture.debian);
        std::fs::create_dir_all(&folder)?;
        let kernel = kernels::claimed(architecture).find(|kernel| kernel.series == SERIES);
        let kernel = kernel.context("no such kernel")?;
        let image = kernels::image(kernel, architecture, &folder)?;
        let name = image.file_name().unwrap_or_default().to_string_lossy();
        let release = name.replace("vmlinuz-", "");
        Ok(Self { modules: kernels::unpacked(kernel, &folder), image, folder, release })
    }

    /// Returns the folder into which the packages of its headers are unpacked.
    ///
    /// # Errors
    /// Returns an error if they cannot be had.
    pub fn headers(&self) -> Result<PathBuf> {
        let place = self.folder.join("headers").join(&self.release);
        if !place.exists() {
            let sources = sources::of_suite(SUITE, true)?;
            let debian = Architecture::find(ARCHITECTURE).map_err(Error::msg)?.debian;
            let apt = Private::of_sources(&self.folder.join("apt").join(SUITE), &sources, debian)?;
            let common = self.common();
            let packages =
                [&self.release, &common].map(|release| format!("linux-headers-{release}"));
            std::fs::create_dir_all(self.folder.join("headers"))?;
            apt.unpack(&packages, &place)?;
        }
        Ok(place)
    }

    /// Returns what the package is called that has the headers of all kernels of this version.
    pub fn common(&self) -> String {
        self.release.replace("-cloud-amd64", "-common")
    }
}

impl Kernel {
    /// Packs what a machine has, and returns the archive's path.
    ///
    /// # Errors
    /// Returns an error if something is not there.
    pub fn pack(&self, contents: &Contents<'_>) -> Result<PathBuf> {
        let mut archive = Archive::new();
        archive.program("init", contents.init)?;
        let mut needed = BTreeSet::new();
        for packed in contents.packed {
            pack(&mut archive, packed, &mut needed)?;
        }
        for library in needed {
            archive.program(&library, Path::new(&library))?;
        }
        let wanted = contents.modules;
        let all = if wanted.is_empty() { Vec::new() } else { modules::read(&self.modules)? };
        for module in all.iter().filter(|module| wanted.contains(&module.name.as_str())) {
            archive.file(&format!("modules/{}.ko", module.name), &module.data);
        }
        let path = self.folder.join(format!("initramfs-{}", contents.name));
        archive.write(&path)?;
        Ok(path)
    }

    /// Boots a machine with so many MiB, whose init gets its orders. Returns what stands on the
    /// console behind `mark`.
    ///
    /// # Errors
    /// Returns an error if the machine ends without such a line; the error has its console.
    pub fn boot(
        &self,
        initramfs: &Path,
        memory: &str,
        task: &[&str],
        mark: &str,
    ) -> Result<String> {
        let architecture = Architecture::find(ARCHITECTURE).map_err(Error::msg)?;
        let emulator = Emulator::find(architecture, &self.folder)?;
        let log = self.folder.join(format!("console-{}", task.join("-")));
        let mut qemu = emulator.command();
        qemu.args(CLOCK)
            .args(PROCESSOR)
            .args(["-m", memory, "-nodefaults", "-no-user-config"])
            .args(["-display", "none", "-no-reboot"])
            // Whoever wants to look in the meantime can.
            .arg("-serial")
            .arg(format!("file:{}", log.display()))
            .arg("-append")
            .arg(format!("{COMMAND_LINE} -- {}", task.join(" ")))
            .arg("-kernel")
            .arg(&self.image)
            .arg("-initrd")
            .arg(initramfs)
            .stdin(Stdio::null());
        let ended = wait(&mut qemu);
        let console = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
        ended.with_context(|| format!("its console:\n{console}"))?;
        let found = console.lines().find_map(|line| line.trim_end().strip_prefix(mark));
        let found = found.with_context(|| format!("no result on the console:\n{console}"))?;
        Ok(found.to_owned())
    }
}

/// Packs something, and adds the libraries that it needs.
fn pack(archive: &mut Archive, packed: &Packed, needed: &mut BTreeSet<String>) -> Result<()> {
    match packed {
        Packed::Program(program, place) => {
            archive.program(place, program)?;
            needed.extend(libraries(program)?);
        }
        Packed::Tree(folder, place, left_out) => {
            archive.tree(place, folder, &|name| left_out.contains(&name))?;
            let is_module = |path: &PathBuf| path.extension().is_some_and(|end| end == "so");
            let modules = std::fs::read_dir(folder.join("lib-dynload")).into_iter().flatten();
            for module in modules.flatten().map(|entry| entry.path()).filter(is_module) {
                needed.extend(libraries(&module)?);
            }
        }
        Packed::Link(place, target) => archive.link(place, target),
        Packed::Text(place, text) => archive.file(place, text.as_bytes()),
    }
    Ok(())
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

/// Runs a machine to its end.
fn wait(qemu: &mut Command) -> Result<()> {
    let mut child = qemu.spawn().with_context(|| format!("cannot run {}", command::line(qemu)))?;
    let start = Instant::now();
    while child.try_wait()?.is_none() {
        if start.elapsed() > TIMEOUT {
            child.kill()?;
            child.wait()?;
            bail!("the machine did not end within {} s", TIMEOUT.as_secs());
        }
        thread::sleep(LOOK);
    }
    Ok(())
}
