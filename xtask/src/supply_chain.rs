//! Checks of what others wrote, by cargo-deny: licences, banned crates and sources, as `deny.toml` has
//! them. All of it works without a network; only the tool itself is fetched, once.
//!
//! Advisories are not checked here: their database is a git repository that a build machine need not
//! reach. `cargo deny check advisories` does it where it can.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;
use crate::workspace::Workspace;

/// The release of cargo-deny.
const VERSION: &str = "0.20.2";

/// Checks every dependency of the workspace, those of its tests and tools among them.
pub fn check(workspace: &Workspace) -> Result<()> {
    let mut deny = Command::new(tool(workspace, "cargo-deny", VERSION)?);
    deny.current_dir(&workspace.root).args(["--offline", "--locked", "--all-features", "check"]);
    command::quiet(deny.args(["licenses", "bans", "sources"])).context("deny.toml")
}

/// Returns a program of crates.io in the project's own folder, built there where it is not.
pub fn tool(workspace: &Workspace, name: &str, version: &str) -> Result<PathBuf> {
    let tools = workspace.tools();
    let program = tools.join("bin").join(name);
    // What cargo has installed below the folder.
    let installed = fs::read_to_string(tools.join(".crates.toml")).unwrap_or_default();
    if installed.contains(&format!("\"{name} {version} (")) && program.exists() {
        return Ok(program);
    }
    println!("building {name} {version}");
    // Without optimisation: it runs for a second, and so builds in half the time.
    let mut cargo = workspace.cargo();
    cargo.args([
        "install",
        name,
        "--debug",
        "--quiet",
        "--locked",
        "--force",
        "--version",
        version,
    ]);
    cargo.arg("--root").arg(&tools).arg("--target-dir").arg(tools.join("build-debug"));
    command::quiet(&mut cargo)?;
    Ok(program)
}
