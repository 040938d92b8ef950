use imds_audit_ebpf::Task;

use super::*;
use crate::audit::auditor::Auditor;
use crate::audit::fixture::CLOCK;
use crate::event::Body;
use crate::flow::{Limits, fixture};
use crate::segment::{Direction, Segment};

/// A caller in a container, and the relay on the host.
const CALLER: (u64, u32, &str) = (1, 100, "10.1.0.7:40000");
const RELAY: (u64, u32, &str) = (2, 200, "10.0.0.5:50000");
const REQUEST: &[u8] = b"GET /latest/meta-data/x HTTP/1.1\r\nHost: x\r\n\r\n";
const REPETITION: &[u8] =
    b"GET /latest/meta-data/x HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 10.1.0.7\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

struct Rig {
    auditor: Auditor,
    time: u64,
}

impl Rig {
    fn new() -> Self {
        Self { auditor: Auditor::new(Limits::default(), CLOCK), time: 1 }
    }

    fn send(&mut self, peer: (u64, u32, &str), direction: Direction, at: u32, payload: &[u8]) {
        let (connection, pid, source) = peer;
        self.time += 1000;
        let mut segment = fixture::segment(direction, at, payload);
        segment.connection = ConnectionId(connection);
        segment.ends.source = Some(source.parse().unwrap());
        segment.time = Timestamp(self.time);
        segment.acknowledgment = (at > 0).then_some(1);
        segment.syn = at == 0;
        segment.writer = Some(Task { pid, tid: pid, start_time: 1, exec_id: 1 });
        self.auditor.handle_segment(&Segment { ..segment }, [0; 16]);
    }

    fn ask(&mut self, peer: (u64, u32, &str), payload: &[u8]) {
        self.send(peer, Direction::Request, 0, &[]);
        self.send(peer, Direction::Request, 1, payload);
    }

    fn answer(&mut self, peer: (u64, u32, &str)) {
        self.send(peer, Direction::Response, 1, RESPONSE);
        // The caller's kernel acknowledges it.
        let acknowledgment = Segment {
            connection: ConnectionId(peer.0),
            time: Timestamp(self.time),
            acknowledgment: Some(1 + RESPONSE.len() as u32),
            ..fixture::segment(Direction::Request, 1, &[])
        };
        self.auditor.handle_segment(&acknowledgment, [0; 16]);
    }

    fn parts(&mut self) -> Vec<(Option<u32>, Option<RelayPart>, bool)> {
        let events = std::iter::from_fn(|| self.auditor.poll_event());
        let part = |event: crate::event::Event| match event.body {
            Body::Request(event) => (event.process.pid, event.relay, event.advice.is_some()),
            body => panic!("{body:?}"),
        };
        events.map(part).collect()
    }
}

#[test]
fn a_relays_repetition_of_a_request_that_waits_is_marked_and_has_no_advice() {
    let mut rig = Rig::new();
    rig.ask(CALLER, REQUEST);
    rig.ask(RELAY, REPETITION);
    rig.answer(RELAY);
    rig.answer(CALLER);
    assert_eq!(
        rig.parts(),
        [
            (Some(200), Some(RelayPart::Repetition), false),
            (Some(100), Some(RelayPart::Relayed), true)
        ]
    );
}

#[test]
fn a_relays_repetition_that_is_seen_last_is_marked_too_but_only_one() {
    let mut rig = Rig::new();
    rig.ask(CALLER, REQUEST);
    rig.ask(RELAY, REPETITION);
    rig.answer(CALLER);
    rig.answer(RELAY);
    let again = (3, 200, "10.0.0.5:50001");
    rig.ask(again, REPETITION);
    rig.answer(again);
    let parts: Vec<_> = rig.parts().into_iter().map(|(_, part, _)| part).collect();
    assert_eq!(parts, [None, Some(RelayPart::Repetition), None]);
}

#[test]
fn a_request_that_repeats_no_other_counts() {
    for (caller, request) in [
        // Another path, another address, the same process.
        (CALLER, &b"GET /latest/meta-data/y HTTP/1.1\r\nHost: x\r\n\r\n"[..]),
        ((1, 100, "10.1.0.8:40000"), REQUEST),
        ((1, 200, "10.1.0.7:40000"), REQUEST),
    ] {
        let mut rig = Rig::new();
        rig.ask(caller, request);
        rig.ask(RELAY, REPETITION);
        rig.answer(RELAY);
        let parts = rig.parts();
        assert_eq!(parts, [(Some(200), None, true)], "{caller:?}");
    }
    // One that was made before, and two callers that ask for the same.
    let mut rig = Rig::new();
    rig.ask(RELAY, REPETITION);
    rig.ask(CALLER, REQUEST);
    rig.answer(RELAY);
    rig.ask((3, 300, "10.1.0.9:1"), REQUEST);
    rig.answer((3, 300, "10.1.0.9:1"));
    rig.answer(CALLER);
    assert!(rig.parts().iter().all(|(_, part, _)| part.is_none()));
}
