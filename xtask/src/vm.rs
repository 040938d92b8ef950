//! Proves each supported kernel by booting it.

mod ceilings;
pub mod clock;
mod emulator;
mod guest;
mod initramfs;
mod kernels;
mod modules;
mod proofs;
mod qemu;
mod verdict;

use std::env;
use std::fs;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Instant;

use anyhow::{Context, Error, Result, bail};
use clap::Args;

use crate::architecture::Architecture;
use crate::vm::ceilings::Ceilings;
use crate::vm::emulator::Emulator;
use crate::vm::guest::Guest;
use crate::vm::kernels::Kernel;
use crate::vm::proofs::Proofs;
use crate::vm::verdict::Verdict;
use crate::workspace::Workspace;

/// The end-to-end tests of every run, by the beginning of their names: what they are about differs
/// most from kernel to kernel.
const OF_EVERY_RUN: &str = "fallbacks::";

/// What is to be proven.
#[derive(Args)]
pub struct Options {
    /// The machines' architecture: x86_64 or aarch64, as Debian has it amd64 or arm64.
    #[arg(long, value_parser = Architecture::find, default_value = env::consts::ARCH)]
    pub arch: &'static Architecture,
    /// The kernels' series, such as 5.10; all of them where none is given.
    #[arg(value_name = "KERNEL")]
    pub kernels: Vec<String>,
    /// A part of the names of the end-to-end tests that are to run; all where it is not given.
    #[arg(long, value_name = "PART")]
    pub test: Option<String>,
    /// Writes what was proven to xtask/proofs.json, and the README's table of it.
    #[arg(long, conflicts_with = "test")]
    pub write_table: bool,
}

impl Options {
    /// Returns what is proven at every run of all tests: that the programs load within their
    /// ceilings, attach and read, and do without what a host may lack, on the oldest kernel and the
    /// newest of this machine's architecture. The other end-to-end tests, minutes a kernel, are left
    /// to `cargo xtask vm`.
    ///
    /// # Errors
    /// The architecture is none that is supported.
    pub fn of_every_run() -> Result<Self> {
        let arch = Architecture::find(env::consts::ARCH).map_err(Error::msg)?;
        let all: Vec<_> = kernels::claimed(arch).map(|kernel| kernel.series.to_owned()).collect();
        let kernels = [all.first(), all.last()].into_iter().flatten().cloned().collect();
        let test = Some(OF_EVERY_RUN.to_owned());
        Ok(Self { arch, kernels, test, write_table: false })
    }
}

/// Boots the kernels, and prints a table of what came of it.
///
/// # Errors
/// A kernel cannot be had, a guest gives no verdict or a bad one, or a ceiling is exceeded.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let kernels = select(options.arch, &options.kernels)?;
    let ceilings = Ceilings::read(&workspace.root)?;
    let folder = workspace.target.join("vm").join(options.arch.debian);
    fs::create_dir_all(&folder)?;
    let emulator = Emulator::find(options.arch, &folder)?;
    let guest = Guest::build(workspace, &options.arch.target())?;

    let mut failures = Vec::new();
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    let part = options.test.as_deref();
    let boot = |kernel: &Kernel| prove(kernel, &emulator, &folder, &guest, part);
    for (kernel, proof) in kernels.iter().zip(prove_all(&kernels, boot)) {
        match proof.verdict {
            Ok(verdict) => {
                let faults = faults(kernel, options.arch, &verdict, &ceilings);
                if options.write_table && faults.is_empty() {
                    let mut proofs = Proofs::read(&workspace.root)?;
                    proofs.insert(options.arch, kernel, proofs::Proof::of(&verdict)?);
                    proofs.write(&workspace.root)?;
                }
                failures.extend(faults);
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
    part: Option<&str>,
) -> Result<Verdict> {
    let image = kernels::image(kernel, emulator.architecture, folder)?;
    let modules = modules::read(&kernels::unpacked(kernel, folder))?;
    let initramfs = folder.join(format!("initramfs-{}", kernel.series));
    guest.pack(&modules, part, &initramfs)?;
    qemu::run(emulator, &image, &initramfs, &folder.join(format!("console-{}", kernel.series)))
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
