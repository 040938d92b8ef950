//! The emulator: the machine's own, else Debian's, unpacked into the target folder.
//!
//! It is never installed: a `qemu-utils` of another release, which Debian's package of the
//! emulator conflicts with, may be there.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::apt::Private;
use crate::architecture::Architecture;
use crate::command;

/// An emulator that runs on this machine.
pub struct Emulator {
    /// What it emulates.
    pub architecture: &'static Architecture,
    program: PathBuf,
    /// The folders of the libraries that were unpacked with it.
    libraries: Option<OsString>,
}

impl Emulator {
    /// Finds the emulator of an architecture, and fetches it where it is not there.
    pub fn find(architecture: &'static Architecture, folder: &Path) -> Result<Self> {
        let name = format!("qemu-system-{}", architecture.name);
        if let Some(program) = command::find(&name) {
            return Ok(Self { architecture, program, libraries: None });
        }
        let package = architecture.machine.package;
        let place = folder.join("emulators").join(package);
        let emulator = Self::unpacked(architecture, &place, &name)?;
        // Its libraries are in part the machine's, and those may have changed.
        if emulator.version().is_ok() {
            return Ok(emulator);
        }
        println!("fetching {package}");
        Private::of_this_machine(&folder.join("apt/own"))
            .and_then(|apt| apt.unpack_with_dependencies(&[package], &place))
            .with_context(|| format!("there is no {name}: install what Debian calls {package}"))?;
        emulator.version()?;
        Ok(emulator)
    }

    /// Returns the emulator as it lies in a folder of unpacked packages; it finds its firmware
    /// and its modules beside itself.
    fn unpacked(architecture: &'static Architecture, place: &Path, program: &str) -> Result<Self> {
        let name = format!("{}-linux-gnu", env::consts::ARCH);
        let folders = ["usr/lib", "lib"].map(|folder| place.join(folder).join(&name));
        let libraries = env::join_paths(folders).context("the target folder's name has a colon")?;
        Ok(Self {
            architecture,
            program: place.join("usr/bin").join(program),
            libraries: Some(libraries),
        })
    }

    /// Returns what the emulator says of itself.
    fn version(&self) -> Result<String> {
        command::output(self.command().arg("--version"))
    }

    /// Returns a command that runs it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }
}
