//! Header blocks and headers.

use super::*;

fn header(lines: &str) -> Option<String> {
    let head = format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n");
    let head = RequestHead::parse(head.as_bytes()).unwrap();
    head.header("X-aws-ec2-metadata-token").map(|v| String::from_utf8_lossy(v).into_owned())
}

#[test]
fn only_a_line_with_exactly_the_name_is_the_header() {
    assert_eq!(header("x-AWS-ec2-metadata-TOKEN:  abc\t").as_deref(), Some("abc"));
    assert_eq!(header("X-aws-ec2-metadata-token:").as_deref(), Some(""));
    assert_eq!(header("X-aws-ec2-metadata-token:\r\n\tabc").as_deref(), Some("abc"));
    assert_eq!(header("X-aws-ec2-metadata-token: a\0\x1bb").as_deref(), Some("a\0\x1bb"));
    assert_eq!(header("A: b\nX-aws-ec2-metadata-token: c\n").as_deref(), Some("c"));
    assert_eq!(header("X-aws-ec2-metadata-token : abc"), None);
    assert_eq!(header("X-aws-ec2-metadata-token-ttl-seconds: 60"), None);
    assert_eq!(header("A: b\r\n X-aws-ec2-metadata-token: abc"), None);
    assert_eq!(header(" X-aws-ec2-metadata-token: abc"), None);
    assert_eq!(header("X-aws-ec2-metadata-token"), None);
}

#[test]
fn absolute_form_bare_line_feeds_and_leading_empty_lines_are_read() {
    let mut rig = Rig::opened();
    rig.ask(0, 0, b"\r\n\nGET http://169.254.169.254/latest/ HTTP/1.0\nA: b\n\n");
    rig.finish();
    assert_eq!(rig.take_events(), ["GET http://169.254.169.254/latest/ -> unobserved"]);
}

#[test]
fn heads_never_print_values() {
    let head = RequestHead::parse(b"GET /secret HTTP/1.1\r\nA: secret\r\n\r\n").unwrap();
    let response = ResponseHead::parse(b"HTTP/1.1 200\r\nA: secret\r\n\r\n").unwrap();
    assert_eq!(response.status(), 200);
    assert!(!format!("{head:?}{response:?}").contains("secret"));
}

#[test]
fn bytes_that_are_not_http_are_told_once() {
    let mut rig = Rig::opened();
    rig.ask(0, 0, b"\x16\x03\x01\x00\xff");
    rig.ask(5, 0, b"\x16\x03\x01\x00\xff");
    rig.fin(false, 10, 0);
    rig.finish();
    assert_eq!(rig.take_events(), ["NotHttp -> unobserved"]);
    for line in ["GET /\r\n", "GET  HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n", "G(T / HTTP/1.1\r\n"] {
        let mut rig = Rig::opened();
        rig.ask(0, 0, line.as_bytes());
        rig.finish();
        assert_eq!(rig.take_events(), ["NotHttp -> unobserved"], "{line}");
    }
}

#[test]
fn every_request_behind_bytes_that_are_no_http_is_reported_or_counted() {
    const TAB: &[u8] = b"GET\t/x HTTP/1.1\r\nHost: x\r\n\r\n";
    let reply = OK.len() + 5;
    let mut rig = Rig::opened();
    for number in 0..2 {
        rig.ask(number * TAB.len(), number * reply, TAB);
        rig.answer(number * reply, (number + 1) * TAB.len(), OK, reply);
    }
    // Closed before its answer, and then one of another form.
    rig.ask(2 * TAB.len(), 2 * reply, TAB);
    rig.ask(3 * TAB.len(), 2 * reply, b"");
    rig.fin(false, 3 * TAB.len(), 2 * reply);
    rig.finish();
    let outcomes = ["NotHttp -> 200", "NotHttp -> 200", "NotHttp -> unobserved"];
    assert_eq!(rig.take_events(), outcomes);
    assert_eq!(rig.tracker.counters(), FlowCounters::default());

    // Several at once, in one packet and cut anywhere.
    let all = [TAB, TAB, V1, TAB].concat();
    for cut in [all.len(), 45, 7] {
        let mut rig = Rig::opened();
        for (i, part) in all.chunks(cut).enumerate() {
            rig.ask(i * cut, 0, part);
        }
        rig.finish();
        assert_eq!(rig.take_events(), ["NotHttp -> unobserved"]);
        assert_eq!(rig.tracker.counters().doubtful_requests, 3, "{cut}");
    }
}

#[test]
fn a_request_with_urgent_bytes_is_not_read_as_what_its_bytes_spell() {
    let mut rig = Rig::opened();
    rig.ask(0, 0, V1);
    let (name, rest) = V2.split_at(55);
    rig.ask(V1.len(), 0, name);
    rig.send(&Packet {
        urgent: true,
        at: (V1.len() + name.len()) as u32,
        ack: Some(0),
        payload: rest.to_vec(),
        ..Packet::default()
    });
    rig.ask(V1.len() + V2.len(), 0, V1);
    rig.finish();
    // What came before is what it was; what comes behind may be read with a byte less, too.
    let expected = ["GET /latest/meta-data/ -> unobserved", "Urgent -> unobserved"];
    assert_eq!(rig.take_events(), [expected[0], expected[1], expected[1]]);
}
