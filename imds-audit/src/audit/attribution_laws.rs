//! Laws of attribution: every request names the process that sent it, whatever becomes of its
//! connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use imds_audit_ebpf::{ProcessKey, Task};
use proptest::prelude::*;

use super::auditor::Auditor;
use super::fixture::CLOCK;
use crate::event::{Attribution, Body, RequestEvent};
use crate::flow::{Limits, fixture};
use crate::process::{self, Process};
use crate::segment::{ConnectionId, Direction, Segment, Timestamp};

/// A step of callers, of their service, or of time.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A process opens a connection in this slot, in place of what was there.
    Connect { slot: usize, process: usize },
    /// A thread of a process sends a request. `is_known`: the kernel can name the writer.
    Send { slot: usize, process: usize, thread: u32, is_known: bool },
    /// The service answers the oldest request of a connection.
    Answer { slot: usize },
    /// A process calls `exec`.
    Exec { process: usize },
    /// The service resets a connection.
    Reset { slot: usize },
    /// Both ends close a connection.
    Close { slot: usize },
    /// Other processes connect, each once, and are never heard.
    Flood { connects: u64 },
    /// Time passes.
    Wait { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let (slot, process) = (0..3_usize, 0..4_usize);
    prop_oneof![
        2 => (slot.clone(), process.clone()).prop_map(|(slot, process)| Step::Connect { slot, process }),
        8 => (slot.clone(), process.clone(), 0..3_u32, prop::bool::weighted(0.9)).prop_map(
            |(slot, process, thread, is_known)| Step::Send { slot, process, thread, is_known }
        ),
        4 => slot.clone().prop_map(|slot| Step::Answer { slot }),
        2 => process.prop_map(|process| Step::Exec { process }),
        1 => slot.clone().prop_map(|slot| Step::Reset { slot }),
        1 => slot.prop_map(|slot| Step::Close { slot }),
        1 => (1..12_u64).prop_map(|connects| Step::Flood { connects }),
        1 => prop::sample::select(vec![1_u64, 31, 61, 601]).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// A connection as its two ends have it.
#[derive(Clone, Copy)]
struct Connection {
    id: ConnectionId,
    /// The numbers of the next byte of the caller and of the service.
    asked: u32,
    answered: u32,
    /// The requests without an answer.
    open: u32,
    /// The process whose snapshot the eBPF programs sent last for this socket.
    snapshot: ProcessKey,
}

/// What a request must say: its writer, or one of those who acted on the connection before.
#[derive(Clone, Debug)]
struct Sent {
    writer: String,
    is_known: bool,
}

struct World {
    auditor: Auditor,
    time: u64,
    next_id: u64,
    slots: [Option<Connection>; 3],
    execs: [u64; 4],
    sent: Vec<Sent>,
}

impl World {
    fn new() -> Self {
        let limits = Limits { connections: 3, pending: 3, ..Limits::default() };
        Self {
            auditor: Auditor::new(limits, CLOCK),
            time: 1_000,
            next_id: 0,
            slots: [None; 3],
            execs: [0; 4],
            sent: Vec::new(),
        }
    }

    fn task(&self, process: usize, thread: u32) -> Task {
        let pid = 100 * (process as u32 + 1);
        Task { pid, tid: pid + thread, start_time: 7, exec_id: self.execs[process] }
    }

    fn now(&mut self) -> Timestamp {
        self.time += 1_000;
        Timestamp(self.time)
    }

    fn connect(&mut self, slot: Option<usize>, task: Task) {
        self.next_id += 1;
        let id = ConnectionId(self.next_id);
        let time = self.now();
        self.auditor.handle_snapshot(time, snapshot(task));
        self.auditor.handle_connect(id, fixture::ends(), time, task, comm(task));
        let Some(slot) = slot else { return };
        let connection =
            Connection { id, asked: 1, answered: 1, open: 0, snapshot: task.process() };
        let syn = Segment { syn: true, ..self.segment(&connection, Direction::Request, &[]) };
        self.auditor.handle_segment(&Segment { sequence: 0, ..syn }, [0; 16]);
        // The service accepts, and the caller acknowledges that: only then can it send.
        let accepted = self.segment(&connection, Direction::Response, &[]);
        let accepted = Segment { syn: true, sequence: 0, ..accepted };
        self.auditor.handle_segment(&accepted, [0; 16]);
        let acknowledgment = self.segment(&connection, Direction::Request, &[]);
        self.auditor.handle_segment(&acknowledgment, [0; 16]);
        self.slots[slot] = Some(connection);
    }

    fn segment<'p>(
        &mut self,
        connection: &Connection,
        direction: Direction,
        payload: &'p [u8],
    ) -> Segment<'p> {
        let (sequence, acknowledgment) = match direction {
            Direction::Request => (connection.asked, connection.answered),
            Direction::Response => (connection.answered, connection.asked),
        };
        Segment {
            connection: connection.id,
            time: self.now(),
            acknowledgment: Some(acknowledgment),
            ..fixture::segment(direction, sequence, payload)
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Connect { slot, process } => self.connect(Some(slot), self.task(process, 0)),
            Step::Send { slot, process, thread, is_known } => {
                self.send(slot, self.task(process, thread), is_known);
            }
            Step::Answer { slot } => self.answer(slot),
            Step::Exec { process } => self.execs[process] += 1,
            Step::Reset { slot } => {
                let Some(connection) = self.slots[slot].take() else { return };
                let segment = self.segment(&connection, Direction::Response, &[]);
                self.auditor.handle_segment(&Segment { rst: true, ..segment }, [0; 16]);
            }
            Step::Close { slot } => {
                let Some(connection) = self.slots[slot].take() else { return };
                for direction in [Direction::Request, Direction::Response] {
                    let segment = self.segment(&connection, direction, &[]);
                    self.auditor.handle_segment(&Segment { fin: true, ..segment }, [0; 16]);
                }
            }
            Step::Flood { connects } => {
                for number in 0..connects {
                    let pid = 10_000 + (self.next_id + number) as u32;
                    self.connect(None, Task { pid, tid: pid, start_time: 7, exec_id: 0 });
                }
            }
            Step::Wait { seconds } => {
                self.time += Duration::from_secs(seconds).as_nanos() as u64;
                self.auditor.handle_timeout(Timestamp(self.time));
            }
        }
    }

    fn send(&mut self, slot: usize, task: Task, is_known: bool) {
        let Some(mut connection) = self.slots[slot] else { return };
        if connection.snapshot != task.process() {
            connection.snapshot = task.process();
            let time = self.now();
            self.auditor.handle_snapshot(time, snapshot(task));
        }
        let request = format!("GET /{} HTTP/1.1\r\n\r\n", self.sent.len());
        let writer = Some(task).filter(|_| is_known);
        let segment = self.segment(&connection, Direction::Request, request.as_bytes());
        self.auditor.handle_segment(&Segment { writer, ..segment }, comm(task));
        connection.asked += request.len() as u32;
        connection.open += 1;
        self.slots[slot] = Some(connection);
        self.sent.push(Sent { writer: name(task), is_known });
    }

    fn answer(&mut self, slot: usize) {
        const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let Some(mut connection) = self.slots[slot].filter(|found| found.open > 0) else { return };
        let segment = self.segment(&connection, Direction::Response, ANSWER);
        self.auditor.handle_segment(&segment, [0; 16]);
        connection.answered += ANSWER.len() as u32;
        connection.open -= 1;
        self.slots[slot] = Some(connection);
    }

    /// Ends the audit. Returns the requests by their numbers.
    fn finish(mut self) -> (BTreeMap<usize, RequestEvent>, Vec<Sent>) {
        let time = self.now();
        self.auditor.finish(time);
        assert_eq!(self.auditor.take_losses(), []);
        let mut requests = BTreeMap::new();
        while let Some(event) = self.auditor.poll_event() {
            let Body::Request(request) = event.body else { continue };
            let path = &request.http.as_ref().unwrap().path;
            let number = path.strip_prefix('/').unwrap().parse().unwrap();
            assert!(requests.insert(number, *request).is_none(), "{number} is reported twice");
        }
        (requests, self.sent)
    }
}

/// The name of a process's program: what it was before an `exec` is another one.
fn name(task: Task) -> String {
    format!("{}-{}", task.pid, task.exec_id)
}

fn comm(task: Task) -> [u8; 16] {
    let mut comm = [0; 16];
    let text = format!("t{}", task.tid);
    comm[..text.len()].copy_from_slice(text.as_bytes());
    comm
}

fn snapshot(task: Task) -> Arc<Process> {
    let mut snapshot = process::fixture::empty();
    (snapshot.task, snapshot.thread_comm) = (task, comm(task));
    let bytes = process::fixture::bytes(snapshot, format!("{}\0", name(task)).as_bytes());
    Arc::new(crate::snapshot::SnapshotRecord::parse(&bytes).unwrap().process())
}

/// Asserts that each request was reported and names who sent it.
fn assert_attributed(steps: &[Step]) {
    let mut world = World::new();
    for step in steps {
        world.take(*step);
    }
    let (requests, sent) = world.finish();
    assert_eq!(requests.len(), sent.len(), "every request is reported");
    for (number, Sent { writer, is_known }) in sent.iter().enumerate() {
        let process = &requests[&number].process;
        let args = process.args.as_deref().unwrap_or_default();
        assert!(!args.is_empty(), "request {number} of {writer} has no process: {process:?}");
        if *is_known {
            assert_eq!(args, std::slice::from_ref(writer), "request {number}");
            assert_eq!(process.attribution, Attribution::Writer);
            let shown = process.thread_name.as_deref().or(process.name.as_deref());
            assert_eq!(shown, Some(format!("t{}", process.tid.unwrap()).as_str()));
        } else {
            let pid = process.pid.unwrap().to_string();
            assert!(args[0].starts_with(&pid), "request {number} of {pid} names {args:?}");
        }
    }
}

proptest! {
    #[test]
    fn every_request_names_the_process_that_sent_it(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        assert_attributed(&steps);
    }
}

/// Sends requests of two processes in turn, ends the connection in this way, and asserts that
/// each names its own.
fn assert_both_named(last: &[Step]) {
    let send = |process| Step::Send { slot: 0, process, thread: 0, is_known: true };
    let mut steps = vec![Step::Connect { slot: 0, process: 0 }];
    steps.extend([send(0), send(1), Step::Exec { process: 1 }, send(1), send(0)]);
    steps.extend(last);
    assert_attributed(&steps);
}

#[test]
fn requests_that_are_open_when_their_connection_is_reset_keep_their_processes() {
    assert_both_named(&[Step::Reset { slot: 0 }]);
}

#[test]
fn requests_that_are_open_when_their_connection_closes_keep_their_processes() {
    assert_both_named(&[Step::Close { slot: 0 }]);
}

#[test]
fn requests_that_are_never_answered_keep_their_processes() {
    assert_both_named(&[Step::Wait { seconds: 31 }, Step::Wait { seconds: 601 }]);
}

#[test]
fn requests_of_an_evicted_connection_keep_their_processes_and_so_do_later_ones() {
    let send = Step::Send { slot: 0, process: 0, thread: 0, is_known: true };
    assert_both_named(&[Step::Flood { connects: 9 }, send, Step::Flood { connects: 9 }, send]);
}

#[test]
fn requests_of_a_connection_that_was_idle_for_long_keep_their_processes() {
    let send = Step::Send { slot: 0, process: 0, thread: 0, is_known: true };
    assert_both_named(&[Step::Wait { seconds: 31 }, Step::Wait { seconds: 601 }, send]);
}

#[test]
fn requests_that_are_open_when_the_audit_ends_keep_their_processes() {
    assert_both_named(&[]);
}
