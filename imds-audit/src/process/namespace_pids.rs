//! The numbers of processes in a pid namespace of its own, as a container has it.
//!
//! The kernel's snapshots have the numbers of the initial pid namespace, and the procfs of a container
//! has those of its own. A snapshot tells the caller's number in its own namespace; the caller's
//! parents follow from there, as procfs shows them. Where the caller has ended, its parents are looked
//! for among all processes of the namespace. In either case a process counts only if it is the one
//! that the snapshot describes.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use imds_audit_ebpf::Ancestor;
use lru::LruCache;

use super::proc_stat::Stat;
use crate::snapshot::SnapshotRecord;

/// The number of processes whose numbers are remembered; the least recently used goes.
const MAX_KNOWN: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// The time that may be spent on looking at all processes, at once, and of all time one part in so
/// many. A parent that is not found then has no more than its name.
const MAX_SEARCH: Duration = Duration::from_millis(200);
const SHARE: u32 = 10;

/// Numbers in the procfs's namespace, by those in the initial one.
#[derive(Debug)]
pub(super) struct NamespacePids {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the process started, and its number; `None` for one that is not in the namespace.
    known: LruCache<u32, (u64, Option<u32>)>,
    /// What is left for looking at all processes, and when that was.
    budget: (Duration, Instant),
}

/// A process in the chain of a record.
#[derive(Clone, Copy, Debug)]
struct Link<'a> {
    pid: u32,
    start_time: u64,
    parent: Option<&'a Ancestor>,
}

impl Link<'_> {
    /// Returns whether procfs describes this process. A parent's program must be the same too, as
    /// processes that start at once have the same start in clock ticks.
    fn is(&self, stat: &Stat, ticks: &impl Fn(u64) -> u64) -> bool {
        stat.start_ticks == ticks(self.start_time)
            && self.parent.is_none_or(|parent| {
                let name = parent.comm.split(|&byte| byte == 0).next().unwrap_or_default();
                *stat.name == *name
                    && (parent.arguments_start == 0
                        || parent.arguments_start == stat.arguments_start)
            })
    }
}

impl Default for NamespacePids {
    fn default() -> Self {
        let known = LruCache::new(MAX_KNOWN);
        Self { state: Mutex::new(State { known, budget: (MAX_SEARCH, Instant::now()) }) }
    }
}

impl NamespacePids {
    /// Returns the number of a process in the namespace. Who uses it looks whether the process is
    /// the one that was meant: a number may be another's by now.
    pub(super) fn get(&self, pid: u32) -> Option<u32> {
        self.with(|state| state.known.get(&pid).and_then(|(_, inside)| *inside))
    }

    /// Learns the numbers of the caller in a record and of its parents. `look` reads a process of
    /// the namespace, `all` reads each, and `ticks` rounds the kernel's time as procfs does.
    pub(super) fn learn(
        &self,
        record: &SnapshotRecord<'_>,
        ticks: impl Fn(u64) -> u64,
        look: impl Fn(u32) -> Option<Stat>,
        all: impl FnOnce() -> Vec<(u32, Stat)>,
    ) {
        if !record.is_verifiable() {
            return;
        }
        let snapshot = record.snapshot();
        let caller =
            Link { pid: snapshot.task.pid, start_time: snapshot.task.start_time, parent: None };
        let parents = snapshot.ancestors.iter().take(snapshot.ancestor_count as usize);
        let parents = parents.map(|parent| Link {
            pid: parent.pid,
            start_time: parent.start_time,
            parent: Some(parent),
        });
        let mut next = Some(snapshot.namespace_pid).filter(|&pid| pid != 0);
        let mut missing = Vec::new();
        for link in std::iter::once(caller).chain(parents) {
            let known = self.known(&link);
            let candidates = [next.take(), known.flatten()].into_iter().flatten();
            let found = candidates
                .filter_map(|inside| Some((inside, look(inside)?)))
                .find(|(_, stat)| link.is(stat, &ticks));
            match found {
                Some((inside, stat)) => {
                    self.set(&link, Some(inside));
                    // The first process of a namespace has no parent in it.
                    if stat.parent == 0 {
                        return;
                    }
                    next = Some(stat.parent);
                }
                None if known.is_none() && link.parent.is_some() => missing.push(link),
                None => {}
            }
        }
        if missing.is_empty() || !self.may_search() {
            return;
        }
        let start = Instant::now();
        let processes = all();
        for link in missing {
            let mut found = processes.iter().filter(|(_, stat)| link.is(stat, &ticks));
            // Of two that look the same neither is taken.
            let inside = found.next().filter(|_| found.next().is_none()).map(|(pid, _)| *pid);
            self.set(&link, inside);
        }
        self.with(|state| state.budget.0 = state.budget.0.saturating_sub(start.elapsed()));
    }

    /// Returns what is known of a process: its number, or that it is not in the namespace.
    fn known(&self, link: &Link<'_>) -> Option<Option<u32>> {
        self.with(|state| {
            let (start, inside) = state.known.get(&link.pid)?;
            (*start == link.start_time).then_some(*inside)
        })
    }

    fn set(&self, link: &Link<'_>, inside: Option<u32>) {
        self.with(|state| state.known.put(link.pid, (link.start_time, inside)));
    }

    fn may_search(&self) -> bool {
        self.with(|state| {
            let (left, since) = state.budget;
            let now = Instant::now();
            let left = (left + now.duration_since(since) / SHARE).min(MAX_SEARCH);
            state.budget = (left, now);
            !left.is_zero()
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fixture;

    /// A caller that is 5004 outside and 4 inside, below two parents and the namespace's maker.
    fn bytes() -> Vec<u8> {
        let mut snapshot = fixture::empty();
        snapshot.flags |= imds_audit_ebpf::snapshot_flags::KERNEL;
        snapshot.task.pid = 5004;
        snapshot.task.start_time = 400;
        snapshot.namespace_pid = 4;
        for (place, (pid, start)) in [(5002, 200), (5001, 100), (900, 9)].into_iter().enumerate() {
            let parent = &mut snapshot.ancestors[place];
            (parent.pid, parent.start_time, parent.arguments_start) = (pid, start, start);
            parent.comm[..2].copy_from_slice(b"sh");
        }
        snapshot.ancestor_count = 3;
        fixture::bytes(snapshot, b"")
    }

    /// A process that started so many hundreds of nanoseconds after the boot.
    fn stat(ticks: u64, parent: u32) -> Stat {
        Stat {
            name: (*b"sh").into(),
            parent,
            start_ticks: ticks,
            arguments_start: ticks * 100,
            arguments_end: 0,
        }
    }

    /// What is learned where the namespace has these processes.
    fn learned(processes: &[(u32, Stat)]) -> [Option<u32>; 4] {
        let (bytes, pids) = (bytes(), NamespacePids::default());
        let look = |pid| processes.iter().find(|(found, _)| *found == pid).map(|(_, s)| s.clone());
        let record = SnapshotRecord::parse(&bytes).unwrap();
        pids.learn(&record, |time| time / 100, look, || processes.to_vec());
        // Nothing is looked for twice.
        pids.learn(&record, |time| time / 100, look, || panic!("a second search"));
        [5004, 5002, 5001, 900].map(|pid| pids.get(pid))
    }

    #[test]
    fn a_caller_and_its_parents_are_found_as_far_as_the_namespace_goes() {
        let processes = [(4, stat(4, 2)), (2, stat(2, 1)), (1, stat(1, 0))];
        assert_eq!(learned(&processes), [Some(4), Some(2), Some(1), None]);
    }

    #[test]
    fn the_parents_of_a_caller_that_has_ended_are_looked_for() {
        let processes = [(7, stat(7, 1)), (2, stat(2, 1)), (1, stat(1, 0))];
        assert_eq!(learned(&processes), [None, Some(2), Some(1), None]);
    }

    #[test]
    fn a_parent_that_has_ended_and_one_that_looks_like_another_are_left_out() {
        // The caller is the first process's child now.
        assert_eq!(learned(&[(4, stat(4, 1)), (1, stat(1, 0))]), [Some(4), None, Some(1), None]);
        let twins = [(2, stat(2, 1)), (3, stat(2, 1)), (1, stat(1, 0))];
        assert_eq!(learned(&twins), [None, None, Some(1), None]);
        // The caller has this number in a namespace of its own further inside.
        assert_eq!(learned(&[(4, stat(9, 1))]), [None; 4]);
    }
}
