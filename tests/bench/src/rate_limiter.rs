//! Sends at a rate.

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::line::Pair;

/// How long may be slept at a time; what was due meanwhile is sent at once.
const NAP: Duration = Duration::from_micros(200);

/// Requests a second that are audited without loss: where something else is to be measured than how
/// many can be.
pub const GENTLE: f64 = 10_000.0;

/// How many were sent, and in what time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// Requests, each answered.
    pub requests: u64,
    /// The time.
    pub time: Duration,
}

impl Sent {
    /// Returns how many a second.
    pub fn rate(self) -> f64 {
        self.requests as f64 / self.time.as_secs_f64()
    }
}

/// Sends requests one after the other on the connections in turn, so many a second as far as
/// this thread can, for some time.
///
/// # Errors
/// Returns an error if the network does not work.
pub fn send(pairs: &mut [Pair], rate: f64, during: Duration) -> io::Result<Sent> {
    let start = Instant::now();
    let mut requests = 0_u64;
    let mut turn = (0..pairs.len()).cycle();
    loop {
        let elapsed = start.elapsed();
        if elapsed >= during {
            return Ok(Sent { requests, time: elapsed });
        }
        let due = ((elapsed.as_secs_f64() * rate) as u64).saturating_add(1);
        if requests >= due {
            let next = Duration::from_secs_f64(requests as f64 / rate).saturating_sub(elapsed);
            sleep(next.clamp(NAP, Duration::from_millis(50)).min(during - elapsed));
            continue;
        }
        // In pieces, so that the end is not missed where the rate cannot be held.
        for _ in 0..(due - requests).min(100) {
            let Some(pair) = turn.next().and_then(|place| pairs.get_mut(place)) else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            pair.exchange()?;
            requests += 1;
        }
    }
}

/// Sends so many requests on each connection, one connection after the other, at a [`GENTLE`] rate.
///
/// # Errors
/// Returns an error if the network does not work.
pub fn rounds(pairs: &mut [Pair], count: usize) -> io::Result<()> {
    let start = Instant::now();
    let mut sent = 0_u64;
    for _ in 0..count {
        for pair in &mut *pairs {
            pair.exchange()?;
            sent += 1;
            let due = Duration::from_secs_f64(sent as f64 / GENTLE);
            let early = due.saturating_sub(start.elapsed());
            if early > NAP {
                sleep(early);
            }
        }
    }
    Ok(())
}
