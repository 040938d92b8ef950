//! Proves each supported kernel by booting it.

mod emulator;
mod guest;
mod guest_report;
mod initramfs;
pub mod instruction_clock;
mod kernels;
mod modules;
mod qemu;
mod results;
mod system;
mod verifier_limits;

use std::env;
use std::fs;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::architecture::Architecture;
use crate::build::Profile;
use crate::vm::emulator::Emulator;
use crate::vm::guest::Guest;
use crate::vm::guest_report::Verdict;
use crate::vm::kernels::Kernel;
use crate::vm::results::{Booted, Proofs};
use crate::vm::verifier_limits::Ceilings;
use crate::workspace::Workspace;

/// What is to be proven.
#[derive(Args)]
pub struct Options {
    /// The machines' architecture: x86_64 or aarch64, as Debian has it amd64 or arm64.
    #[arg(long, value_parser = Architecture::find, default_value = env::consts::ARCH)]
    pub arch: &'static Architecture,
    /// The kernels' series, such as 5.10; all of them where none is given.
    #[arg(value_name = "KERNEL")]
    pub kernels: Vec<String>,
    /// A part of the names of the end-to-end tests that are to run; all where none is given.
    #[arg(long = "test", value_name = "PART")]
    pub tests: Vec<String>,
    /// Writes what was proven to xtask/baselines/kernel-matrix.json, and the table of it in
    /// docs/requirements.md.
    #[arg(long)]
    pub write_table: bool,
    /// Builds the program without link-time optimisation, in half the time.
    #[arg(long)]
    pub quick: bool,
    /// Boots systemd in the machines instead, installs the agent's unit there, and injects faults.
    #[arg(long, conflicts_with_all = ["tests", "write_table"])]
    pub systemd: bool,
}

/// Boots the kernels, and prints a table of what came of it.
///
/// # Errors
/// Returns an error if a kernel cannot be had, a guest gives no verdict or a bad one, or a ceiling
/// is exceeded.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let kernels = select(options.arch, &options.kernels)?;
    let ceilings = Ceilings::read(&workspace.root)?;
    let booted = options.write_table.then(|| Booted::now(&workspace.root, options.quick));
    let booted = booted.transpose()?;
    let folder = workspace.target.join("vm").join(options.arch.debian);
    fs::create_dir_all(&folder)?;
    let emulator = Emulator::find(options.arch, &folder)?;
    let system = match options.systemd {
        true => Some(system::unpacked(options.arch, &folder)?),
        false => None,
    };
    let profile = if options.quick { Profile::Guest } else { Profile::Release };
    let guest = Guest::build(workspace, &options.arch.target(), profile)?;

    let mut failures = Vec::new();
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    // Two kernels at once, one file.
    let writing = Mutex::new(());
    let boot = |kernel: &Kernel| {
        let verdict = match &system {
            Some(system) => prove_system(kernel, &emulator, &folder, &guest, system),
            None => prove(kernel, &emulator, &folder, &guest, &options.tests),
        }?;
        if let Some(booted) = &booted
            && faults(kernel, options.arch, &verdict, &ceilings).is_empty()
        {
            let proof = results::Proof::of(&verdict, &options.tests, booted)?;
            let _writing = writing.lock().unwrap_or_else(PoisonError::into_inner);
            let mut proofs = Proofs::read(&workspace.root)?;
            proofs.insert(options.arch, kernel, proof);
            proofs.write(&workspace.root)?;
        }
        Ok(verdict)
    };
    for (kernel, proof) in kernels.iter().zip(prove_all(&kernels, boot)) {
        match proof.verdict {
            Ok(verdict) => {
                failures.extend(faults(kernel, options.arch, &verdict, &ceilings));
                rows.push(row(kernel, &verdict, proof.seconds));
            }
            Err(error) => failures.push(format!("Linux {}: {error:#}", kernel.series)),
        }
    }
    print_table(&rows);
    if !failures.is_empty() {
        bail!("{}", failures.join("\n"));
    }
    Ok(())
}

/// Returns the architecture's kernels of the given series; all where none is given.
fn select(architecture: &Architecture, series: &[String]) -> Result<Vec<&'static Kernel>> {
    let all: Vec<_> = kernels::claimed(architecture).collect();
    if series.is_empty() {
        return Ok(all);
    }
    let find = |wanted: &String| all.iter().find(|kernel| kernel.series == wanted).copied();
    let known = || all.iter().map(|kernel| kernel.series).collect::<Vec<_>>().join(", ");
    series
        .iter()
        .map(|wanted| find(wanted).with_context(|| format!("no kernel {wanted}: {}", known())))
        .collect()
}

/// What came of a kernel, and how long it took.
struct Proof {
    verdict: Result<Verdict>,
    seconds: u64,
}

/// Boots kernels, as many at once as there are processors, and returns what came of each in their
/// order.
fn prove_all(
    kernels: &[&'static Kernel],
    boot: impl Fn(&Kernel) -> Result<Verdict> + Sync,
) -> Vec<Proof> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut proofs = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(kernel) = kernels.get(index) else { return proofs };
            let start = Instant::now();
            let verdict = boot(kernel);
            proofs.push((index, Proof { verdict, seconds: start.elapsed().as_secs() }));
        }
    };
    let at_once = thread::available_parallelism().map_or(1, NonZero::get).min(kernels.len());
    let mut proofs: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        let join = |worker: ScopedJoinHandle<'_, Vec<_>>| {
            worker.join().unwrap_or_else(|panic| resume_unwind(panic))
        };
        workers.into_iter().flat_map(join).collect()
    });
    proofs.sort_by_key(|(index, _)| *index);
    proofs.into_iter().map(|(_, proof)| proof).collect()
}

/// Boots a kernel.
fn prove(
    kernel: &Kernel,
    emulator: &Emulator,
    folder: &Path,
    guest: &Guest,
    parts: &[String],
) -> Result<Verdict> {
    let image = kernels::image(kernel, emulator.architecture, folder)?;
    let modules = modules::read(&kernels::unpacked(kernel, folder))?;
    let initramfs = folder.join(format!("initramfs-{}", kernel.series));
    guest.pack(&modules, parts, &initramfs)?;
    let options = kernel.options;
    let start = qemu::Start { initramfs: &initramfs, memory: "768", options, command_line: "" };
    qemu::run(emulator, &image, &start, &folder.join(format!("console-{}", kernel.series)))
}

/// Boots a kernel with systemd as the first process.
fn prove_system(
    kernel: &Kernel,
    emulator: &Emulator,
    folder: &Path,
    guest: &Guest,
    system: &Path,
) -> Result<Verdict> {
    let image = kernels::image(kernel, emulator.architecture, folder)?;
    let modules = modules::read(&kernels::unpacked(kernel, folder))?;
    let initramfs = folder.join(format!("initramfs-systemd-{}", kernel.series));
    guest.pack_system(&modules, system, &initramfs)?;
    let (options, command_line) = (kernel.options, system::COMMAND_LINE);
    let start = qemu::Start { initramfs: &initramfs, memory: "1536", options, command_line };
    let console = folder.join(format!("console-systemd-{}", kernel.series));
    qemu::run(emulator, &image, &start, &console)
}

/// Returns what is wrong with a verdict.
fn faults(
    kernel: &Kernel,
    architecture: &Architecture,
    verdict: &Verdict,
    ceilings: &Ceilings,
) -> Vec<String> {
    let mut faults: Vec<_> = verdict
        .tests
        .iter()
        .filter_map(|(name, failure)| Some((name, failure.as_ref()?)))
        .map(|(name, failure)| format!("{name}: {failure}"))
        .collect();
    faults.extend(ceilings.exceeded(architecture, kernel.series, &verdict.programs));
    faults.into_iter().map(|fault| format!("Linux {}: {fault}", kernel.series)).collect()
}

/// The table's first line.
const HEADINGS: [&str; 6] =
    ["kernel", "verified instructions", "tests", "start-up (emulated)", "fallbacks", "run"];

/// Returns a kernel's line of the table.
fn row(kernel: &Kernel, verdict: &Verdict, seconds: u64) -> [String; 6] {
    let programs = verdict.programs.iter().map(|program| match program.verified {
        Some(count) => format!("{} {count}", program.name),
        None => format!("{} REFUSED", program.name),
    });
    let start = verdict.start_milliseconds.map(|milliseconds| format!("{milliseconds} ms"));
    let fallbacks = verdict.fallbacks.join(", ");
    [
        format!("{} ({})", kernel.series, verdict.release),
        programs.collect::<Vec<_>>().join(", "),
        tests(verdict),
        start.unwrap_or_else(|| "FAILED".to_owned()),
        if fallbacks.is_empty() { "none".to_owned() } else { fallbacks },
        format!("{seconds} s"),
    ]
}

/// Returns what came of the tests.
fn tests(verdict: &Verdict) -> String {
    let passed = verdict.tests.iter().filter(|(_, failure)| failure.is_none()).count();
    let mut text = format!("{passed} of {} passed", verdict.tests.len());
    text.push_str(&format!("; {} are for a host", verdict.for_a_host));
    for (name, needs) in &verdict.impossible {
        text.push_str(&format!("; {name} needs {needs}"));
    }
    text
}

/// Prints the rows as a table in Markdown.
fn print_table(rows: &[[String; 6]]) {
    for (index, row) in rows.iter().enumerate() {
        println!("| {} |", row.join(" | "));
        if index == 0 {
            println!("|{}", "---|".repeat(row.len()));
        }
    }
}
