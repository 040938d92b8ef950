//! What is kept at most, and what happens at the bound.

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
    assert_eq!(rig.told(), ["TooLong -> none"]);
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
    assert_eq!(rig.told(), ["GET /latest/meta-data/ -> unobserved"]);
}

#[test]
fn too_many_pending_requests_are_handed_out_unobserved() {
    let mut rig = Rig::with(Limits { pending: 2, ..Limits::default() });
    rig.open();
    rig.ask(0, 0, &[V1, V1, V1].concat());
    assert_eq!(rig.told(), ["GET /latest/meta-data/ -> unobserved"; 2]);
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
    assert_eq!(rig.told(), [TOLD_V1, TOLD_V2]);
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
    assert_eq!(rig.findings.len(), 50_000);
    assert!(rig.told().iter().all(|told| told == TOLD_V1));
    assert_eq!(rig.tracker.counters(), Counters::default());
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
    assert_eq!(rig.told(), ["GET / [t] -> 200"]);
}
