//! Every way to be misread, on a real socket: the rows of the audit's own test, sent to the
//! simulated service.

use imds_audit_tests::{Scene, text};

mod rows {
    include!("../../../imds-audit/src/audit/misread/rows.rs");
}

use rows::ROWS;

/// Writes bytes as the test client's escapes have them.
fn step(request: &[u8]) -> String {
    let mut step = String::new();
    for &byte in request {
        match byte {
            b'\r' => step.push_str("\\r"),
            b'\n' => step.push_str("\\n"),
            b' '..=b'~' => step.push(byte.into()),
            byte => step.push_str(&format!("\\x{byte:02x}")),
        }
    }
    step
}

#[test]
fn every_row_is_reported_once_and_as_what_it_is() {
    let Some(scene) = Scene::new() else { return };
    for row in ROWS {
        let request = step(row.request);
        let token = ["connect", super::SERVICE, "send", super::PUT, "receive", "close"];
        let ask = ["connect", super::SERVICE, "send", &request, "receive", "close"];
        let wants_token = row.request.windows(7).any(|window| window == b"{token}");
        let steps = if wants_token { [&token[..], &ask].concat() } else { ask.to_vec() };
        scene.run_well(super::CLIENT, &steps);
    }
    let namespace = scene.network.client_inode();
    let entries = scene.entries();
    let report = scene.audit.stop();
    let events: Vec<_> = report
        .events()
        .into_iter()
        .filter(|event| event["kind"] == "request" && event["network"]["netns"] == namespace)
        .collect();
    assert_eq!(events.len(), entries.len(), "each request in one event");
    let mut events = events.iter();
    for row in ROWS {
        if row.request.windows(7).any(|window| window == b"{token}") {
            assert_eq!(text(events.next().unwrap(), "/imds/class"), "v2-token", "{}", row.name);
        }
        let event = events.next().unwrap();
        assert_eq!(text(event, "/imds/class"), row.class, "{}: {}", row.name, row.law);
        let status = event.pointer("/http/status").and_then(|status| status.as_u64());
        let expected = (row.class != "unknown").then_some(u64::from(row.status));
        assert_eq!(status, expected, "{}: {}", row.name, row.law);
    }
    assert!(events.next().is_none());
}
