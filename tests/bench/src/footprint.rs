//! Footprint: start time, memory, processor time when idle, size.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::audit::Audit;
use super::processor::Processor;
use super::rows::Rows;
use super::usage::{Usage, resident};

const STARTS: usize = 15;
/// How long the program is left alone before it is looked at.
const SETTLE: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(10);

/// An address that nobody asks, so that nothing happens: one for documentation (RFC 5737).
const NOBODY: [&str; 2] = ["--endpoint", "192.0.2.1:80"];

/// The only column.
const COLUMN: &str = "figure";

/// Measures.
///
/// # Errors
/// Returns an error if the program cannot be started, or ends.
pub fn measure(program: &Path) -> Result<Rows> {
    let mut rows = Rows::default();
    for _ in 0..STARTS {
        let audit = Audit::start(program, &NOBODY, Processor::Any)?;
        let milliseconds = audit.attached_after.as_secs_f64() * 1e3;
        rows.add("start to attached", "ms", COLUMN, milliseconds);
        audit.stop()?;
    }
    let audit = Audit::start(program, &NOBODY, Processor::Any)?;
    sleep(SETTLE);
    let before = Usage::of(audit.pid())?;
    sleep(IDLE);
    let used = Usage::of(audit.pid())? - before;
    let time = used.time.as_secs_f64() * 1e3;
    rows.add("processor time in ten idle seconds", "ms", COLUMN, time);
    rows.add("wake-ups in ten idle seconds", "", COLUMN, used.switches as f64);
    rows.add("resident memory when idle", "MiB", COLUMN, resident(audit.pid())?);
    audit.stop()?;
    let bytes = std::fs::metadata(program)?.len();
    rows.add("size of the program", "MiB", COLUMN, bytes as f64 / f64::from(1 << 20));
    Ok(rows)
}
