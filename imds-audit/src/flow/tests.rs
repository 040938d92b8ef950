//! The rules of the station, one test each.

use super::fixture::ends;
use super::*;
use crate::segment::{Direction, RequestStart, Segment};

mod adversary;
mod bounds;
mod claims;
mod endings;
mod heads;
mod laws;
mod losses;

const ISN: u32 = 0xffff_fff0;
const SERVICE: u32 = 7_000;
const V1: &[u8] = b"GET /latest/meta-data/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n";
const V2: &[u8] = b"GET /latest/user-data HTTP/1.1\r\nX-aws-ec2-metadata-token: abc\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";

/// A connection's two sides, as a test writes them: offsets count from the first byte.
struct Rig {
    tracker: Tracker,
    events: Vec<FlowEvent>,
    waiting: Vec<String>,
    time: u64,
    id: u64,
    /// The sequence numbers of the caller's SYN and of the service's.
    origins: (u32, u32),
    /// Whether bodies of responses are captured.
    bodies: bool,
}

#[derive(Clone, Debug, Default)]
struct Packet {
    response: bool,
    at: u32,
    ack: Option<u32>,
    length: Option<u32>,
    payload: Vec<u8>,
    syn: bool,
    fin: bool,
    rst: bool,
    urgent: bool,
    begins: RequestStart,
    lost: u32,
    lost_records: u32,
    writer: Option<u32>,
}

impl Rig {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let origins = (ISN, SERVICE);
        Self {
            tracker: Tracker::new(limits),
            events: Vec::new(),
            waiting: Vec::new(),
            time: 1,
            id: 1,
            origins,
            bodies: true,
        }
    }

    fn opened() -> Self {
        let mut rig = Self::new();
        rig.open();
        rig
    }

    fn open(&mut self) {
        self.send(&Packet { syn: true, ..Packet::default() });
        self.send(&Packet { syn: true, response: true, ack: Some(0), ..Packet::default() });
    }

    fn send(&mut self, packet: &Packet) {
        let (caller, service) = self.origins;
        let (own, other) = if packet.response { (service, caller) } else { (caller, service) };
        let base = own.wrapping_add(u32::from(!packet.syn));
        let direction = if packet.response { Direction::Response } else { Direction::Request };
        let segment = Segment {
            connection: ConnectionId(self.id),
            time: Timestamp(self.time),
            acknowledgment: packet.ack.map(|ack| other.wrapping_add(1).wrapping_add(ack)),
            syn: packet.syn,
            fin: packet.fin,
            rst: packet.rst,
            urgent: packet.urgent,
            length: packet.length.unwrap_or(packet.payload.len() as u32),
            ttl: packet.response.then_some(64),
            begins: packet.begins,
            has_bodies: self.bodies,
            writer: packet.writer.map(|pid| Task { pid, ..Task::default() }),
            lost_requests: packet.lost,
            lost_records: packet.lost_records,
            ..fixture::segment(direction, base.wrapping_add(packet.at), &packet.payload)
        };
        self.tracker.handle_segment(&segment);
        self.drain();
    }

    fn connect(&mut self) {
        self.tracker.handle_connect(ConnectionId(self.id), ends(), Timestamp(self.time));
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(event) = self.tracker.poll_event() {
            match event {
                FlowEvent::RequestWaiting(_) => self.waiting.push(describe(&event)),
                event => self.events.push(event),
            }
        }
    }

    fn ask(&mut self, at: usize, ack: usize, payload: &[u8]) {
        let payload = payload.to_vec();
        self.send(&Packet { at: at as u32, ack: Some(ack as u32), payload, ..Packet::default() });
    }

    /// A response that the caller acknowledges; only its first bytes are captured, as the eBPF
    /// programs report it.
    fn answer(&mut self, at: usize, ack: usize, payload: &[u8], length: usize) {
        self.claim(at, ack, payload, length);
        self.acknowledge(ack, at + length);
    }

    /// A response that the caller has not acknowledged.
    fn claim(&mut self, at: usize, ack: usize, payload: &[u8], length: usize) {
        self.send(&Packet {
            response: true,
            at: at as u32,
            ack: Some(ack as u32),
            length: Some(length as u32),
            payload: payload.to_vec(),
            ..Packet::default()
        });
    }

    /// A packet of the caller without payload.
    fn acknowledge(&mut self, at: usize, ack: usize) {
        self.send(&Packet { at: at as u32, ack: Some(ack as u32), ..Packet::default() });
    }

    /// The end of one side; that of the service is acknowledged.
    fn fin(&mut self, response: bool, at: usize, ack: usize) {
        let (from, other) = (at as u32, Some(ack as u32));
        self.send(&Packet { response, at: from, ack: other, fin: true, ..Packet::default() });
        if response {
            self.acknowledge(ack, at + 1);
        }
    }

    fn seconds(&mut self, seconds: u64) {
        self.time += seconds * 1_000_000_000;
        self.tracker.handle_timeout(Timestamp(self.time));
        self.drain();
    }

    fn finish(&mut self) {
        self.tracker.finish(Timestamp(self.time));
        self.drain();
        assert!(self.tracker.is_empty());
        assert_eq!(self.tracker.buffered(), 0);
        assert_eq!(self.tracker.next_deadline(), None);
    }

    /// The events so far, each in a few words.
    fn take_events(&mut self) -> Vec<String> {
        self.events.drain(..).map(|f| describe(&f)).collect()
    }
}

fn describe(event: &FlowEvent) -> String {
    match event {
        FlowEvent::RequestWaiting(left) => {
            let head = left.request.head.as_ref().unwrap();
            format!("waiting {}", String::from_utf8_lossy(head.target()))
        }
        FlowEvent::IdleConnection(unused) => format!("unused {:?}", unused.result),
        FlowEvent::Exchange(exchange) => {
            let request = match &exchange.request.head {
                Err(why) => format!("{why:?}"),
                Ok(head) => {
                    let token = head.header("x-AWS-ec2-metadata-token");
                    let target = String::from_utf8_lossy(head.target());
                    let method = String::from_utf8_lossy(head.method());
                    match token.map(String::from_utf8_lossy) {
                        Some(token) => format!("{method} {target} [{token}]"),
                        None => format!("{method} {target}"),
                    }
                }
            };
            let response = match &exchange.response {
                Response::Answered { head, .. } => head.status().to_string(),
                Response::None { .. } => "none".to_owned(),
                Response::Unobserved => "unobserved".to_owned(),
            };
            format!("{request} -> {response}")
        }
    }
}

const EXCHANGE_V1: &str = "GET /latest/meta-data/ -> 200";
const EXCHANGE_V2: &str = "GET /latest/user-data [abc] -> 200";

#[test]
fn keep_alive_connection_with_v1_and_v2_gives_both_with_unseen_bodies() {
    let mut rig = Rig::opened();
    let response = OK.len() + 5;
    rig.ask(0, 0, V1);
    rig.answer(0, V1.len(), OK, response);
    rig.ask(V1.len(), response, V2);
    rig.answer(response, V1.len() + V2.len(), OK, response);
    assert_eq!(rig.take_events(), [EXCHANGE_V1, EXCHANGE_V2]);
    assert_eq!(rig.tracker.counters(), FlowCounters::default());
}

#[test]
fn requests_in_one_segment_pair_in_order() {
    let mut rig = Rig::opened();
    let both = [V1, V2].concat();
    rig.ask(0, 0, &both);
    rig.answer(0, both.len(), b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", 48);
    rig.answer(48, both.len(), OK, OK.len() + 5);
    assert_eq!(rig.take_events(), ["GET /latest/meta-data/ -> 401", EXCHANGE_V2]);
}

#[test]
fn response_to_head_has_no_body_whatever_its_length_says() {
    let mut rig = Rig::opened();
    let head = b"HEAD / HTTP/1.1\r\n\r\n";
    rig.ask(0, 0, head);
    rig.answer(0, head.len(), OK, OK.len());
    rig.ask(head.len(), OK.len(), V2);
    rig.answer(OK.len(), head.len() + V2.len(), OK, OK.len() + 5);
    assert_eq!(rig.take_events(), ["HEAD / -> 200", EXCHANGE_V2]);
}

#[test]
fn continue_is_not_the_answer() {
    let mut rig = Rig::opened();
    let put = b"PUT /x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    rig.ask(0, 0, put);
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
    rig.answer(0, put.len(), interim, interim.len());
    rig.ask(put.len(), interim.len(), b"GET ");
    assert!(rig.take_events().is_empty());
    rig.answer(interim.len(), put.len() + 4, OK, OK.len() + 5);
    rig.ask(put.len() + 4, interim.len() + OK.len() + 5, V1);
    rig.answer(interim.len() + OK.len() + 5, put.len() + 4 + V1.len(), OK, OK.len() + 5);
    assert_eq!(rig.take_events(), ["PUT /x -> 200", EXCHANGE_V1]);
}

#[test]
fn chunked_bodies_are_followed_where_captured_and_passed_over_where_not() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n";
    let body = b"5;x=y\r\nHTTP/\r\n0\r\nTrailer: 1\r\n\r\n";
    let whole = [&head[..], body].concat();
    for captured in [whole.len(), head.len()] {
        let mut rig = Rig::opened();
        rig.ask(0, 0, V1);
        rig.answer(0, V1.len(), &whole[..captured], whole.len());
        rig.ask(V1.len(), whole.len(), V2);
        rig.answer(whole.len(), V1.len() + V2.len(), OK, OK.len() + 5);
        assert_eq!(rig.take_events(), [EXCHANGE_V1, EXCHANGE_V2], "captured {captured}");
    }
}

#[test]
fn chunked_request_body_is_no_request() {
    let mut rig = Rig::opened();
    let put = b"PUT / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = b"10\r\nGET / HTTP/1.1\r\n\r\n0\r\n\r\n";
    let all = [&put[..], body, V2].concat();
    rig.ask(0, 0, &all);
    rig.finish();
    assert_eq!(
        rig.take_events(),
        ["PUT / -> unobserved", "GET /latest/user-data [abc] -> unobserved"]
    );
}

#[test]
fn body_until_close_hides_no_response() {
    let mut rig = Rig::opened();
    rig.ask(0, 0, &[V1, V2].concat());
    let total = V1.len() + V2.len();
    rig.answer(0, total, b"HTTP/1.0 200 OK\r\n\r\n", 19);
    rig.answer(19, total, OK, OK.len());
    rig.fin(true, 19 + OK.len(), total);
    assert_eq!(rig.take_events(), [EXCHANGE_V1, "GET /latest/user-data [abc] -> none"]);
}

#[test]
fn gap_in_a_request_is_lost_and_the_next_request_is_read() {
    let mut rig = Rig::opened();
    let response = OK.len() + 5;
    rig.ask(0, 0, &V1[..10]);
    rig.ask(30, 0, &V1[30..]);
    rig.answer(0, V1.len(), OK, response);
    assert!(rig.take_events().is_empty());
    rig.seconds(1);
    assert_eq!(rig.take_events(), ["Lost -> 200"]);
    rig.ask(V1.len(), response, V2);
    rig.answer(response, V1.len() + V2.len(), OK, response);
    assert_eq!(rig.take_events(), [EXCHANGE_V2]);
}

#[test]
fn header_value_that_looks_like_a_request_after_a_gap_is_not_one() {
    let mut rig = Rig::opened();
    rig.ask(0, 0, b"GET / HTTP/1.1\r\n");
    rig.ask(50, 0, b"GET /forged HTTP/1.1\r\n\r\n");
    rig.finish();
    assert_eq!(rig.take_events(), ["Lost -> unobserved"]);
}

#[test]
fn missed_response_leaves_the_next_to_its_own_request() {
    let mut rig = Rig::opened();
    let response = OK.len() + 5;
    rig.ask(0, 0, V1);
    rig.ask(V1.len(), response, V2);
    rig.answer(response, V1.len() + V2.len(), OK, response);
    rig.seconds(1);
    assert_eq!(rig.take_events(), ["GET /latest/meta-data/ -> unobserved", EXCHANGE_V2]);
}

#[test]
fn missed_response_of_a_pipelining_caller_is_never_guessed() {
    let mut rig = Rig::opened();
    rig.ask(0, 0, &[V1, V2].concat());
    rig.answer(43, V1.len() + V2.len(), OK, OK.len() + 5);
    rig.seconds(30);
    assert_eq!(
        rig.take_events(),
        ["GET /latest/meta-data/ -> unobserved", "GET /latest/user-data [abc] -> unobserved"]
    );
}

#[test]
fn connection_joined_in_the_middle_of_a_head_is_not_v1() {
    let mut rig = Rig::new();
    rig.ask(1_000, 500, b"Host: x\r\n\r\n");
    rig.ask(1_011, 600, V2);
    rig.answer(600, 1_011 + V2.len(), OK, OK.len() + 5);
    assert_eq!(rig.take_events(), ["Cut -> unobserved", EXCHANGE_V2]);
}

#[test]
fn connection_joined_at_a_request_line_is_read() {
    let mut rig = Rig::new();
    rig.ask(1_000, 500, V1);
    rig.answer(500, 1_000 + V1.len(), OK, OK.len() + 5);
    assert_eq!(rig.take_events(), [EXCHANGE_V1]);
}

#[test]
fn data_in_the_syn_is_read() {
    let mut rig = Rig::new();
    rig.send(&Packet { syn: true, payload: V1.to_vec(), ..Packet::default() });
    rig.send(&Packet {
        syn: true,
        response: true,
        ack: Some(V1.len() as u32),
        ..Packet::default()
    });
    rig.ask(0, 0, V1);
    rig.answer(0, V1.len(), OK, OK.len());
    assert_eq!(rig.take_events(), [EXCHANGE_V1]);
}

#[test]
fn retransmission_with_other_cuts_and_other_bytes_changes_nothing() {
    let mut rig = Rig::opened();
    rig.ask(0, 0, &V2[..20]);
    rig.ask(10, 0, &[&V2[10..20], b"XX"].concat());
    rig.ask(5, 0, &V2[5..]);
    rig.answer(0, V2.len(), OK, OK.len());
    rig.ask(0, 0, V2);
    rig.finish();
    // The bytes that came first are those that the service took.
    let reported = rig.take_events();
    assert_eq!(reported.len(), 1);
    assert!(reported[0].ends_with("200"), "{reported:?}");
}

#[test]
fn request_without_an_answer_is_handed_out_at_its_deadline_and_a_late_one_is_dropped() {
    let mut rig = Rig::opened();
    rig.ask(0, 0, V1);
    let due = 1 + 30 * 1_000_000_000;
    assert_eq!(rig.tracker.next_deadline(), Some(Timestamp(due)));
    rig.seconds(29);
    assert!(rig.take_events().is_empty());
    rig.seconds(1);
    assert_eq!(rig.take_events(), ["GET /latest/meta-data/ -> none"]);
    rig.ask(V1.len(), 0, V2);
    rig.answer(0, V1.len(), b"HTTP/1.1 503 Late\r\nContent-Length: 0\r\n\r\n", 40);
    rig.answer(40, V1.len() + V2.len(), OK, OK.len() + 5);
    assert_eq!(rig.take_events(), [EXCHANGE_V2]);
    assert_eq!(rig.tracker.counters().late_responses, 1);
}

#[test]
fn loss_makes_a_missing_response_uncertain_only_for_what_was_open() {
    let mut rig = Rig::opened();
    rig.ask(0, 0, V1);
    rig.tracker.handle_loss();
    rig.ask(V1.len(), 0, V2);
    rig.seconds(30);
    assert_eq!(
        rig.take_events(),
        ["GET /latest/meta-data/ -> unobserved", "GET /latest/user-data [abc] -> none"]
    );
}

#[test]
fn request_of_which_nothing_was_seen_is_lost_and_keeps_its_response() {
    let mut rig = Rig::opened();
    let response = OK.len() + 5;
    rig.ask(0, 0, V2);
    rig.answer(0, V2.len(), OK, response);
    rig.answer(response, V2.len() + V1.len(), OK, response);
    rig.fin(false, V2.len() + V1.len(), response * 2);
    rig.seconds(1);
    assert_eq!(rig.take_events(), [EXCHANGE_V2, "Lost -> 200"]);
    assert!(rig.tracker.is_empty());
}

#[test]
fn response_head_in_several_segments_is_joined_and_a_cut_one_keeps_its_status() {
    let mut rig = Rig::opened();
    rig.ask(0, 0, V1);
    rig.answer(0, V1.len(), &OK[..9], 9);
    rig.answer(9, V1.len(), &OK[9..], OK.len() - 4);
    assert_eq!(rig.take_events(), [EXCHANGE_V1]);
    rig.ask(V1.len(), OK.len() + 5, V2);
    rig.answer(OK.len() + 5, V1.len() + V2.len(), &OK[..30], 30);
    rig.send(&Packet { rst: true, ..Packet::default() });
    assert_eq!(rig.take_events(), [EXCHANGE_V2]);
}
