//! More than comfortable.

use std::thread;
use std::time::Duration;

use imds_audit_tests::{Scene, kinds, text};
use rustix::process::Signal;
use serde_json::Value;

use super::{CLIENT, GET_V1, GET_V2, PUT, SERVICE};

/// How many callers ask at once.
const CALLERS: usize = 8;

/// Has eight callers at once send requests of both versions on a connection each, 500 a round.
fn rush(scene: &Scene, address: &str, rounds: usize) {
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
    let Some(scene) = Scene::new() else { return };
    rush(&scene, SERVICE, 4);
    let findings = scene.finish();
    assert_eq!(findings.exchanges.len(), 4 * 480);
    assert!(findings.verdicts().iter().all(|(_, outcome)| *outcome == "served"));
}

#[test]
fn responses_that_came_while_the_program_was_held_up_for_long_are_not_missed() {
    let Some((scene, address)) = Scene::alone("json", &["--ring-size", "16777216"]) else {
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
    let Some(scene) = Scene::new() else { return };
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

#[test]
fn a_ring_that_is_full_is_told_and_makes_no_v2_request_a_v1() {
    const REQUESTS: usize = 100;
    // On a port of its own: a ring this small cannot take what others on the host ask.
    let Some((scene, address)) = Scene::alone("json", &["--ring-size", "4096"]) else { return };
    scene.audit.signal(Signal::STOP);
    let (line, headers) = GET_V2.split_at(GET_V2.find("Host").unwrap());
    let times = REQUESTS.to_string();
    let steps = ["connect", &address, "send", PUT, "receive", "times", &times];
    scene.run_well(CLIENT, &[&steps[..], &["send", line, "send", headers, "receive"]].concat());
    scene.audit.signal(Signal::CONT);
    let is_loss = |event: &Value| event["kind"] == "loss";
    let told = imds_audit_tests::until(|| scene.audit.events().iter().any(is_loss).then_some(()));
    assert!(told.is_some(), "no loss is told");

    let caller = scene.run_well(CLIENT, &["connect", &address, "send", GET_V1, "receive"]);
    let namespace = scene.network.client_inode();
    let Scene { audit, .. } = scene;
    let report = audit.stop();
    assert_eq!(report.code(), Some(0), "{report:#?}");
    let events = report.events();
    let losses = events.last().unwrap()["losses"].as_array().unwrap();
    assert!(losses.iter().any(|loss| loss["what"] == "records"), "{losses:#?}");

    let is_ours = |event: &&Value| event["network"]["netns"].as_u64() == Some(namespace);
    let ours: Vec<_> = events.iter().filter(is_ours).cloned().collect();
    let (after, before): (Vec<_>, Vec<_>) = ours
        .iter()
        .filter(|event| event["kind"] == "request")
        .partition(|event| event["process"]["pid"] == caller.pid);
    assert!(before.len() <= REQUESTS + 1, "{} events, {:?}", before.len(), kinds(&ours));
    for event in before {
        let class = text(event, "/imds/class");
        assert!(["v2-token", "v2", "unknown"].contains(&class), "{:#}", event["imds"]);
    }
    let after: Vec<_> = after.iter().map(|event| text(event, "/imds/class")).collect();
    assert_eq!(after, ["v1"]);
}
