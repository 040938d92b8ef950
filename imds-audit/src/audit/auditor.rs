//! Poll-style state machine that joins requests with the processes that made them.

mod events;

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;

use imds_audit_ebpf::{COMM_LENGTH, ProcessKey, Task};
use lru::LruCache;

use super::attribution::AttributionTable;
use super::clock::Clock;
use super::connection_fold::ConnectionFolder;
use super::describe::{self, Describer};
use super::held::{Attributed, HeldEvents};
use super::process_cache::ProcessPartCache;
use super::relays::RelayMatcher;
use super::unowned::UnownedEvents;
use crate::diagnose::DiagnosisTracker;
use crate::event::{self, Body, Event, Loss, LossUnit};
use crate::flow::{Exchange, FlowCounters, FlowEvent, Limits, Tracker, WaitingRequest};
use crate::process::Process;
use crate::segment::{ConnectionId, EndpointPair, Segment, Timestamp};

/// The descriptions that are kept of a capture's tasks.
const MAX_DESCRIBED: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// Turns segments and processes into events.
///
/// It does no I/O and has no clock: time comes with the records, and what is known of a process
/// with the process. After each call of a `handle_…` method, or of [`Self::finish`], drain
/// [`Self::poll_event`].
pub struct Auditor {
    tracker: Tracker,
    attribution: AttributionTable,
    process_parts: ProcessPartCache,
    describer: Describer,
    diagnosis: DiagnosisTracker,
    relays: RelayMatcher,
    connections: ConnectionFolder,
    unowned: UnownedEvents,
    held: HeldEvents,
    /// The processes of tasks as a capture describes them, in place of snapshots.
    described: LruCache<Task, Arc<event::Process>>,
    events: VecDeque<Event>,
}

impl Auditor {
    /// Creates an auditor that follows no more than `limits` allow.
    pub fn new(limits: Limits, clock: Clock) -> Self {
        // A connection that the tracker gave up without seeing its end may be used again.
        let connections = limits.connections.saturating_add(limits.ended);
        Self {
            tracker: Tracker::new(limits),
            attribution: AttributionTable::new(connections),
            process_parts: ProcessPartCache::default(),
            describer: Describer::new(clock),
            diagnosis: DiagnosisTracker::default(),
            relays: RelayMatcher::default(),
            connections: ConnectionFolder::default(),
            unowned: UnownedEvents::default(),
            held: HeldEvents::default(),
            described: LruCache::new(MAX_DESCRIBED),
            events: VecDeque::new(),
        }
    }

    /// Returns the next event; `None` once all are taken.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
    /// Sets the clock from here on: the time of day may be set while the audit runs.
    pub fn set_clock(&mut self, clock: Clock) {
        self.describer.clock = clock;
    }

    /// Sets which network namespace is the host's, which tells who is behind a hop.
    pub fn set_host_netns(&mut self, netns: Option<u32>) {
        self.describer.host_netns = netns;
    }

    /// Returns the clock.
    pub fn clock(&self) -> Clock {
        self.describer.clock
    }

    /// Returns the counts of what the tracker could not observe as it was.
    pub fn counters(&self) -> FlowCounters {
        self.tracker.counters()
    }

    /// Returns about how many bytes the connections that are followed take.
    pub fn held(&self) -> usize {
        self.tracker.held()
    }

    /// Returns about how many bytes the processes take that are kept.
    pub fn process_bytes(&self) -> usize {
        self.attribution.process_bytes()
    }

    /// Returns how many processes and programs the diagnosis has forgotten.
    pub const fn forgotten(&self) -> u64 {
        self.diagnosis.evicted()
    }

    /// Returns when [`Self::handle_timeout`] is due.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let deadlines = [self.tracker.next_deadline(), self.connections.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// Returns the processes whose snapshot is wanted again since the last call.
    pub fn take_forgotten(&mut self) -> Vec<ProcessKey> {
        self.attribution.take_forgotten()
    }

    /// Returns the losses of attribution since the last call: processes whose requests were
    /// reported with the pid and the thread's name only, each process once.
    pub fn take_losses(&mut self) -> Vec<Loss> {
        let (named, unnamed) = self.attribution.take_unattributed();
        let loss = |count, process| Loss {
            reason: "attribution".into(),
            what: LossUnit::Processes,
            count,
            process,
        };
        let named = named
            .into_iter()
            .map(|(task, comm)| loss(1, Some(describe::loss_process(task.pid, &comm))));
        let mut losses: Vec<Loss> =
            named.chain((unnamed > 0).then(|| loss(unnamed, None))).collect();
        let count = self.held.take_overflows();
        if count > 0 {
            let what = LossUnit::Processes;
            losses.push(Loss { reason: "procfs".into(), what, count, process: None });
        }
        losses
    }

    /// Takes the snapshot of a process, taken at `time`. It must come before the connection or the
    /// segment that it belongs to.
    pub fn handle_snapshot(&mut self, time: Timestamp, process: Arc<Process>) {
        self.attribution.on_snapshot(time, process);
    }

    /// Takes an attempt to connect, with the thread that makes it and the thread's name.
    pub fn handle_connect(
        &mut self,
        connection: ConnectionId,
        ends: EndpointPair,
        time: Timestamp,
        task: Task,
        comm: [u8; COMM_LENGTH],
    ) {
        self.tracker.handle_connect(connection, ends, time);
        // Exchanges flushed by the reconnect belong to the previous owner, so emit them before
        // updating the table.
        self.drain();
        self.attribution.on_connect(connection, task, comm);
    }

    /// Takes the process of a task as a capture describes it, before the segment that it belongs to.
    pub fn handle_description(&mut self, task: Task, process: Arc<event::Process>) {
        if self.described.peek(&task).is_none_or(|known| *known != process) {
            self.described.put(task, process);
        }
    }

    /// Takes the thread that opened a connection that a capture shows, at or after its first packet.
    pub fn handle_connector(
        &mut self,
        connection: ConnectionId,
        task: Task,
        comm: [u8; COMM_LENGTH],
    ) {
        self.attribution.on_connect(connection, task, comm);
    }

    /// Takes the process that holds the socket of a connection that a capture shows.
    pub(crate) fn handle_captured_owner(
        &mut self,
        connection: ConnectionId,
        task: Task,
        comm: [u8; COMM_LENGTH],
    ) {
        self.attribution.on_owner(connection, task, comm);
    }

    /// Holds what is observed of a connection until [`Self::handle_owner`] says who owns it.
    pub fn await_owner(&mut self, connection: ConnectionId) {
        self.unowned.hold(connection);
    }

    /// Takes the process that owns a connection's socket, `None` where it was not found; process 0
    /// where its cgroup was. Its snapshot must come before.
    pub fn handle_owner(
        &mut self,
        connection: ConnectionId,
        owner: Option<(Task, [u8; COMM_LENGTH])>,
    ) {
        if let Some((task, comm)) = owner {
            self.attribution.on_owner(connection, task, comm);
        }
        for event in self.unowned.release(connection) {
            self.take(event);
        }
        self.forget_if_ended(connection);
    }

    /// Takes the fuller description of a process that was pending.
    pub fn handle_process(&mut self, process: &Arc<Process>) {
        self.attribution.complete(process);
        for event in self.held.take(process) {
            self.describe(event);
        }
    }

    /// Takes a segment, with the name of the thread that sent it where it names its writer.
    pub fn handle_segment(&mut self, segment: &Segment<'_>, comm: [u8; COMM_LENGTH]) {
        if let Some(task) = segment.writer {
            self.attribution.on_send(segment.connection, task, comm);
        }
        self.tracker.handle_segment(segment);
        self.drain();
        self.forget_if_ended(segment.connection);
    }

    /// Takes note that records were lost.
    pub fn handle_loss(&mut self) {
        self.tracker.handle_loss();
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.tracker.handle_timeout(now);
        self.drain();
        self.connections.handle_timeout(now);
        self.drain_connections();
    }

    /// Ends the audit: emits everything that is still open.
    pub fn finish(&mut self, now: Timestamp) {
        self.tracker.finish(now);
        self.drain();
        for event in self.unowned.release_all() {
            self.take(event);
        }
        for event in self.held.take_all() {
            self.describe(event);
        }
        self.connections.finish();
        self.drain_connections();
    }

    /// Turns the tracker's events into events of the audit.
    ///
    /// A connection that ended is forgotten once the last of its requests is described.
    fn drain(&mut self) {
        let mut connections = Vec::new();
        while let Some(event) = self.tracker.poll_event() {
            for event in self.unowned.push(event) {
                let connection = self.take(event);
                if connections.last() != Some(&connection) {
                    connections.push(connection);
                }
            }
        }
        for connection in connections {
            self.forget_if_ended(connection);
        }
    }

    /// Takes an observation whose connection's owner is known, or is not looked for. Returns the
    /// connection.
    fn take(&mut self, event: FlowEvent) -> ConnectionId {
        let (connection, event) = self.attribute(event);
        if event.is_pending() {
            for event in self.held.push(event) {
                self.describe(event);
            }
        } else {
            self.describe(event);
        }
        connection
    }

    fn forget_if_ended(&mut self, connection: ConnectionId) {
        if self.tracker.has_ended(connection) && !self.unowned.awaits(connection) {
            self.attribution.forget(connection);
        }
    }

    /// Finds the process that an observation belongs to.
    fn attribute(&mut self, event: FlowEvent) -> (ConnectionId, Attributed) {
        let table = &mut self.attribution;
        let (connection, (attribution, actor)) = match &event {
            FlowEvent::RequestWaiting(WaitingRequest { connection, request, .. })
            | FlowEvent::Exchange(Exchange { connection, request, .. }) => {
                (*connection, table.attribute_request(*connection, request))
            }
            FlowEvent::IdleConnection(idle) => {
                (idle.connection, table.attribute_connect(idle.connection, idle.opened))
            }
        };
        (connection, Attributed { event, attribution, actor })
    }

    fn drain_connections(&mut self) {
        while let Some(event) = self.connections.poll_event() {
            self.events.push_back(Event::from(Body::from(event)));
        }
    }
}
