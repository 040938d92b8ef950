//! Cost of a request to the program, by request rate and number of connections.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::connection_holder::ConnectionHolder;
use super::line::Listener;
use super::processor::{Processor, pin};
use super::rate_limiter::{rounds, send};
use super::rows::Rows;
use super::usage::Usage;

const ROUNDS: usize = 5;
/// The connections open, the requests a second, and for how long.
const POINTS: [(usize, f64, u64); 7] = [
    (1, 1.0, 6),
    (1, 10.0, 3),
    (1, 100.0, 2),
    (1, 1_000.0, 2),
    (1, 10_000.0, 2),
    (100, 1_000.0, 2),
    (10_000, 1_000.0, 2),
];
/// How many of them this process holds; another one holds the rest.
const OWN: usize = 5_000;
/// How long the program is left alone until it has done everything that was asked of it.
const SETTLE: Duration = Duration::from_millis(300);

/// Measures.
///
/// # Errors
/// Returns an error if the network or the program does not work, or a request was lost.
pub fn measure(program: &Path) -> Result<Rows> {
    let desk = Listener::new()?;
    pin(Processor::First)?;
    let mut rows = Rows::default();
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        for (connections, rate, seconds) in POINTS {
            let audit = desk.audit(program, Processor::Second)?;
            let own = connections.min(OWN);
            let others = connections - own;
            let held = (others > 0)
                .then(|| ConnectionHolder::start(program, desk.address, others, 1))
                .transpose()?;
            let mut pairs = desk.open(own)?;
            // Each connection's first request is dearer: its caller is looked up.
            rounds(&mut pairs, 1)?;
            sleep(SETTLE);
            let before = Usage::of(audit.pid())?;
            let sent = send(&mut pairs, rate, Duration::from_secs(seconds))?;
            sleep(SETTLE);
            let used = Usage::of(audit.pid())? - before;
            let requests = sent.requests + connections as u64;
            drop(held);
            let stop = audit.stop()?;
            ensure!(
                stop.requests() == requests,
                "{} of {requests} requests were reported: {stop:?}",
                stop.requests()
            );
            let row = format!("{rate} requests a second, {connections} connections open");
            let time = used.time.as_secs_f64() * 1e6;
            rows.add(&row, "µs", "processor time a request", time / sent.requests as f64);
            let switches = used.switches as f64;
            rows.add(&row, "µs", "wake-ups a request", switches / sent.requests as f64);
        }
    }
    Ok(rows)
}
