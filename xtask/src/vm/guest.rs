//! Contents of a virtual machine beside its kernel: static programs and modules.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::build::{self, Profile};
use crate::command;
use crate::setup;
use crate::vm::initramfs::Archive;
use crate::vm::modules::Module;
use crate::vm::system;
use crate::workspace::Workspace;

/// The package of the init.
const INIT: &str = "imds-audit-guest";
/// The package of the end-to-end tests, and the names of what it builds.
const TESTS: &str = "imds-audit-tests";
const CLIENT: &str = "imds-audit-test-client";
const END_TO_END: &str = "e2e";
/// The profile of everything but the program itself, which is the one that is handed out unless it is
/// to be quick.
const PROFILE: &str = "guest";

/// Whom the tests look up.
const USERS: &[u8] = b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";

/// The programs of a virtual machine.
pub struct Guest {
    init: PathBuf,
    program: PathBuf,
    tests: PathBuf,
    client: PathBuf,
}

impl Guest {
    /// Builds the programs for a target, each static; the one under test in a profile of its own.
    pub fn build(workspace: &Workspace, target: &str, profile: Profile) -> Result<Self> {
        let toolchain = setup::toolchain(workspace, false)?;
        let object = build::ebpf_object(workspace, &toolchain)?;
        let program = match profile {
            Profile::Release => build::program(workspace, &object, target)?,
            Profile::Guest => build::program_of(workspace, &object, target, profile)?,
        };
        let tests = init_and_tests(workspace, &object, target)?;
        let folder = workspace.target.join(target).join(PROFILE);
        Ok(Self { init: folder.join(INIT), program, tests, client: folder.join(CLIENT) })
    }

    /// Packs the programs and a kernel's modules, to be loaded in their order; with parts of tests'
    /// names only the end-to-end tests run that have one of them.
    pub fn pack(&self, modules: &[Module], parts: &[String], path: &Path) -> Result<()> {
        let mut archive = self.archive(modules)?;
        if !parts.is_empty() {
            archive.file("parts", parts.join("\n").as_bytes());
        }
        archive.write(path)
    }

    /// Packs the same beside a system that systemd boots.
    pub fn pack_system(&self, modules: &[Module], system: &Path, path: &Path) -> Result<()> {
        let mut archive = self.archive(modules)?;
        system::add(&mut archive, system)?;
        archive.write(path)
    }

    fn archive(&self, modules: &[Module]) -> Result<Archive> {
        let mut archive = Archive::new();
        archive.program("init", &self.init)?;
        archive.program("imds-audit", &self.program)?;
        archive.program("tests", &self.tests)?;
        // The tests know it by the path that it was built at.
        archive.program(&self.client.display().to_string(), &self.client)?;
        archive.file("etc/passwd", USERS);
        for (number, module) in modules.iter().enumerate() {
            archive.file(&format!("modules/{number:02}-{}.ko", module.name), &module.data);
        }
        Ok(archive)
    }
}

/// A line of what cargo tells of a build.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds the init, the end-to-end tests and their client, and returns the tests' path. In one go:
/// apart each would have the crates that they share with features of its own.
fn init_and_tests(workspace: &Workspace, object: &Path, target: &str) -> Result<PathBuf> {
    let mut cargo = build::static_cargo(workspace, object, target)?;
    cargo.args(["build", "--locked", "--profile", PROFILE, "-p", INIT, "-p", TESTS]);
    cargo.args(["--bins", "--test", END_TO_END]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    let built = cargo.stderr(Stdio::inherit()).output();
    let built = built.with_context(|| format!("cannot run {}", command::line(&cargo)))?;
    if !built.status.success() {
        bail!("failed ({}): {}", built.status, command::line(&cargo));
    }
    String::from_utf8_lossy(&built.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.target.as_ref().is_some_and(|target| target.name == END_TO_END))
        .find_map(|message| message.executable)
        .context("cargo names no program of the end-to-end tests")
}
