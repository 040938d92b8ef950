//! The kernel's clocks, as records and events need them.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::{audit::clock::ClockReading, segment::Timestamp};

/// How often the clocks are compared at a time; the most exact comparison counts.
const READINGS: usize = 3;

/// Returns the time since boot, the clock of records.
pub(super) fn now() -> Timestamp {
    Timestamp(u64::try_from(nanoseconds(ClockId::Boottime)).unwrap_or(0))
}

/// Reads the offset of the wall clock from the time since boot.
pub(super) fn read_clock() -> ClockReading {
    let reading = |_| {
        let before = nanoseconds(ClockId::Boottime);
        let time_of_day = nanoseconds(ClockId::Realtime);
        ClockReading::new(before, time_of_day, nanoseconds(ClockId::Boottime))
    };
    // On a busy host something else may run between two of them.
    (1..READINGS).map(reading).fold(reading(0), ClockReading::better)
}

fn nanoseconds(clock: ClockId) -> i128 {
    let time = clock_gettime(clock);
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

/// Returns the time that is left until a deadline.
pub(super) fn until(deadline: Timestamp) -> Duration {
    Duration::from_nanos(deadline.0.saturating_sub(now().0))
}
