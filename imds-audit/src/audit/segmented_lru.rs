//! Segmented LRU cache, bounded by weight.

use std::hash::Hash;

use lru::LruCache;

/// The share of the capacity that protected entries may take, in quarters: new entries always
/// have room.
const PROTECTED_QUARTERS: usize = 3;

/// A cache in which entries that proved useful outlive any number of new ones.
///
/// A new entry is on probation; [`promote`](Self::promote) protects it. Where the weight exceeds
/// the capacity, the least recently used entry on probation goes first. Protected entries beyond
/// three quarters of the capacity go back on probation, the least recently used first.
#[derive(Debug)]
pub(super) struct SegmentedLru<K: Hash + Eq, V> {
    capacity: usize,
    probation: LruCache<K, Entry<V>>,
    protected: LruCache<K, Entry<V>>,
    probation_weight: usize,
    protected_weight: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    weight: usize,
}

impl<K: Hash + Eq + Copy, V> SegmentedLru<K, V> {
    /// Creates a cache of this capacity, in the unit of the weights.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            probation: LruCache::unbounded(),
            protected: LruCache::unbounded(),
            probation_weight: 0,
            protected_weight: 0,
        }
    }

    /// Returns the number of entries.
    pub(super) fn len(&self) -> usize {
        self.probation.len() + self.protected.len()
    }

    /// Returns the weight of all entries.
    pub(super) fn weight(&self) -> usize {
        self.probation_weight + self.protected_weight
    }

    /// Returns a value, and marks it as used.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let entry = match self.protected.get_mut(key) {
            Some(entry) => Some(entry),
            None => self.probation.get_mut(key),
        };
        entry.map(|entry| &mut entry.value)
    }

    /// Adds or replaces a value; one that is replaced keeps its protection. The least recently
    /// used entries make room, but never the one added. Returns them.
    pub(super) fn put(&mut self, key: K, value: V, weight: usize) -> Vec<(K, V)> {
        let entry = Entry { value, weight };
        if self.protected.contains(&key) {
            self.protected_weight += weight;
            if let Some(old) = self.protected.put(key, entry) {
                self.protected_weight = self.protected_weight.saturating_sub(old.weight);
            }
        } else {
            self.probation_weight += weight;
            if let Some(old) = self.probation.put(key, entry) {
                self.probation_weight = self.probation_weight.saturating_sub(old.weight);
            }
        }
        self.demote();
        self.evict()
    }

    /// Protects an entry, if it is there, and marks it as used.
    pub(super) fn promote(&mut self, key: &K) {
        if self.protected.get(key).is_some() {
            return;
        }
        let Some(entry) = self.probation.pop(key) else { return };
        self.probation_weight = self.probation_weight.saturating_sub(entry.weight);
        self.protected_weight += entry.weight;
        self.protected.put(*key, entry);
        self.demote();
    }

    /// Removes an entry.
    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        if let Some(entry) = self.protected.pop(key) {
            self.protected_weight = self.protected_weight.saturating_sub(entry.weight);
            return Some(entry.value);
        }
        let entry = self.probation.pop(key)?;
        self.probation_weight = self.probation_weight.saturating_sub(entry.weight);
        Some(entry.value)
    }

    /// Removes and returns the entry that is to go first, leaving this one out.
    pub(super) fn pop_other_than(&mut self, kept: &K) -> Option<(K, V)> {
        let least = |part: &LruCache<K, Entry<V>>| {
            part.iter().rev().map(|(key, _)| *key).find(|key| key != kept)
        };
        let key = least(&self.probation).or_else(|| least(&self.protected))?;
        self.remove(&key).map(|value| (key, value))
    }

    /// Puts protected entries beyond their share back on probation.
    fn demote(&mut self) {
        let protected_capacity = self.capacity / 4 * PROTECTED_QUARTERS;
        while self.protected_weight > protected_capacity && self.protected.len() > 1 {
            let Some((key, entry)) = self.protected.pop_lru() else { break };
            self.protected_weight = self.protected_weight.saturating_sub(entry.weight);
            self.probation_weight += entry.weight;
            self.probation.put(key, entry);
        }
    }

    fn evict(&mut self) -> Vec<(K, V)> {
        let mut evicted = Vec::new();
        while self.weight() > self.capacity && self.len() > 1 {
            let Some((key, entry)) = self.probation.pop_lru() else { break };
            self.probation_weight = self.probation_weight.saturating_sub(entry.weight);
            evicted.push((key, entry.value));
        }
        evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_new_entries_leaves_protected_ones_alone() {
        let mut cache = SegmentedLru::new(100);
        for key in 0..10 {
            cache.put(key, key, 5);
            cache.promote(&key);
        }
        for key in 1_000..9_000 {
            cache.put(key, key, 7);
            assert!(cache.weight() <= 100);
            assert!(cache.get_mut(&key).is_some());
        }
        for key in 0..10 {
            assert_eq!(cache.get_mut(&key), Some(&mut { key }));
        }
    }

    #[test]
    fn protected_entries_leave_room_for_new_ones_and_go_by_last_use() {
        let mut cache = SegmentedLru::new(100);
        for key in 0..20 {
            cache.put(key, (), 10);
            cache.promote(&key);
        }
        cache.put(100, (), 25);
        assert!(cache.get_mut(&100).is_some() && cache.weight() <= 100);
        let kept: Vec<i32> = (0..20).filter(|key| cache.get_mut(key).is_some()).collect();
        assert_eq!(kept, [13, 14, 15, 16, 17, 18, 19]);
    }

    #[test]
    fn an_entry_heavier_than_everything_is_kept_alone() {
        let mut cache = SegmentedLru::new(100);
        cache.put(1, (), 10);
        cache.put(2, (), 1_000);
        assert_eq!((cache.len(), cache.get_mut(&2)), (1, Some(&mut ())));
        assert_eq!(cache.put(3, (), 10), [(2, ())]);
        assert_eq!((cache.len(), cache.weight()), (1, 10));
    }

    #[test]
    fn what_is_popped_is_on_probation_first_and_never_the_one_kept() {
        let mut cache = SegmentedLru::new(100);
        for key in 0..4 {
            cache.put(key, (), 1);
        }
        cache.promote(&0);
        let popped: Vec<_> = std::iter::from_fn(|| cache.pop_other_than(&2)).collect();
        assert_eq!(popped, [(1, ()), (3, ()), (0, ())]);
        assert_eq!((cache.len(), cache.weight()), (1, 1));
    }

    proptest::proptest! {
        #[test]
        fn weights_add_up(steps in proptest::collection::vec((0..4_u8, 0..12_u8, 1..40_usize), 0..200)) {
            let mut cache = SegmentedLru::new(100);
            for (step, key, weight) in steps {
                match step {
                    0 => drop(cache.put(key, weight, weight)),
                    1 => cache.promote(&key),
                    2 => drop(cache.remove(&key)),
                    _ => drop(cache.get_mut(&key).copied()),
                }
                let sum = |part: &LruCache<u8, Entry<usize>>| -> usize {
                    part.iter().map(|(_, entry)| entry.weight).sum()
                };
                proptest::prop_assert_eq!(sum(&cache.probation), cache.probation_weight);
                proptest::prop_assert_eq!(sum(&cache.protected), cache.protected_weight);
                proptest::prop_assert!(cache.weight() <= 100);
            }
        }
    }
}
