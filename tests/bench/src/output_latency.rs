//! Time from a response's arrival until its request's line can be read.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::line::Listener;
use super::processor::{Processor, pin};
use super::rate_limiter::send;
use super::rows::Rows;

const ROUNDS: usize = 5;
/// Requests a second, and for how long.
const POINTS: [(f64, u64); 3] = [(100.0, 10), (1_000.0, 3), (10_000.0, 2)];
const CONNECTIONS: usize = 16;

/// The columns, and which part of the lines was faster.
const COLUMNS: [(&str, f64); 3] =
    [("median", 0.5), ("99th of 100", 0.99), ("999th of 1000", 0.999)];

/// A piece of output, and when it was read.
type Piece = (Duration, Vec<u8>);

/// Measures.
///
/// # Errors
/// Returns an error if the network or the program does not work.
pub fn measure(program: &Path) -> Result<Rows> {
    let desk = Listener::new()?;
    pin(Processor::First)?;
    let mut rows = Rows::default();
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        for (rate, seconds) in POINTS {
            let pieces = Arc::new(Mutex::new(Vec::<Piece>::new()));
            let kept = Arc::clone(&pieces);
            let look = move |bytes: &[u8]| {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                kept.lock().unwrap_or_else(PoisonError::into_inner).push((now, bytes.to_vec()));
            };
            let audit = desk.audit_with(program, Processor::Second, look)?;
            let mut pairs = desk.open(CONNECTIONS)?;
            send(&mut pairs, rate, Duration::from_secs(seconds))?;
            audit.stop()?;
            let pieces = pieces.lock().unwrap_or_else(PoisonError::into_inner);
            let mut delays = delays(&pieces)?;
            delays.sort_by(f64::total_cmp);
            for (column, part) in COLUMNS {
                let place = (part * delays.len() as f64) as usize;
                let delay = delays.get(place).context("no request was reported")?;
                rows.add(&format!("{rate} requests a second"), "ms", column, *delay);
            }
        }
    }
    Ok(rows)
}

#[derive(Deserialize)]
struct Line {
    kind: String,
    time: String,
    imds: Option<Imds>,
}

#[derive(Deserialize)]
struct Imds {
    duration_us: Option<i64>,
}

/// Returns, for each answered request's line that ends in a piece, the milliseconds from the
/// response's arrival to the reading of that piece.
fn delays(pieces: &[Piece]) -> Result<Vec<f64>> {
    let mut delays = Vec::new();
    let mut rest = Vec::new();
    for (read, bytes) in pieces {
        rest.extend_from_slice(bytes);
        let end = memchr::memrchr(b'\n', &rest).map_or(0, |place| place + 1);
        for line in rest[..end].split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let line: Line = serde_json::from_slice(line)?;
            let duration =
                line.imds.filter(|_| line.kind == "request").and_then(|imds| imds.duration_us);
            if let Some(duration) = duration {
                let time: jiff::Timestamp = line.time.parse()?;
                let arrived = time.as_microsecond() + duration;
                delays.push((read.as_micros() as f64 - arrived as f64) / 1e3);
            }
        }
        rest.drain(..end);
    }
    Ok(delays)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_in_two_pieces_counts_from_the_second() {
        let line = "{\"kind\":\"request\",\"time\":\"1970-01-01T00:00:01Z\",\
                    \"imds\":{\"duration_us\":500000}}\n";
        let (one, other) = line.split_at(20);
        let pieces = [(1_600, one), (1_750, other)];
        let pieces = pieces.map(|(time, text)| (Duration::from_millis(time), text.into()));
        assert_eq!(delays(&pieces).unwrap(), [250.0]);
    }
}
