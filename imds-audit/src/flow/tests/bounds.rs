//! Bounds on the state kept, and the behaviour at each.

use super::*;

#[test]
fn head_over_the_limit_is_too_long() {
    let mut rig = Rig::opened();
    let long = [b"GET / HTTP/1.1\r\nA: ".to_vec(), vec![b'a'; 70_000]].concat();
    for (i, part) in long.chunks(4096).enumerate() {
        rig.ask(i * 4096, 0, part);
        assert!(rig.tracker.buffered() <= 300_000);
    }
    rig.seconds(30);
    assert_eq!(rig.take_events(), ["TooLong -> none"]);
}

#[test]
fn eviction_hands_out_the_connection_that_was_silent_longest() {
    let mut rig = Rig::with(Limits { connections: 2, ..Limits::default() });
    for id in 1..=3 {
        rig.id = id;
        rig.open();
        rig.ask(0, 0, V1);
    }
    assert_eq!(rig.tracker.len(), 2);
    assert_eq!(rig.tracker.counters().evicted, 1);
    assert_eq!(rig.take_events(), ["GET /latest/meta-data/ -> unobserved"]);
}

#[test]
fn a_busy_connection_stays_and_attempts_that_came_to_nothing_go_first() {
    let mut rig = Rig::with(Limits { connections: 4, ..Limits::default() });
    let ask = |rig: &mut Rig, id, number: usize| {
        (rig.id, rig.time) = (id, rig.time + 1_000);
        rig.ask(number * V1.len(), number * (OK.len() + 5), V1);
        rig.answer(number * (OK.len() + 5), (number + 1) * V1.len(), OK, OK.len() + 5);
    };
    // Opened first, and busy; open without a request; silent since its request.
    for id in [1, 2, 3] {
        (rig.id, rig.time) = (id, rig.time + 1_000);
        rig.open();
    }
    ask(&mut rig, 1, 0);
    ask(&mut rig, 3, 0);
    for (number, attempt) in (100..200).enumerate() {
        (rig.id, rig.time) = (attempt, rig.time + 1_000);
        rig.connect();
        ask(&mut rig, 1, number + 1);
    }
    let events = rig.take_events();
    assert_eq!(events.iter().filter(|event| *event == EXCHANGE_V1).count(), 102);
    assert_eq!(events.iter().filter(|event| *event == "unused Unobserved").count(), 99);
    assert_eq!((events.len(), rig.tracker.counters().evicted), (201, 0));
    for id in [1, 2, 3] {
        assert!(rig.tracker.follows(ConnectionId(id)), "{id}");
    }
    // Then the open one without a request, which is not reported, then the silent one.
    for (id, evicted) in [(300, 0), (301, 1), (302, 2)] {
        (rig.id, rig.time) = (id, rig.time + 1_000);
        rig.open();
        rig.ask(0, 0, V1);
        assert_eq!(rig.tracker.counters().evicted, evicted);
    }
    assert!(rig.tracker.follows(ConnectionId(1)) && !rig.tracker.follows(ConnectionId(2)));
    assert_eq!(rig.take_events(), ["unused Unobserved"]);
}

#[test]
fn whoever_makes_us_hold_most_pays_for_it() {
    let mut rig = Rig::with(Limits { buffered: 20_000, ..Limits::default() });
    rig.open();
    rig.ask(0, 0, V1);
    for id in 2..10 {
        rig.id = id;
        rig.open();
        rig.ask(0, 0, V1);
        rig.claim(20, V1.len(), &[b'x'; 9_000], 9_000);
        assert!(rig.tracker.buffered() <= 20_000);
    }
    assert!(rig.tracker.follows(ConnectionId(1)));
    assert!(rig.tracker.counters().evicted > 5);
}

#[test]
fn a_connection_without_a_request_is_reported_when_it_ends_and_not_before_its_first() {
    let reply = OK.len() + 5;
    let mut rig = Rig::opened();
    rig.seconds(700);
    assert!(rig.take_events().is_empty());
    rig.ask(0, 0, V1);
    rig.answer(0, V1.len(), OK, reply);
    rig.fin(false, V1.len(), reply);
    assert_eq!(rig.take_events(), [EXCHANGE_V1]);
    rig.id = 2;
    rig.open();
    rig.seconds(700);
    rig.fin(false, 0, 0);
    assert_eq!(rig.take_events(), ["unused Accepted"]);
    assert_eq!(rig.tracker.next_deadline(), None);
}

#[test]
fn too_many_pending_requests_are_handed_out_unobserved() {
    let mut rig = Rig::with(Limits { pending: 2, ..Limits::default() });
    rig.open();
    rig.ask(0, 0, &[V1, V1, V1].concat());
    assert_eq!(rig.take_events(), ["GET /latest/meta-data/ -> unobserved"; 2]);
    assert_eq!(rig.tracker.counters().pending_overflows, 1);
}

#[test]
fn idle_connection_is_forgotten_and_found_again() {
    let mut rig = Rig::opened();
    rig.ask(0, 0, V1);
    rig.answer(0, V1.len(), OK, OK.len() + 5);
    rig.seconds(600);
    assert!(rig.tracker.is_empty());
    rig.ask(V1.len(), OK.len() + 5, V2);
    rig.answer(OK.len() + 5, V1.len() + V2.len(), OK, OK.len() + 5);
    assert_eq!(rig.take_events(), [EXCHANGE_V1, EXCHANGE_V2]);
}

#[test]
fn ten_thousand_connections_tell_every_request() {
    let mut rig = Rig::new();
    for id in 0..10_000 {
        rig.id = id;
        rig.open();
    }
    for round in 0..5 {
        for id in 0..10_000 {
            (rig.id, rig.time) = (id, rig.time + 50_000);
            rig.ask(round * V1.len(), round * (OK.len() + 5), V1);
            rig.answer(round * (OK.len() + 5), (round + 1) * V1.len(), OK, OK.len() + 5);
        }
    }
    assert_eq!(rig.events.len(), 50_000);
    assert!(rig.take_events().iter().all(|reported| reported == EXCHANGE_V1));
    assert_eq!(rig.tracker.counters(), FlowCounters::default());
}

#[test]
fn token_at_the_end_of_a_long_head_in_single_bytes_is_read() {
    let mut rig = Rig::opened();
    let fill = "a".repeat(31 << 10);
    let head = format!("GET / HTTP/1.1\r\nA: {fill}\r\nX-aws-ec2-metadata-token: t\r\n\r\n");
    for (i, byte) in head.bytes().enumerate() {
        rig.ask(i, 0, &[byte]);
    }
    rig.answer(0, head.len(), OK, OK.len());
    assert_eq!(rig.take_events(), ["GET / [t] -> 200"]);
}
