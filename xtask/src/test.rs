//! Every check and test, cheapest first.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::build::{self, OBJECT_VARIABLE};
use crate::command;
use crate::fuzz;
use crate::instructions;
use crate::object;
use crate::setup;
use crate::toolchain::Toolchain;
use crate::vm::{self, Options};
use crate::workspace::Workspace;

/// The package of the end-to-end tests.
const END_TO_END: &str = "imds-audit-tests";

/// Prepares the machine and runs every check and test, or only the tests that a filter names.
pub fn run(workspace: &Workspace, filter: Option<&str>) -> Result<()> {
    let start = Instant::now();
    let toolchain = step("set-up", || prepare(workspace, filter.is_none()))?;
    let object = step("build of the kernel half", || build::kernel_half(workspace, &toolchain))?;
    step("look at the kernel half", || object::check(&object))?;
    if filter.is_none() {
        checks(workspace, &toolchain, &object)?;
    }
    step("unit tests", || unit_tests(workspace, &object, filter))?;
    if filter.is_none() {
        step("fuzz targets, short", || fuzz::run(workspace, None, fuzz::SHORT_RUNS))?;
    }
    let program =
        step("build of the program", || build::program(workspace, &object, build::HOST_TARGET))?;
    if filter.is_none() {
        step("instructions", || instructions::check(workspace, &object))?;
    }
    end_to_end(workspace, &program, filter)?;
    if filter.is_none() {
        step("the oldest and the newest kernel", || vm::run(workspace, &Options::of_every_run()?))?;
    }
    println!("ok: everything in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Installs what checks and tests need, and says which toolchains they use.
fn prepare(workspace: &Workspace, with_checks: bool) -> Result<Toolchain> {
    if with_checks {
        setup::host_components(workspace)?;
    }
    let toolchain = setup::toolchain(workspace, with_checks)?;
    print!("{toolchain}");
    Ok(toolchain)
}

/// Runs the formatter and the linters; a warning is an error.
fn checks(workspace: &Workspace, toolchain: &Toolchain, object: &Path) -> Result<()> {
    step("format", || command::run(workspace.cargo().args(["fmt", "--all", "--check"])))?;
    step("clippy, kernel half", || {
        let mut clippy =
            toolchain.cargo("clippy", &workspace.root, &build::kernel_folder(workspace));
        command::run(clippy.args(["--", "-D", "warnings"]))
    })?;
    step("clippy, host half", || {
        let mut clippy = workspace.cargo();
        clippy.args(["clippy", "--locked", "--workspace", "--all-targets"]);
        command::run(clippy.env(OBJECT_VARIABLE, object).args(["--", "-D", "warnings"]))
    })?;
    // In a folder of its own, or the two would rebuild each other's work at every run.
    step("clippy, host half alone", || {
        let mut clippy = workspace.cargo();
        clippy.args(["clippy", "--locked", "-p", "imds-audit", "--all-targets", "--target-dir"]);
        clippy.arg(workspace.target.join("host-alone")).env_remove(OBJECT_VARIABLE);
        command::run(clippy.args(["--", "-D", "warnings"]))
    })
}

/// Runs the tests that need neither root nor a network.
fn unit_tests(workspace: &Workspace, object: &Path, filter: Option<&str>) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--locked", "--workspace", "--exclude", END_TO_END]).args(filter);
    command::run(cargo.env(OBJECT_VARIABLE, object))
}

/// Runs the end-to-end tests on the built program: as root only, and in CI always.
fn end_to_end(workspace: &Workspace, program: &Path, filter: Option<&str>) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--locked", "-p", END_TO_END]);
    if !command::is_root() {
        if env::var_os("CI").is_some() {
            bail!("the end-to-end tests need root, and in CI none is skipped");
        }
        eprintln!("SKIPPED: the end-to-end tests, which need root: sudo -E cargo xtask test");
        return step("build of the end-to-end tests", || command::run(cargo.arg("--no-run")));
    }
    let clients = step("set-up of the clients", || setup::test_clients(workspace))?;
    step("end-to-end tests", || {
        command::run(with_clients(&mut cargo, program, clients).args(filter))
    })
}

/// Tells the end-to-end tests where the program and the clients are.
fn with_clients<'a>(
    cargo: &'a mut Command,
    program: &Path,
    clients: Vec<(&'static str, PathBuf)>,
) -> &'a mut Command {
    cargo.env("IMDS_AUDIT", program).envs(clients)
}

/// Runs a step and prints its name, verdict and duration.
fn step<T>(name: &str, action: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let result = action();
    let verdict = if result.is_ok() { "ok" } else { "FAILED" };
    println!("{verdict:<6}  {name:<32}  {:7.1} s", start.elapsed().as_secs_f64());
    result.with_context(|| format!("{name} failed"))
}
