//! Bounds the instructions that the engine takes for an exchange, counted by callgrind: they are
//! the same in every run and on every machine, as seconds are not.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::apt;
use crate::build;
use crate::command;
use crate::workspace::Workspace;

/// The ceilings, in the workspace's root.
const FILE: &str = "xtask/baselines/instructions.toml";

/// The package of the engine, and the program.
const PACKAGE: &str = "imds-audit-bench";
const ENGINE: &str = "imds-audit-engine";

/// What is counted: an exchange of a process and on a connection each, and one on a connection that
/// stays open.
const CASES: [&str; 2] = ["fresh", "kept"];

/// The exchanges of the two runs whose difference is counted: what a run takes besides is in both.
const EXCHANGES: [u64; 2] = [500, 1_500];

/// Counts, prints the counts and compares them with the ceilings.
///
/// # Errors
/// Returns an error if something takes more instructions than its ceiling allows.
pub fn check(workspace: &Workspace, object: &Path) -> Result<()> {
    let path = workspace.root.join(FILE);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let ceilings: BTreeMap<String, u64> =
        toml::from_str(&text).with_context(|| path.display().to_string())?;
    let mut faults = Vec::new();
    for (case, each) in counts(workspace, object)? {
        let ceiling = ceilings.get(case).with_context(|| format!("{FILE} has no {case}"))?;
        println!("{case}: {each} instructions an exchange, at most {ceiling}");
        if each > *ceiling {
            faults.push(format!("{case} takes {each} instructions an exchange, not {ceiling}"));
        }
    }
    if !faults.is_empty() {
        bail!("{}; the ceilings are in {FILE}", faults.join(", "));
    }
    Ok(())
}

/// Builds the engine and counts the instructions that it takes for an exchange, in each case.
pub fn counts(workspace: &Workspace, object: &Path) -> Result<Vec<(&'static str, u64)>> {
    if command::find("valgrind").is_none() {
        apt::install(&["valgrind".to_owned()])?;
    }
    // It has no use for the eBPF programs, but without it what it shares with the program would be
    // built again at every turn.
    let engine = build::tool(workspace, object, PACKAGE, ENGINE)?;
    let [few, many] = EXCHANGES;
    CASES
        .iter()
        .map(|&case| {
            let more = count(&engine, case, many)?.saturating_sub(count(&engine, case, few)?);
            Ok((case, more / (many - few)))
        })
        .collect()
}

/// Returns how many instructions a run takes.
fn count(engine: &Path, case: &str, exchanges: u64) -> Result<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(engine)
        .args([case, &exchanges.to_string()])
        .stdin(Stdio::null());
    let output = valgrind.output().context("cannot run valgrind")?;
    let reported = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("failed ({}): {}\n{reported}", output.status, command::line(&valgrind));
    }
    collected(&reported).with_context(|| format!("callgrind prints no count: {reported}"))
}

/// Reads callgrind's count from what it tells at the end: `==7== Collected : 12345`.
fn collected(reported: &str) -> Option<u64> {
    let line = reported.lines().find_map(|line| line.split_once("Collected :"))?;
    line.1.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_in_what_callgrind_tells() {
        let reported = "==1== Events    : Ir\n==1== Collected : 216913\n==1== \n";
        assert_eq!(collected(reported), Some(216_913));
        assert_eq!(collected("==1== something else"), None);
    }
}
