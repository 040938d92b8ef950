//! Whoever can put packets in front of the caller's kernel hides and changes no request.
//!
//! The packets of a recorded conversation pass with others between them, as if from the service, that
//! the caller's kernel throws away: the caller's packets stay as they were.

use proptest::prelude::*;

use super::*;

/// What happens in a conversation.
#[derive(Clone, Debug)]
enum Step {
    Packet(Packet),
    Wait(u64),
}

/// A conversation that is written down from one side to the other.
#[derive(Default)]
struct Script {
    steps: Vec<Step>,
    asked: u32,
    answered: u32,
}

impl Script {
    fn push(&mut self, packet: Packet) {
        self.steps.push(Step::Packet(packet));
    }

    fn opened() -> Self {
        let mut script = Self::default();
        script.push(Packet { syn: true, ..Packet::default() });
        script.push(Packet { syn: true, response: true, ack: Some(0), ..Packet::default() });
        script
    }

    /// Request bytes in packets of so many, each of a process of its own.
    fn ask(mut self, bytes: &[u8], cut: usize) -> Self {
        for part in bytes.chunks(cut) {
            let (at, ack) = (self.asked, Some(self.answered));
            let writer = Some(self.steps.len() as u32);
            self.push(Packet { at, ack, payload: part.to_vec(), writer, ..Packet::default() });
            self.asked += part.len() as u32;
        }
        self
    }

    /// Response bytes, with `unseen` behind them that were not captured, and no acknowledgement.
    fn send(mut self, bytes: &[u8], unseen: u32, cut: usize) -> Self {
        for part in bytes.chunks(cut) {
            let (at, ack) = (self.answered, Some(self.asked));
            let payload = part.to_vec();
            self.push(Packet { response: true, at, ack, payload, ..Packet::default() });
            self.answered += part.len() as u32;
        }
        self.answered += unseen;
        self
    }

    fn acknowledge(mut self) -> Self {
        let (at, ack) = (self.asked, Some(self.answered));
        self.push(Packet { at, ack, ..Packet::default() });
        self
    }

    fn answer(self, bytes: &[u8], unseen: u32, cut: usize) -> Self {
        self.send(bytes, unseen, cut).acknowledge()
    }

    fn end(mut self, response: bool) -> Self {
        let (at, ack) =
            if response { (self.answered, self.asked) } else { (self.asked, self.answered) };
        self.push(Packet { response, at, ack: Some(ack), fin: true, ..Packet::default() });
        if response {
            self.answered += 1;
            return self.acknowledge();
        }
        self.asked += 1;
        self
    }

    fn wait(mut self, seconds: u64) -> Self {
        self.steps.push(Step::Wait(seconds));
        self
    }
}

const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const UNTIL_CLOSE: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
const UPGRADE: &[u8] = b"GET /u HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
const PUT: &[u8] =
    b"PUT /latest/api/token HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";

/// Conversations, each with whether the bodies of its responses are captured.
fn conversations() -> Vec<(bool, Script)> {
    let start = Script::opened;
    vec![
        (
            true,
            start().ask(V1, 99).answer(OK, 5, 99).ask(V2, 20).answer(NOT_FOUND, 0, 7).end(false),
        ),
        (false, start().ask(V1, 1).wait(3).answer(OK, 5, 9).wait(7).ask(V2, 99).answer(OK, 5, 99)),
        // Without an acknowledgement of its own, and in a row.
        (false, start().ask(V1, 30).send(OK, 5, 99).ask(V2, 99).send(OK, 5, 99).ask(V1, 99)),
        (false, start().ask(&[V1, V2, V1].concat(), 99).answer(OK, 5, 99).answer(NOT_FOUND, 0, 99)),
        (
            true,
            start().ask(PUT, 99).answer(CONTINUE, 0, 9).ask(b"abc", 3).answer(OK, 5, 99).ask(V1, 9),
        ),
        (
            false,
            start()
                .ask(&[V1, V2].concat(), 99)
                .answer(CHUNKED, 700, 99)
                .ask(V1, 99)
                .answer(OK, 5, 99),
        ),
        (
            true,
            start()
                .ask(V1, 99)
                .answer(&[CHUNKED, b"3\r\nabc\r\n0\r\n\r\n", OK].concat(), 5, 30)
                .ask(V2, 99),
        ),
        (
            false,
            start().ask(&[V1, V2].concat(), 40).answer(UNTIL_CLOSE, 50, 99).end(true).end(false),
        ),
        (false, start().ask(V1, 99).end(true).wait(1).end(false)),
        (false, start().ask(V1, 99).end(false).wait(2).answer(OK, 5, 99).end(true)),
        (
            false,
            start().ask(V1, 99).wait(31).answer(OK, 5, 99).ask(V2, 99).answer(NOT_FOUND, 0, 99),
        ),
        (false, start().ask(UPGRADE, 99).answer(NOT_FOUND, 0, 99).ask(V1, 9).answer(OK, 5, 99)),
        (
            true,
            start()
                .ask(b"GET\t/ HTTP/1.1\r\n\r\n", 99)
                .answer(OK, 5, 99)
                .ask(V1, 99)
                .answer(OK, 5, 99),
        ),
        (false, start().ask(&V1[..20], 99).answer(NOT_FOUND, 0, 99).ask(&V1[20..], 99).ask(V2, 99)),
    ]
}

/// A packet of the adversary, and before which step it passes.
type Forged = (prop::sample::Index, Packet);

fn forged() -> impl Strategy<Value = Forged> {
    let head = prop_oneof![
        Just(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 204 No\r\n\r\n".to_vec()),
        Just(OK.to_vec()),
        Just(CONTINUE.to_vec()),
        Just(CHUNKED.to_vec()),
        Just(UNTIL_CLOSE.to_vec()),
        Just(b"0\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 4".to_vec()),
        prop::collection::vec(any::<u8>(), 0..3),
    ];
    let number = || prop_oneof![4 => 0u32..200, 2 => 900u32..1_100, 1 => any::<u32>()];
    let packet = (
        head,
        // Where it says that it stands: anywhere, or where the service is.
        prop::option::weighted(0.5, number()),
        prop_oneof![Just(0i32), Just(-1), Just(1), Just(5), -40..40],
        prop::option::of(number()),
        (0u8..6, 0u32..3),
    );
    (any::<prop::sample::Index>(), packet).prop_map(|(place, packet)| {
        let (payload, at, shift, ack, (flags, unseen)) = packet;
        let length = Some(payload.len() as u32 + unseen * 300);
        // `urgent` stands for a place that is measured from the service's.
        let (at, urgent) = at.map_or((shift as u32, true), |at| (at, false));
        let (syn, fin, rst) = (flags == 0, flags == 1, flags == 2);
        let packet = Packet {
            response: true,
            at,
            ack,
            length,
            payload,
            syn,
            fin,
            rst,
            urgent,
            ..Packet::default()
        };
        (place, packet)
    })
}

/// Plays a conversation with other packets in it. Returns each request with its author, and its
/// outcome.
fn play(bodies: bool, script: &Script, forged: &[Forged]) -> Vec<(String, String)> {
    let mut rig = Rig::new();
    rig.bodies = bodies;
    let mut reached = 0;
    for (number, step) in script.steps.iter().enumerate() {
        let here = forged.iter().filter(|(place, _)| place.index(script.steps.len()) == number);
        for (_, packet) in here {
            let at = if packet.urgent { packet.at.wrapping_add(reached) } else { packet.at };
            rig.send(&Packet { at, urgent: false, ..packet.clone() });
        }
        match step {
            Step::Wait(seconds) => rig.seconds(*seconds),
            Step::Packet(packet) => {
                rig.send(packet);
                if packet.response {
                    reached = packet.at + packet.payload.len() as u32;
                }
            }
        }
    }
    rig.finish();
    let exchanges = rig.events.iter().filter_map(|event| match event {
        FlowEvent::Exchange(exchange) => {
            let reported = describe(event);
            let (request, outcome) = reported.split_once(" -> ").unwrap();
            let author = exchange.request.writer.map(|task| task.pid);
            Some((format!("{request} by {author:?}"), outcome.to_owned()))
        }
        _ => None,
    });
    exchanges.collect()
}

#[test]
fn the_conversations_are_read_without_an_adversary() {
    let outcomes: Vec<Vec<String>> = conversations()
        .iter()
        .map(|(bodies, script)| play(*bodies, script, &[]).into_iter().map(|(_, o)| o).collect())
        .collect();
    let expected: [&[&str]; 14] = [
        &["200", "404"],
        &["200", "200"],
        &["200", "200", "unobserved"],
        &["200", "404", "unobserved"],
        &["200", "unobserved"],
        &["200", "unobserved", "unobserved"],
        &["200", "unobserved"],
        &["200", "none"],
        &["none"],
        &["200"],
        &["none", "404"],
        &["404", "200"],
        &["200", "200"],
        &["404", "unobserved"],
    ];
    assert_eq!(outcomes, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn no_packet_that_the_caller_throws_away_changes_a_request_or_gives_it_an_outcome(
        forged in prop::collection::vec(forged(), 1..6), which in any::<prop::sample::Index>(),
    ) {
        let conversations = conversations();
        let (bodies, script) = which.get(&conversations);
        let (honest, reported) = (play(*bodies, script, &[]), play(*bodies, script, &forged));
        let requests = |exchanges: &[(String, String)]| -> Vec<String> {
            exchanges.iter().map(|(request, _)| request.clone()).collect()
        };
        prop_assert_eq!(requests(&reported), requests(&honest));
        for ((request, outcome), (_, honest)) in reported.iter().zip(&honest) {
            prop_assert!(outcome == honest || outcome == "unobserved", "{request}: {outcome}, not {honest}");
        }
    }
}
