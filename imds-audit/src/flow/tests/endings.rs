//! Ends of connections, real and apparent.

use super::*;

#[test]
fn end_from_the_caller_alone_keeps_waiting_and_from_the_service_does_not() {
    let mut rig = Rig::opened();
    rig.ask(0, 0, V1);
    rig.fin(false, V1.len(), 0);
    assert!(rig.take_events().is_empty());
    rig.fin(true, 0, V1.len() + 1);
    assert_eq!(rig.take_events(), ["GET /latest/meta-data/ -> none"]);
    assert!(rig.tracker.is_empty());
    rig.ask(0, 0, V1);
    rig.finish();
    assert!(rig.take_events().is_empty());
}

#[test]
fn a_stray_reset_does_not_hide_the_next_request() {
    let mut rig = Rig::opened();
    rig.ask(0, 0, V1);
    rig.answer(0, V1.len(), OK, OK.len() + 5);
    rig.send(&Packet { rst: true, response: true, at: 999_999, ..Packet::default() });
    // The retransmission of what is known is no request, the bytes behind it are one.
    rig.ask(0, 0, V1);
    rig.ask(V1.len(), OK.len() + 5, V2);
    rig.answer(OK.len() + 5, V1.len() + V2.len(), OK, OK.len() + 5);
    assert_eq!(
        rig.take_events(),
        ["GET /latest/meta-data/ -> 200", "GET /latest/user-data [abc] -> 200"]
    );
    rig.finish();
}

#[test]
fn reset_ends_with_what_is_known() {
    for response in [false, true] {
        let mut rig = Rig::opened();
        rig.ask(0, 0, &[V1, &V2[..20]].concat());
        rig.send(&Packet { rst: true, response, ..Packet::default() });
        if response {
            // It may be forged: the caller's next packet would show that.
            assert!(rig.take_events().is_empty());
            rig.seconds(600);
        }
        assert_eq!(rig.take_events(), ["GET /latest/meta-data/ -> none", "Cut -> none"]);
        assert!(rig.tracker.is_empty());
    }
}

#[test]
fn caller_that_acknowledges_unseen_bytes_before_its_end_was_answered_unobserved() {
    let mut rig = Rig::opened();
    rig.ask(0, 0, V1);
    rig.fin(false, V1.len(), 300);
    rig.send(&Packet { rst: true, response: true, at: 300, ..Packet::default() });
    rig.seconds(30);
    assert_eq!(rig.take_events(), ["GET /latest/meta-data/ -> unobserved"]);
}

#[test]
fn unused_connections_tell_their_fate() {
    let mut rig = Rig::new();
    rig.connect();
    rig.send(&Packet { syn: true, ..Packet::default() });
    rig.send(&Packet { rst: true, response: true, ack: Some(0), ..Packet::default() });
    rig.seconds(1);
    assert!(rig.take_events().is_empty());
    rig.seconds(1);
    assert_eq!(rig.take_events(), ["unused Refused"]);
    rig.connect();
    rig.seconds(60);
    assert_eq!(rig.take_events(), ["unused Unanswered"]);
    rig.id = 2;
    rig.open();
    rig.fin(false, 0, 0);
    assert_eq!(rig.take_events(), ["unused Accepted"]);
    rig.id = 3;
    rig.send(&Packet { syn: true, ..Packet::default() });
    rig.tracker.handle_loss();
    rig.seconds(60);
    assert_eq!(rig.take_events(), ["unused Unobserved"]);
}

#[test]
fn end_that_went_unseen_is_not_a_lost_request() {
    let mut rig = Rig::opened();
    rig.ask(0, 0, V2);
    rig.answer(0, V2.len(), OK, OK.len() + 5);
    rig.fin(true, OK.len() + 5, V2.len() + 1);
    rig.seconds(1);
    rig.finish();
    assert_eq!(rig.take_events(), [EXCHANGE_V2]);
}

/// Packets from the service that the caller's kernel throws away, after one exchange.
fn strays() -> Vec<Packet> {
    let reply = OK.len() as u32 + 5;
    let mut strays = Vec::new();
    for at in [0u32.wrapping_sub(1), 0, 1, reply - 6, reply + 1, 999_999, 1 << 30, 3 << 30] {
        strays.push(Packet { rst: true, response: true, at, ..Packet::default() });
    }
    for at in [0u32.wrapping_sub(70_000), 0, 1, reply - 1, 3 << 30] {
        strays.push(Packet { fin: true, response: true, at, ..Packet::default() });
    }
    let other = Some(0u32.wrapping_sub(100));
    strays.push(Packet { syn: true, response: true, at: 5_000, ack: other, ..Packet::default() });
    strays
}

#[test]
fn a_stray_reset_or_end_changes_no_outcome() {
    for stray in strays() {
        let reply = OK.len() + 5;
        let both = V1.len() + V2.len();
        let mut rig = Rig::opened();
        rig.ask(0, 0, V1);
        rig.answer(0, V1.len(), OK, reply);
        rig.ask(V1.len(), reply, &V2[..30]);
        rig.send(&stray);
        rig.ask(V1.len() + 30, reply, &V2[30..]);
        rig.send(&stray);
        rig.answer(reply, both, OK, reply);
        rig.send(&stray);
        rig.ask(both, 2 * reply, V1);
        rig.send(&stray);
        rig.seconds(29);
        let place = (stray.rst, stray.fin, stray.at);
        assert_eq!(rig.take_events(), [EXCHANGE_V1, EXCHANGE_V2], "{place:?}");
        rig.seconds(1);
        assert_eq!(rig.take_events(), ["GET /latest/meta-data/ -> none"], "{place:?}");
    }
}

#[test]
fn an_end_ahead_of_what_was_seen_gives_way_to_the_true_one() {
    let mut rig = Rig::opened();
    rig.ask(0, 0, V1);
    rig.send(&Packet { response: true, at: 5_000, fin: true, ..Packet::default() });
    rig.fin(true, 0, V1.len());
    assert_eq!(rig.take_events(), ["GET /latest/meta-data/ -> none"]);
    let mut rig = Rig::opened();
    rig.ask(0, 0, V1);
    rig.fin(false, 9_000, 0);
    rig.send(&Packet { rst: true, at: V1.len() as u32, ..Packet::default() });
    assert_eq!(rig.take_events(), ["GET /latest/meta-data/ -> none"], "and nothing lost");
}

#[test]
fn a_stray_answer_to_the_opening_does_not_move_the_responses() {
    let mut rig = Rig::new();
    rig.send(&Packet { syn: true, ..Packet::default() });
    let stray = Packet { syn: true, response: true, at: 5_000, ..Packet::default() };
    rig.send(&Packet { ack: Some(77), ..stray.clone() });
    rig.send(&stray);
    rig.send(&Packet { rst: true, response: true, ack: Some(77), ..Packet::default() });
    rig.send(&Packet { rst: true, response: true, ..Packet::default() });
    rig.send(&Packet { syn: true, response: true, ack: Some(0), ..Packet::default() });
    rig.ask(0, 0, V1);
    rig.answer(0, V1.len(), OK, OK.len() + 5);
    assert_eq!(rig.take_events(), [EXCHANGE_V1]);
}

#[test]
fn a_reset_within_a_body_and_one_behind_the_end_are_true() {
    let reply = OK.len() + 5;
    for (end, at) in [(false, OK.len() + 2), (false, reply), (true, reply + 1)] {
        let mut rig = Rig::opened();
        rig.ask(0, 0, V1);
        rig.claim(0, V1.len(), OK, reply);
        rig.acknowledge(V1.len(), if at < reply { OK.len() } else { reply });
        if end {
            rig.fin(true, reply, V1.len());
        }
        rig.send(&Packet { rst: true, response: true, at: at as u32, ..Packet::default() });
        rig.seconds(2);
        assert_eq!(rig.take_events(), [EXCHANGE_V1]);
        assert!(rig.tracker.is_empty(), "{end} {at}");
    }
}

#[test]
fn a_reset_that_the_callers_kernel_may_have_thrown_away_leaves_the_outcome_unobserved() {
    let both = V1.len() + V2.len();
    let received = OK.len() + 2;
    // While a body is on its way, the next byte is not known; behind it, it is, and a reset with
    // another number does nothing.
    for (more, at, outcome) in [
        (0, received, "unobserved"),
        (0, received + 1, "unobserved"),
        (3, received + 3, "none"),
        (3, received + 4, "none"),
    ] {
        let mut rig = Rig::opened();
        rig.ask(0, 0, &[V1, V2].concat());
        rig.claim(0, both, OK, received + more);
        rig.acknowledge(both, received + more);
        rig.send(&Packet { rst: true, response: true, at: at as u32, ..Packet::default() });
        rig.seconds(30);
        let second = format!("GET /latest/user-data [abc] -> {outcome}");
        assert_eq!(rig.take_events(), [EXCHANGE_V1, second.as_str()], "{more} {at}");
    }
}

/// A connection that ended after one exchange, as far as its last packet tells.
fn ended() -> Rig {
    let mut rig = Rig::opened();
    rig.ask(0, 0, V1);
    rig.answer(0, V1.len(), OK, OK.len() + 5);
    rig.send(&Packet { rst: true, at: V1.len() as u32, ..Packet::default() });
    assert_eq!(rig.take_events(), [EXCHANGE_V1]);
    assert!(rig.tracker.is_empty());
    rig
}

#[test]
fn retransmission_after_the_end_is_no_request_also_where_new_bytes_follow_in_it() {
    let mut rig = ended();
    rig.ask(0, 0, V1);
    rig.ask(10, 0, &V1[10..]);
    assert!(rig.tracker.is_empty());
    rig.ask(0, OK.len() + 5, &[V1, V2].concat());
    rig.answer(OK.len() + 5, V1.len() + V2.len(), OK, OK.len() + 5);
    assert_eq!(rig.take_events(), [EXCHANGE_V2]);
    rig.ask(0, 0, V1);
    rig.finish();
    assert!(rig.take_events().is_empty());
}

#[test]
fn bytes_behind_a_gap_do_not_hide_the_request_that_fills_it_after_the_end() {
    let mut rig = ended();
    let at = V1.len();
    rig.ask(at + 20, OK.len() + 5, &V2[20..]);
    rig.ask(at, OK.len() + 5, &V2[..20]);
    rig.finish();
    assert_eq!(rig.take_events(), ["GET /latest/user-data [abc] -> unobserved"]);
}

#[test]
fn header_value_that_looks_like_a_request_after_an_end_is_not_one() {
    let mut rig = Rig::opened();
    rig.ask(0, 7, b"GET / HTTP/1.1\r\nA: ");
    rig.send(&Packet { rst: true, at: 19, ..Packet::default() });
    assert_eq!(rig.take_events(), ["Cut -> unobserved"]);
    rig.ask(19, 7, b"GET /forged HTTP/1.1\r\n\r\n");
    rig.finish();
    assert!(rig.take_events().is_empty());
}

#[test]
fn end_before_any_byte_does_not_hide_a_request() {
    for known in [false, true] {
        let mut rig = Rig::new();
        if known {
            rig.open();
        } else {
            rig.connect();
        }
        rig.send(&Packet { rst: true, ..Packet::default() });
        assert_eq!(rig.take_events().len(), 1);
        rig.ask(0, 0, V1);
        rig.finish();
        assert_eq!(rig.take_events(), ["GET /latest/meta-data/ -> unobserved"]);
    }
}

#[test]
fn bytes_right_behind_the_callers_end_do_not_stop_the_audit() {
    let mut rig = Rig::opened();
    rig.ask(0, 0, V1);
    rig.fin(false, V1.len(), 0);
    rig.ask(V1.len() + 1, 0, V2);
    rig.finish();
    assert_eq!(rig.take_events()[0], "GET /latest/meta-data/ -> unobserved");
}

#[test]
fn a_put_is_reported_while_it_waits_and_other_requests_are_not() {
    const PUT: &[u8] = b"PUT /latest/api/token HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut rig = Rig::opened();
    rig.ask(0, 0, V1);
    rig.answer(0, V1.len(), OK, OK.len() + 5);
    assert!(rig.waiting.is_empty());
    rig.ask(V1.len(), OK.len() + 5, PUT);
    assert_eq!(rig.waiting, ["waiting /latest/api/token"]);
    rig.fin(false, V1.len() + PUT.len(), OK.len() + 5);
    rig.seconds(31);
    let events = rig.take_events();
    assert_eq!(events.last().unwrap(), "PUT /latest/api/token -> none");
    assert_eq!(rig.waiting.len(), 1);
}

#[test]
fn the_service_that_ends_the_connection_first_is_told_from_the_caller_that_gives_up() {
    let by_service = |rig: &Rig| match rig.events.as_slice() {
        [FlowEvent::Exchange(exchange)] => match exchange.response {
            Response::None { by_service, .. } => by_service,
            _ => panic!("{exchange:?}"),
        },
        events => panic!("{events:?}"),
    };
    for is_reset in [false, true] {
        let mut rig = Rig::opened();
        rig.ask(0, 0, V1);
        let end = Packet { response: true, ack: Some(V1.len() as u32), ..Packet::default() };
        rig.send(&Packet { fin: !is_reset, rst: is_reset, ..end });
        match is_reset {
            // The caller's own end acknowledges that of the service.
            false => rig.fin(false, V1.len(), 1),
            true => rig.seconds(30),
        }
        assert!(by_service(&rig));
        let mut rig = Rig::opened();
        rig.ask(0, 0, V1);
        rig.fin(false, V1.len(), 0);
        rig.fin(true, 0, V1.len() + 1);
        assert!(!by_service(&rig));
    }
}
