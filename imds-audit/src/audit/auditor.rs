//! Joins what was requested with who requested it.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use imds_audit_ebpf::COMM_LENGTH;

use super::address;
use super::advice::Advice;
use super::build::{self, Answer, Head, Seen, Way};
use super::class::Class;
use super::diagnosis::{Diagnostician, ProcessKey};
use super::event::{
    Body, Connection, ConnectionEvent, ConnectionFate, Event, RequestEvent, Time, UnknownReason,
};
use super::people::{Actor, People};
use super::portraits::Portraits;
use super::redact::Known;
use super::token::TokenHasher;
use crate::flow::{
    ConnectionId, Counters, Ends, Exchange, Fate, Finding, Left, Limits, Request, Response,
    Segment, Timestamp, Tracker, Unreadable, Unused,
};
use crate::process::Process;

/// How a record's time becomes a time of day.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// What is added to nanoseconds since boot to get nanoseconds since 1970.
    pub offset: i128,
}

impl Clock {
    /// Returns the time of day of a point in time; the nearest one that can be told.
    pub fn time(self, timestamp: Timestamp) -> Time {
        let nanoseconds = i128::from(timestamp.0).saturating_add(self.offset);
        Time(jiff::Timestamp::from_nanosecond(nanoseconds).unwrap_or(if nanoseconds < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        }))
    }
}

/// Turns segments and processes into events.
///
/// It does no I/O and has no clock: time comes with the records, what is known of a process with
/// the process.
pub struct Auditor {
    tracker: Tracker,
    people: People,
    portraits: Portraits,
    hasher: TokenHasher,
    diagnostician: Diagnostician,
    clock: Clock,
    /// The host's network namespace.
    host_netns: Option<u32>,
    findings: Vec<Finding>,
}

impl Auditor {
    /// Creates an auditor that follows no more than `limits` allow.
    pub fn new(limits: Limits, clock: Clock) -> Self {
        let most = NonZeroUsize::new(limits.connections).unwrap_or(NonZeroUsize::MIN);
        Self {
            tracker: Tracker::new(limits),
            people: People::new(most),
            portraits: Portraits::default(),
            hasher: TokenHasher::new(),
            diagnostician: Diagnostician::default(),
            clock,
            host_netns: None,
            findings: Vec::new(),
        }
    }

    /// Sets how times are told from here on; the time of day may be set while the audit runs.
    pub fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// Sets which network namespace is the host's, which tells who is behind a hop.
    pub fn set_host_netns(&mut self, netns: Option<u32>) {
        self.host_netns = netns;
    }

    /// Returns how times are told.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Returns what the flow station could not see as it was.
    pub fn counters(&self) -> Counters {
        self.tracker.counters()
    }

    /// Returns about how many bytes the connections that are followed take.
    pub fn held(&self) -> usize {
        self.tracker.held()
    }

    /// Returns how many processes and programs the diagnosis has forgotten.
    pub const fn forgotten(&self) -> u64 {
        self.diagnostician.forgotten()
    }

    /// Returns when [`expire`](Self::expire) is due.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.tracker.next_deadline()
    }

    /// Takes a process that opened a connection.
    pub fn connected(
        &mut self,
        connection: ConnectionId,
        ends: Ends,
        time: Timestamp,
        process: Arc<Process>,
        sink: &mut impl FnMut(Event),
    ) {
        let mut findings = std::mem::take(&mut self.findings);
        self.tracker.opened(connection, ends, time, &mut |finding| findings.push(finding));
        // What it ended belongs to whoever opened it before.
        self.hand_out(findings, sink);
        self.people.connected(connection, process);
    }

    /// Takes a process that wrote to a connection that it, or its program, had not opened.
    pub fn wrote(&mut self, connection: ConnectionId, process: Arc<Process>) {
        self.people.wrote(connection, process);
    }

    /// Takes a segment, with the name of the thread that sent it where it names its writer.
    pub fn segment(
        &mut self,
        segment: &Segment<'_>,
        comm: [u8; COMM_LENGTH],
        sink: &mut impl FnMut(Event),
    ) {
        if let Some(task) = segment.writer {
            self.people.sent(segment.connection, task, comm);
        }
        let mut findings = std::mem::take(&mut self.findings);
        self.tracker.segment(segment, &mut |finding| findings.push(finding));
        self.hand_out(findings, sink);
        self.forget_unless_followed(segment.connection);
    }

    /// Takes note that records were lost.
    pub fn lost(&mut self) {
        self.tracker.lost();
    }

    /// Hands out what is due.
    pub fn expire(&mut self, now: Timestamp, sink: &mut impl FnMut(Event)) {
        let mut findings = std::mem::take(&mut self.findings);
        self.tracker.expire(now, &mut |finding| findings.push(finding));
        self.hand_out(findings, sink);
    }

    /// Ends the audit: hands out everything that is still open.
    pub fn finish(&mut self, now: Timestamp, sink: &mut impl FnMut(Event)) {
        let mut findings = std::mem::take(&mut self.findings);
        self.tracker.finish(now, &mut |finding| findings.push(finding));
        self.hand_out(findings, sink);
    }

    fn hand_out(&mut self, mut findings: Vec<Finding>, sink: &mut impl FnMut(Event)) {
        for finding in findings.drain(..) {
            let connection = match &finding {
                Finding::Left(left) => {
                    self.left(left);
                    left.connection
                }
                Finding::Exchange(exchange) => {
                    sink(self.exchange(exchange));
                    exchange.connection
                }
                Finding::Unused(unused) => {
                    sink(self.unused(unused));
                    unused.connection
                }
            };
            self.forget_unless_followed(connection);
        }
        self.findings = findings;
    }

    fn forget_unless_followed(&mut self, connection: ConnectionId) {
        if !self.tracker.follows(connection) {
            self.people.forget(connection);
        }
    }

    fn exchange(&mut self, exchange: &Exchange) -> Event {
        let Exchange { connection, ends, request, response } = exchange;
        let (mut event, process) = self.request(*connection, ends, request, response);
        let diagnosis = self.diagnostician.observe(&event, process);
        event.advice = diagnosis.map(|diagnosis| Advice::new(diagnosis, &event));
        Event::from(Body::from(event))
    }

    /// Takes a token request that its caller no longer waits for as one without an answer, until
    /// its exchange says what came of it: the answer that a hop limit keeps away never comes, nor
    /// does the end of the connection, and the fall-back comes first.
    fn left(&mut self, left: &Left) {
        let silence = Response::None { time: left.request.started };
        let (event, process) = self.request(left.connection, &left.ends, &left.request, &silence);
        if event.imds.class == Class::V2Token {
            self.diagnostician.observe(&event, process);
        }
    }

    /// Makes the event of a request, without advice, and says which process made it.
    fn request(
        &mut self,
        connection: ConnectionId,
        ends: &Ends,
        request: &Request,
        response: &Response,
    ) -> (RequestEvent, Option<ProcessKey>) {
        let Request { started, head, .. } = request;
        let (attribution, actor) = self.people.author(connection, request);
        let headers: Vec<(&[u8], &[u8])> =
            head.iter().flat_map(crate::flow::RequestHead::headers).collect();
        let (answer, answered) = match response {
            Response::Answered { time, head, ttl } => {
                (Answer::Status { status: head.status(), ttl: *ttl }, Some(*time))
            }
            Response::None { time } => (Answer::Nothing, Some(*time)),
            Response::Unobserved => (Answer::Unobserved, None),
        };
        let seen = Seen {
            time: self.clock.time(*started),
            way: self.way(ends),
            head: match head {
                Ok(head) => {
                    Ok(Head { method: head.method(), target: head.target(), headers: &headers })
                }
                Err(why) => Err(reason(*why)),
            },
            answer,
            duration: answered.map(|time| since(*started, time)),
        };
        let (portraits, clock) = (&mut self.portraits, self.clock);
        let who = |known: &Known<'_>| portraits.of(actor.as_ref(), attribution, clock, known);
        let event = build::request(&seen, who, &self.hasher);
        (event, actor.map(|Actor { task, .. }| (task.pid, task.start_time)))
    }

    fn unused(&mut self, unused: &Unused) -> Event {
        let (attribution, actor) = self.people.opener(unused.connection);
        let event = ConnectionEvent {
            time: self.clock.time(unused.opened),
            connection: Connection {
                endpoint: address::text(unused.ends.endpoint),
                fate: match unused.fate {
                    Fate::Accepted => ConnectionFate::Accepted,
                    Fate::Refused => ConnectionFate::Refused,
                    Fate::Unanswered => ConnectionFate::Unanswered,
                    Fate::Unobserved => ConnectionFate::Unobserved,
                },
                duration_us: Some(build::microseconds(since(unused.opened, unused.ended))),
            },
            network: build::network(&self.way(&unused.ends), None),
            process: self.portraits.of(actor.as_ref(), attribution, self.clock, &Known::default()),
        };
        Event::from(Body::from(event))
    }

    fn way(&self, ends: &Ends) -> Way {
        Way {
            source: ends.source,
            endpoint: ends.endpoint,
            mapped: ends.mapped,
            netns: ends.netns,
            host_network: ends.netns.zip(self.host_netns).map(|(caller, host)| caller == host),
        }
    }
}

fn since(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_nanos(to.0.saturating_sub(from.0))
}

fn reason(why: Unreadable) -> UnknownReason {
    match why {
        Unreadable::NotHttp => UnknownReason::NotHttp,
        Unreadable::Cut => UnknownReason::Cut,
        Unreadable::Lost => UnknownReason::Lost,
        Unreadable::TooLong => UnknownReason::TooLong,
        Unreadable::Urgent => UnknownReason::Urgent,
    }
}
