//! Packets that the socket had no room for.

use rustix::process::Signal;

use super::*;

/// Requests that are sent while nobody takes packets.
const SENT: usize = 600;

#[test]
fn what_the_socket_had_no_room_for_is_counted_and_reported_and_nothing_is_proven() {
    let Some(scene) = TestBed::by_packets(&["--ring-size", "4096"]) else { return };
    let ask = ["send", PUT, "receive", "send", GET_V2, "receive"];
    scene.run_well(CLIENT, &[&["connect", SERVICE][..], &ask].concat());
    scene.wait_for_events(2);
    scene.audit.signal(Signal::STOP);
    let times = (SENT / 2).to_string();
    scene.run_well(CLIENT, &[&["connect", SERVICE, "times", &times][..], &ask].concat());
    scene.audit.signal(Signal::CONT);
    // What comes later is reported again.
    scene.run_well(CLIENT, &[&["connect", SERVICE][..], &ask].concat());
    let sent = scene.entries().len();
    assert_eq!(sent, SENT + 4);
    let output = scene.audit.output().to_owned();
    let report = scene.audit.stop();
    let events = report.events();
    let requests = events.iter().filter(|event| event["kind"] == "request").count();
    let stop = events.last().unwrap();
    let dropped: u64 = stop["losses"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|loss| loss["reason"] == "packet-socket")
        .map(|loss| loss["count"].as_u64().unwrap())
        .sum();
    assert!(dropped > 0, "{stop:#}");
    assert!(requests < sent, "{requests} of {sent}");
    // A request that is not reported lost a packet at least.
    assert!(sent as u64 <= requests as u64 + dropped, "{sent} sent, {requests} and {dropped}");
    let told: u64 = events
        .iter()
        .filter(|event| event["loss"]["reason"] == "packet-socket")
        .map(|event| event["loss"]["count"].as_u64().unwrap())
        .sum();
    assert_eq!(told, dropped, "each loss is in one event, and in the sums");
    assert!(report.stderr.contains("packet-socket"), "{}", report.stderr);
    // No class is wrong: nobody sent a request without a token.
    let classes = events.iter().filter_map(|event| event["imds"]["class"].as_str());
    assert!(!classes.into_iter().any(|class| class == "v1"), "{events:#?}");

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &report.output).unwrap();
    drop(output);
    let verdict = Command::new(program().unwrap())
        .args(["report", "--scope", "container", "--format", "json"])
        .arg(file.path())
        .output()
        .unwrap();
    let verdict: Value = serde_json::from_slice(&verdict.stdout).unwrap();
    assert_eq!(verdict["verdict"], "NOT_PROVEN", "{verdict:#}");
    let codes = verdict["reasons"].as_array().unwrap().iter().map(|reason| &reason["code"]);
    assert!(codes.clone().any(|code| code == "losses"), "{codes:?}");
}
