//! More than comfortable.

use std::thread;

use imds_audit::simulator::Topology;
use imds_audit_tests::{Scene, kinds, text};
use rustix::process::Signal;
use serde_json::Value;

use super::{CLIENT, GET_V1, GET_V2, PUT, SERVICE};

/// The steps of a client that gets a token and uses it so often, in two writes each time.
fn split_v2(count: usize) -> Vec<&'static str> {
    let (line, headers) = GET_V2.split_at(GET_V2.find("Host").unwrap());
    let steps = ["connect", SERVICE, "send", PUT, "receive"];
    let request = ["send", line, "send", headers, "receive"];
    steps.into_iter().chain(request.into_iter().cycle().take(count * request.len())).collect()
}

#[test]
fn two_thousand_requests_of_eight_callers_at_once_are_each_reported() {
    const CALLERS: usize = 8;
    const REQUESTS: usize = 250;
    let Some(scene) = Scene::new() else { return };
    thread::scope(|workers| {
        for _ in 0..CALLERS {
            workers.spawn(|| {
                let requests = [PUT, GET_V2, GET_V1, GET_V2, GET_V1].into_iter().cycle();
                let steps =
                    requests.take(REQUESTS).flat_map(|request| ["send", request, "receive"]);
                let steps: Vec<_> = ["connect", SERVICE].into_iter().chain(steps).collect();
                scene.run_well(CLIENT, &steps);
            });
        }
    });
    let findings = scene.finish();
    assert_eq!(findings.exchanges.len(), CALLERS * REQUESTS);
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
    let Some(scene) = Scene::with(&["--ring-size", "4096"], Topology::Direct) else { return };
    scene.audit.signal(Signal::STOP);
    scene.run_well(CLIENT, &split_v2(REQUESTS));
    scene.audit.signal(Signal::CONT);
    let is_loss = |event: &Value| event["kind"] == "loss";
    let told = imds_audit_tests::until(|| scene.audit.events().iter().any(is_loss).then_some(()));
    assert!(told.is_some(), "no loss is told");

    let caller = scene.run_well(CLIENT, &["connect", SERVICE, "send", GET_V1, "receive"]);
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
