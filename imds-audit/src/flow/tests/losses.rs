//! What was lost and counted on its way to us is not handed out a second time.

use proptest::prelude::*;

use super::*;

/// Counts what is lost as the kernel half does.
#[derive(Default)]
struct Kernel {
    asked: bool,
    sent_ahead: bool,
    acknowledged: usize,
    lost_requests: u32,
    lost_records: u32,
}

impl Kernel {
    /// Takes a packet with request bytes, of which the record is lost or not. Returns whether it
    /// begins a request.
    fn request(&mut self, acknowledged: usize, bytes: &[u8], is_lost: bool) -> Begins {
        let is_newer = acknowledged > self.acknowledged;
        let begins = match bytes {
            _ if (!self.asked || is_newer) && !self.sent_ahead => Begins::Alone,
            _ if is_newer => Begins::Ahead,
            [b'G', b'E', b'T', b' ', ..] => Begins::Ahead,
            _ => Begins::No,
        };
        self.asked = true;
        self.sent_ahead |= begins == Begins::Ahead;
        self.acknowledged = acknowledged;
        self.lost_requests += u32::from(begins != Begins::No && is_lost);
        begins
    }
}

impl Rig {
    /// Takes a packet, unless its record was lost. That this happened is told by the records that
    /// come after it, and otherwise only before time passes, as in a live audit.
    fn send_or_lose(&mut self, kernel: &mut Kernel, packet: &Packet, is_lost: bool) {
        if is_lost {
            kernel.lost_records += 1;
        } else {
            self.send(&Packet { lost_records: kernel.lost_records, ..packet.clone() });
        }
    }

    fn pass_seconds(&mut self, seconds: u64) {
        self.tracker.lost();
        self.seconds(seconds);
    }
}

/// A request that says which one it is.
fn request(number: usize) -> Vec<u8> {
    format!("GET /{number:02} HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n").into_bytes()
}

/// The response to it, without its body of five bytes.
fn response(number: usize) -> Vec<u8> {
    format!("HTTP/1.1 2{number:02} OK\r\nContent-Length: 5\r\n\r\n").into_bytes()
}

/// Asserts that no request was given another's response.
fn assert_paired(findings: &[Finding]) {
    for told in findings.iter().map(tell).filter(|told| told.starts_with("GET ")) {
        let number = &told["GET /".len().."GET /00".len()];
        let own = [format!("GET /{number} -> 2{number}"), format!("GET /{number} -> unobserved")];
        assert!(own.contains(&told), "{told}");
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
            let begins = kernel.request(answered, bytes, lost_now);
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
    assert_paired(&rig.findings);
    let handed_out = rig.findings.iter().filter(|f| matches!(f, Finding::Exchange(_))).count();
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
    /// How many requests it sends at once, each in a segment.
    requests: usize,
    /// How many responses it waits for at most, of those that are to come.
    responses: usize,
    /// Whether the service's network drops the segments, so that each is sent once more; what the
    /// service has sent before may have come in between.
    again: bool,
    /// Whether time passes.
    pause: bool,
}

fn round(most_responses: usize) -> impl Strategy<Value = Round> {
    (1_usize..4, 0..=most_responses, any::<bool>(), any::<bool>())
        .prop_map(|(requests, responses, again, pause)| Round { requests, responses, again, pause })
}

/// A caller's connection whose records are lost or not.
struct Ahead<F> {
    rig: Rig,
    kernel: Kernel,
    is_lost: F,
    /// The requests and how many of them were answered.
    requests: usize,
    responses: usize,
    asked: usize,
    answered: usize,
}

impl<F: FnMut() -> bool> Ahead<F> {
    fn ask(&mut self) -> Packet {
        let payload = request(self.requests);
        self.requests += 1;
        let at = self.asked as u32;
        self.asked += payload.len();
        let (lost, lost_now) = (self.kernel.lost_requests, (self.is_lost)());
        let begins = self.kernel.request(self.answered, &payload, lost_now);
        let ack = Some(self.answered as u32);
        let packet = Packet { at, ack, payload, begins, lost, ..Packet::default() };
        self.rig.send_or_lose(&mut self.kernel, &packet, lost_now);
        packet
    }

    fn ask_again(&mut self, packet: &Packet) {
        let (lost, ack) = (self.kernel.lost_requests, Some(self.answered as u32));
        let packet = Packet { begins: Begins::Again, lost, ack, ..packet.clone() };
        let lost_now = (self.is_lost)();
        self.rig.send_or_lose(&mut self.kernel, &packet, lost_now);
    }

    fn answer(&mut self) {
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
    };
    for round in rounds {
        let packets: Vec<_> = (0..round.requests).map(|_| ahead.ask()).collect();
        if round.again {
            packets.iter().for_each(|packet| ahead.ask_again(packet));
        }
        for _ in 0..round.responses.min(ahead.requests - ahead.responses) {
            ahead.answer();
        }
        if round.pause {
            ahead.rig.pass_seconds(2);
        }
    }
    while ahead.responses < ahead.requests {
        ahead.answer();
    }
    let Ahead { mut rig, kernel, requests, .. } = ahead;
    rig.pass_seconds(120);
    rig.finish();
    assert_paired(&rig.findings);
    let counters = rig.tracker.counters();
    let handed_out = rig.findings.iter().filter(|f| matches!(f, Finding::Exchange(_))).count();
    let lost = u64::from(kernel.lost_requests) + counters.doubtful_requests;
    (requests, handed_out, (lost + counters.unpaired_responses) as usize)
}

#[test]
fn a_request_whose_first_record_was_lost_and_that_is_sent_again_is_counted_only() {
    let round = Round { requests: 2, responses: 2, again: true, pause: false };
    // The second request, and neither it nor its response later.
    let is_lost = [false, true, false, false, false, false];
    assert_eq!(pipeline(&[round], &is_lost), (2, 1, 1));
}

proptest! {
    #[test]
    fn requests_sent_at_once_are_those_handed_out_and_those_counted_as_lost(
        rounds in proptest::collection::vec(round(9), 1..8),
        is_lost in proptest::collection::vec(any::<bool>(), 1..48),
    ) {
        let (sent, handed_out, lost) = pipeline(&rounds, &is_lost);
        prop_assert_eq!(handed_out + lost, sent, "{} handed out, {} lost", handed_out, lost);
    }
}
