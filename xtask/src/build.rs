//! Builds the program: the eBPF programs first, then the static userspace side with it inside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::architecture::{Architecture, HOST_TARGET};
use crate::auditable;
use crate::command;
use crate::cross;
use crate::elf;
use crate::object;
use crate::setup;
use crate::toolchain::{BPF_TARGET, Toolchain};
use crate::workspace::Workspace;

/// The variable that tells `imds-audit/build.rs` where the eBPF programs are.
pub const OBJECT_VARIABLE: &str = "IMDS_AUDIT_EBPF_OBJECT";

/// How the program is optimised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// For release.
    Release,
    /// Quick to build: without link-time optimisation.
    Guest,
}

impl Profile {
    /// Returns the profile's name in `Cargo.toml`, which is also its folder's.
    fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Guest => "guest",
        }
    }
}

/// Prepares the machine, builds both sides and returns the program's path.
pub fn run(workspace: &Workspace, target: &str) -> Result<PathBuf> {
    let toolchain = setup::toolchain(workspace, false)?;
    let object = ebpf_object(workspace, &toolchain)?;
    program(workspace, &object, target)
}

/// Prepares the machine, builds the eBPF object and returns its path.
pub fn object(workspace: &Workspace) -> Result<PathBuf> {
    let toolchain = setup::toolchain(workspace, false)?;
    ebpf_object(workspace, &toolchain)
}

/// Builds the eBPF programs and returns its object's path.
pub fn ebpf_object(workspace: &Workspace, toolchain: &Toolchain) -> Result<PathBuf> {
    let folder = ebpf_folder(workspace);
    command::run(&mut toolchain.cargo("build", workspace, &folder))
        .context("the eBPF programs; `cargo xtask setup` names its compiler and its linker")?;
    let objects = folder.join(BPF_TARGET).join("release");
    object::strip(&objects.join("imds-audit-rehearsal"))?;
    let object = objects.join("imds-audit-programs");
    object::strip(&object)?;
    Ok(object)
}

/// Returns the eBPF programs' own target folder: its flags differ, so it would share nothing.
pub fn ebpf_folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("bpf")
}

/// Builds the static program around an object; returns its path in `target/dist`.
pub fn program(workspace: &Workspace, object: &Path, target: &str) -> Result<PathBuf> {
    let built = program_of(workspace, object, target, Profile::Release)?;
    let dist = workspace.target.join("dist");
    let folder = if target == HOST_TARGET { dist } else { dist.join(target) };
    install(&built, &folder).with_context(|| format!("cannot write to {}", folder.display()))
}

/// Builds the static program around an object, with the list of its crates inside; returns its path.
pub fn program_of(
    workspace: &Workspace,
    object: &Path,
    target: &str,
    profile: Profile,
) -> Result<PathBuf> {
    let mut cargo = static_cargo(workspace, object, target)?;
    // `rustc`, so that the linker's arguments concern the program alone.
    cargo.args(["rustc", "--locked", "-p", "imds-audit", "--bin", "imds-audit"]);
    cargo
        .args(["--profile", profile.name(), "--"])
        .args(auditable::link_argument(workspace, target)?);
    if target.starts_with("x86_64") {
        // 200 KiB less; binutils that knows it for arm64 is newer than Debian 12's.
        cargo.arg("-Clink-arg=-Wl,-z,pack-relative-relocs");
    }
    command::run(&mut cargo)?;

    let built = workspace.target.join(target).join(profile.name()).join("imds-audit");
    let needs = elf::needs(&built)?;
    if needs.loader || !needs.libraries.is_empty() {
        let libraries = needs.libraries.join(", ");
        bail!("{} is not static: it needs a loader or {libraries}", built.display());
    }
    if Architecture::of_target(target).is_some_and(|wanted| wanted.elf != needs.machine) {
        bail!("{} is for the ELF machine {}, not for {target}", built.display(), needs.machine);
    }
    Ok(built)
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
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    flags.extend(workspace.path_remapping());
    let flags = flags.join("\x1f");
    let mut cargo = if target == HOST_TARGET {
        let mut cargo = workspace.cargo();
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags);
        cargo
    } else {
        cross::cargo(workspace, target, &flags)?
    };
    cargo
        .current_dir(&workspace.root)
        .env("CARGO_BUILD_TARGET", target)
        .env("CARGO_TARGET_DIR", &workspace.target)
        .env(OBJECT_VARIABLE, object);
    Ok(cargo)
}

/// Writes the manual pages, with a date, and the shell completions into `target/dist/manual`.
pub fn manual(workspace: &Workspace, date: &str) -> Result<()> {
    let folder = workspace.target.join("dist/manual");
    let mut cargo = workspace.cargo();
    cargo.args(["run", "--quiet", "--locked", "-p", "imds-audit", "--example", "manual", "--"]);
    command::run(cargo.arg(&folder).arg(date))?;
    println!("{}", folder.display());
    Ok(())
}

/// Puts the program into a folder in one step: an old copy of it may be running.
fn install(program: &Path, folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let (new, path) = (folder.join("imds-audit.new"), folder.join("imds-audit"));
    fs::copy(program, &new)?;
    fs::rename(&new, &path)?;
    Ok(path)
}
