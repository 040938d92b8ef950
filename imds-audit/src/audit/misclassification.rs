//! Requests and responses that are easy to misread, from bytes to the written line.

use proptest::prelude::*;
use serde_json::Value;

use super::auditor::Auditor;
use super::clock::Clock;
use crate::event::{Class, Event, Outcome};
use crate::flow::{Limits, fixture};
use crate::internal::misclassification::{
    ANSWERS, AnswerRow, EXPECTS, ROWS, Row, SECOND, SECOND_ANSWER,
};
use crate::output::text::{TextStyle, render};
use crate::segment::{Direction, Segment, Timestamp};
use crate::text::bounded::is_hidden;

/// Sends bytes and an answer through the stages, the request in pieces. Returns the events.
fn reported(request: &[u8], piece: usize, answer: &[u8]) -> Vec<Event> {
    let mut auditor = Auditor::new(Limits::default(), Clock { offset: 0 });
    let segment = |direction, sequence: usize, payload| Segment {
        acknowledgment: Some(match direction {
            Direction::Request => 1,
            Direction::Response => request.len() as u32 + 1,
        }),
        ..fixture::segment(direction, sequence as u32, payload)
    };
    let opening = Segment { syn: true, ..segment(Direction::Request, 0, &[]) };
    auditor.handle_segment(&opening, [0; 16]);
    for (i, part) in request.chunks(piece).enumerate() {
        auditor.handle_segment(&segment(Direction::Request, 1 + i * piece, part), [0; 16]);
    }
    auditor.handle_segment(&segment(Direction::Response, 1, answer), [0; 16]);
    let acknowledgment = Segment {
        acknowledgment: Some(1 + answer.len() as u32),
        ..segment(Direction::Request, 1 + request.len(), &[])
    };
    auditor.handle_segment(&acknowledgment, [0; 16]);
    auditor.finish(Timestamp(2));
    std::iter::from_fn(|| auditor.poll_event()).collect()
}

fn json(event: &Event) -> Value {
    let mut line = Vec::new();
    crate::output::json::render(event, &mut line).unwrap();
    let line = String::from_utf8(line).unwrap();
    let line = line.strip_suffix('\n').unwrap();
    assert!(!line.contains(is_hidden), "{line:?}");
    serde_json::from_str(line).unwrap()
}

fn line(event: &Event) -> String {
    let mut line = Vec::new();
    render(event, TextStyle::default(), &mut line);
    let line = String::from_utf8(line).unwrap();
    let line = line.strip_suffix('\n').unwrap().to_owned();
    assert!(!line.contains(is_hidden), "{line:?}");
    line
}

fn request(row: &Row) -> Vec<u8> {
    let text = row.request.escape_ascii().to_string().replace("{token}", "AQAEplanted==");
    let mut bytes = Vec::new();
    // Back from the escapes: `{token}` is the only change.
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match (byte, byte == b'\\') {
            (_, true) => match rest.next().unwrap() {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'x' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => other,
            },
            (byte, false) => byte,
        });
    }
    bytes
}

fn version(class: Class) -> Value {
    match class {
        Class::V1 => 1.into(),
        Class::V2 | Class::V2Token | Class::V2EmptyToken => 2.into(),
        Class::Foreign | Class::Unknown => Value::Null,
    }
}

#[test]
fn every_row_is_told_as_what_it_is_however_it_is_cut() {
    assert!(ROWS.len() >= 45);
    for row in ROWS {
        let request = request(row);
        for piece in [request.len(), 1, 7, 16] {
            let answer = format!("HTTP/1.1 {} \r\nContent-Length: 0\r\n\r\n", row.status);
            let events = reported(&request, piece, answer.as_bytes());
            let place = format!("{} by {piece}: {}", row.name, row.law);
            assert_eq!(events.len(), 1, "{place}: {events:#?}");
            let event = json(&events[0]);
            assert_eq!(event["imds"]["class"], row.class.name(), "{place}");
            assert_eq!(event["imds"]["version"], version(row.class), "{place}");
            if row.class != Class::Unknown {
                assert_eq!(event["http"]["status"], row.status, "{place}");
            }
            let line = line(&events[0]);
            assert!(!line.contains("AQAEplanted"), "{line}");
            assert!(line.contains(row.class.name()), "{line}");
        }
    }
}

/// Arguments, and how a line of text shows them.
const ARGUMENTS: &[(&str, &[u8], &str)] = &[
    ("a line feed", b"a\n00:00:00.000  v2", r"'a\n00:00:00.000  v2'"),
    ("a carriage return", b"a\rb", r"'a\rb'"),
    ("ESC", b"\x1b[2J", r"'\x1b[2J'"),
    ("C1", b"\xc2\x9b2J", r"'\u{9b}2J'"),
    ("bytes that are not UTF-8", b"a\xff\xfe", "'a\u{fffd}\u{fffd}'"),
    ("a quote", b"a' v2 'b", r"'a'\'' v2 '\''b'"),
    ("the header's name as no header", b"X-aws-ec2-metadata-tokens", "X-aws-ec2-metadata-tokens"),
    ("nothing", b"", "''"),
];

#[test]
fn every_argument_is_one_word_of_one_line() {
    for (name, argument, shown) in ARGUMENTS {
        let event = crate::audit::fixture::request(&[], &[b"tool", argument, b"end"]);
        let event = Event::from(event);
        let args = &json(&event)["process"]["args"];
        assert_eq!(args[1], *String::from_utf8_lossy(argument), "{name}");
        assert_eq!(args.as_array().unwrap().len(), 3, "{name}");
        assert!(line(&event).contains(&format!(" tool {shown} end ")), "{name}: {}", line(&event));
    }
}

/// Says what comes of a request that is answered in parts, and of a second one, if the connection
/// goes on; then both ends close.
fn answered(row: &AnswerRow) -> Vec<Event> {
    let mut auditor = Auditor::new(Limits::default(), Clock { offset: 0 });
    let opening = Segment { syn: true, ..fixture::segment(Direction::Request, 0, &[]) };
    auditor.handle_segment(&opening, [0; 16]);
    // The numbers of the next byte of the caller and of the service.
    let (mut asked, mut reported) = (1, 1);
    let mut send = |direction, payload: &[u8], fin| {
        let (own, other) = match direction {
            Direction::Request => (&mut asked, reported),
            Direction::Response => (&mut reported, asked),
        };
        let sent = fixture::segment(direction, *own, payload);
        *own += payload.len() as u32 + u32::from(fin);
        auditor.handle_segment(&Segment { acknowledgment: Some(other), fin, ..sent }, [0; 16]);
    };
    send(Direction::Request, EXPECTS, false);
    for part in row.parts {
        send(Direction::Response, part, false);
    }
    if row.goes_on {
        send(Direction::Request, SECOND, false);
        send(Direction::Response, SECOND_ANSWER, false);
    }
    send(Direction::Request, &[], true);
    send(Direction::Response, &[], true);
    // The caller's kernel acknowledges it.
    send(Direction::Request, &[], false);
    auditor.finish(Timestamp(2));
    std::iter::from_fn(|| auditor.poll_event()).collect()
}

#[test]
fn every_answer_is_told_as_what_it_is() {
    for row in ANSWERS {
        let events = answered(row);
        let outcomes: Vec<_> =
            events.iter().map(|event| json(event)["imds"]["outcome"].clone()).collect();
        let expected = [row.outcome, Outcome::Forbidden].map(Outcome::name);
        assert_eq!(outcomes, expected[..1 + usize::from(row.goes_on)], "{}", row.name);
    }
}

proptest! {
    #[test]
    fn no_bytes_forge_a_line_or_a_second_event(target in "[^ \r\n]{1,20}", agent: Vec<u8>) {
        let agent: Vec<u8> = agent.into_iter().filter(|byte| *byte != b'\n').collect();
        let request =
            [b"GET /", target.as_bytes(), b" HTTP/1.1\r\nUser-Agent: a", &agent, b"\r\n\r\n"].concat();
        let events = reported(&request, 50, b"HTTP/1.1 200 OK\r\n\r\n");
        prop_assert_eq!(events.len(), 1);
        json(&events[0]);
        line(&events[0]);
    }
}
