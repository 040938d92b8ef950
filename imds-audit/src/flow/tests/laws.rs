//! Properties that hold whatever the network does.

use proptest::prelude::*;

use super::*;

/// Three exchanges of a caller that keeps its connection, with bodies captured.
fn conversation() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let put = b"PUT /latest/api/token HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc".to_vec();
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
    let last = b"HTTP/1.1 404 Not Found\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    (
        vec![put, V2.to_vec(), V1.to_vec()],
        vec![chunked.to_vec(), [interim, OK, b"hello"].concat(), last.to_vec()],
    )
}

const CONVERSATION: [&str; 3] = [
    "PUT /latest/api/token -> 200",
    "GET /latest/user-data [abc] -> 200",
    "GET /latest/meta-data/ -> 404",
];

/// Where the conversation is cut: how many bytes, how many of those before and behind are in the
/// packet too, and a number to sort by.
type Cut = (usize, usize, usize, u32);

/// Cuts the conversation into packets, with overlaps, in any order.
fn packets(cuts: &[Cut]) -> Vec<Packet> {
    let (requests, responses) = conversation();
    let mut ordered = Vec::new();
    let (mut asked, mut answered) = (0, 0);
    let mut cuts = cuts.iter().cycle();
    for (request, response) in requests.iter().zip(&responses) {
        for (bytes, at, ack, is_response) in
            [(request, asked, answered, false), (response, answered, asked + request.len(), true)]
        {
            let mut from = 0;
            while from < bytes.len() {
                let &(length, before, behind, order) = cuts.next().unwrap();
                let to = (from + length).min(bytes.len());
                let start = from.saturating_sub(before);
                let end = (to + behind).min(bytes.len());
                ordered.push((
                    order,
                    Packet {
                        response: is_response,
                        at: (at + start) as u32,
                        ack: Some(ack as u32),
                        payload: bytes[start..end].to_vec(),
                        ..Packet::default()
                    },
                ));
                from = to;
            }
        }
        asked += request.len();
        answered += response.len();
    }
    let &(.., order) = cuts.next().unwrap();
    let (at, ack) = (asked as u32, Some(answered as u32));
    ordered.push((order, Packet { at, ack, ..Packet::default() }));
    ordered.sort_by_key(|(order, _)| *order);
    ordered.into_iter().map(|(_, packet)| packet).collect()
}

fn cuts() -> impl Strategy<Value = Vec<Cut>> {
    prop::collection::vec((1usize..60, 0usize..20, 0usize..20, any::<u32>()), 1..40)
}

/// Sequence numbers to begin with, those that wrap within the conversation among them.
fn origin() -> impl Strategy<Value = u32> {
    prop_oneof![any::<u32>(), (0u32..600).prop_map(|n| 0u32.wrapping_sub(n))]
}

/// How many bytes are looked at for a message of `length` bytes that comes in pieces of `piece`.
fn work(length: usize, piece: usize, response: bool, make: impl Fn(usize) -> Vec<u8>) -> usize {
    let bytes = make(length);
    let mut rig = Rig::opened();
    if response {
        rig.ask(0, 0, V1);
    }
    let ack = if response { V1.len() } else { 0 };
    scan_cost::bytes_scanned_by(|| {
        for (i, part) in bytes.chunks(piece).enumerate() {
            let (at, ack) = ((i * piece) as u32, Some(ack as u32));
            rig.send(&Packet { response, at, ack, payload: part.to_vec(), ..Packet::default() });
        }
        rig.finish();
    })
}

#[test]
fn work_grows_as_the_bytes_do_however_they_are_cut() {
    fn filled(start: &str, fill: &str, length: usize) -> Vec<u8> {
        start.bytes().chain(fill.bytes().cycle()).take(length).collect()
    }
    let streams: [(bool, &str, &str); 8] = [
        (false, "GET /", "a"),
        (false, "GET / HTTP/1.1\r\nA: ", "a"),
        (false, "GET / HTTP/1.1\r\n", "A: b\r\n "),
        (false, "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n"),
        (false, "", "GET / HTTP/1.1\r\n\r\n"),
        (false, "\u{16}\u{3}", "GET / HTTP/1.1\r\n\r\n"),
        (true, "HTTP/1.1 200 ", "a"),
        (true, "", "HTTP/1.1 100 Continue\r\n\r\n"),
    ];
    for (response, start, fill) in streams {
        for piece in [1, 7, 1460] {
            let work = |length| work(length, piece, response, |n| filled(start, fill, n));
            let (half, whole) = (work(30_000), work(60_000));
            let reported = format!("{start:?} {fill:?} by {piece}: {half} and {whole}");
            assert!(whole <= half * 5 / 2 && whole < 60_000 * 64, "{reported}");
        }
    }
}

/// Sends the packets of a conversation, the one at `again` once more after each.
fn converse(packets: &[Packet], again: usize, origins: (u32, u32)) -> Vec<String> {
    let mut rig = Rig::new();
    rig.origins = origins;
    rig.open();
    for packet in packets {
        rig.send(packet);
        rig.send(&packets[again]);
    }
    rig.finish();
    rig.take_events()
}

#[test]
fn a_response_that_is_repeated_before_its_request_came_fills_no_bound() {
    let packets = packets(&[(1, 0, 0, 0)]);
    let last_request =
        packets.iter().rposition(|packet| !packet.response && !packet.payload.is_empty()).unwrap();
    for again in [last_request - 1, last_request, last_request + 1, packets.len() - 1] {
        assert_eq!(converse(&packets, again, (0, 0)), CONVERSATION, "{again}");
    }
}

proptest! {
    #[test]
    fn any_cut_in_any_order_gives_the_same_exchanges(
        cuts in cuts(), again in any::<prop::sample::Index>(), caller in origin(), service in origin(),
    ) {
        let packets = packets(&cuts);
        let reported = converse(&packets, again.index(packets.len()), (caller, service));
        prop_assert_eq!(reported, CONVERSATION);
    }

    #[test]
    fn interleaved_connections_do_not_influence_each_other(a in cuts(), b in cuts()) {
        let (a, b) = (packets(&a), packets(&b));
        let mut rig = Rig::new();
        for id in 1..=2 {
            rig.id = id;
            rig.open();
        }
        for i in 0..a.len().max(b.len()) {
            for (id, packets) in [(1, &a), (2, &b)] {
                rig.id = id;
                if let Some(packet) = packets.get(i) {
                    rig.send(packet);
                }
            }
        }
        rig.finish();
        for id in 1..=2 {
            let mine = rig.events.iter().filter(|f| match f {
                FlowEvent::Exchange(e) => e.connection == ConnectionId(id),
                FlowEvent::IdleConnection(u) => u.connection == ConnectionId(id),
                FlowEvent::RequestWaiting(_) => false,
            });
            prop_assert_eq!(mine.map(describe).collect::<Vec<_>>(), CONVERSATION);
        }
    }

    #[test]
    fn whatever_httparse_accepts_is_read_the_same(
        bytes in "\r?\n?(GET|PUT|[!-~]{1,5}) [ -~]{1,10} HTTP/1.[01]\r?\n([!-~]{1,4}:[ \t]*[ -~\t]{0,8}[ \t]*\r?\n| [a-z:]{1,4}\r\n){0,5}\r?\n[a-z]{0,4}"
    ) {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut theirs = httparse::Request::new(&mut headers);
        if let Ok(httparse::Status::Complete(used)) = theirs.parse(bytes.as_bytes()) {
            let ours = RequestHead::parse(&bytes.as_bytes()[..used]);
            prop_assert!(ours.is_some());
            let ours = ours.unwrap();
            prop_assert_eq!(Some(ours.method()), theirs.method.map(str::as_bytes));
            prop_assert_eq!(Some(ours.target()), theirs.path.map(str::as_bytes));
            prop_assert_eq!(Some(ours.minor_version()), theirs.version);
            let theirs: Vec<_> = theirs.headers.iter().map(|h| (h.name.as_bytes(), h.value)).collect();
            prop_assert_eq!(ours.headers().collect::<Vec<_>>(), theirs);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_segments_neither_panic_nor_exceed_the_bounds(
        segments in prop::collection::vec(
            (
                (0u64..7, any::<bool>(), 0u8..32, 0u64..40),
                (prop_oneof![0u32..400, any::<u32>()], prop::option::of(prop_oneof![0u32..400, any::<u32>()])),
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..300),
                    "((GET|PUT|HEAD) /[a-z]* HTTP/1.1\r\n(Content-Length: [0-9]{1,20}\r\n|Transfer-Encoding: chunked\r\n)?(\r\n)?){0,4}".prop_map(String::into_bytes),
                    "(HTTP/1.[01] (100|101|200|204|401)\r\n(Content-Length: [0-9]{1,20}\r\n|Transfer-Encoding: chunked\r\n)?(\r\n)?){0,4}".prop_map(String::into_bytes),
                ],
            ),
            0..120,
        )
    ) {
        let limits = Limits { connections: 4, buffered: 6_000, head: 400, held: 2_000, pending: 3, ended: 2, ..Limits::default() };
        let mut rig = Rig::with(limits);
        for ((id, response, flags, seconds), (at, ack), payload) in segments {
            rig.id = id;
            rig.send(&Packet {
                response, at, ack, payload, length: None,
                syn: flags == 1, fin: flags == 2, rst: flags == 3,
                urgent: flags == 6, ..Packet::default()
            });
            prop_assert!(rig.tracker.len() <= 4);
            prop_assert!(rig.tracker.buffered() <= 6_000);
            if flags == 4 {
                rig.tracker.handle_loss();
            }
            if flags == 5 {
                rig.seconds(seconds);
                prop_assert!(rig.tracker.next_deadline().is_none_or(|d| d > Timestamp(rig.time)));
            }
        }
        rig.finish();
    }
}
