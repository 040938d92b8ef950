//! Has the program look at the ring less often where much comes.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// What comes sooner than this after what came before it is a part of much.
const SOON: Duration = Duration::from_millis(1);

/// How long what comes next may then wait. Waking the program, and the thread that writes, takes
/// several times as long as an exchange; a ring of 2 MiB holds a hundredth of a second of the most
/// that one processor can send, and a line is to be written within 5 ms.
const NAP: Duration = Duration::from_micros(500);

/// The smallest ring that has room for what comes meanwhile.
const ROOM: u32 = 1 << 20;

/// When the program was woken.
#[derive(Debug)]
pub struct Pace {
    has_room: bool,
    woken: Option<Instant>,
}

impl Pace {
    /// Makes one for a ring of so many bytes.
    pub const fn new(ring_bytes: u32) -> Self {
        Self { has_room: ring_bytes >= ROOM, woken: None }
    }

    /// Naps where this wake-up came soon after the one before. To be called when everything is
    /// done that there was to do: what comes meanwhile is found in the ring afterwards.
    ///
    /// It sleeps and does not wait, since whatever waits for the ring is woken by what comes.
    pub fn keep(&mut self) {
        if let Some(nap) = self.nap(Instant::now()) {
            sleep(nap);
        }
    }

    /// Takes note of a wake-up, and says how long to nap.
    fn nap(&mut self, now: Instant) -> Option<Duration> {
        let before = self.woken.replace(now)?;
        (self.has_room && now.saturating_duration_since(before) < SOON).then_some(NAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_naps_after_what_came_soon_and_only_then() {
        let mut pace = Pace::new(ROOM);
        let start = Instant::now();
        assert_eq!(pace.nap(start), None);
        assert_eq!(pace.nap(start + SOON), None);
        let soon = start + SOON + NAP;
        assert_eq!(pace.nap(soon), Some(NAP));
        assert_eq!(pace.nap(soon + NAP), Some(NAP));
        assert_eq!(pace.nap(soon + NAP + 2 * SOON), None);
        let mut small = Pace::new(ROOM / 2);
        assert_eq!((small.nap(start), small.nap(start + NAP)), (None, None));
    }
}
