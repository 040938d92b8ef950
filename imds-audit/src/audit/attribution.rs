//! Tables of the processes that acted, and of the connections they acted on.
//!
//! Processes are kept by their own identity and not by connection: a connection that was
//! forgotten, because it was idle or because there were too many, is attributed again with its
//! next request. A process that made a request outlives any number of processes that only
//! connected.

mod shared_ancestors;
mod versions;

use std::num::NonZeroUsize;
use std::sync::Arc;

use imds_audit_ebpf::{COMM_LENGTH, ProcessKey, Task};
use lru::LruCache;

use shared_ancestors::SharedAncestors;
use versions::Versions;

use super::segmented_lru::SegmentedLru;
use crate::event::Attribution;
use crate::flow::Request;
use crate::process::Process;
use crate::segment::{ConnectionId, Timestamp};

/// About how many bytes the processes and their ancestors may take, those shared with the process
/// cache included.
pub(crate) const MAX_PROCESS_BYTES: usize = 6 << 20;
/// The threads whose names are remembered.
const MAX_THREADS: NonZeroUsize = NonZeroUsize::new(2048).unwrap();
/// The processes remembered as reported without a snapshot, so that each is counted once.
const MAX_MISSING: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// The processes named to whoever asks what is missing or forgotten; further ones are counted.
const MAX_NAMED: usize = 4096;

/// A process that acted, and the thread in which it did.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    /// The acting task.
    pub task: Task,
    /// The acting thread's name.
    pub comm: [u8; COMM_LENGTH],
    /// What is known of its process; `None` where its snapshot was lost.
    pub process: Option<Arc<Process>>,
}

/// A thread and its name.
type NamedTask = (Task, [u8; COMM_LENGTH]);

/// The processes that acted on connections.
///
/// Bounds: as many connections as the tracker follows, those that never sent a request going
/// first; [`MAX_PROCESS_BYTES`] of processes, those that never made a request going first.
#[derive(Debug)]
pub(crate) struct AttributionTable {
    connections: SegmentedLru<ConnectionId, ConnectionActors>,
    processes: SegmentedLru<ProcessKey, Versions>,
    ancestors: SharedAncestors,
    process_capacity: usize,
    threads: LruCache<Task, [u8; COMM_LENGTH]>,
    missing: LruCache<ProcessKey, ()>,
    unattributed: Vec<NamedTask>,
    /// Those beyond the bound.
    unattributed_unnamed: u64,
    /// Processes whose snapshot is no longer kept, or never came.
    forgotten: Vec<ProcessKey>,
}

#[derive(Clone, Copy, Debug, Default)]
struct ConnectionActors {
    connector: Option<NamedTask>,
    /// Who holds the socket, where that is all that is known.
    owner: Option<NamedTask>,
    /// The last thread that sent, so that the table of threads is asked for changes only.
    writer: Option<NamedTask>,
}

impl ConnectionActors {
    /// Returns who opened the connection, else who holds its socket.
    fn opener(&self) -> Option<(Attribution, NamedTask)> {
        let connector = self.connector.map(|task| (Attribution::Connector, task));
        connector.or_else(|| self.owner.map(|task| (owner_attribution(task), task)))
    }
}

/// Returns how a process is known that holds a socket: process 0 stands for one that is gone, of
/// which the cgroup is known.
const fn owner_attribution((task, _): NamedTask) -> Attribution {
    if task.pid == 0 { Attribution::Unknown } else { Attribution::SocketOwner }
}

impl AttributionTable {
    /// Creates a table of at most so many connections.
    pub(crate) fn new(connections: usize) -> Self {
        Self::with_capacity(connections, MAX_PROCESS_BYTES)
    }

    /// Creates a table of at most so many connections, and about so many bytes of processes.
    pub(crate) fn with_capacity(connections: usize, process_bytes: usize) -> Self {
        Self {
            connections: SegmentedLru::new(connections.max(1)),
            processes: SegmentedLru::new(process_bytes),
            ancestors: SharedAncestors::default(),
            process_capacity: process_bytes,
            threads: LruCache::new(MAX_THREADS),
            missing: LruCache::new(MAX_MISSING),
            unattributed: Vec::new(),
            unattributed_unnamed: 0,
            forgotten: Vec::new(),
        }
    }

    /// Takes the thread that opened a connection.
    pub(crate) fn on_connect(
        &mut self,
        connection: ConnectionId,
        task: Task,
        comm: [u8; COMM_LENGTH],
    ) {
        // A second attempt on the same socket begins anew.
        let actors =
            ConnectionActors { connector: Some((task, comm)), ..ConnectionActors::default() };
        self.connections.put(connection, actors, 1);
    }

    /// Takes the process that holds a connection's socket; process 0 where it is gone, and its
    /// cgroup is known.
    pub(crate) fn on_owner(
        &mut self,
        connection: ConnectionId,
        task: Task,
        comm: [u8; COMM_LENGTH],
    ) {
        let owner = Some((task, comm));
        match self.connections.get_mut(&connection) {
            Some(actors) => actors.owner = owner,
            None => {
                let actors = ConnectionActors { owner, ..ConnectionActors::default() };
                self.connections.put(connection, actors, 1);
            }
        }
        self.connections.promote(&connection);
    }

    /// Takes the snapshot of a process, taken at `time`.
    pub(crate) fn on_snapshot(&mut self, time: Timestamp, process: Arc<Process>) {
        let key = process.task.process();
        self.missing.pop(&key);
        let mut versions = self.take(&key).unwrap_or_default();
        versions.add(time, process);
        self.keep(key, versions);
    }

    /// Takes the fuller description of a process that was pending.
    pub(crate) fn complete(&mut self, process: &Arc<Process>) {
        let key = process.task.process();
        let Some(mut versions) = self.take(&key) else { return };
        versions.complete(process);
        self.keep(key, versions);
    }

    /// Takes the snapshots of a process out, to be kept again: its entry remains, without them.
    fn take(&mut self, key: &ProcessKey) -> Option<Versions> {
        let versions = std::mem::take(self.processes.get_mut(key)?);
        self.ancestors.remove(&versions);
        Some(versions)
    }

    /// Keeps the snapshots of a process; others make room.
    fn keep(&mut self, key: ProcessKey, versions: Versions) {
        self.ancestors.add(&versions);
        let weight = versions.weight();
        let mut evicted = self.processes.put(key, versions, weight);
        while let Some((key, versions)) = evicted.pop() {
            self.ancestors.remove(&versions);
            self.want_again(key);
        }
        while self.process_bytes() > self.process_capacity {
            let Some((evicted, versions)) = self.processes.pop_other_than(&key) else { break };
            self.ancestors.remove(&versions);
            self.want_again(evicted);
        }
    }

    /// Returns the snapshot of a process, as it was at `time`, without any other effect.
    pub(crate) fn find(&mut self, task: Task, time: Timestamp) -> Option<Arc<Process>> {
        self.processes.get_mut(&task.process())?.at(time).cloned()
    }

    /// Takes the thread that sent a segment.
    pub(crate) fn on_send(
        &mut self,
        connection: ConnectionId,
        task: Task,
        comm: [u8; COMM_LENGTH],
    ) {
        let writer = Some((task, comm));
        match self.connections.get_mut(&connection) {
            Some(actors) if actors.writer == writer => return,
            Some(actors) => actors.writer = writer,
            None => {
                self.connections.put(
                    connection,
                    ConnectionActors { writer, ..ConnectionActors::default() },
                    1,
                );
            }
        }
        self.connections.promote(&connection);
        self.processes.promote(&task.process());
        self.threads.put(task, comm);
    }

    /// Forgets a connection that ended.
    pub(crate) fn forget(&mut self, connection: ConnectionId) {
        self.connections.remove(&connection);
    }

    /// Returns the number of connections.
    #[cfg(test)]
    pub(crate) fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Returns about how many bytes the processes take.
    pub(crate) fn process_bytes(&self) -> usize {
        self.processes.weight() + self.ancestors.weight()
    }

    /// Returns the process that made a request, and how that is known.
    pub(crate) fn attribute_request(
        &mut self,
        connection: ConnectionId,
        request: &Request,
    ) -> (Attribution, Option<Actor>) {
        let actors = self.connections.get_mut(&connection).copied().unwrap_or_default();
        let (attribution, task, comm) = match (request.writer, request.last_writer) {
            (Some(task), _) => (Attribution::Writer, task, None),
            (None, Some(task)) => (Attribution::LastWriter, task, None),
            (None, None) => match actors.opener() {
                Some((attribution, (task, comm))) => (attribution, task, Some(comm)),
                None => return (Attribution::Unknown, None),
            },
        };
        let comm = comm.unwrap_or_else(|| self.thread_name(&actors, task));
        let process = self.process(task, request.started);
        if process.is_none() {
            self.count_missing(task, comm);
        }
        (attribution, Some(Actor { task, comm, process }))
    }

    /// Returns the process that opened a connection.
    pub(crate) fn attribute_connect(
        &mut self,
        connection: ConnectionId,
        opened: Timestamp,
    ) -> (Attribution, Option<Actor>) {
        let actors = self.connections.get_mut(&connection).copied().unwrap_or_default();
        let Some((attribution, (task, comm))) = actors.opener() else {
            return (Attribution::Unknown, None);
        };
        let process = self.processes.get_mut(&task.process());
        let process = process.and_then(|versions| versions.at(opened)).cloned();
        if process.is_none() {
            self.count_missing(task, comm);
        }
        (attribution, Some(Actor { task, comm, process }))
    }

    /// Returns the processes whose snapshot is wanted again since the last call: it made room for
    /// others, or is missing.
    pub(crate) fn take_forgotten(&mut self) -> Vec<ProcessKey> {
        std::mem::take(&mut self.forgotten)
    }

    /// Returns the threads whose requests were reported without a snapshot of their process since
    /// the last call, each process once, and the number of those beyond the bound.
    pub(crate) fn take_unattributed(&mut self) -> (Vec<NamedTask>, u64) {
        (std::mem::take(&mut self.unattributed), std::mem::take(&mut self.unattributed_unnamed))
    }

    fn want_again(&mut self, process: ProcessKey) {
        if self.forgotten.len() < MAX_NAMED {
            self.forgotten.push(process);
        }
    }

    /// Returns the snapshot of a process that made a request: since the same `exec`, and with the
    /// user and cgroup that it had when the request began.
    fn process(&mut self, task: Task, time: Timestamp) -> Option<Arc<Process>> {
        let key = task.process();
        let process = self.processes.get_mut(&key)?.at(time).cloned();
        self.processes.promote(&key);
        process
    }

    fn thread_name(&mut self, actors: &ConnectionActors, task: Task) -> [u8; COMM_LENGTH] {
        let named = [actors.writer, actors.connector].into_iter().flatten();
        let known = named.into_iter().find(|(known, _)| *known == task).map(|(_, comm)| comm);
        known.or_else(|| self.threads.get(&task).copied()).unwrap_or_default()
    }

    fn count_missing(&mut self, task: Task, comm: [u8; COMM_LENGTH]) {
        let key = task.process();
        if self.missing.put(key, ()).is_none() {
            if self.unattributed.len() < MAX_NAMED {
                self.unattributed.push((task, comm));
            } else {
                self.unattributed_unnamed = self.unattributed_unnamed.saturating_add(1);
            }
            self.want_again(key);
        }
    }
}

#[cfg(test)]
mod tests;
