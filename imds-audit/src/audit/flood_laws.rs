//! Laws of floods: a process that never reaches the service takes nothing from the others.

use std::sync::Arc;
use std::time::Duration;

use imds_audit_ebpf::Task;

use super::attribution::MAX_PROCESS_BYTES;
use super::auditor::Auditor;
use super::fixture::CLOCK;
use crate::event::{Body, Class, Outcome};
use crate::flow::{Limits, fixture};
use crate::process::{self, Process};
use crate::segment::{ConnectionId, Direction, Segment, Timestamp};

const REQUEST: &[u8] = b"GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: imds\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
/// A request a millisecond, for two seconds.
const REQUESTS: u64 = 2_000;
const INTERVAL: Duration = Duration::from_millis(1);

/// Connections that stay open, each with one request after the other.
const CALLERS: u64 = 20;
/// The first connection of the flood.
const FLOOD: u64 = 1_000_000;

fn task(pid: u32) -> Task {
    Task { pid, tid: pid, start_time: 7, exec_id: 1 }
}

fn snapshot(task: Task, arguments: &[u8]) -> Arc<Process> {
    let mut snapshot = process::fixture::empty();
    snapshot.task = task;
    let bytes = process::fixture::bytes(snapshot, arguments);
    Arc::new(crate::snapshot::SnapshotRecord::parse(&bytes).unwrap().process())
}

/// What was sent, and what came out.
#[derive(Debug, Default, PartialEq, Eq)]
struct Account {
    requests: u64,
    /// Requests that were answered and name their process.
    whole: u64,
    connections: u64,
    connection_events: u64,
}

/// Has callers ask, and between two requests others connect without success, this many times. `flooder`
/// returns the process that makes the connection with this number.
fn audit(connects: u64, mut flooder: impl FnMut(u64) -> Arc<Process>) -> (Account, Auditor) {
    // Far fewer than the flood has, which takes the table as it is in a longer one.
    let limits = Limits { connections: 512, ended: 64, ..Limits::default() };
    let mut auditor = Auditor::new(limits, CLOCK);
    let mut account = Account::default();
    let mut time = 1_000_000;
    let (mut asked, mut answered) = ([1_u32; CALLERS as usize], [1_u32; CALLERS as usize]);
    for caller in 0..CALLERS {
        let process = snapshot(task(100 + caller as u32), b"agent\0--serve\0");
        connect(&mut auditor, ConnectionId(caller), Timestamp(time), process);
        let syn = Segment {
            connection: ConnectionId(caller),
            syn: true,
            time: Timestamp(time),
            ..fixture::segment(Direction::Request, 0, &[])
        };
        auditor.handle_segment(&syn, [0; 16]);
    }
    let mut flooded = 0;
    for number in 0..REQUESTS {
        time += INTERVAL.as_nanos() as u64;
        let caller = (number % CALLERS) as usize;
        let connection = ConnectionId(caller as u64);
        let request = Segment {
            connection,
            time: Timestamp(time),
            acknowledgment: Some(answered[caller]),
            writer: Some(task(100 + caller as u32)),
            ..fixture::segment(Direction::Request, asked[caller], REQUEST)
        };
        auditor.handle_segment(&request, *b"agent\0\0\0\0\0\0\0\0\0\0\0");
        asked[caller] += REQUEST.len() as u32;
        for _ in 0..connects {
            flooded += 1;
            let id = ConnectionId(FLOOD + flooded);
            connect(&mut auditor, id, Timestamp(time), flooder(flooded));
        }
        let answer = Segment {
            connection,
            time: Timestamp(time + 1_000),
            acknowledgment: Some(asked[caller]),
            ..fixture::segment(Direction::Response, answered[caller], ANSWER)
        };
        auditor.handle_segment(&answer, [0; 16]);
        answered[caller] += ANSWER.len() as u32;
        let acknowledgment = Segment {
            connection,
            time: Timestamp(time + 1_500),
            acknowledgment: Some(answered[caller]),
            ..fixture::segment(Direction::Request, asked[caller], &[])
        };
        auditor.handle_segment(&acknowledgment, [0; 16]);
        auditor.handle_timeout(Timestamp(time + 2_000));
        take(&mut auditor, &mut account);
    }
    auditor.finish(Timestamp(time + 3_000));
    take(&mut auditor, &mut account);
    (account, auditor)
}

fn connect(auditor: &mut Auditor, id: ConnectionId, time: Timestamp, process: Arc<Process>) {
    let task = process.task;
    auditor.handle_snapshot(time, process);
    auditor.handle_connect(id, fixture::ends(), time, task, [0; 16]);
}

fn take(auditor: &mut Auditor, account: &mut Account) {
    while let Some(event) = auditor.poll_event() {
        match event.body {
            Body::Request(request) => {
                account.requests += 1;
                let is_whole = request.process.args.as_deref()
                    == Some(&["agent".to_owned(), "--serve".to_owned()])
                    && (request.imds.class, request.imds.outcome) == (Class::V1, Outcome::Served);
                account.whole += u64::from(is_whole);
            }
            Body::Connection(connection) => {
                account.connections += connection.connection.count;
                account.connection_events += 1;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn others_lose_nothing_to_a_process_that_connects_in_vain() {
    let flooder = snapshot(task(7), b"flood\0");
    let (account, mut auditor) = audit(10, |_| Arc::clone(&flooder));
    assert_eq!((account.requests, account.whole), (REQUESTS, REQUESTS));
    // The callers' own connections have requests, so all connections are the flood's.
    assert_eq!(account.connections, 10 * REQUESTS);
    assert!(account.connection_events <= 4, "{account:?}");
    assert_eq!(auditor.take_losses(), []);
    assert_eq!(auditor.counters().evicted, 0);
}

#[test]
fn others_lose_nothing_to_processes_that_each_connect_once_in_vain() {
    let mut arguments = b"flood\0".to_vec();
    arguments.resize(4_000, b'a');
    let (account, mut auditor) =
        audit(3, |number| snapshot(task(10_000 + number as u32), &arguments));
    assert_eq!((account.requests, account.whole), (REQUESTS, REQUESTS));
    assert_eq!(account.connections, 3 * REQUESTS);
    assert_eq!(auditor.take_losses(), []);
    assert_eq!(auditor.counters().evicted, 0);
    assert!(auditor.process_bytes() <= MAX_PROCESS_BYTES);
}
