//! Growth of counters since they were last read.

use std::collections::BTreeMap;

/// What was seen of counters that only grow, by key.
#[derive(Clone, Debug)]
pub(crate) struct CounterDelta<K> {
    seen: BTreeMap<K, u64>,
}

impl<K> Default for CounterDelta<K> {
    fn default() -> Self {
        Self { seen: BTreeMap::new() }
    }
}

impl<K: Ord> CounterDelta<K> {
    /// Returns by how much a counter has grown since the last call, at most `limit`; what exceeds
    /// that is returned by a later call. A counter that is lower than before was reset, and counts
    /// as a whole.
    pub(crate) fn grow(&mut self, key: K, count: u64, limit: u64) -> u64 {
        let seen = self.seen.entry(key).or_default();
        if count < *seen {
            *seen = 0;
        }
        let grown = (count - *seen).min(limit);
        *seen += grown;
        grown
    }

    /// Forgets counters that no longer exist.
    pub(crate) fn retain(&mut self, mut exists: impl FnMut(&K) -> bool) {
        self.seen.retain(|key, _| exists(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_growth_is_returned_once() {
        let mut counters = CounterDelta::default();
        let grown: Vec<u64> =
            [3, 3, 5, 2, 2].into_iter().map(|count| counters.grow("a", count, u64::MAX)).collect();
        assert_eq!(grown, [3, 0, 2, 2, 0]);
        assert_eq!(counters.grow("c", 9, 4), 4);
        assert_eq!(counters.grow("c", 9, u64::MAX), 5);
        counters.retain(|key| *key == "a");
        assert_eq!((counters.grow("a", 2, 9), counters.grow("c", 9, u64::MAX)), (0, 9));
    }
}
