//! The kernel's clocks, as records and events need them.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::{
    audit::clock::{Clock, ClockReading},
    segment::Timestamp,
};

/// How often the clocks are compared at a time; the most exact comparison counts.
const READINGS: usize = 3;

/// Returns the time since boot, the clock of records.
pub(super) fn now() -> Timestamp {
    Timestamp(u64::try_from(nanoseconds(ClockId::Boottime)).unwrap_or(0))
}

/// Reads the offset of the wall clock from the time since boot.
pub(super) fn read_clock() -> ClockReading {
    // On a busy host something else may run between two of them.
    (1..READINGS).map(|_| reading()).fold(reading(), ClockReading::better)
}

/// Returns a clock after the time of day was perhaps set.
pub(super) fn adjusted(clock: Clock) -> Clock {
    // Nearly always one reading shows that it was not.
    if clock.adjusted(reading()) == clock { clock } else { clock.adjusted(read_clock()) }
}

fn reading() -> ClockReading {
    let before = nanoseconds(ClockId::Boottime);
    let time_of_day = nanoseconds(ClockId::Realtime);
    ClockReading::new(before, time_of_day, nanoseconds(ClockId::Boottime))
}

fn nanoseconds(clock: ClockId) -> i128 {
    let time = clock_gettime(clock);
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

/// Returns the time that is left until a deadline.
pub(super) fn until(deadline: Timestamp) -> Duration {
    Duration::from_nanos(deadline.0.saturating_sub(now().0))
}
