//! Responses are claims until the caller acknowledges them.

use super::*;

const REJECTED: &[u8] = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
const LATE: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Sends V1 and its answer `number` times from where both sides stand, after `forged` each time.
fn exchanges(rig: &mut Rig, number: usize, forged: impl Fn(&mut Rig, usize, usize)) {
    let reply = OK.len() + 5;
    for i in 0..number {
        let (asked, answered) = (i * V1.len(), i * reply);
        rig.ask(asked, answered, &V1[..1]);
        forged(rig, answered, asked + 1);
        rig.ask(asked + 1, answered, &V1[1..]);
        forged(rig, answered, asked + V1.len());
        rig.answer(answered, asked + V1.len(), OK, reply);
    }
}

#[test]
fn a_response_that_the_caller_does_not_acknowledge_is_unobserved() {
    let mut rig = Rig::opened();
    rig.ask(0, 0, V1);
    rig.claim(0, V1.len(), REJECTED, REJECTED.len());
    assert!(rig.take_events().is_empty());
    rig.seconds(1);
    assert_eq!(rig.take_events(), ["GET /latest/meta-data/ -> unobserved"]);
    rig.claim(0, V1.len(), OK, OK.len() + 5);
    rig.acknowledge(V1.len(), OK.len() + 5);
    rig.ask(V1.len(), OK.len() + 5, V2);
    rig.answer(OK.len() + 5, V1.len() + V2.len(), OK, OK.len() + 5);
    assert_eq!(rig.take_events(), [EXCHANGE_V2]);
}

#[test]
fn any_later_packet_of_the_caller_acknowledges() {
    let reply = OK.len() + 5;
    for end in [0, 1, 2] {
        let mut rig = Rig::opened();
        rig.ask(0, 0, V1);
        rig.claim(0, V1.len(), OK, reply);
        match end {
            0 => rig.ask(V1.len(), reply, V2),
            1 => rig.fin(false, V1.len(), reply),
            _ => rig.send(&Packet {
                rst: true,
                at: V1.len() as u32,
                ack: Some(reply as u32),
                ..Packet::default()
            }),
        }
        assert_eq!(rig.take_events(), [EXCHANGE_V1], "{end}");
    }
}

#[test]
fn a_forged_switch_of_protocols_hides_no_request() {
    let mut rig = Rig::opened();
    exchanges(&mut rig, 5, |rig, at, ack| rig.claim(at, ack, SWITCHING, SWITCHING.len()));
    rig.finish();
    assert_eq!(rig.take_events(), ["GET /latest/meta-data/ -> unobserved"; 5]);
    assert_eq!(rig.tracker.counters().tunneled_bytes, 0);
}

#[test]
fn a_switch_of_protocols_that_nobody_asked_for_is_no_tunnel() {
    let mut rig = Rig::opened();
    rig.ask(0, 0, V1);
    rig.answer(0, V1.len(), SWITCHING, SWITCHING.len());
    rig.ask(V1.len(), SWITCHING.len(), V2);
    rig.answer(SWITCHING.len(), V1.len() + V2.len(), OK, OK.len() + 5);
    assert_eq!(rig.take_events(), ["GET /latest/meta-data/ -> 101", EXCHANGE_V2]);
}

#[test]
fn bytes_behind_a_switch_of_protocols_that_was_asked_for_are_counted() {
    let upgrade = b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let mut rig = Rig::opened();
    rig.ask(0, 0, upgrade);
    rig.answer(0, upgrade.len(), SWITCHING, SWITCHING.len());
    rig.ask(upgrade.len(), SWITCHING.len(), V1);
    rig.ask(upgrade.len() + V1.len(), SWITCHING.len(), b"\x01\x02");
    rig.finish();
    assert_eq!(rig.take_events(), ["GET / -> 101"]);
    let counters = rig.tracker.counters();
    assert_eq!((counters.tunneled_bytes, counters.doubtful_requests), (V1.len() as u64 + 2, 1));
}

#[test]
fn a_head_that_was_begun_before_a_tunnel_is_read_to_its_end() {
    let connect = b"CONNECT a:80 HTTP/1.1\r\n\r\n";
    let established = b"HTTP/1.1 200 Established\r\n\r\n";
    let mut rig = Rig::opened();
    rig.ask(0, 0, connect);
    rig.ask(connect.len(), 0, &V1[..9]);
    rig.answer(0, connect.len() + 9, established, established.len());
    rig.ask(connect.len() + 9, established.len(), &V1[9..]);
    rig.ask(connect.len() + V1.len(), established.len(), b"tunnel");
    rig.finish();
    assert_eq!(rig.take_events(), ["CONNECT a:80 -> 200", "GET /latest/meta-data/ -> unobserved"]);
    assert_eq!(rig.tracker.counters().tunneled_bytes, 6);
}

#[test]
fn forged_statuses_and_lengths_give_no_outcome_and_cost_the_next_none() {
    for forged in [REJECTED, b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n"] {
        let mut rig = Rig::opened();
        let first = std::cell::Cell::new(0);
        exchanges(&mut rig, 3, |rig, at, ack| {
            if first.replace(1) == 0 {
                rig.claim(at, ack, forged, forged.len());
            }
        });
        rig.finish();
        let expected = ["GET /latest/meta-data/ -> unobserved", EXCHANGE_V1, EXCHANGE_V1];
        assert_eq!(rig.take_events(), expected);
    }
}

#[test]
fn a_forged_end_or_reset_changes_nothing() {
    for (fin, rst) in [(true, false), (false, true)] {
        let mut rig = Rig::opened();
        exchanges(&mut rig, 3, |rig, at, ack| {
            let (at, ack) = (at as u32, Some(ack as u32));
            rig.send(&Packet { response: true, at, ack, fin, rst, ..Packet::default() });
            rig.seconds(29);
        });
        rig.finish();
        assert_eq!(rig.take_events(), [EXCHANGE_V1; 3], "fin {fin} rst {rst}");
        assert_eq!(rig.tracker.counters(), FlowCounters::default());
    }
}

#[test]
fn a_head_that_both_sides_left_unfinished_is_not_kept() {
    let cut = b"HTTP/1.1 200 OK\r\nX-Secret: abc";
    let mut rig = Rig::opened();
    rig.ask(0, 0, V1);
    rig.answer(0, V1.len(), cut, cut.len());
    // The caller closes first: its kernel acknowledges the service's end where no hook sees it.
    rig.fin(false, V1.len(), cut.len());
    let (at, ack) = (cut.len() as u32, Some(V1.len() as u32 + 1));
    rig.send(&Packet { response: true, at, ack, fin: true, ..Packet::default() });
    assert!(rig.tracker.buffered() > 0);
    rig.seconds(1);
    assert_eq!(rig.take_events(), [EXCHANGE_V1]);
    assert!(rig.tracker.is_empty(), "{} bytes are kept", rig.tracker.buffered());
    assert_eq!(rig.tracker.counters(), FlowCounters::default());
}

#[test]
fn a_forged_end_behind_a_half_closed_caller_hides_no_status() {
    let mut rig = Rig::opened();
    rig.ask(0, 0, V1);
    rig.fin(false, V1.len(), 0);
    rig.send(&Packet { response: true, fin: true, ..Packet::default() });
    rig.seconds(5);
    assert!(rig.take_events().is_empty());
    rig.answer(0, V1.len() + 1, OK, OK.len() + 5);
    assert_eq!(rig.take_events(), [EXCHANGE_V1]);
}

#[test]
fn an_end_where_data_stands_is_none() {
    let mut rig = Rig::opened();
    rig.ask(0, 0, &[V1, V2].concat());
    let asked = V1.len() + V2.len();
    let reply = OK.len() + 5;
    // The acknowledgement of the first answer is one more than this.
    let at = reply as u32 - 1;
    rig.send(&Packet { response: true, fin: true, at, ..Packet::default() });
    rig.answer(0, asked, &[OK, b"hello"].concat(), reply);
    rig.send(&Packet { response: true, fin: true, at, ..Packet::default() });
    rig.answer(reply, asked, OK, reply);
    assert_eq!(rig.take_events(), [EXCHANGE_V1, EXCHANGE_V2]);
}

#[test]
fn a_status_that_is_contradicted_once_it_was_reported_is_counted() {
    let mut rig = Rig::opened();
    rig.ask(0, 0, V1);
    rig.answer(0, V1.len(), REJECTED, REJECTED.len());
    rig.claim(0, V1.len(), OK, OK.len() + 5);
    rig.claim(0, V1.len(), OK, OK.len() + 5);
    assert_eq!(rig.take_events(), ["GET /latest/meta-data/ -> 401"]);
    assert_eq!(rig.tracker.counters().contradicted_responses, 1);
}

#[test]
fn bytes_in_the_place_of_a_body_that_is_not_captured_are_no_response() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut rig = Rig::opened();
    rig.bodies = false;
    rig.ask(0, 0, &[V1, V2].concat());
    let asked = V1.len() + V2.len();
    let forged = [b"0\r\n\r\n", REJECTED].concat();
    rig.claim(chunked.len(), asked, &forged, forged.len());
    rig.answer(0, asked, chunked, chunked.len());
    rig.acknowledge(asked, chunked.len() + 500);
    rig.seconds(30);
    assert_eq!(rig.take_events(), [EXCHANGE_V1, "GET /latest/user-data [abc] -> unobserved"]);
}

#[test]
fn forged_answers_to_the_opening_do_not_move_the_responses() {
    for forged in [4_000_000_000, 5_000] {
        let mut rig = Rig::new();
        rig.send(&Packet { syn: true, ..Packet::default() });
        let syn = Packet { syn: true, response: true, ack: Some(0), ..Packet::default() };
        rig.send(&Packet { at: forged, ..syn.clone() });
        rig.send(&syn);
        exchanges(&mut rig, 2, |rig, _, _| rig.send(&Packet { at: forged, ..syn.clone() }));
        rig.finish();
        assert_eq!(rig.take_events(), [EXCHANGE_V1; 2], "{forged}");
    }
}

#[test]
fn an_answer_on_an_idle_connection_is_no_loss() {
    let reply = OK.len() + 5;
    for requests in [0, 1] {
        let mut rig = Rig::opened();
        if requests == 1 {
            rig.ask(0, 0, V1);
            rig.answer(0, V1.len(), OK, reply);
        }
        let (asked, answered) = (requests * V1.len(), requests * reply);
        rig.seconds(5);
        rig.answer(answered, asked, LATE, LATE.len());
        rig.fin(true, answered + LATE.len(), asked);
        rig.fin(false, asked, answered + LATE.len() + 1);
        let expected = if requests == 1 { EXCHANGE_V1 } else { "unused Accepted" };
        assert_eq!(rig.take_events(), [expected]);
        let counters = rig.tracker.counters();
        assert_eq!((counters.unpaired_responses, counters.unsolicited_responses), (0, 1));
    }
}

#[test]
fn an_answer_to_what_a_body_hides_is_a_loss() {
    let post = b"POST / HTTP/1.1\r\nContent-Length: 500\r\n\r\n";
    let mut rig = Rig::opened();
    rig.ask(0, 0, &[post, V1].concat());
    let asked = post.len() + V1.len();
    rig.answer(0, asked, OK, OK.len() + 5);
    rig.answer(OK.len() + 5, asked, OK, OK.len() + 5);
    assert_eq!(rig.take_events(), ["POST / -> 200"]);
    assert_eq!(rig.tracker.counters().unpaired_responses, 1);
}

#[test]
fn a_head_whose_end_is_not_captured_costs_the_next_response_nothing() {
    let long =
        [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: ".to_vec(), vec![b'a'; 1_500]].concat();
    let reply = long.len() + 900;
    let mut rig = Rig::opened();
    rig.ask(0, 0, V1);
    rig.claim(0, V1.len(), &long, long.len());
    rig.acknowledge(V1.len(), reply);
    rig.ask(V1.len(), reply, V2);
    rig.claim(reply, V1.len() + V2.len(), &long, long.len());
    rig.fin(false, V1.len() + V2.len(), 2 * reply);
    rig.finish();
    assert_eq!(rig.take_events(), [EXCHANGE_V1, EXCHANGE_V2]);
}

#[test]
fn an_end_that_the_caller_acknowledges_says_that_nothing_comes() {
    let mut rig = Rig::opened();
    rig.ask(0, 0, V1);
    rig.send(&Packet { response: true, fin: true, ack: Some(0), ..Packet::default() });
    assert!(rig.take_events().is_empty());
    rig.acknowledge(V1.len(), 1);
    assert!(matches!(
        &rig.events[..],
        [FlowEvent::Exchange(Exchange { response: Response::None { by_service: true, .. }, .. })]
    ));
}
