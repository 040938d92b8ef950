//! Throttles wakeups during bursts.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Two wakeups closer than this belong to one burst.
const BURST_GAP: Duration = Duration::from_millis(1);

/// The delay after a wakeup within a burst. Waking the program, and the thread that writes, takes
/// several times as long as an exchange; a ring of 2 MiB holds a hundredth of a second of the most
/// that one processor can send, and a line is to be written within 5 ms.
const BURST_DELAY: Duration = Duration::from_micros(500);

/// The smallest ring that has room for the records of such a delay, in bytes.
const MIN_RING: u32 = 1 << 20;

/// Delays wakeups that follow each other closely.
#[derive(Debug)]
pub(super) struct WakeupThrottle {
    has_room: bool,
    woken: Option<Instant>,
}

impl WakeupThrottle {
    /// Creates a throttle for a ring of so many bytes.
    pub(super) const fn new(ring_bytes: u32) -> Self {
        Self { has_room: ring_bytes >= MIN_RING, woken: None }
    }

    /// Sleeps if this wakeup belongs to a burst. Call it once all records are taken: those that
    /// arrive meanwhile are found in the ring afterwards.
    ///
    /// It blocks the thread, since an asynchronous wait for the ring ends with the next record.
    pub(super) fn maybe_sleep(&mut self) {
        if let Some(delay) = self.delay(Instant::now()) {
            sleep(delay);
        }
    }

    /// Takes note of a wakeup. Returns how long to sleep.
    fn delay(&mut self, now: Instant) -> Option<Duration> {
        let before = self.woken.replace(now)?;
        let is_burst = now.saturating_duration_since(before) < BURST_GAP;
        (self.has_room && is_burst).then_some(BURST_DELAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_wakeups_within_a_burst_are_delayed() {
        let mut throttle = WakeupThrottle::new(MIN_RING);
        let start = Instant::now();
        assert_eq!(throttle.delay(start), None);
        assert_eq!(throttle.delay(start + BURST_GAP), None);
        let soon = start + BURST_GAP + BURST_DELAY;
        assert_eq!(throttle.delay(soon), Some(BURST_DELAY));
        assert_eq!(throttle.delay(soon + BURST_DELAY), Some(BURST_DELAY));
        assert_eq!(throttle.delay(soon + BURST_DELAY + 2 * BURST_GAP), None);
        let mut small = WakeupThrottle::new(MIN_RING / 2);
        assert_eq!((small.delay(start), small.delay(start + BURST_DELAY)), (None, None));
    }
}
