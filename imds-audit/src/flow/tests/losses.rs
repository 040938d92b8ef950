//! What was lost and counted on its way to us is not handed out a second time.

use proptest::prelude::*;

use super::*;

/// Counts what is lost as the kernel half does.
#[derive(Default)]
struct Kernel {
    asked: bool,
    acknowledged: usize,
    lost_requests: u32,
}

impl Kernel {
    /// Takes a packet with request bytes, of which the record is lost or not. Returns whether it
    /// begins a request.
    fn request(&mut self, acknowledged: usize, bytes: &[u8], is_lost: bool) -> bool {
        let is_newer = acknowledged > self.acknowledged;
        let begins = !self.asked || is_newer || bytes.starts_with(b"GET ");
        self.asked = true;
        self.acknowledged = acknowledged;
        self.lost_requests += u32::from(begins && is_lost);
        begins
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
        if !is_lost() {
            rig.send(&packet);
        }
    }
    let (mut asked, mut answered) = (0, 0);
    for _ in 0..requests {
        let mut rest = V1;
        while !rest.is_empty() {
            let (bytes, more) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            let lost_now = is_lost();
            let lost = kernel.lost_requests;
            let begins = kernel.request(answered, bytes, lost_now);
            if !lost_now {
                rig.send(&Packet {
                    at: asked as u32,
                    ack: Some(answered as u32),
                    payload: bytes.to_vec(),
                    begins,
                    lost,
                    ..Packet::default()
                });
            }
            asked += bytes.len();
            rest = more;
        }
        if !is_lost() {
            rig.send(&Packet {
                response: true,
                at: answered as u32,
                ack: Some(asked as u32),
                payload: OK.to_vec(),
                lost: kernel.lost_requests,
                ..Packet::default()
            });
        }
        answered += OK.len() + 5;
        if pause.next().unwrap() {
            rig.seconds(2);
        }
    }
    for response in [false, true] {
        let (at, ack) = if response { (answered, asked) } else { (asked, answered) };
        if !is_lost() {
            let lost = kernel.lost_requests;
            let (at, ack) = (at as u32, Some(ack as u32));
            rig.send(&Packet { response, at, ack, fin: true, lost, ..Packet::default() });
        }
    }
    rig.seconds(120);
    rig.finish();
    let counters = rig.tracker.counters();
    assert_eq!(counters.unpaired_responses, 0);
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
