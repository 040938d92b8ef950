//! Conversion of record times to times of day.

use crate::event::Time;
use crate::segment::Timestamp;

/// The offset from time since boot to time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Nanoseconds since 1970 minus nanoseconds since boot.
    pub offset: i128,
}

impl Clock {
    /// Returns the time of day of a record's time, clamped to what a timestamp can hold.
    pub fn time(self, timestamp: Timestamp) -> Time {
        let nanoseconds = i128::from(timestamp.0).saturating_add(self.offset);
        Time(jiff::Timestamp::from_nanosecond(nanoseconds).unwrap_or(if nanoseconds < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        }))
    }

    /// Returns the clock after another reading. The offset changes only when the time of day is set,
    /// or the host slept: one that may be right stays, so that times keep their order.
    pub const fn adjusted(self, reading: ClockReading) -> Self {
        if (reading.offset - self.offset).abs() <= reading.error { self } else { reading.clock() }
    }
}

/// A comparison of the two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    offset: i128,
    /// How far the offset may be from this, in nanoseconds, either way.
    error: i128,
}

impl ClockReading {
    /// Makes one of the nanoseconds since boot before and after the time of day was read.
    pub const fn new(before: i128, time_of_day: i128, after: i128) -> Self {
        let error = (after - before) / 2;
        Self { offset: time_of_day - before - error, error: error + 1 }
    }

    /// Returns the more exact one of two.
    pub const fn better(self, other: Self) -> Self {
        if other.error < self.error { other } else { self }
    }

    /// Returns a clock with its offset.
    pub const fn clock(self) -> Clock {
        Clock { offset: self.offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_that_was_interrupted_sets_no_clock() {
        let clock = ClockReading::new(1_000, 900_000, 1_200).clock();
        assert_eq!(clock.offset, 898_900);
        // Something else ran for a millisecond before the time of day was read, or after.
        for time_of_day in [901_000, 1_900_000] {
            let reading = ClockReading::new(2_000, time_of_day, 1_002_000);
            assert_eq!(clock.adjusted(reading), clock);
            let exact = ClockReading::new(2_000, 901_000, 2_200);
            assert_eq!((reading.better(exact), exact.better(reading)), (exact, exact));
        }
        // The time of day was set.
        let reading = ClockReading::new(2_000, 801_100, 2_200);
        assert_eq!(clock.adjusted(reading).offset, 799_000);
    }

    #[test]
    fn a_time_beyond_what_a_timestamp_holds_is_the_nearest_one() {
        let far = Clock { offset: i128::MAX }.time(Timestamp(u64::MAX));
        assert_eq!(far.0, jiff::Timestamp::MAX);
        let before = Clock { offset: i128::MIN }.time(Timestamp(0));
        assert_eq!(before.0, jiff::Timestamp::MIN);
        let day = Clock { offset: 1_767_225_600_000_000_000 }.time(Timestamp(1_000));
        assert_eq!(day.to_string(), "2026-01-01T00:00:00.000001Z");
    }
}
