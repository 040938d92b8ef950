//! Who acted on each connection.

use std::num::NonZeroUsize;
use std::sync::Arc;

use imds_audit_ebpf::{COMM_LENGTH, Task};
use lru::LruCache;

use super::event::Attribution;
use crate::flow::{ConnectionId, Request};
use crate::process::Process;

/// The writers remembered of one connection; the oldest makes room.
const MAX_WRITERS: usize = 8;

/// A process that acted, and the thread in which it did.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The acting task.
    pub task: Task,
    /// The acting thread's name.
    pub comm: [u8; COMM_LENGTH],
    /// What is known of its process; `None` where its snapshot was lost.
    pub process: Option<Arc<Process>>,
}

/// The processes that acted on the connections that are followed.
///
/// It keeps as many connections as the flow station follows; the least recently used go first.
#[derive(Debug)]
pub struct People {
    connections: LruCache<ConnectionId, Acts>,
}

#[derive(Debug, Default)]
struct Acts {
    connector: Option<Arc<Process>>,
    /// The processes that wrote, newest last, each with the snapshot taken when it first did.
    processes: Vec<Arc<Process>>,
    /// The threads that wrote, newest last.
    writers: Vec<(Task, [u8; COMM_LENGTH])>,
}

impl People {
    /// Keeps no more than `most` connections.
    pub fn new(most: NonZeroUsize) -> Self {
        Self { connections: LruCache::new(most) }
    }

    /// Takes the process that opened a connection.
    pub fn connected(&mut self, connection: ConnectionId, process: Arc<Process>) {
        // A second attempt on the same socket begins anew.
        let acts = Acts { connector: Some(process), ..Acts::default() };
        self.connections.put(connection, acts);
    }

    /// Takes a process that wrote to a connection that it, or its program, had not opened.
    pub fn wrote(&mut self, connection: ConnectionId, process: Arc<Process>) {
        let acts = self.connections.get_or_insert_mut(connection, Acts::default);
        push(&mut acts.processes, process);
    }

    /// Takes the thread that sent a segment.
    pub fn sent(&mut self, connection: ConnectionId, task: Task, comm: [u8; COMM_LENGTH]) {
        let acts = self.connections.get_or_insert_mut(connection, Acts::default);
        if acts.writers.last().is_none_or(|(last, _)| *last != task) {
            acts.writers.retain(|(known, _)| *known != task);
            push(&mut acts.writers, (task, comm));
        }
    }

    /// Forgets a connection.
    pub fn forget(&mut self, connection: ConnectionId) {
        self.connections.pop(&connection);
    }

    /// Returns who made a request.
    pub fn author(
        &mut self,
        connection: ConnectionId,
        request: &Request,
    ) -> (Attribution, Option<Actor>) {
        let acts = self.connections.get(&connection);
        let attributed = request
            .writer
            .map(|task| (Attribution::Writer, task))
            .or(request.last_writer.map(|task| (Attribution::LastWriter, task)));
        if let Some((attribution, task)) = attributed {
            return (attribution, Some(writer(acts, task)));
        }
        match acts.and_then(|acts| acts.connector.clone()) {
            Some(process) => (Attribution::Connector, Some(connector(process))),
            None => (Attribution::Unknown, None),
        }
    }

    /// Returns who opened a connection.
    pub fn opener(&mut self, connection: ConnectionId) -> (Attribution, Option<Actor>) {
        match self.connections.get(&connection).and_then(|acts| acts.connector.clone()) {
            Some(process) => (Attribution::Connector, Some(connector(process))),
            None => (Attribution::Unknown, None),
        }
    }
}

/// Finds the snapshot that belongs to a writing task: of the same process since the same `exec`.
fn writer(acts: Option<&Acts>, task: Task) -> Actor {
    let known = acts.into_iter().flat_map(|acts| acts.processes.iter().chain(&acts.connector));
    let process = known.filter(|known| known.task.process() == task.process()).next_back();
    let comm = acts
        .and_then(|acts| acts.writers.iter().find(|(known, _)| *known == task))
        .map_or([0; COMM_LENGTH], |(_, comm)| *comm);
    Actor { task, comm, process: process.cloned() }
}

fn connector(process: Arc<Process>) -> Actor {
    let mut comm = [0; COMM_LENGTH];
    for (place, byte) in comm.iter_mut().zip(process.thread_name.iter().flatten()) {
        *place = *byte;
    }
    Actor { task: process.task, comm, process: Some(process) }
}

fn push<T>(list: &mut Vec<T>, item: T) {
    if list.len() == MAX_WRITERS {
        list.remove(0);
    }
    list.push(item);
}
