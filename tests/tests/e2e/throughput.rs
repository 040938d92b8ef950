//! More than comfortable.

use std::thread;
use std::time::Duration;

use imds_audit_tests::TestBed;
use rustix::process::Signal;

use super::{CLIENT, GET_V1, GET_V2, PUT, SERVICE};

/// How many callers ask at once.
const CALLERS: usize = 8;

/// Has eight callers at once send requests of both versions on a connection each, 500 a round.
fn rush(scene: &TestBed, address: &str, rounds: usize) {
    const ROUND: usize = 500 / CALLERS / 4;
    let times = (rounds * ROUND).to_string();
    let mut steps = vec!["connect", address, "times", &times];
    for request in [PUT, GET_V2, GET_V1, GET_V2] {
        steps.extend(["send", request, "receive"]);
    }
    thread::scope(|callers| {
        for _ in 0..CALLERS {
            callers.spawn(|| scene.run_well(CLIENT, &steps));
        }
    });
}

#[test]
fn thousands_of_requests_of_eight_callers_at_once_are_each_reported() {
    let Some(scene) = TestBed::new() else { return };
    rush(&scene, SERVICE, 4);
    let findings = scene.finish();
    assert_eq!(findings.exchanges.len(), 4 * 480);
    assert!(findings.verdicts().iter().all(|(_, outcome)| *outcome == "served"));
}

#[test]
fn responses_that_came_while_the_program_was_held_up_for_long_are_not_missed() {
    let Some((scene, address)) = TestBed::alone("json", &["--ring-size", "16777216"]) else {
        return;
    };
    scene.audit.signal(Signal::STOP);
    rush(&scene, &address, 3);
    // Longer than the program waits for a response, 30 s: it is time itself that is tested.
    thread::sleep(Duration::from_secs(31));
    scene.audit.signal(Signal::CONT);
    let findings = scene.finish();
    assert_eq!(findings.exchanges.len(), 3 * 480);
    assert!(findings.verdicts().iter().all(|(_, outcome)| *outcome == "served"));
}

#[test]
fn what_happens_while_the_program_is_held_up_is_reported_afterwards() {
    let Some(scene) = TestBed::new() else { return };
    scene.audit.signal(Signal::STOP);
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let steps = ["connect", SERVICE, "send", PUT, "receive", "send", GET_V2, "receive"];
            scene.run_well(CLIENT, &steps)
        })
        .collect();
    scene.audit.signal(Signal::CONT);
    let findings = scene.finish();
    assert_eq!(findings.verdicts(), [("v2-token", "served"), ("v2", "served")].repeat(20));
    for (exchanges, caller) in findings.exchanges.chunks(2).zip(&callers) {
        exchanges.iter().for_each(|exchange| exchange.assert_sent_by(caller));
    }
}
