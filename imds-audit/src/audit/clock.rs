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
}

#[cfg(test)]
mod tests {
    use super::*;

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
