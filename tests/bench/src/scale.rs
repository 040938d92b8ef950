//! Scale: a million requests, ten thousand connections, a hundred thousand
//! processes.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Deserialize;

use super::audit::Stop;
use super::callers::have_called;
use super::connection_holder::ConnectionHolder;
use super::line::Listener;
use super::processor::{Processor, pin};
use super::rate_limiter::{rounds, send};
use super::rows::Rows;
use super::usage::resident;

/// After how many requests the memory is looked at.
const REQUESTS: [u64; 7] = [0, 1_000, 10_000, 100_000, 250_000, 500_000, 1_000_000];
/// Requests a second: as many as are to be audited without loss.
const RATE: f64 = 20_000.0;
const SENDERS: usize = 64;
const CONNECTIONS: usize = 10_000;
const PROCESSES: u32 = 100_000;
/// Processes a second: more than the service would answer, and more than one processor can make.
const PROCESS_RATES: [(f64, &str); 2] = [(2_000.0, "2000"), (1e6, "as many as can be made")];
/// How long the program is left alone before its memory is looked at.
const SETTLE: Duration = Duration::from_millis(500);

/// The only column.
const COLUMN: &str = "figure";

/// Measures.
///
/// # Errors
/// Returns an error if the network or the program does not work, or something was neither reported
/// nor lost.
pub fn measure(program: &Path) -> Result<Rows> {
    pin(Processor::First)?;
    let mut rows = Rows::default();
    requests(program, &mut rows)?;
    connections(program, &mut rows)?;
    for (rate, name) in PROCESS_RATES {
        processes(program, rate, name, &mut rows)?;
    }
    Ok(rows)
}

/// A million requests.
fn requests(program: &Path, rows: &mut Rows) -> Result<()> {
    eprintln!("a million requests");
    let desk = Listener::new()?;
    let audit = desk.audit(program, Processor::Second)?;
    let mut pairs = desk.open(SENDERS)?;
    let mut sent = 0;
    for goal in REQUESTS {
        while sent < goal {
            let seconds = (goal - sent) as f64 / RATE;
            let piece = Duration::from_secs_f64(seconds.max(1e-3));
            sent += send(&mut pairs, RATE, piece)?.requests;
        }
        sleep(SETTLE);
        let row = format!("resident memory after {goal} requests");
        rows.add(&row, "MiB", COLUMN, resident(audit.pid())?);
    }
    account(&audit.stop()?, sent, "a million requests", rows)
}

/// Ten thousand connections, open at once.
fn connections(program: &Path, rows: &mut Rows) -> Result<()> {
    eprintln!("ten thousand connections");
    let desk = Listener::new()?;
    let audit = desk.audit(program, Processor::Second)?;
    let held = ConnectionHolder::start(program, desk.address, CONNECTIONS / 2, 3)?;
    let mut pairs = desk.open(CONNECTIONS / 2)?;
    rounds(&mut pairs, 3)?;
    sleep(SETTLE);
    let row = format!("resident memory with {CONNECTIONS} connections open");
    rows.add(&row, "MiB", COLUMN, resident(audit.pid())?);
    drop(held);
    let stop = audit.stop()?;
    account(&stop, 3 * CONNECTIONS as u64, "three requests on each of ten thousand", rows)
}

/// A hundred thousand processes, so many a second.
fn processes(program: &Path, rate: f64, name: &str, rows: &mut Rows) -> Result<()> {
    eprintln!("a hundred thousand processes, a second {name}");
    let desk = Listener::new()?;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let look = {
        let seen = Arc::clone(&seen);
        move |bytes: &[u8]| seen.lock().unwrap_or_else(PoisonError::into_inner).take(bytes)
    };
    let audit = desk.audit_with(program, Processor::Any, look)?;
    let made = have_called(&desk, program, PROCESSES, rate)?;
    let what = format!("{PROCESSES} processes, a second {name}");
    rows.add(&format!("{what}: made a second"), "", COLUMN, made);
    sleep(SETTLE);
    rows.add(&format!("{what}: resident memory"), "MiB", COLUMN, resident(audit.pid())?);
    let stop = audit.stop()?;
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    rows.add(&format!("{what}: told apart"), "", COLUMN, seen.processes.len() as f64);
    rows.add(&format!("{what}: with their arguments"), "", COLUMN, seen.with_arguments as f64);
    account(&stop, u64::from(PROCESSES), &format!("a request of each of {what}"), rows)
}

/// Tells how many requests were lost, and that none is missing.
fn account(stop: &Stop, sent: u64, what: &str, rows: &mut Rows) -> Result<()> {
    let lost = stop.lost("requests");
    ensure!(
        stop.requests() + lost == sent,
        "{sent} sent, {} reported, {lost} lost: {stop:?}",
        stop.requests()
    );
    rows.add(&format!("lost: {what}"), "", COLUMN, lost as f64);
    Ok(())
}

/// Which processes the lines named.
#[derive(Default)]
struct Seen {
    processes: HashSet<(u32, String)>,
    with_arguments: u64,
    rest: Vec<u8>,
}

#[derive(Deserialize)]
struct Line {
    process: Option<Process>,
}

#[derive(Deserialize)]
struct Process {
    pid: Option<u32>,
    start_time: Option<String>,
    args: Option<Vec<String>>,
}

impl Seen {
    fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let end = memchr::memrchr(b'\n', &self.rest).map_or(0, |place| place + 1);
        let lines: Vec<u8> = self.rest.drain(..end).collect();
        for line in lines.split(|&byte| byte == b'\n') {
            let Ok(Line { process: Some(process) }) = serde_json::from_slice(line) else {
                continue;
            };
            self.with_arguments += u64::from(process.args.is_some_and(|args| args.len() > 1));
            if let (Some(pid), Some(start)) = (process.pid, process.start_time) {
                self.processes.insert((pid, start));
            }
        }
    }
}
