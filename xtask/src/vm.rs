//! Proves each supported kernel by booting it.

mod ceilings;
mod emulator;
mod guest;
mod initramfs;
mod kernels;
mod modules;
mod qemu;
mod verdict;

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::build::HOST_TARGET;
use crate::command;
use crate::vm::ceilings::Ceilings;
use crate::vm::emulator::Emulator;
use crate::vm::guest::Guest;
use crate::vm::kernels::{KERNELS, Kernel};
use crate::vm::verdict::Verdict;
use crate::workspace::Workspace;

/// Boots the kernels of the given series, or all, and prints a table of what came of it.
///
/// # Errors
/// A kernel cannot be had, a guest gives no verdict or a bad one, or a ceiling is exceeded.
pub fn run(workspace: &Workspace, series: &[String]) -> Result<()> {
    let kernels = select(series)?;
    let ceilings = Ceilings::read(&workspace.root)?;
    let folder = workspace.target.join("vm");
    fs::create_dir_all(&folder)?;
    let emulator = Emulator::find(&folder)?;
    let guest = Guest::build(workspace, HOST_TARGET)?;

    let mut failures = Vec::new();
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    for kernel in kernels {
        let start = Instant::now();
        match prove(kernel, &emulator, &folder, &guest) {
            Ok(verdict) => {
                failures.extend(faults(kernel, &verdict, &ceilings));
                rows.push(row(kernel, &verdict, start.elapsed().as_secs()));
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

/// Returns the kernels of the given series; all where none is given.
fn select(series: &[String]) -> Result<Vec<&'static Kernel>> {
    if series.is_empty() {
        return Ok(KERNELS.iter().collect());
    }
    let find = |wanted: &String| KERNELS.iter().find(|kernel| kernel.series == wanted);
    let known = || KERNELS.map(|kernel| kernel.series).join(", ");
    series
        .iter()
        .map(|wanted| find(wanted).with_context(|| format!("no kernel {wanted}: {}", known())))
        .collect()
}

/// Boots a kernel.
fn prove(kernel: &Kernel, emulator: &Emulator, folder: &Path, guest: &Guest) -> Result<Verdict> {
    let image = kernels::image(kernel, folder)?;
    let modules = modules::read(&kernels::unpacked(kernel, folder))?;
    let initramfs = folder.join(format!("initramfs-{}", kernel.series));
    guest.pack(&modules, &initramfs)?;
    qemu::run(emulator, &image, &initramfs)
}

/// Returns what is wrong with a verdict.
fn faults(kernel: &Kernel, verdict: &Verdict, ceilings: &Ceilings) -> Vec<String> {
    let mut faults: Vec<_> = verdict
        .tests
        .iter()
        .filter_map(|(name, failure)| Some((name, failure.as_ref()?)))
        .map(|(name, failure)| format!("{name}: {failure}"))
        .collect();
    faults.extend(ceilings.exceeded(kernel.series, &verdict.programs));
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
