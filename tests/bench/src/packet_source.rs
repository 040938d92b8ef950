//! The packet source: its capacity, and the share of short-lived callers that it names.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Deserialize;

use super::callers::have_called;
use super::line::Listener;
use super::processor::{Processor, pin};
use super::rate_limiter::send;
use super::rows::Rows;
use super::usage::Usage;

const ROUNDS: usize = 3;
/// Requests a second; the last is more than can be sent.
const RATES: [f64; 5] = [5_000.0, 10_000.0, 20_000.0, 40_000.0, f64::INFINITY];
const CONNECTIONS: usize = 64;
const DURING: Duration = Duration::from_secs(3);
/// Processes a second, and how many in all. Each makes one request and ends.
const PROCESSES: [(u32, u32); 3] = [(10, 50), (100, 500), (1_000, 5_000)];

/// Measures.
///
/// # Errors
/// Returns an error if the network or the program does not work, or requests are missing and no loss is
/// counted.
pub fn measure(program: &Path) -> Result<Rows> {
    let mut rows = Rows::default();
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        for (rate, count) in PROCESSES {
            callers(program, rate, count, &mut rows)?;
        }
        for rate in RATES {
            capacity(program, rate, &mut rows)?;
        }
    }
    Ok(rows)
}

fn capacity(program: &Path, rate: f64, rows: &mut Rows) -> Result<()> {
    let desk = Listener::new()?;
    pin(Processor::First)?;
    let audit = desk.audit_packets(program, Processor::Second, |_| {})?;
    let mut pairs = desk.open(CONNECTIONS)?;
    let before = Usage::of(audit.pid())?;
    let sent = send(&mut pairs, rate, DURING)?;
    let used = Usage::of(audit.pid())? - before;
    let stop = audit.stop()?;
    pin(Processor::Any)?;
    // A request that is not reported lost a packet at least.
    let (reported, packets) = (stop.requests(), stop.lost("records"));
    ensure!(
        reported <= sent.requests && sent.requests <= reported + packets,
        "{} sent, {reported} reported, {packets} packets lost: {stop:?}",
        sent.requests,
    );
    let row = if rate.is_finite() {
        format!("{rate} requests a second")
    } else {
        "as many as one processor can send and answer".to_owned()
    };
    let missing = (sent.requests - reported) as f64 * 100.0 / sent.requests as f64;
    let busy = used.time.as_secs_f64() / sent.time.as_secs_f64();
    rows.add(&row, "", "sent a second", sent.rate());
    rows.add(&row, "", "not reported, of a hundred", missing);
    rows.add(&row, "", "packets lost", packets as f64);
    rows.add(&row, "", "processors in use", busy);
    Ok(())
}

fn callers(program: &Path, rate: u32, count: u32, rows: &mut Rows) -> Result<()> {
    let desk = Listener::new()?;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let look = {
        let seen = Arc::clone(&seen);
        move |bytes: &[u8]| seen.lock().unwrap_or_else(PoisonError::into_inner).take(bytes)
    };
    let audit = desk.audit_packets(program, Processor::Any, look)?;
    let made = have_called(&desk, program, count, f64::from(rate))?;
    let stop = audit.stop()?;
    ensure!(stop.requests() == u64::from(count), "{count} sent: {stop:?}");
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let row = format!("{rate} processes a second");
    let share = |count_of: u64| count_of as f64 * 100.0 / f64::from(count);
    rows.add(&row, "", "sent a second", made);
    rows.add(&row, "", "named, of a hundred", share(seen.named));
    rows.add(&row, "", "their cgroup alone", share(seen.placed));
    Ok(())
}

/// What the lines say of the callers.
#[derive(Default)]
struct Seen {
    named: u64,
    placed: u64,
    rest: Vec<u8>,
}

#[derive(Deserialize)]
struct Line {
    kind: String,
    process: Option<Process>,
}

#[derive(Deserialize)]
struct Process {
    pid: Option<u32>,
    cgroup: Option<String>,
}

impl Seen {
    fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let end = memchr::memrchr(b'\n', &self.rest).map_or(0, |place| place + 1);
        let lines: Vec<u8> = self.rest.drain(..end).collect();
        for line in lines.split(|&byte| byte == b'\n') {
            let Ok(Line { kind, process: Some(process) }) = serde_json::from_slice(line) else {
                continue;
            };
            if kind == "request" {
                let is_named = process.pid.is_some();
                self.named += u64::from(is_named);
                self.placed += u64::from(!is_named && process.cgroup.is_some());
            }
        }
    }
}
