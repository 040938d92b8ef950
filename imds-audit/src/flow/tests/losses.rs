//! What was lost and counted on its way to us is not handed out a second time.

use proptest::prelude::*;

use super::*;

/// Counts what is lost as the kernel half does.
#[derive(Default)]
struct Kernel {
    asked: bool,
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
            _ if !self.asked || is_newer => Begins::Alone,
            [b'G', b'E', b'T', b' ', ..] => Begins::Ahead,
            _ => Begins::No,
        };
        self.asked = true;
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

/// Has a caller send some requests at once, each in a segment, take the responses, and so on.
/// Returns how many requests were handed out, and how many were counted as lost.
fn pipeline(rounds: &[usize], is_lost: &[bool], pause: &[bool]) -> (usize, usize) {
    let mut rig = Rig::opened();
    let mut kernel = Kernel::default();
    let mut is_lost = is_lost.iter().copied().cycle();
    let mut is_lost = || is_lost.next().unwrap();
    let mut pause = pause.iter().copied().cycle();
    let (mut asked, mut answered, mut first) = (0, 0, 0);
    for &requests in rounds {
        let acknowledged = answered;
        for number in first..first + requests {
            let request = request(number);
            let (lost, lost_now) = (kernel.lost_requests, is_lost());
            let begins = kernel.request(acknowledged, &request, lost_now);
            let (at, ack, payload) = (asked as u32, Some(acknowledged as u32), request.clone());
            let packet = Packet { at, ack, payload, begins, lost, ..Packet::default() };
            rig.send_or_lose(&mut kernel, &packet, lost_now);
            asked += request.len();
        }
        for number in first..first + requests {
            let head = response(number);
            let (at, ack, payload) = (answered as u32, Some(asked as u32), head.clone());
            let (response, lost) = (true, kernel.lost_requests);
            let packet = Packet { response, at, ack, payload, lost, ..Packet::default() };
            rig.send_or_lose(&mut kernel, &packet, is_lost());
            answered += head.len() + 5;
        }
        first += requests;
        if pause.next().unwrap() {
            rig.pass_seconds(2);
        }
    }
    rig.pass_seconds(120);
    rig.finish();
    assert_paired(&rig.findings);
    let counters = rig.tracker.counters();
    let handed_out = rig.findings.iter().filter(|f| matches!(f, Finding::Exchange(_))).count();
    let lost = u64::from(kernel.lost_requests) + counters.doubtful_requests;
    (handed_out, (lost + counters.unpaired_responses) as usize)
}

proptest! {
    #[test]
    fn requests_sent_at_once_are_those_handed_out_and_those_counted_as_lost(
        rounds in proptest::collection::vec(1_usize..4, 1..8),
        is_lost in proptest::collection::vec(any::<bool>(), 1..48),
        pause in proptest::collection::vec(any::<bool>(), 1..8),
    ) {
        let requests: usize = rounds.iter().sum();
        let (handed_out, lost) = pipeline(&rounds, &is_lost, &pause);
        prop_assert_eq!(handed_out + lost, requests, "{} handed out, {} lost", handed_out, lost);
    }
}
