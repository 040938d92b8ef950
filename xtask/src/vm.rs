//! Proves each supported kernel by booting it.

mod ceilings;
pub mod clock;
mod emulator;
mod guest;
mod initramfs;
mod kernels;
mod modules;
mod qemu;
mod verdict;

use std::fs;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::architecture::Architecture;
use crate::vm::ceilings::Ceilings;
use crate::vm::emulator::Emulator;
use crate::vm::guest::Guest;
use crate::vm::kernels::Kernel;
use crate::vm::verdict::Verdict;
use crate::workspace::Workspace;

/// Boots the kernels of the given series, or all, and prints a table of what came of it; with a
/// part of a test's name only the end-to-end tests run that have it.
///
/// # Errors
/// A kernel cannot be had, a guest gives no verdict or a bad one, or a ceiling is exceeded.
pub fn run(
    workspace: &Workspace,
    architecture: &'static Architecture,
    series: &[String],
    part: Option<&str>,
) -> Result<()> {
    let kernels = select(architecture, series)?;
    let ceilings = Ceilings::read(&workspace.root)?;
    let folder = workspace.target.join("vm").join(architecture.debian);
    fs::create_dir_all(&folder)?;
    let emulator = Emulator::find(architecture, &folder)?;
    let guest = Guest::build(workspace, &architecture.target())?;

    let mut failures = Vec::new();
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    let boot = |kernel: &Kernel| prove(kernel, &emulator, &folder, &guest, part);
    for (kernel, proof) in kernels.iter().zip(prove_all(&kernels, boot)) {
        match proof.verdict {
            Ok(verdict) => {
                failures.extend(faults(kernel, architecture, &verdict, &ceilings));
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
