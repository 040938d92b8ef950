//! Builds the program: the kernel half first, then the static host half with it inside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::architecture::Architecture;
use crate::command;
use crate::cross;
use crate::elf;
use crate::setup;
use crate::toolchain::{BPF_TARGET, Toolchain};
use crate::workspace::Workspace;

/// The target of the host half where none is given.
#[cfg(target_arch = "x86_64")]
pub const HOST_TARGET: &str = "x86_64-unknown-linux-gnu";
/// The target of the host half where none is given.
#[cfg(target_arch = "aarch64")]
pub const HOST_TARGET: &str = "aarch64-unknown-linux-gnu";

/// The variable that tells `imds-audit/build.rs` where the kernel half is.
pub const OBJECT_VARIABLE: &str = "IMDS_AUDIT_EBPF_OBJECT";

/// Prepares the machine, builds both halves and returns the program's path.
pub fn run(workspace: &Workspace, target: &str) -> Result<PathBuf> {
    let toolchain = setup::toolchain(workspace, false)?;
    let object = kernel_half(workspace, &toolchain)?;
    program(workspace, &object, target)
}

/// Builds the kernel half and returns its object's path.
pub fn kernel_half(workspace: &Workspace, toolchain: &Toolchain) -> Result<PathBuf> {
    let folder = kernel_folder(workspace);
    command::run(&mut toolchain.cargo("build", &workspace.root, &folder))
        .context("the kernel half; `cargo xtask setup` names its compiler and its linker")?;
    Ok(folder.join(BPF_TARGET).join("release/imds-audit-programs"))
}

/// Returns the kernel half's own target folder: its flags differ, so it would share nothing.
pub fn kernel_folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("bpf")
}

/// Builds the static program around an object; returns its path in `target/dist`.
pub fn program(workspace: &Workspace, object: &Path, target: &str) -> Result<PathBuf> {
    let mut cargo = static_cargo(workspace, object, target)?;
    cargo.args(["build", "--release", "--locked", "-p", "imds-audit", "--bin", "imds-audit"]);
    command::run(&mut cargo)?;

    let built = workspace.target.join(target).join("release/imds-audit");
    let needs = elf::needs(&built)?;
    if needs.loader || !needs.libraries.is_empty() {
        let libraries = needs.libraries.join(", ");
        bail!("{} is not static: it needs a loader or {libraries}", built.display());
    }
    if Architecture::of_target(target).is_some_and(|wanted| wanted.elf != needs.machine) {
        bail!("{} is for the ELF machine {}, not for {target}", built.display(), needs.machine);
    }
    let dist = workspace.target.join("dist");
    let folder = if target == HOST_TARGET { dist } else { dist.join(target) };
    install(&built, &folder).with_context(|| format!("cannot write to {}", folder.display()))
}

/// Builds a program of the workspace's for this machine, as the program itself is built; returns its
/// path.
pub fn tool(workspace: &Workspace, object: &Path, package: &str, name: &str) -> Result<PathBuf> {
    let mut cargo = static_cargo(workspace, object, HOST_TARGET)?;
    cargo.args(["build", "--release", "--locked", "-p", package, "--bin", name]);
    command::run(&mut cargo)?;
    Ok(workspace.target.join(HOST_TARGET).join("release").join(name))
}

/// Returns a cargo command, whose subcommand is the next argument, for static programs of a target
/// around an object.
pub fn static_cargo(workspace: &Workspace, object: &Path, target: &str) -> Result<Command> {
    let mut cargo = if target == HOST_TARGET {
        let mut cargo = workspace.cargo();
        cargo.env("CARGO_ENCODED_RUSTFLAGS", "-C\x1ftarget-feature=+crt-static");
        cargo
    } else {
        cross::cargo(workspace, target, "-Ctarget-feature=+crt-static")?
    };
    cargo
        .current_dir(&workspace.root)
        .env("CARGO_BUILD_TARGET", target)
        .env("CARGO_TARGET_DIR", &workspace.target)
        .env(OBJECT_VARIABLE, object);
    Ok(cargo)
}

/// Puts the program into a folder in one step: an old copy of it may be running.
fn install(program: &Path, folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let (new, path) = (folder.join("imds-audit.new"), folder.join("imds-audit"));
    fs::copy(program, &new)?;
    fs::rename(&new, &path)?;
    Ok(path)
}
