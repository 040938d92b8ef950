//! Ground truth and report, side by side.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use imds_audit::simulator::{Entry, Log, TokenHeader};
use serde_json::{Value, json};

use super::audit::{Report, kinds};
use super::caller::Caller;
use super::scene::is_of;

/// Whether the callers waited for their responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// They did: a response that was sent has been seen.
    Patient,
    /// They did not: a response may have found nobody, and the audit may have ended while it was
    /// still waiting for it.
    Gone,
}

/// A request that the service was asked, and the event that reports it.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// What the service says of it.
    pub entry: Entry,
    /// What the program says of it.
    pub event: Value,
}

impl Exchange {
    /// Gives the class, the outcome, the method and the path that were reported.
    pub fn seen(&self) -> (&str, &str, &str, &str) {
        let text = |pointer| text(&self.event, pointer);
        (text("/imds/class"), text("/imds/outcome"), text("/http/method"), text("/http/path"))
    }

    /// Gives the number of the process that was reported.
    pub fn pid(&self) -> Option<u64> {
        self.event["process"]["pid"].as_u64()
    }

    /// Asserts that a caller was named as the one who sent it.
    pub fn assert_sent_by(&self, caller: &Caller) {
        let process = &self.event["process"];
        assert_eq!(process["pid"], json!(caller.pid), "{:?}", self.entry);
        assert_eq!(process["args"], json!(caller.arguments), "{:?}", self.entry);
        assert_eq!(process["attribution"], "writer", "{:?}", self.entry);
    }
}

/// Ground truth and report, side by side; both were found to agree.
#[derive(Debug)]
pub struct Findings {
    /// The requests, in the order that the service read them in.
    pub exchanges: Vec<Exchange>,
    /// The events about connections without a request.
    pub connections: Vec<Value>,
    /// All that the program wrote.
    pub report: Report,
}

impl Findings {
    /// Compares what the service was asked with what the program reported: each request in
    /// exactly one event, as what it was, and nothing else.
    pub(crate) fn compare(log: &Log, report: Report, namespace: u64, readers: Readers) -> Self {
        let events = report.events();
        assert_complete(&report, &events);
        let of_kind = |kind: &str| -> Vec<Value> {
            let of_kind = |event: &&Value| event["kind"] == kind && is_of(event, namespace);
            events.iter().filter(of_kind).cloned().collect()
        };
        assert_eq!(log.counters().not_kept, 0);
        let exchanges = join(log.entries(), of_kind("request"));
        for exchange in &exchanges {
            assert_agrees(exchange, readers);
        }
        Self { exchanges, connections: of_kind("connection"), report }
    }

    /// Gives the class, the outcome, the method and the path of each request.
    pub fn seen(&self) -> Vec<(&str, &str, &str, &str)> {
        self.exchanges.iter().map(Exchange::seen).collect()
    }

    /// Gives the class and the outcome of each request.
    pub fn verdicts(&self) -> Vec<(&str, &str)> {
        self.seen().into_iter().map(|(class, outcome, ..)| (class, outcome)).collect()
    }

    /// Asserts that a caller was named as the one who sent each request.
    pub fn assert_sent_by(&self, caller: &Caller) {
        self.exchanges.iter().for_each(|exchange| exchange.assert_sent_by(caller));
    }
}

/// Asserts that the program ended well, from `start` to `stop`, without losing anything.
fn assert_complete(report: &Report, events: &[Value]) {
    assert_eq!(report.code(), Some(0), "{report:#?}");
    assert_eq!(report.stdout, "", "the events go to the file");
    assert!(report.output.ends_with('\n'), "the last line is whole");
    let kinds = kinds(events);
    assert_eq!((kinds.first(), kinds.last()), (Some(&"start"), Some(&"stop")), "{kinds:?}");
    let losses: Vec<_> = events.iter().filter(|event| event["kind"] == "loss").collect();
    assert!(losses.is_empty(), "{losses:#?}");
    let stop = events.last().unwrap();
    assert_eq!(stop["losses"], json!([]));
    assert_eq!(stop["reason"], "signal");
    let requests = kinds.iter().filter(|kind| **kind == "request").count();
    assert_eq!(stop["totals"]["requests"], json!(requests), "totals and lines");
    assert!(events.iter().all(|event| event["schema"] == 1));
}

/// Joins requests with their events: by the caller's end of the connection, and by the order on
/// it.
fn join(entries: Vec<Entry>, events: Vec<Value>) -> Vec<Exchange> {
    let mut connections: BTreeMap<SocketAddr, (Vec<Entry>, Vec<Value>)> = BTreeMap::new();
    for entry in entries {
        connections.entry(canonical(entry.peer)).or_default().0.push(entry);
    }
    for event in events {
        let source: SocketAddr = text(&event, "/network/source").parse().unwrap();
        connections.entry(canonical(source)).or_default().1.push(event);
    }
    let mut exchanges = Vec::new();
    for (source, (entries, events)) in connections {
        let count = (entries.len(), events.len());
        let requests: Vec<_> =
            events.iter().map(|event| (&event["imds"], &event["http"])).collect();
        assert_eq!(count.0, count.1, "from {source}: {entries:#?} but {requests:#?}");
        exchanges.extend(
            entries.into_iter().zip(events).map(|(entry, event)| Exchange { entry, event }),
        );
    }
    exchanges.sort_by_key(|exchange| exchange.entry.sequence);
    exchanges
}

fn canonical(address: SocketAddr) -> SocketAddr {
    (address.ip().to_canonical(), address.port()).into()
}

/// Asserts that an event says of a request what the service says of it.
fn assert_agrees(exchange: &Exchange, readers: Readers) {
    let Exchange { entry, event } = exchange;
    let imds = &event["imds"];
    assert_eq!(imds["class"], class(entry), "{entry:#?} {imds:#}");
    assert_eq!(imds["endpoint"], entry.endpoint.to_string(), "{imds:#}");
    if !entry.readable {
        assert_eq!(event["http"], Value::Null);
        return;
    }
    let http = &event["http"];
    assert_eq!(http["method"], entry.method, "{entry:#?}");
    assert_eq!(http["path"], entry.target, "{entry:#?}");
    assert_eq!(http["user_agent"], json!(entry.user_agent), "{entry:#?}");
    let unseen = (json!("no-response"), Value::Null);
    let reported = (imds["outcome"].clone(), http["status"].clone());
    let unknown = (json!("unobserved"), Value::Null);
    if readers == Readers::Gone && (reported == unseen || reported == unknown) {
        return;
    }
    let sent = match entry.status {
        Some(status) => (json!(outcome(status)), json!(status)),
        None => unseen,
    };
    assert_eq!(reported, sent, "{entry:#?} {imds:#}");
}

/// Classifies a request anew, from what the service says of it.
fn class(entry: &Entry) -> &'static str {
    match (entry.readable, &*entry.method, &*entry.target, entry.token) {
        (false, ..) => "unknown",
        (_, "PUT", "/latest/api/token", _) => "v2-token",
        (.., TokenHeader::Present) => "v2",
        (.., TokenHeader::Empty) => "v2-empty-token",
        (.., TokenHeader::Absent) => "v1",
    }
}

fn outcome(status: u16) -> &'static str {
    match status {
        200..=299 => "served",
        401 => "rejected",
        403 => "forbidden",
        404 => "not-found",
        405 => "refused-method",
        400..=499 => "client-error",
        _ => "server-error",
    }
}

/// Gives a text within an event; a dash where there is none.
pub fn text<'a>(event: &'a Value, pointer: &str) -> &'a str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or("-")
}
