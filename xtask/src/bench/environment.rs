//! Environment of a measurement: the built program, the instrument, and the machine.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::architecture::HOST_TARGET;
use crate::build;
use crate::command;
use crate::setup;
use crate::workspace::Workspace;

use super::results::{self, Measured, Place, Row};

/// The package of the instrument, and its program.
const INSTRUMENT: &str = "imds-audit-bench";

/// The package of the end-to-end tests, and their client.
const CLIENTS: &str = "imds-audit-tests";
const CLIENT: &str = "imds-audit-test-client";

/// What a measurement stands on.
pub struct BenchEnvironment<'a> {
    /// The source tree.
    pub workspace: &'a Workspace,
    /// The eBPF programs' object.
    pub object: PathBuf,
    /// The program under measurement.
    pub program: PathBuf,
    /// The program that measures it on this machine.
    pub instrument: PathBuf,
    date: String,
    commit: String,
}

impl<'a> BenchEnvironment<'a> {
    /// Builds the program and its instrument.
    pub fn make(workspace: &'a Workspace) -> Result<Self> {
        let toolchain = setup::toolchain(workspace, false)?;
        let object = build::ebpf_object(workspace, &toolchain)?;
        let program = build::program(workspace, &object, HOST_TARGET)?;
        let instrument = build::tool(workspace, &object, INSTRUMENT, INSTRUMENT)?;
        let date = command::output(Command::new("date").args(["-u", "+%F"]))?.trim().to_owned();
        Ok(Self { workspace, object, program, instrument, date, commit: commit(workspace) })
    }

    /// Has the instrument measure on this machine, as root.
    pub fn measure(&self, arguments: &[&str]) -> Result<Measured> {
        let mut words = vec!["--program".to_owned(), self.program.to_string_lossy().into_owned()];
        words.extend(arguments.iter().map(|&argument| argument.to_owned()));
        let mut instrument = command::as_root(&self.instrument.to_string_lossy(), &words)?;
        // What it is doing goes to the terminal.
        let output = instrument
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot run {}", command::line(&instrument)))?;
        if !output.status.success() {
            anyhow::bail!("failed ({}): {}", output.status, command::line(&instrument));
        }
        let rows = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("what {} wrote", command::line(&instrument)))?;
        Ok(self.measured(own_place()?, rows))
    }

    /// Makes a measurement of rows.
    pub fn measured(&self, place: Place, mut rows: Vec<Row>) -> Measured {
        rows.iter_mut().for_each(Row::cut);
        Measured { place, date: self.date.clone(), commit: self.commit.clone(), rows }
    }
}

/// Builds the client of the end-to-end tests, which sends in every way.
pub fn client(environment: &BenchEnvironment<'_>) -> Result<PathBuf> {
    build::tool(environment.workspace, &environment.object, CLIENTS, CLIENT)
}

/// Describes this machine.
pub fn own_place() -> Result<Place> {
    let read = |path: &str| fs::read_to_string(path).with_context(|| path.to_owned());
    let processors = read("/proc/cpuinfo")?;
    let memory = read("/proc/meminfo")?;
    let value = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    // Other architectures name no model there.
    let model = value(&processors, "model name").unwrap_or_else(|| std::env::consts::ARCH.into());
    let is_guest = processors.lines().any(|line| {
        line.starts_with("flags") && line.split_ascii_whitespace().any(|flag| flag == "hypervisor")
    });
    let count = std::thread::available_parallelism()?;
    let kibibytes: u64 = value(&memory, "MemTotal")
        .and_then(|text| text.split_ascii_whitespace().next()?.parse().ok())
        .context("/proc/meminfo has no MemTotal")?;
    let machine = format!(
        "{count} × {model}{}, {} GiB",
        if is_guest { " (a virtual machine)" } else { "" },
        kibibytes.div_ceil(1 << 20)
    );
    let kernel = read("/proc/sys/kernel/osrelease")?.trim().to_owned();
    Ok(Place { machine, kernel, is_emulated: false })
}

/// Returns the commit that is measured; `-dirty` behind it where the tree differs from it in more
/// than the results themselves.
fn commit(workspace: &Workspace) -> String {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.arg("-C").arg(&workspace.root).args(arguments);
        command::output(&mut git)
    };
    // A tree without git, such as an unpacked archive, is measured all the same.
    let Ok(commit) = git(&["rev-parse", "--short=9", "HEAD"]) else {
        return "an unknown commit".to_owned();
    };
    let results = [results::DOCUMENT, results::FILE].map(|file| format!(":!{file}"));
    let [document, samples] = &results;
    let is_clean = git(&["diff", "--quiet", "HEAD", "--", ".", document, samples]).is_ok();
    format!("{}{}", commit.trim(), if is_clean { "" } else { "-dirty" })
}
