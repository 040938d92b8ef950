//! LRU cache of processes.

use std::sync::Arc;

use imds_audit_ebpf::ProcessKey;
use lru::LruCache;

use super::arguments::Arguments;
use super::cgroup_path::CgroupLocation;
use super::databricks::Cluster;
use super::executable::Executable;
use super::facts::{Ancestor, Process};

/// The largest number of processes kept.
pub(crate) const MAX_PROCESSES: usize = 1024;
/// About how many bytes the kept processes may take. The last one stays whatever it takes, which
/// is under 64 KiB.
pub(crate) const MAX_WEIGHT: usize = 4 * 1024 * 1024;

/// The processes seen last, each with when it was completed.
#[derive(Debug)]
pub(super) struct ProcessCache {
    entries: LruCache<ProcessKey, (Arc<Process>, u64)>,
    weight: usize,
}

impl Default for ProcessCache {
    fn default() -> Self {
        Self { entries: LruCache::unbounded(), weight: 0 }
    }
}

impl ProcessCache {
    /// Keeps a process; the least recently used ones make room.
    pub(super) fn insert(&mut self, key: ProcessKey, process: Arc<Process>, time: u64) {
        self.weight += process.weight();
        if let Some((replaced, _)) = self.entries.put(key, (process, time)) {
            self.weight = self.weight.saturating_sub(replaced.weight());
        }
        while self.entries.len() > MAX_PROCESSES
            || (self.weight > MAX_WEIGHT && self.entries.len() > 1)
        {
            let Some((_, (dropped, _))) = self.entries.pop_lru() else { break };
            self.weight = self.weight.saturating_sub(dropped.weight());
        }
    }

    /// Returns a process and when it was completed.
    pub(super) fn get(&mut self, key: &ProcessKey) -> Option<(Arc<Process>, u64)> {
        self.entries.get(key).cloned()
    }
}

impl Process {
    /// Returns about how many bytes it takes.
    pub(crate) fn weight(&self) -> usize {
        self.own_weight() + self.ancestors.iter().map(|ancestor| ancestor.weight()).sum::<usize>()
    }

    /// Returns about how many bytes it takes without its ancestors, which others may share.
    pub(crate) fn own_weight(&self) -> usize {
        size_of::<Self>()
            + parts(self.exe.as_ref(), self.arguments.as_ref())
            + self.cgroup.as_ref().map_or(0, |path| 2 * path.len())
            // The script's name is held twice: in the workload and in the responsible process.
            + 2 * self.workload.name().map_or(0, <[u8]>::len)
            + self.working_directory.as_ref().map_or(0, |path| path.len())
            + self.cluster.as_ref().map_or(0, Cluster::len)
            + size_of_val(&*self.ancestors)
    }
}

impl Ancestor {
    /// Returns about how many bytes it takes.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>()
            + self.name.len()
            + parts(self.exe.as_ref(), self.arguments.as_ref())
            + self.workload.name().map_or(0, <[u8]>::len)
            + self.cluster.as_ref().map_or(0, Cluster::len)
            + self.location.as_ref().map_or(0, CgroupLocation::len)
    }
}

/// Returns how many bytes a program's path and its command line take.
fn parts(exe: Option<&Executable>, arguments: Option<&Arguments>) -> usize {
    exe.map_or(0, |exe| exe.as_bytes().len()) + arguments.map_or(0, Arguments::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fixture;
    use crate::snapshot::SnapshotRecord;

    fn insert(cache: &mut ProcessCache, pid: u32, arguments: usize) -> ProcessKey {
        let mut snapshot = fixture::empty();
        snapshot.task.pid = pid;
        let bytes = fixture::bytes(snapshot, &[]);
        let record = SnapshotRecord::parse(&bytes).unwrap();
        let mut process = record.process();
        process.arguments = Some(Arguments::new(&vec![b'a'; arguments], false));
        cache.insert(record.key(), Arc::new(process), 0);
        record.key()
    }

    #[test]
    fn the_least_recently_used_goes_at_the_bound() {
        let mut cache = ProcessCache::default();
        let first = insert(&mut cache, 1, 0);
        let second = insert(&mut cache, 2, 0);
        for pid in 3..=u32::try_from(MAX_PROCESSES).unwrap() {
            insert(&mut cache, pid, 0);
        }
        assert!(cache.get(&first).is_some());
        insert(&mut cache, 5000, 0);
        assert!(cache.get(&first).is_some());
        assert!(cache.get(&second).is_none());
    }

    #[test]
    fn long_command_lines_count_by_their_bytes() {
        let mut cache = ProcessCache::default();
        for pid in 0..400 {
            insert(&mut cache, pid, 16_000);
        }
        assert!(cache.weight <= MAX_WEIGHT);
        assert!((240..262).contains(&cache.entries.len()), "{}", cache.entries.len());
        let sum: usize = cache.entries.iter().map(|(_, (process, _))| process.weight()).sum();
        assert_eq!(sum, cache.weight);
        let last = insert(&mut cache, 399, 10);
        assert_eq!(cache.get(&last).unwrap().0.arguments.as_ref().unwrap().len(), 10);
    }
}
