//! Requests that were lost and counted by the source are not reported a second time.

use imds_audit_ebpf::request_start::{ByteWindow, METHODS, count, is_blank_line, tail};
use proptest::prelude::*;

use super::*;

mod counterexamples;

/// Counts what is lost as the eBPF programs do.
#[derive(Default)]
struct Kernel {
    sent_ahead: bool,
    /// How many bytes were sent, and the last four of them.
    asked: usize,
    tail: u32,
    acknowledged: usize,
    lost_requests: u32,
    lost_records: u32,
}

impl Kernel {
    /// Takes a packet with request bytes, whose record is lost or not. Returns whether it
    /// begins a request.
    fn request(
        &mut self,
        at: usize,
        acknowledged: usize,
        bytes: &[u8],
        is_lost: bool,
    ) -> RequestStart {
        let stale = self.asked.saturating_sub(at).min(bytes.len());
        let is_method = match bytes.first_chunk() {
            Some(method) => METHODS.contains(method),
            None => count(ByteWindow::after(self.tail), bytes) == 1,
        };
        let is_newer = acknowledged > self.acknowledged;
        let may_begin = bytes[0].is_ascii_uppercase() && is_blank_line(self.tail.into());
        let begins = if stale > 0 {
            RequestStart::Retransmitted
        } else if self.asked == 0 || is_newer && (is_method || may_begin) {
            if self.sent_ahead { RequestStart::Pipelined } else { RequestStart::InTurn }
        } else if is_method {
            RequestStart::Pipelined
        } else {
            RequestStart::No
        };
        self.sent_ahead |= begins == RequestStart::Pipelined;
        if is_lost {
            let begins_here = begins.is_first();
            let unknown = begins_here || stale > 0;
            let before = if unknown { ByteWindow::UNKNOWN } else { ByteWindow::after(self.tail) };
            let known =
                if stale > 0 { ByteWindow::after(tail(0, &bytes[..stale])) } else { before };
            let others = count(known, &bytes[stale..]);
            self.sent_ahead |= others > 0;
            self.lost_requests += others + u32::from(begins_here);
        }
        if stale < bytes.len() {
            self.asked = at + bytes.len();
            self.tail = tail(self.tail, &bytes[stale..]);
            self.acknowledged = acknowledged;
        }
        begins
    }
}

impl Rig {
    /// Takes a packet, unless its record was lost. The records say that this happened that
    /// come after it, and otherwise only before time passes, as in a live audit.
    fn send_or_lose(&mut self, kernel: &mut Kernel, packet: &Packet, is_lost: bool) {
        if is_lost {
            kernel.lost_records += 1;
        } else {
            self.send(&Packet { lost_records: kernel.lost_records, ..packet.clone() });
        }
    }

    fn pass_seconds(&mut self, seconds: u64) {
        self.tracker.handle_loss();
        self.seconds(seconds);
    }
}

/// A request that says which one it is.
fn request(number: usize) -> Vec<u8> {
    format!("GET /{number:02} HTTP/1.1\r\nHost: 169.254.169.254:8080\r\n\r\n").into_bytes()
}

/// The response to it, without its body of five bytes.
fn response(number: usize) -> Vec<u8> {
    format!("HTTP/1.1 2{number:02} OK\r\nContent-Length: 5\r\n\r\n").into_bytes()
}

/// Asserts that no request was given another's response.
fn assert_paired(events: &[FlowEvent]) {
    for reported in events.iter().map(describe).filter(|reported| reported.starts_with("GET ")) {
        let number = &reported["GET /".len().."GET /00".len()];
        let own = [format!("GET /{number} -> 2{number}"), format!("GET /{number} -> unobserved")];
        assert!(own.contains(&reported), "{reported}");
    }
}

/// Has a caller ask and wait, ask and wait, with each request in several segments. Returns how
/// many requests were handed out, and how many were counted as lost.
fn converse(requests: usize, cuts: &[usize], is_lost: &[bool], pause: &[bool]) -> (usize, usize) {
    let mut rig = Rig::new();
    let mut kernel = Kernel::default();
    let mut is_lost = is_lost.iter().copied().cycle();
    let mut is_lost = || is_lost.next().unwrap();
    let mut cuts = cuts.iter().copied().cycle();
    let mut pause = pause.iter().copied().cycle();
    for response in [false, true] {
        let packet =
            Packet { syn: true, response, ack: response.then_some(0), ..Packet::default() };
        rig.send_or_lose(&mut kernel, &packet, is_lost());
    }
    let (mut asked, mut answered) = (0, 0);
    for number in 0..requests {
        let (request, head) = (request(number), response(number));
        let mut rest = &request[..];
        while !rest.is_empty() {
            let (bytes, more) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            let lost_now = is_lost();
            let lost = kernel.lost_requests;
            let begins = kernel.request(asked, answered, bytes, lost_now);
            let packet = Packet {
                at: asked as u32,
                ack: Some(answered as u32),
                payload: bytes.to_vec(),
                begins,
                lost,
                ..Packet::default()
            };
            rig.send_or_lose(&mut kernel, &packet, lost_now);
            asked += bytes.len();
            rest = more;
        }
        let packet = Packet {
            response: true,
            at: answered as u32,
            ack: Some(asked as u32),
            payload: head.clone(),
            lost: kernel.lost_requests,
            ..Packet::default()
        };
        rig.send_or_lose(&mut kernel, &packet, is_lost());
        answered += head.len() + 5;
        if pause.next().unwrap() {
            rig.pass_seconds(2);
        }
    }
    for response in [false, true] {
        let (at, ack) = if response { (answered, asked) } else { (asked, answered) };
        let (at, ack, lost) = (at as u32, Some(ack as u32), kernel.lost_requests);
        let packet = Packet { response, at, ack, fin: true, lost, ..Packet::default() };
        rig.send_or_lose(&mut kernel, &packet, is_lost());
    }
    rig.pass_seconds(120);
    rig.finish();
    let counters = rig.tracker.counters();
    assert_eq!(counters.unpaired_responses, 0);
    assert_paired(&rig.events);
    let handed_out = rig.events.iter().filter(|f| matches!(f, FlowEvent::Exchange(_))).count();
    (handed_out, kernel.lost_requests as usize + counters.doubtful_requests as usize)
}

proptest! {
    #[test]
    fn requests_sent_are_those_handed_out_and_those_counted_as_lost(
        requests in 1_usize..12,
        cuts in proptest::collection::vec(1_usize..100, 1..8),
        is_lost in proptest::collection::vec(any::<bool>(), 1..64),
        pause in proptest::collection::vec(any::<bool>(), 1..8),
    ) {
        let (handed_out, lost) = converse(requests, &cuts, &is_lost, &pause);
        prop_assert_eq!(handed_out + lost, requests, "{} handed out, {} lost", handed_out, lost);
    }
}

/// What a caller that sends ahead does in a round.
#[derive(Clone, Debug)]
struct Round {
    /// How many requests it sends.
    requests: usize,
    /// How long its segments are, in quarters of a request: each holds a request, a part of one, or
    /// several. None is cut in its method or in its blank line, which are only where such a caller
    /// is counted wrong: see [`super::super::requests`].
    quarters: Vec<usize>,
    /// How many responses it waits for before each segment at most, of those that are to come.
    early: Vec<usize>,
    /// How many it waits for at last.
    responses: usize,
    /// Whether the service's network drops the segments, so that they are sent once more, as many
    /// at once as this says; what the service has sent before may have come in between.
    again: Option<usize>,
    /// Whether time passes.
    pause: bool,
}

fn round() -> impl Strategy<Value = Round> {
    (
        1_usize..4,
        proptest::collection::vec(1_usize..13, 1..4),
        proptest::collection::vec(0_usize..3, 1..4),
        0_usize..=9,
        proptest::option::of(1_usize..3),
        any::<bool>(),
    )
        .prop_map(|(requests, quarters, early, responses, again, pause)| Round {
            requests,
            quarters,
            early,
            responses,
            again,
            pause,
        })
}

/// A round of requests in segments of their own.
fn whole(requests: usize, responses: usize) -> Round {
    Round { requests, quarters: vec![4], early: vec![0], responses, again: None, pause: false }
}

/// A caller's connection whose records are lost or not.
struct Ahead<F> {
    rig: Rig,
    kernel: Kernel,
    is_lost: F,
    /// How many requests and responses were begun.
    requests: usize,
    responses: usize,
    asked: usize,
    answered: usize,
    /// Where each request ends.
    ends: Vec<usize>,
}

impl<F: FnMut() -> bool> Ahead<F> {
    fn segment(&mut self, at: usize, payload: &[u8]) {
        let (lost, lost_now) = (self.kernel.lost_requests, (self.is_lost)());
        let begins = self.kernel.request(at, self.answered, payload, lost_now);
        let (ack, payload, at) = (Some(self.answered as u32), payload.to_vec(), at as u32);
        let packet = Packet { at, ack, payload, begins, lost, ..Packet::default() };
        self.rig.send_or_lose(&mut self.kernel, &packet, lost_now);
    }

    fn ask(&mut self, round: &Round) {
        let mut stream = Vec::new();
        for _ in 0..round.requests {
            stream.extend(request(self.requests));
            self.requests += 1;
            self.ends.push(self.asked + stream.len());
        }
        let base = self.asked;
        let mut sizes =
            round.quarters.iter().map(|quarters| quarters * request(0).len() / 4).cycle();
        let mut early = round.early.iter().copied().cycle();
        let mut segments = Vec::new();
        let mut rest = &stream[..];
        while !rest.is_empty() {
            self.answer(early.next().unwrap());
            let (bytes, more) = rest.split_at(sizes.next().unwrap().min(rest.len()));
            self.segment(self.asked, bytes);
            segments.push((self.asked - base, bytes.len()));
            self.asked += bytes.len();
            rest = more;
        }
        for together in round.again.into_iter().flat_map(|count| segments.chunks(count)) {
            let start = together[0].0;
            let end = together.last().map_or(start, |(at, length)| at + length);
            self.segment(base + start, &stream[start..end]);
        }
    }

    /// Answers so many of the requests that were sent whole.
    fn answer(&mut self, most: usize) {
        let whole = self.ends.iter().take_while(|end| **end <= self.asked).count();
        for _ in 0..most.min(whole - self.responses) {
            let payload = response(self.responses);
            self.responses += 1;
            let at = self.answered as u32;
            self.answered += payload.len() + 5;
            let (ack, lost) = (Some(self.asked as u32), self.kernel.lost_requests);
            let packet = Packet { response: true, at, ack, payload, lost, ..Packet::default() };
            let lost_now = (self.is_lost)();
            self.rig.send_or_lose(&mut self.kernel, &packet, lost_now);
        }
    }
}

/// Has a caller send requests ahead of their responses. Returns how many it sent, how many were
/// handed out, and how many were counted as lost.
fn pipeline(rounds: &[Round], is_lost: &[bool]) -> (usize, usize, usize) {
    let mut is_lost = is_lost.iter().copied().cycle();
    let mut ahead = Ahead {
        rig: Rig::opened(),
        kernel: Kernel::default(),
        is_lost: || is_lost.next().unwrap(),
        requests: 0,
        responses: 0,
        asked: 0,
        answered: 0,
        ends: Vec::new(),
    };
    for round in rounds {
        ahead.ask(round);
        ahead.answer(round.responses);
        if round.pause {
            ahead.rig.pass_seconds(2);
        }
    }
    ahead.answer(usize::MAX);
    let Ahead { mut rig, kernel, requests, .. } = ahead;
    rig.pass_seconds(120);
    rig.finish();
    assert_paired(&rig.events);
    let counters = rig.tracker.counters();
    let handed_out = rig.events.iter().filter(|f| matches!(f, FlowEvent::Exchange(_))).count();
    let lost = u64::from(kernel.lost_requests) + counters.doubtful_requests;
    (requests, handed_out, (lost + counters.unpaired_responses) as usize)
}

#[test]
fn a_request_whose_first_record_was_lost_and_that_is_sent_again_is_counted_only() {
    let round = Round { again: Some(1), ..whole(2, 2) };
    // The second request, and neither it nor its response later.
    let is_lost = [false, true, false, false, false, false];
    assert_eq!(pipeline(&[round], &is_lost), (2, 1, 1));
}

#[test]
fn each_of_several_requests_in_one_lost_packet_is_counted() {
    let round = Round { quarters: vec![12], ..whole(3, 3) };
    assert_eq!(pipeline(&[round], &[true, false]), (3, 0, 3));
}

proptest! {
    #[test]
    fn requests_sent_at_once_are_those_handed_out_and_those_counted_as_lost(
        rounds in proptest::collection::vec(round(), 1..8),
        is_lost in proptest::collection::vec(any::<bool>(), 1..48),
    ) {
        let (sent, handed_out, lost) = pipeline(&rounds, &is_lost);
        prop_assert_eq!(handed_out + lost, sent, "{} handed out, {} lost", handed_out, lost);
    }
}
