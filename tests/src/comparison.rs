//! Ground truth and report, side by side.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use imds_audit::event::{
    Advice, Attribution, Body, Class, ConnectionEvent, Event, Loss, Origin, Outcome, Process,
    RequestEvent, Responsible, StopReason, UnknownReason,
};
use imds_audit::simulator::{Entry, Log, TokenHeader};

use super::audit::Report;
use super::caller::Caller;

/// Whether the callers waited for their responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseReads {
    /// They did: a response that was sent has been seen.
    All,
    /// They did not: a response may have found nobody, and the audit may have ended while it was
    /// still waiting for it. Or a response may be one that the audit's source cannot see.
    Unknown,
}

/// A request that the service was asked, and the event that reports it.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// What the service says of it.
    pub entry: Entry,
    /// What the program says of it.
    pub request: RequestEvent,
    /// Where the event comes from.
    pub origin: Arc<Origin>,
}

impl Exchange {
    /// Gives the class, the outcome, the method and the path that were reported.
    pub fn seen(&self) -> (&str, &str, &str, &str) {
        let RequestEvent { imds, http, .. } = &self.request;
        let (method, path) = http.as_ref().map_or(("-", "-"), |http| (&*http.method, &*http.path));
        (imds.class.name(), imds.outcome.name(), method, path)
    }

    /// Gives the process that was reported.
    pub fn process(&self) -> &Process {
        &self.request.process
    }

    /// Gives the process that was reported as responsible.
    pub fn responsible(&self) -> &Responsible {
        self.process().responsible.as_ref().unwrap_or_else(|| panic!("{self:#?}"))
    }

    /// Gives the advice that was reported.
    pub fn advice(&self) -> &Advice {
        self.request.advice.as_ref().unwrap_or_else(|| panic!("{self:#?}"))
    }

    /// Gives the number of the process that was reported.
    pub fn pid(&self) -> Option<u32> {
        self.request.process.pid
    }

    /// Asserts that a caller was named as the one who sent it.
    pub fn assert_sent_by(&self, caller: &Caller) {
        let process = &self.request.process;
        assert_eq!(process.pid, Some(caller.pid), "{:?}", self.entry);
        assert_eq!(process.args.as_deref(), Some(&*caller.arguments), "{:?}", self.entry);
        assert_eq!(process.attribution, Attribution::Writer, "{:?}", self.entry);
    }
}

/// Ground truth and report, side by side; both were found to agree.
#[derive(Debug)]
pub struct Comparison {
    /// The requests, in the order that the service read them in.
    pub exchanges: Vec<Exchange>,
    /// The connections without a request.
    pub connections: Vec<ConnectionEvent>,
    /// All that the program wrote.
    pub report: Report,
}

impl Comparison {
    /// Compares what the service was asked with what the program reported: each request in
    /// exactly one event, as what it was, and nothing else.
    pub(crate) fn compare(
        log: &Log,
        report: Report,
        namespace: u64,
        readers: ResponseReads,
    ) -> Self {
        let mut events = report.typed_events();
        assert_complete(&report, &events);
        let is_short = reads_status_lines_only(&events);
        events.retain_namespace(namespace);
        let (mut requests, mut connections) = (Vec::new(), Vec::new());
        for event in events {
            match event.body {
                Body::Request(request) => requests.push((*request, event.origin)),
                Body::Connection(connection) => connections.push(*connection),
                _ => {}
            }
        }
        assert_eq!(log.counters().not_kept, 0);
        let exchanges = join(log.entries(), requests);
        let mut last = BTreeMap::new();
        for exchange in &exchanges {
            last.insert(exchange.entry.peer, exchange.entry.sequence);
        }
        for exchange in &exchanges {
            let is_followed = last[&exchange.entry.peer] != exchange.entry.sequence;
            let unseen = match readers {
                ResponseReads::Unknown => &UNSEEN[..],
                ResponseReads::All if is_short && is_followed => &UNSEEN[..1],
                ResponseReads::All => &[],
            };
            assert_agrees(exchange, unseen);
        }
        Self { exchanges, connections, report }
    }

    /// Gives the class, the outcome, the method and the path of each request.
    pub fn seen(&self) -> Vec<(&str, &str, &str, &str)> {
        self.exchanges.iter().map(Exchange::seen).collect()
    }

    /// Gives the class of each request.
    pub fn classes(&self) -> Vec<&str> {
        self.seen().into_iter().map(|(class, ..)| class).collect()
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
fn assert_complete(report: &Report, events: &[Event]) {
    assert_eq!(report.code(), Some(0), "{report:#?}");
    assert_eq!(report.stdout, "", "the events go to the file");
    assert!(report.output.ends_with('\n'), "the last line is whole");
    let (Some(first), Some(last)) = (events.first(), events.last()) else { panic!("{report:#?}") };
    assert!(matches!(first.body, Body::Start(_)), "{first:#?}");
    let Body::Stop(stop) = &last.body else { panic!("{last:#?}") };
    // A packet source looks for the owner of a socket afterwards, and may find it gone. A request
    // that is `doubtful` comes from another test, whose connection was open when this audit began:
    // of our own requests each has its event, as `join` asserts.
    let is_ours = |loss: &&Loss| !["socket-owner", "doubtful"].contains(&&*loss.reason);
    let losses: Vec<_> = stop.losses.iter().filter(is_ours).collect();
    assert!(losses.is_empty(), "{losses:#?}");
    assert_eq!(stop.reason, StopReason::Signal);
    let requests = events.iter().filter(|e| matches!(e.body, Body::Request(_))).count();
    assert_eq!(stop.totals.requests, requests as u64, "totals and lines");
    assert!(events.iter().all(|event| event.schema == 1));
}

/// Joins requests with their events: by the caller's end of the connection, and by the time on
/// it.
fn join(entries: Vec<Entry>, events: Vec<(RequestEvent, Arc<Origin>)>) -> Vec<Exchange> {
    let mut connections: BTreeMap<SocketAddr, (Vec<Entry>, Vec<_>)> = BTreeMap::new();
    for entry in entries {
        connections.entry(canonical(entry.peer)).or_default().0.push(entry);
    }
    for event in events {
        let source: SocketAddr = event.0.network.source.as_deref().unwrap().parse().unwrap();
        connections.entry(canonical(source)).or_default().1.push(event);
    }
    let mut exchanges = Vec::new();
    for (source, (entries, mut events)) in connections {
        // A request whose process is still being looked up comes later in the file.
        events.sort_by_key(|(request, _)| request.time);
        order_within_packets(&entries, &mut events);
        let count = (entries.len(), events.len());
        let requests: Vec<_> = events.iter().map(|(event, _)| (&event.imds, &event.http)).collect();
        assert_eq!(count.0, count.1, "from {source}: {entries:#?} but {requests:#?}");
        let joined = entries.into_iter().zip(events);
        exchanges.extend(joined.map(|(entry, (request, origin))| Exchange {
            entry,
            request,
            origin,
        }));
    }
    exchanges.sort_by_key(|exchange| exchange.entry.sequence);
    exchanges
}

/// Brings events of one time, whose requests came in one packet, into the order of their requests.
fn order_within_packets(entries: &[Entry], events: &mut [(RequestEvent, Arc<Origin>)]) {
    for (place, entry) in entries.iter().enumerate() {
        let Some((first, later)) = events.get_mut(place..).and_then(|rest| rest.split_first_mut())
        else {
            return;
        };
        let is_of_entry = |request: &RequestEvent| {
            let target = request.http.as_ref().map(|http| &http.path);
            request.time == first.0.time && target == Some(&entry.target)
        };
        if !is_of_entry(&first.0)
            && let Some(found) = later.iter_mut().find(|(request, _)| is_of_entry(request))
        {
            std::mem::swap(first, found);
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    (address.ip().to_canonical(), address.port()).into()
}

/// What is reported where a response was not seen.
const UNSEEN: [Outcome; 2] = [Outcome::Unobserved, Outcome::NoResponse];

/// Says whether the program has no room for a filter that reads whole header blocks. Then the outcome
/// of a request that another one follows on its connection may be unobserved (docs/limits.md).
fn reads_status_lines_only(events: &[Event]) -> bool {
    let fallbacks = events.iter().filter_map(|event| match &event.body {
        Body::Start(start) => Some(&start.fallbacks),
        _ => None,
    });
    fallbacks.flatten().any(|fallback| fallback.name == "status-lines-only")
}

/// Asserts that an event says of a request what the service says of it, or that its response was not
/// seen, in one of these ways.
fn assert_agrees(exchange: &Exchange, unseen: &[Outcome]) {
    let Exchange { entry, request: RequestEvent { imds, http, .. }, .. } = exchange;
    if imds.reason == Some(UnknownReason::SharedPages) {
        // Only an IMDSv1 request is proven by bytes that their sender can still change.
        assert_eq!(imds.class, Class::Unknown, "{imds:#?}");
        assert_ne!(class(entry), Class::V1, "{entry:#?}");
    } else {
        assert_eq!(imds.class, class(entry), "{entry:#?} {imds:#?}");
    }
    assert_eq!(imds.endpoint, entry.endpoint.to_string(), "{imds:#?}");
    if !entry.readable {
        assert_eq!(*http, None);
        return;
    }
    let http = http.as_ref().unwrap();
    assert_eq!(http.method, entry.method, "{entry:#?}");
    assert_eq!(http.path, entry.target, "{entry:#?}");
    assert_eq!(http.user_agent, entry.user_agent, "{entry:#?}");
    let reported = (imds.outcome, http.status);
    if http.status.is_none() && unseen.contains(&imds.outcome) {
        return;
    }
    let sent = match entry.status {
        Some(status) => (outcome(status), Some(status)),
        None => (Outcome::NoResponse, None),
    };
    assert_eq!(reported, sent, "{entry:#?} {imds:#?}");
}

/// Classifies a request anew, from what the service says of it.
fn class(entry: &Entry) -> Class {
    // Intent counts: a date for a version, or a slash at the end, is answered with 403.
    let is_token = entry.target.trim_end_matches('/').ends_with("/api/token");
    match (entry.readable, &*entry.method, is_token, entry.token) {
        (false, ..) => Class::Unknown,
        (_, "PUT", true, _) => Class::V2Token,
        (.., TokenHeader::Present) => Class::V2,
        (.., TokenHeader::Empty) => Class::V2EmptyToken,
        (.., TokenHeader::Absent) => Class::V1,
    }
}

fn outcome(status: u16) -> Outcome {
    match status {
        200..=299 => Outcome::Served,
        401 => Outcome::Rejected,
        403 => Outcome::Forbidden,
        404 => Outcome::NotFound,
        405 => Outcome::RefusedMethod,
        400..=499 => Outcome::ClientError,
        _ => Outcome::ServerError,
    }
}
