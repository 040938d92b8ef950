//! Building the userspace side for another architecture than this machine's.
//!
//! That takes a linker and a C library, which Debian packages for cross-building, and Rust's own
//! library for the target: the userspace side's compiler has it where `rustup target add` was called.
//! Else the eBPF programs' compiler builds the userspace side too, as Debian has that compiler's library
//! for each architecture: it is unpacked, since installing it wants a foreign architecture in dpkg.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::apt::{self, Private, sources};
use crate::architecture::Architecture;
use crate::command;
use crate::setup;
use crate::toolchain::{Compiler, Pins};
use crate::workspace::Workspace;

/// Returns a cargo command for another target, whose compiler gets flags, in cargo's encoding.
pub fn cargo(workspace: &Workspace, target: &str, flags: &str) -> Result<Command> {
    let sysroot = command::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let has_library = library(Path::new(sysroot.trim()), target).exists();
    let mut cargo = match Architecture::of_target(target) {
        Some(architecture) if !has_library => {
            let (mut cargo, sysroot) = debians(workspace, architecture)?;
            let flags = format!("--sysroot={}\x1f{flags}", sysroot.display());
            cargo.env("CARGO_ENCODED_RUSTFLAGS", flags);
            cargo
        }
        _ => {
            let mut cargo = workspace.cargo();
            cargo.env("CARGO_ENCODED_RUSTFLAGS", flags);
            cargo
        }
    };
    let variable = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"));
    if env::var_os(&variable).is_none() {
        let linker = format!("{}-gcc", target.replace("-unknown", ""));
        if let Some(architecture) = Architecture::of_target(target)
            && command::find(&linker).is_none()
        {
            apt::install(&apt::missing(&architecture.linker.map(str::to_owned)))?;
        }
        cargo.env(variable, linker);
    }
    Ok(cargo)
}

/// Returns where a compiler has its library for a target.
fn library(sysroot: &Path, target: &str) -> PathBuf {
    sysroot.join("lib/rustlib").join(target).join("lib")
}

/// Returns the cargo of Debian's compiler, and the folder with its unpacked library.
fn debians(workspace: &Workspace, architecture: &Architecture) -> Result<(Command, PathBuf)> {
    let target = architecture.target();
    let other_way = || {
        format!(
            "the compiler has no library for {target}; without Debian's packages: rustup target add {target}"
        )
    };
    setup::toolchain(workspace, false)?;
    let pins = Pins::read(&workspace.root)?;
    let compiler = Compiler::debians(&pins).with_context(other_way)?;
    let package = &pins.debian.library;
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${Version}", package]);
    let version = command::output(&mut query).with_context(other_way)?;

    let place = workspace.tools().join(format!("rust-{version}-{}", architecture.debian));
    let sysroot = place.join("usr");
    if !library(&sysroot, &target).exists() {
        println!("fetching {package} for {}", architecture.debian);
        let list = sources::of_suite(&sources::own_codename()?, true)?;
        let folder = workspace.tools().join("apt").join(architecture.debian);
        Private::of_sources(&folder, &list, architecture.debian)
            .and_then(|apt| apt.unpack(&[format!("{package}={version}")], &place))
            .with_context(other_way)?;
    }
    Ok((compiler.cargo(), sysroot))
}
