//! Fuzzes whatever parses bytes, with the stable compiler.
//!
//! cargo-fuzz takes a nightly one, for the address sanitizer. All of the code that is fuzzed is
//! safe Rust, so panics and broken laws are what there is to find; the compiler's coverage pass
//! is in the stable release too. The layout is that of cargo-fuzz, which works as well.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::apt;
use crate::command;
use crate::workspace::Workspace;

/// How often a target is run where nobody says.
pub const DEFAULT_RUNS: u64 = 1_000_000;

/// How often each target is run as a part of the tests.
pub const SHORT_RUNS: u64 = 20_000;

/// The coverage that libFuzzer reads, and the checks of a debug build.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                     -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions";

/// A target given by name keeps build scripts and macros free of [`FLAGS`].
const TARGET: &str = if cfg!(target_arch = "aarch64") {
    "aarch64-unknown-linux-gnu"
} else {
    "x86_64-unknown-linux-gnu"
};

/// Runs one target, or each, so many times. What is new to a target is kept outside of the
/// source tree; an input that breaks a law is named, and makes the run fail.
pub fn run(workspace: &Workspace, target: Option<&str>, runs: u64) -> Result<()> {
    if command::find("c++").is_none() {
        apt::install(&["g++".to_owned()])?;
    }
    let folder = workspace.root.join("tests/fuzz");
    let built = workspace.target.join("fuzz");
    let mut cargo = workspace.cargo();
    cargo.current_dir(&folder).args(["build", "--locked", "--release", "--target", TARGET]);
    cargo.arg("--target-dir").arg(&built).env("RUSTFLAGS", FLAGS);
    if let Some(target) = target {
        cargo.args(["--bin", target]);
    }
    command::run(&mut cargo)?;
    let targets = match target {
        Some(target) => vec![target.to_owned()],
        None => targets(&folder.join("corpus"))?,
    };
    for target in targets {
        let found = built.join("found").join(&target);
        fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
        let program = built.join(TARGET).join("release").join(&target);
        let mut fuzzer = std::process::Command::new(program);
        fuzzer.arg(&found).arg(folder.join("corpus").join(&target));
        fuzzer.arg(format!("-artifact_prefix={}/", built.display()));
        fuzzer.args(["-seed=1", "-rss_limit_mb=1024", "-max_len=4096", "-print_final_stats=1"]);
        command::run(fuzzer.arg(format!("-runs={runs}")))?;
    }
    Ok(())
}

/// Names the targets: each has a corpus.
fn targets(corpora: &Path) -> Result<Vec<String>> {
    let read = || format!("cannot read {}", corpora.display());
    let mut targets = Vec::new();
    for entry in fs::read_dir(corpora).with_context(read)? {
        targets.push(entry.with_context(read)?.file_name().to_string_lossy().into_owned());
    }
    if targets.is_empty() {
        bail!("{} has no corpus", corpora.display());
    }
    targets.sort();
    Ok(targets)
}
