//! Every way to be misread, on a real socket: the rows of the audit's own test, sent to the
//! simulated service.

use imds_audit::simulator::{SERVICE_V4, Topology};
use imds_audit_tests::{Desk, Scene, own_port, text};

mod rows {
    include!("../../../imds-audit/src/audit/misread/rows.rs");
}

use rows::{ANSWERS, EXPECTS, ROWS, SECOND, SECOND_ANSWER};

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

/// Makes a scene whose program audits a service, the answers of which the test writes. Gives its
/// port.
fn with_a_desk() -> Option<(Scene, u16)> {
    let port = own_port();
    let scene = Scene::with(&["--endpoint", &format!("{SERVICE_V4}:{port}")], Topology::Direct)?;
    Some((scene, port))
}

#[test]
fn every_answer_is_reported_as_what_it_is() {
    let Some((scene, port)) = with_a_desk() else { return };
    let desk = Desk::open(&scene.network, port);
    for row in ANSWERS {
        let mut line = desk.call();
        line.ask(EXPECTS);
        for part in row.parts {
            line.answer(part);
        }
        if row.goes_on {
            line.ask(SECOND);
            line.answer(SECOND_ANSWER);
        }
    }
    let namespace = scene.network.client_inode();
    let mut events = scene.audit.stop().events();
    events.retain(|event| event["kind"] == "request" && event["network"]["netns"] == namespace);
    let mut outcomes = events.iter().map(|event| text(event, "/imds/outcome"));
    for row in ANSWERS {
        assert_eq!(outcomes.next(), Some(row.outcome), "{}", row.name);
        if row.goes_on {
            assert_eq!(outcomes.next(), Some("forbidden"), "behind the one {}", row.name);
        }
    }
    assert_eq!(outcomes.next(), None);
}

/// Requests that hide another one in what they declare as their body. A service that reads the
/// declaration otherwise serves the hidden one, and it is never silently missed.
const SMUGGLED: &[(&str, &[u8])] = &[
    (
        "in a length",
        b"GET / HTTP/1.1\r\nContent-Length: 34\r\n\r\nGET /latest/user-data HTTP/1.1\r\n\r\n",
    ),
    (
        "in a chunk, beside a length",
        b"GET / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n22\r\n\
          GET /latest/user-data HTTP/1.1\r\n\r\n\r\n0\r\n\r\n",
    ),
    (
        "behind two lengths",
        b"GET / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 34\r\n\r\n\
          GET /latest/user-data HTTP/1.1\r\n\r\n",
    ),
    (
        "behind a length with a sign",
        b"GET / HTTP/1.1\r\nContent-Length: +34\r\n\r\nGET /latest/user-data HTTP/1.1\r\n\r\n",
    ),
    (
        "behind a coding that is not the last",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n\
          GET /latest/user-data HTTP/1.1\r\n\r\n",
    ),
];

#[test]
fn a_request_hidden_in_anothers_body_is_counted_where_it_is_answered() {
    let Some((scene, port)) = with_a_desk() else { return };
    let desk = Desk::open(&scene.network, port);
    for (_, request) in SMUGGLED {
        let mut line = desk.call();
        line.ask(request);
        line.answer(SECOND_ANSWER);
        line.answer(SECOND_ANSWER);
    }
    let events = scene.audit.stop().events();
    let is = |kind: &'static str| events.iter().filter(move |event| event["kind"] == kind);
    let lost: u64 = is("loss")
        .filter(|event| event["loss"]["reason"] == "unpaired")
        .map(|event| event["loss"]["count"].as_u64().unwrap())
        .sum();
    let reported = is("request").count();
    assert_eq!((reported, lost), (SMUGGLED.len(), SMUGGLED.len() as u64), "{events:#?}");
}

#[test]
fn a_request_with_urgent_bytes_is_unknown_and_never_v2() {
    let Some((scene, port)) = with_a_desk() else { return };
    let desk = Desk::open(&scene.network, port);
    let mut line = desk.call();
    // The service is left without the last letter of the name: to it the request has no token.
    line.ask_with_urgent(
        b"GET /latest/meta-data/ami-id HTTP/1.1\r\nX-aws-ec2-metadata-toke",
        b'n',
        b": abc\r\n\r\n",
    );
    line.answer(SECOND_ANSWER);
    line.ask(SECOND);
    line.answer(SECOND_ANSWER);
    let namespace = scene.network.client_inode();
    let mut events = scene.audit.stop().events();
    events.retain(|event| event["kind"] == "request" && event["network"]["netns"] == namespace);
    let told: Vec<_> = events
        .iter()
        .map(|event| ["/imds/class", "/imds/reason", "/imds/outcome"].map(|at| text(event, at)))
        .collect();
    assert_eq!(told, [["unknown", "urgent", "forbidden"]; 2]);
}
