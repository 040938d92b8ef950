//! Packets that the socket had no room for.

use imds_audit::event::{Class, Loss};
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
    let report = scene.audit.stop();
    let requests = report.requests();
    let reported = requests.len();
    let count = |losses: &[Loss]| -> u64 {
        let dropped = losses.iter().filter(|loss| loss.reason == "packet-socket");
        dropped.map(|loss| loss.count).sum()
    };
    let dropped = count(&report.stop().losses);
    assert!(dropped > 0, "{:#?}", report.stop());
    assert!(reported < sent, "{reported} of {sent}");
    // A request that is not reported lost a packet at least.
    assert!(sent as u64 <= reported as u64 + dropped, "{sent} sent, {reported} and {dropped}");
    assert_eq!(count(&report.losses()), dropped, "each loss is in one event, and in the sums");
    assert!(report.stderr.contains("packet-socket"), "{}", report.stderr);
    // No class is wrong: every request had a token.
    assert!(requests.iter().all(|request| request.imds.class != Class::V1), "{requests:#?}");

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &report.output).unwrap();
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
