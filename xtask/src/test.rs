//! Every check and test, cheapest first.

use std::env;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::architecture::HOST_TARGET;
use crate::build::{self, OBJECT_VARIABLE};
use crate::command;
use crate::fuzz;
use crate::house;
use crate::instructions;
use crate::object;
use crate::python;
use crate::setup;
use crate::supply_chain;
use crate::test_output;
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;

/// The package of the end-to-end tests.
const END_TO_END: &str = "imds-audit-tests";

/// The variable that tells the tests where the Python with Spark is.
const SPARK_VARIABLE: &str = "IMDS_AUDIT_PYTHON_SPARK";

/// Prepares the machine and runs every check and test, or only the tests that a filter names.
pub fn run(workspace: &Workspace, filter: Option<&str>) -> Result<()> {
    let start = Instant::now();
    let toolchain = step("set-up", || prepare(workspace, filter.is_none()))?;
    let object = step("build of the eBPF programs", || build::ebpf_object(workspace, &toolchain))?;
    step("look at the eBPF programs", || {
        object::check(&object)?;
        object::check_rehearsal(&object.with_file_name("imds-audit-rehearsal"))
    })?;
    if filter.is_none() {
        checks(workspace, &toolchain, &object)?;
    }
    step("unit tests", || unit_tests(workspace, &object, filter))?;
    if filter.is_none() {
        step("fuzz targets, short", || fuzz::run(workspace, None, fuzz::SHORT_RUNS))?;
    }
    let program = step("build of the program", || build::program(workspace, &object, HOST_TARGET))?;
    end_to_end(workspace, &program, filter)?;
    println!("ok: everything in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Runs the linters of both sides, and counts the engine's instructions for a request.
pub fn lint(workspace: &Workspace) -> Result<()> {
    let toolchain = prepare(workspace, true)?;
    let object = build::ebpf_object(workspace, &toolchain)?;
    checks(workspace, &toolchain, &object)?;
    step("instructions", || instructions::check(workspace, &object))
}

/// Runs the fleet's SQL in real Spark, over the events of real clients, and audits a real Spark.
pub fn spark(workspace: &Workspace) -> Result<()> {
    if !command::is_root() {
        bail!("the events are those of audited hosts, which needs root: sudo -E cargo xtask spark");
    }
    let toolchain = step("set-up", || prepare(workspace, false))?;
    let object = step("build of the eBPF programs", || build::ebpf_object(workspace, &toolchain))?;
    let program = step("build of the program", || build::program(workspace, &object, HOST_TARGET))?;
    let clients = step("set-up of the clients", || setup::test_clients(workspace))?;
    let python = step("set-up of Spark", || python::of_spark(workspace))?;
    step("Spark", || {
        let mut cargo = workspace.cargo();
        cargo.args(["test", "--locked", "-p", END_TO_END, "--test", "e2e"]);
        cargo.env(SPARK_VARIABLE, python);
        let cargo = with_clients(&mut cargo, &program, clients);
        command::run(cargo.args(["spark", "--", "--ignored", "--nocapture"]))
    })
}

/// Runs the checks that need neither root nor an eBPF toolchain.
pub fn check(workspace: &Workspace) -> Result<()> {
    let start = Instant::now();
    setup::host_components(workspace)?;
    step("format", || command::run(workspace.cargo().args(["fmt", "--all", "--check"])))?;
    step("rules of the house", || house::check(workspace))?;
    step("clippy", || {
        let mut clippy = workspace.cargo();
        clippy.args(["clippy", "--locked", "--workspace", "--all-targets"]);
        command::run(clippy.args(["--", "-D", "warnings"]))
    })?;
    step("unit tests", || {
        let mut cargo = workspace.cargo();
        command::run(cargo.args([
            "test",
            "--locked",
            "--workspace",
            "--exclude",
            END_TO_END,
            "--lib",
            "--bins",
        ]))
    })?;
    println!("ok: checked in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Runs the unit tests, the property tests among them, with cases drawn from a seed.
pub fn properties(
    workspace: &Workspace,
    cases: u32,
    seed: Option<u64>,
    filter: Option<&str>,
) -> Result<()> {
    // The standard library draws these keys anew in each process.
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(()));
    let mut again = vec![format!("--cases {cases} --seed {seed}")];
    again.extend(filter.map(str::to_owned));
    let again = format!("cargo xtask properties {}", again.join(" "));
    println!("{again}");
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--locked", "--workspace", "--exclude", END_TO_END, "--lib", "--bins"]);
    cargo.args(filter).env("PROPTEST_CASES", cases.to_string());
    command::run(cargo.env("PROPTEST_RNG_SEED", seed.to_string()))
        .with_context(|| format!("a property does not hold; {again} finds the same case"))
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
    step("rules of the house", || house::check(workspace))?;
    step("licences, bans and sources", || supply_chain::check(workspace))?;
    step("clippy, eBPF programs", || {
        let mut clippy = toolchain.cargo("clippy", workspace, &build::ebpf_folder(workspace));
        command::run(clippy.args(["--", "-D", "warnings"]))
    })?;
    step("clippy, userspace side", || {
        let mut clippy = workspace.cargo();
        clippy.args(["clippy", "--locked", "--workspace", "--all-targets"]);
        command::run(clippy.env(OBJECT_VARIABLE, object).args(["--", "-D", "warnings"]))
    })
}

/// Runs the tests that need neither root nor a network.
fn unit_tests(workspace: &Workspace, object: &Path, filter: Option<&str>) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--locked", "--workspace", "--exclude", END_TO_END]).args(filter);
    test_output::run(cargo.env(OBJECT_VARIABLE, object))
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
        test_output::run(with_clients(&mut cargo, program, clients).args(filter))
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
