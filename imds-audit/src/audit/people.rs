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
    // Newest first: the connector came before everybody who wrote.
    let mut known =
        acts.into_iter().flat_map(|acts| acts.processes.iter().rev().chain(&acts.connector));
    let process = known.find(|known| known.task.process() == task.process());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Timestamp, Unreadable};
    use crate::process::fixture;

    const CONNECTION: ConnectionId = ConnectionId(1);

    fn task(pid: u32, exec_id: u64) -> Task {
        Task { pid, tid: pid, start_time: 5, exec_id }
    }

    fn process(task: Task, name: &str) -> Arc<Process> {
        let mut snapshot = fixture::empty();
        snapshot.task = task;
        for (place, byte) in snapshot.comm.iter_mut().zip(name.bytes()) {
            *place = byte;
        }
        let bytes = fixture::bytes(snapshot, &[]);
        Arc::new(crate::process::Record::parse(&bytes).unwrap().process())
    }

    fn request(writer: Option<Task>, last_writer: Option<Task>) -> Request {
        Request { started: Timestamp(0), head: Err(Unreadable::Cut), writer, last_writer }
    }

    fn author(
        people: &mut People,
        writer: Option<Task>,
        last: Option<Task>,
    ) -> (Attribution, Option<String>) {
        let (attribution, actor) = people.author(CONNECTION, &request(writer, last));
        let name = actor.and_then(|actor| actor.process).and_then(|process| process.name.clone());
        (attribution, name.map(|name| String::from_utf8(name.into()).unwrap()))
    }

    #[test]
    fn the_writer_comes_before_the_last_writer_before_the_connector() {
        let mut people = People::new(NonZeroUsize::MIN);
        people.connected(CONNECTION, process(task(1, 0), "opener"));
        people.wrote(CONNECTION, process(task(2, 0), "child"));
        let (child, opener) = (Some(task(2, 0)), Some(task(1, 0)));
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(author(&mut people, child, opener), (Attribution::Writer, named("child")));
        assert_eq!(author(&mut people, None, child), (Attribution::LastWriter, named("child")));
        assert_eq!(author(&mut people, None, None), (Attribution::Connector, named("opener")));
        assert_eq!(author(&mut people, opener, None), (Attribution::Writer, named("opener")));
    }

    #[test]
    fn after_exec_the_new_program_is_named_and_never_the_old_one() {
        let mut people = People::new(NonZeroUsize::MIN);
        people.connected(CONNECTION, process(task(1, 0), "before"));
        let after = Some(task(1, 1));
        assert_eq!(author(&mut people, after, None), (Attribution::Writer, None));
        people.wrote(CONNECTION, process(task(1, 1), "after"));
        assert_eq!(author(&mut people, after, None).1.as_deref(), Some("after"));
    }

    #[test]
    fn a_connection_that_nobody_was_seen_to_open_is_unknown() {
        let mut people = People::new(NonZeroUsize::MIN);
        assert_eq!(author(&mut people, None, None), (Attribution::Unknown, None));
        people.connected(CONNECTION, process(task(1, 0), "opener"));
        people.forget(CONNECTION);
        assert_eq!(author(&mut people, None, None), (Attribution::Unknown, None));
    }

    #[test]
    fn a_writer_whose_snapshot_was_lost_keeps_its_thread_name() {
        let mut people = People::new(NonZeroUsize::MIN);
        let comm = *b"worker\0\0\0\0\0\0\0\0\0\0";
        people.sent(CONNECTION, task(3, 0), comm);
        let (_, actor) = people.author(CONNECTION, &request(Some(task(3, 0)), None));
        let actor = actor.unwrap();
        assert_eq!((actor.comm, actor.process.is_none()), (comm, true));
    }

    #[test]
    fn many_writers_are_kept_up_to_the_bound() {
        let mut people = People::new(NonZeroUsize::MIN);
        for pid in 0..100 {
            people.sent(CONNECTION, task(pid, 0), [0; COMM_LENGTH]);
            people.wrote(CONNECTION, process(task(pid, 0), "x"));
        }
        let acts = people.connections.get(&CONNECTION).unwrap();
        assert_eq!((acts.writers.len(), acts.processes.len()), (MAX_WRITERS, MAX_WRITERS));
    }
}
