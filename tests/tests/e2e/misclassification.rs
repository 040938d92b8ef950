//! Requests and responses that are easy to misread, on real sockets: the rows of the audit's unit
//! tests, sent to the simulated service.

use imds_audit::event::{Class, Outcome, RequestEvent, UnknownReason};
use imds_audit::internal::misclassification::{ANSWERS, EXPECTS, ROWS, SECOND, SECOND_ANSWER};
use imds_audit::simulator::{SERVICE_V4, Topology};
use imds_audit_tests::{Listener, TestBed, own_port};

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

/// What sees the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Programs,
    Packets,
}
use Source::{Packets, Programs};

/// Gives the requests that were reported of the callers' network, in the order that they began in:
/// one whose process is still being looked for comes later in the file.
fn requests(scene: TestBed) -> Vec<RequestEvent> {
    let (_, mut requests) = scene.stop();
    requests.sort_by_key(|request| request.time);
    requests
}

#[test]
fn every_row_is_reported_once_and_as_what_it_is() {
    let Some(scene) = TestBed::new() else { return };
    check_rows(scene);
}

#[test]
fn every_row_is_reported_by_packets_once_and_as_what_it_is() {
    let Some(scene) = TestBed::by_packets(&[]) else { return };
    check_rows(scene);
}

fn check_rows(scene: TestBed) {
    for row in ROWS {
        let request = step(row.request);
        let token = ["connect", super::SERVICE, "send", super::PUT, "receive", "close"];
        let ask = ["connect", super::SERVICE, "send", &request, "receive", "close"];
        let wants_token = row.request.windows(7).any(|window| window == b"{token}");
        let steps = if wants_token { [&token[..], &ask].concat() } else { ask.to_vec() };
        scene.run_well(super::CLIENT, &steps);
    }
    let entries = scene.entries();
    let requests = requests(scene);
    assert_eq!(requests.len(), entries.len(), "each request in one event");
    for (request, entry) in requests.iter().zip(&entries) {
        // The same one, and not just as many.
        assert_eq!(request.network.source, Some(entry.peer.to_string()), "{request:#?} {entry:#?}");
    }
    let mut requests = requests.iter();
    for row in ROWS {
        if row.request.windows(7).any(|window| window == b"{token}") {
            assert_eq!(requests.next().unwrap().imds.class, Class::V2Token, "{}", row.name);
        }
        let request = requests.next().unwrap();
        assert_eq!(request.imds.class, row.class, "{}: {}", row.name, row.law);
        let status = request.http.as_ref().and_then(|http| http.status);
        let expected = (row.class != Class::Unknown).then_some(row.status);
        assert_eq!(status, expected, "{}: {}", row.name, row.law);
    }
    assert!(requests.next().is_none());
}

/// Makes a scene whose program audits a service whose answers the test writes. Gives its
/// port.
fn with_a_desk(source: Source) -> Option<(TestBed, u16)> {
    let port = own_port();
    let endpoint = format!("{SERVICE_V4}:{port}");
    let arguments = ["--endpoint", &endpoint];
    let scene = match source {
        Programs => TestBed::with(&arguments, Topology::Direct),
        Packets => TestBed::by_packets(&arguments),
    };
    Some((scene?, port))
}

/// The rows that a packet source reports with another outcome. It reads one header block of a packet
/// that begins with `HTTP/1.` and at least a status, so that no byte of a body is copied.
const BY_PACKETS: &[(&str, Outcome)] = &[
    // The last header block of the packet is behind those of the interim responses.
    ("after interim ones in the same segment", Outcome::Unobserved),
    // No packet begins with a whole status.
    ("in two halves of a status line", Outcome::Unobserved),
    ("with a segment for each byte of its version and status", Outcome::Unobserved),
    ("of half a status line", Outcome::Unobserved),
];

#[test]
fn every_answer_is_reported_as_what_it_is() {
    check_answers(Programs, &[]);
}

#[test]
fn every_answer_is_reported_by_packets_as_what_it_is_or_as_unobserved() {
    assert!(BY_PACKETS.iter().all(|(_, outcome)| *outcome == Outcome::Unobserved));
    check_answers(Packets, BY_PACKETS);
}

fn check_answers(source: Source, differing: &[(&str, Outcome)]) {
    let Some((scene, port)) = with_a_desk(source) else { return };
    let desk = Listener::open(&scene.network, port);
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
    // Outcomes count once the caller's kernel has acknowledged them.
    scene.wait_for_events(ANSWERS.len() + ANSWERS.iter().filter(|row| row.goes_on).count());
    let requests = requests(scene);
    let mut outcomes = requests.iter().map(|request| request.imds.outcome);
    let mut found = Vec::new();
    let mut expected = Vec::new();
    for row in ANSWERS {
        let differs = differing.iter().find(|(name, _)| *name == row.name);
        let outcome = differs.map_or(row.outcome, |(_, outcome)| *outcome);
        expected.push((row.name, Some(outcome)));
        found.push((row.name, outcomes.next()));
        if row.goes_on {
            expected.push((row.name, Some(Outcome::Forbidden)));
            found.push((row.name, outcomes.next()));
        }
    }
    assert_eq!(found, expected);
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
    check_smuggled(Programs);
}

#[test]
fn a_request_hidden_in_anothers_body_is_counted_by_packets_where_it_is_answered() {
    check_smuggled(Packets);
}

fn check_smuggled(source: Source) {
    let Some((scene, port)) = with_a_desk(source) else { return };
    let desk = Listener::open(&scene.network, port);
    for (_, request) in SMUGGLED {
        let mut line = desk.call();
        line.ask(request);
        line.answer(SECOND_ANSWER);
        line.answer(SECOND_ANSWER);
    }
    let report = scene.audit.stop();
    let losses = report.losses();
    let unpaired = losses.iter().filter(|loss| loss.reason == "unpaired");
    let lost: u64 = unpaired.map(|loss| loss.count).sum();
    let reported = report.requests().len();
    assert_eq!((reported, lost), (SMUGGLED.len(), SMUGGLED.len() as u64), "{report:#?}");
}

#[test]
fn a_request_with_urgent_bytes_is_unknown_and_never_v2() {
    check_urgent(Programs);
}

#[test]
fn a_request_with_urgent_bytes_is_unknown_by_packets_and_never_v2() {
    check_urgent(Packets);
}

fn check_urgent(source: Source) {
    let Some((scene, port)) = with_a_desk(source) else { return };
    let desk = Listener::open(&scene.network, port);
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
    // The second outcome counts once the caller's kernel has acknowledged it.
    scene.wait_for_events(2);
    let requests = requests(scene);
    let shown: Vec<_> = requests
        .iter()
        .map(|RequestEvent { imds, .. }| (imds.class, imds.reason, imds.outcome))
        .collect();
    let urgent = (Class::Unknown, Some(UnknownReason::Urgent), Outcome::Forbidden);
    assert_eq!(shown, [urgent; 2]);
}
