//! Capacity: the request rate at which losses begin, and their growth beyond it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::line::Listener;
use super::processor::{Processor, pin};
use super::rate_limiter::send;
use super::rows::Rows;
use super::steal_time::StealMonitor;
use super::usage::Usage;

const ROUNDS: usize = 3;
/// Requests a second; the last is more than can be sent.
const RATES: [f64; 7] = [5_000.0, 10_000.0, 20_000.0, 30_000.0, 40_000.0, 50_000.0, f64::INFINITY];
const CONNECTIONS: usize = 64;
const DURING: Duration = Duration::from_secs(3);

/// Measures.
///
/// # Errors
/// Returns an error if the network or the program does not work, or requests are neither reported
/// nor lost.
pub fn measure(program: &Path) -> Result<Rows> {
    let desk = Listener::new()?;
    pin(Processor::First)?;
    let mut rows = Rows::default();
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        for rate in RATES {
            let audit = desk.audit(program, Processor::Second)?;
            let mut pairs = desk.open(CONNECTIONS)?;
            let steal = StealMonitor::start()?;
            let before = Usage::of(audit.pid())?;
            let sent = send(&mut pairs, rate, DURING)?;
            let used = Usage::of(audit.pid())? - before;
            let still = steal.stop()?;
            let stop = audit.stop()?;
            let lost = stop.lost("requests");
            ensure!(
                stop.requests() + lost == sent.requests,
                "{} sent, {} reported, {lost} lost: {stop:?}",
                sent.requests,
                stop.requests()
            );
            let row = if rate.is_finite() {
                format!("{rate} requests a second")
            } else {
                "as many as one processor can send and answer".to_owned()
            };
            let busy = used.time.as_secs_f64() / sent.time.as_secs_f64();
            rows.add(&row, "", "sent a second", sent.rate());
            rows.add(&row, "", "lost, of a hundred", lost as f64 * 100.0 / sent.requests as f64);
            rows.add(&row, "", "processors in use", busy);
            for (column, time) in [
                ("ms ready and not run", used.waited),
                ("ms stolen", still.stolen),
                ("longest stillness, ms", still.longest),
            ] {
                rows.add(&row, "", column, time.as_secs_f64() * 1e3);
            }
        }
    }
    Ok(rows)
}
