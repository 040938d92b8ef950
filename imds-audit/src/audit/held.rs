//! Queue of observations whose process is still being read from procfs.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use imds_audit_ebpf::ProcessKey;

use super::attribution::Actor;
use crate::event::Attribution;
use crate::flow::FlowEvent;
use crate::process::Process;

/// The largest number of bytes held, about; beyond it the oldest observation goes out with what is
/// known. It is some thousands of requests: after a pause the ring's records come at once, and
/// faster than procfs answers.
const CAPACITY: usize = 8 << 20;

/// An observation, and the process that it belongs to.
#[derive(Debug)]
pub(super) struct Attributed {
    /// What was observed.
    pub event: FlowEvent,
    /// How the process is known.
    pub attribution: Attribution,
    /// The process.
    pub actor: Option<Actor>,
}

impl Attributed {
    /// Returns whether a fuller description of its process follows.
    pub(super) fn is_pending(&self) -> bool {
        let process = self.actor.as_ref().and_then(|actor| actor.process.as_ref());
        process.is_some_and(|process| process.is_pending)
    }

    /// Returns the process that it waits for.
    fn process(&self) -> Option<ProcessKey> {
        Some(self.actor.as_ref()?.process.as_ref()?.task.process())
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.event.heap_size()
    }

    /// Takes the fuller description; returns whether it is the one that is waited for.
    fn complete(&mut self, completed: &Arc<Process>) -> bool {
        let Some(process) = self.actor.as_mut().and_then(|actor| actor.process.as_mut()) else {
            return false;
        };
        let is_same = process.is_pending
            && process.task.process() == completed.task.process()
            && (process.uid, process.gid, process.cgroup_id)
                == (completed.uid, completed.gid, completed.cgroup_id);
        if is_same {
            *process = Arc::clone(completed);
        }
        is_same
    }
}

/// The observations that wait for their process. Those of other processes pass them.
#[derive(Debug)]
pub(super) struct HeldEvents {
    /// By their order.
    events: BTreeMap<u64, Attributed>,
    /// The places of a process's events in that order, oldest first.
    waiting: BTreeMap<Option<ProcessKey>, VecDeque<u64>>,
    next: u64,
    weight: usize,
    capacity: usize,
    overflows: u64,
}

impl Default for HeldEvents {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

impl HeldEvents {
    /// Returns a queue of at most about this many bytes.
    fn with_capacity(capacity: usize) -> Self {
        let (events, waiting) = (BTreeMap::new(), BTreeMap::new());
        Self { events, waiting, next: 0, weight: 0, capacity, overflows: 0 }
    }

    /// Holds an observation. Returns the oldest ones where there are too many.
    pub(super) fn push(&mut self, event: Attributed) -> Vec<Attributed> {
        self.weight += event.weight();
        self.waiting.entry(event.process()).or_default().push_back(self.next);
        self.events.insert(self.next, event);
        self.next += 1;
        let mut overflowing = Vec::new();
        while self.weight > self.capacity {
            let Some((place, event)) = self.events.pop_first() else { break };
            self.forget(event.process(), place);
            self.weight -= event.weight();
            self.overflows += 1;
            overflowing.push(event);
        }
        overflowing
    }

    /// Returns the observations that waited for this process, oldest first.
    pub(super) fn take(&mut self, completed: &Arc<Process>) -> Vec<Attributed> {
        let key = Some(completed.task.process());
        let mut ready = Vec::new();
        for place in self.waiting.remove(&key).unwrap_or_default() {
            let Some(event) = self.events.get_mut(&place) else { continue };
            if !event.complete(completed) {
                self.waiting.entry(key).or_default().push_back(place);
            } else if let Some(event) = self.events.remove(&place) {
                self.weight -= event.weight();
                ready.push(event);
            }
        }
        ready
    }

    /// Returns everything that is held, oldest first.
    pub(super) fn take_all(&mut self) -> Vec<Attributed> {
        self.waiting.clear();
        self.weight = 0;
        std::mem::take(&mut self.events).into_values().collect()
    }

    /// Returns how many went out before their process was known, since the last call.
    pub(super) fn take_overflows(&mut self) -> u64 {
        std::mem::take(&mut self.overflows)
    }

    /// Forgets the place of the oldest event, which is the first of its process too.
    fn forget(&mut self, process: Option<ProcessKey>, place: u64) {
        if let Some(places) = self.waiting.get_mut(&process) {
            debug_assert_eq!(places.front(), Some(&place));
            places.pop_front();
            if places.is_empty() {
                self.waiting.remove(&process);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use imds_audit_ebpf::Task;

    use super::*;
    use crate::audit::fixture;
    use crate::flow::{ConnectResult, IdleConnection};
    use crate::segment::{ConnectionId, Timestamp};

    fn process(pid: u32, uid: u32, is_pending: bool) -> Arc<Process> {
        let mut process = Process::clone(fixture::actor(&[]).process.as_ref().unwrap());
        process.task = Task { pid, tid: pid, start_time: 5, exec_id: 1 };
        (process.uid, process.is_pending) = (uid, is_pending);
        Arc::new(process)
    }

    fn observed(number: u64, process: Arc<Process>) -> Attributed {
        let (opened, ended) = (Timestamp(number), Timestamp(number));
        let idle = IdleConnection {
            connection: ConnectionId(number),
            ends: fixture::ends(),
            opened,
            ended,
            result: ConnectResult::Accepted,
        };
        let actor = Actor { task: process.task, comm: [0; 16], process: Some(process) };
        let event = FlowEvent::IdleConnection(idle);
        Attributed { event, attribution: Attribution::Connector, actor: Some(actor) }
    }

    fn numbers(events: &[Attributed]) -> Vec<u64> {
        let number = |event: &Attributed| match &event.event {
            FlowEvent::IdleConnection(idle) => idle.connection.0,
            _ => unreachable!(),
        };
        events.iter().map(number).collect()
    }

    #[test]
    fn only_the_events_of_a_completed_process_go_out_and_in_their_order() {
        let mut held = HeldEvents::default();
        assert!(observed(0, process(1, 0, true)).is_pending());
        assert!(!observed(0, process(1, 0, false)).is_pending());
        for (number, pid, uid) in [(1, 7, 0), (2, 8, 0), (3, 7, 0), (4, 7, 1000)] {
            assert!(held.push(observed(number, process(pid, uid, true))).is_empty());
        }
        let ready = held.take(&process(7, 0, false));
        assert_eq!(numbers(&ready), [1, 3], "the fourth had another user");
        assert!(ready.iter().all(|event| !event.is_pending()));
        assert_eq!(numbers(&held.take_all()), [2, 4]);
    }

    #[test]
    fn too_many_go_out_with_what_is_known_and_are_counted() {
        let waiting = |pid| process(pid, 0, true);
        let weight = observed(0, waiting(7)).weight();
        let mut held = HeldEvents::with_capacity(3 * weight);
        for (number, pid) in [(0, 7), (1, 8), (2, 7)] {
            assert!(held.push(observed(number, waiting(pid))).is_empty());
        }
        assert_eq!(numbers(&held.push(observed(3, waiting(7)))), [0]);
        assert_eq!((held.take_overflows(), held.take_overflows()), (1, 0));
        assert_eq!(numbers(&held.take(&process(7, 0, false))), [2, 3]);
        assert!(held.push(observed(4, waiting(9))).is_empty());
        assert!(held.push(observed(5, waiting(9))).is_empty(), "what was taken left room");
        assert_eq!(numbers(&held.take(&process(8, 0, false))), [1]);
        assert_eq!(numbers(&held.take_all()), [4, 5]);
        assert!(held.waiting.is_empty() && held.weight == 0);
    }
}
