//! Requests over time.

use std::collections::BTreeMap;

use crate::event::{Class, Time};

/// The number of buckets above which they are made twice as wide.
const MAX_BUCKETS: usize = 240;
/// The narrowest bucket, in seconds.
const NARROWEST: i64 = 3600;

/// Requests in a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// Requests without a token.
    pub without_token: u64,
    /// Requests with a token, and for one.
    pub with_token: u64,
    /// Other requests.
    pub other: u64,
}

/// Requests over time, in buckets of an hour or more: at most 240 of them.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    width: i64,
    buckets: BTreeMap<i64, Bucket>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { width: NARROWEST, buckets: BTreeMap::new() }
    }
}

impl Timeline {
    /// Counts requests of a class at a time.
    pub(crate) fn add(&mut self, time: Time, class: Class, requests: u64) {
        let bucket = self.buckets.entry(time.0.as_second().div_euclid(self.width)).or_default();
        let count = match class {
            Class::V1 | Class::V2EmptyToken => &mut bucket.without_token,
            Class::V2 | Class::V2Token => &mut bucket.with_token,
            Class::Foreign | Class::Unknown => &mut bucket.other,
        };
        *count = count.saturating_add(requests);
        self.widen();
    }

    /// Adds another timeline.
    pub(crate) fn merge(&mut self, other: &Self) {
        while self.width < other.width {
            self.double();
        }
        for (number, bucket) in &other.buckets {
            let known = number.saturating_mul(other.width).div_euclid(self.width);
            add(self.buckets.entry(known).or_default(), bucket);
        }
        self.widen();
    }

    /// Returns the width of a bucket, in seconds.
    pub(crate) const fn width(&self) -> i64 {
        self.width
    }

    /// Returns the start of each bucket that has requests, in seconds since 1970, and its counts.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (i64, Bucket)> + '_ {
        self.buckets.iter().map(|(number, bucket)| (number.saturating_mul(self.width), *bucket))
    }

    fn widen(&mut self) {
        while self.buckets.len() > MAX_BUCKETS {
            self.double();
        }
    }

    fn double(&mut self) {
        self.width = self.width.saturating_mul(2);
        for (number, bucket) in std::mem::take(&mut self.buckets) {
            add(self.buckets.entry(number.div_euclid(2)).or_default(), &bucket);
        }
    }
}

fn add(sum: &mut Bucket, more: &Bucket) {
    sum.without_token = sum.without_token.saturating_add(more.without_token);
    sum.with_token = sum.with_token.saturating_add(more.with_token);
    sum.other = sum.other.saturating_add(more.other);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_time_has_wider_buckets_and_the_same_requests() {
        let (mut whole, mut half) = (Timeline::default(), Timeline::default());
        for hour in 0..2000 {
            let time = Time(jiff::Timestamp::from_second(hour * 3600).unwrap());
            let timeline = if hour % 2 == 0 { &mut whole } else { &mut half };
            timeline.add(time, Class::V1, 3);
        }
        whole.merge(&half);
        assert!(whole.buckets.len() <= MAX_BUCKETS);
        assert_eq!(whole.buckets().map(|(_, bucket)| bucket.without_token).sum::<u64>(), 6000);
    }
}
