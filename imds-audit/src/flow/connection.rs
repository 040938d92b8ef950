//! One connection: both directions, and the pairing of responses with requests.

mod acceptance;
mod pairing;
mod segments;

use std::collections::VecDeque;

use super::body::Expectation;
use super::limits::{FlowCounters, Limits};
use super::requests::{RequestOrigin, RequestStep, Requests};
use super::responses::{ParsedResponse, Responses};
use super::{ConnectResult, FlowEvent, IdleConnection, RequestHead, Unreadable};
use crate::segment::{ConnectionId, Direction, EndpointPair, Segment, Timestamp};

/// The acknowledgements that are remembered while request bytes before them are missing.
const MAX_UNPLACED: usize = 16;

/// What a connection works with that is not its own.
pub(super) struct Context<'a> {
    pub(super) limits: &'a Limits,
    pub(super) counters: &'a mut FlowCounters,
    /// How often records were lost so far.
    pub(super) losses: u64,
    pub(super) events: &'a mut VecDeque<FlowEvent>,
}

/// A request that waits for its response, or keeps its place in line after it was handed out.
struct Pending {
    origin: RequestOrigin,
    /// `None` after it was handed out: its response, should it still come, is then not taken
    /// for the next request's.
    head: Option<Result<RequestHead, Unreadable>>,
    expectation: Expectation,
    deadline: Timestamp,
}

/// An acknowledgement of the caller behind request bytes that we have not seen yet.
struct UnplacedAck {
    /// The caller had sent the bytes before this.
    behind: u64,
    /// What it had received then.
    position: u64,
    time: Timestamp,
}

/// Rebuilds one connection's exchanges.
///
/// Responses come in the order of the requests. Where a head was missed, the acknowledgement
/// tells: a caller that does not pipeline has, when it asks, received everything before its
/// response, so the response begins where its request acknowledged to. A connection that was
/// ever seen to pipeline (two requests with the same acknowledgement) is not paired so.
pub(super) struct Connection {
    id: ConnectionId,
    ends: EndpointPair,
    opened: Option<Timestamp>,
    opening: Option<u32>,
    active: Timestamp,
    losses: u64,
    /// The result of the attempt to connect, as far as the service's packets claim it.
    result: Option<ConnectResult>,
    used: bool,
    /// When a reset came from the service after which the caller was not heard.
    reset: Option<Timestamp>,
    /// The caller's kernel must have taken it.
    reset_is_sure: bool,
    service_ended: bool,
    /// The service ended the connection before the caller did.
    closed_by_service: bool,
    closed: bool,
    /// It was seen to end: nothing more comes of it.
    ended: bool,
    pipelines: bool,
    /// The caller sent urgent bytes: from here on it is uncertain what the service reads.
    urgent: bool,
    /// See [`crate::segment::Segment::shared`], of a segment up to here.
    shared: bool,
    /// See [`crate::segment::Segment::translated`].
    translated: bool,
    last_asked: Option<u64>,
    /// How many of its requests were lost and counted, by the newest segment.
    lost_requests: u32,
    /// How many of its records were lost, by the newest segment.
    lost_records: u32,
    /// How many of the lost requests have been answered, or never will be.
    settled: u32,
    early: Option<ParsedResponse>,
    pending: VecDeque<Pending>,
    unplaced: VecDeque<UnplacedAck>,
    /// How far the caller has sent, as far as was seen.
    sent: u64,
    requests: Requests,
    responses: Responses,
}

impl Connection {
    pub(super) fn new(
        id: ConnectionId,
        ends: EndpointPair,
        time: Timestamp,
        opened: bool,
        context: &Context<'_>,
    ) -> Self {
        let Limits { head, held, .. } = *context.limits;
        Self {
            id,
            ends,
            opened: opened.then_some(time),
            opening: None,
            active: time,
            losses: context.losses,
            result: None,
            used: false,
            reset: None,
            reset_is_sure: false,
            service_ended: false,
            closed_by_service: false,
            closed: false,
            ended: false,
            pipelines: false,
            urgent: false,
            shared: false,
            translated: false,
            last_asked: None,
            lost_requests: 0,
            lost_records: 0,
            settled: 0,
            early: None,
            pending: VecDeque::new(),
            unplaced: VecDeque::new(),
            sent: 0,
            requests: Requests::new(head, held),
            responses: Responses::new(head, held),
        }
    }

    /// Returns whether everything of it was handed out.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Returns whether it was seen to end, so that whatever still comes of it is a repetition.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Returns when it was last heard of.
    pub(super) fn active(&self) -> Timestamp {
        self.active
    }

    /// Returns whether a SYN with this sequence number opens another connection on the same
    /// socket, rather than being a retransmission of this one's.
    pub(super) fn is_reopened_by(&self, sequence: u32) -> bool {
        self.opening.is_some_and(|opening| opening != sequence)
            || (self.opening.is_none() && self.requests.stream.next().is_some())
    }

    /// Returns how many bytes it buffers.
    pub(super) fn size(&self) -> usize {
        let heads: usize = self.pending.iter().map(|p| p.head.as_ref().map_or(0, head_size)).sum();
        heads + self.requests.size() + self.responses.size()
    }

    /// Returns whether it has had a request, or has begun one.
    pub(super) fn is_used(&self) -> bool {
        self.used || self.opened.is_none() || self.requests.within_head()
    }

    /// Returns whether the service accepted it, as far as its packets claim that.
    pub(super) fn is_accepted(&self) -> bool {
        self.result == Some(ConnectResult::Accepted) && self.reset.is_none()
    }

    /// Returns when [`Self::expire`] must be called.
    pub(super) fn deadline(&self, limits: &Limits) -> Timestamp {
        let waiting = self.pending.iter().filter(|p| p.head.is_some()).map(|p| p.deadline).min();
        let unplaced = self.unplaced.front().map(|ack| ack.time.after(limits.gap_timeout));
        let unseen = self.responses.gap_since().map(|since| since.after(limits.gap_timeout));
        let held = self.requests.stream.beyond_gap();
        let held = held.map(|(_, since)| since.after(limits.response_timeout));
        let own =
            [self.claim_deadline(limits), self.cut_deadline(limits), self.idle_deadline(limits)];
        [waiting, unplaced, unseen, held]
            .into_iter()
            .chain(own)
            .flatten()
            .fold(Timestamp(u64::MAX), Timestamp::min)
    }

    /// Returns when the head of a response that both sides left unfinished is taken as it is.
    ///
    /// A caller that closes first acknowledges the service's end from a socket in `TIME_WAIT`,
    /// whose packets no hook sees. The status line was acknowledged before, so a forged end changes
    /// no outcome.
    fn cut_deadline(&self, limits: &Limits) -> Option<Timestamp> {
        let since = self.responses.cut_since().filter(|_| self.requests.finished())?;
        Some(since.after(limits.acknowledgment_timeout))
    }

    /// Returns when the response that came must have been acknowledged.
    fn claim_deadline(&self, limits: &Limits) -> Option<Timestamp> {
        self.pending.front().filter(|p| p.head.is_some())?;
        self.responses.claimed_since().map(|since| since.after(limits.acknowledgment_timeout))
    }

    /// Returns when it is forgotten, if nothing comes. One that was accepted and has had no request
    /// is not, so that it is not handed out as unused before its first request.
    fn idle_deadline(&self, limits: &Limits) -> Option<Timestamp> {
        if let Some(reset) = self.reset
            && !self.waits()
            && self.requests.is_between_requests()
        {
            return Some(reset.after(limits.reset_timeout));
        }
        if self.is_used() {
            return Some(self.active.after(limits.idle_timeout));
        }
        (!self.is_accepted()).then(|| self.active.after(limits.unanswered_timeout))
    }

    /// Takes a segment.
    pub(super) fn segment(&mut self, segment: &Segment<'_>, context: &mut Context<'_>) {
        self.active = self.active.max(segment.time);
        self.ends.source = self.ends.source.or(segment.ends.source);
        self.ends.netns = self.ends.netns.or(segment.ends.netns);
        self.lost_requests = self.lost_requests.max(segment.lost_requests);
        self.lost_records = self.lost_records.max(segment.lost_records);
        self.used |= self.lost_requests > 0;
        if !self.accepts(segment) {
            return;
        }
        match segment.direction {
            Direction::Request => self.request_segment(segment, context),
            Direction::Response => self.response_segment(segment, context),
        }
        self.pump(segment.time, context);
        if segment.rst && segment.direction == Direction::Request {
            self.end(segment.time, true, context);
        }
    }

    /// Reads whatever can be read, in both directions.
    fn pump(&mut self, now: Timestamp, context: &mut Context<'_>) {
        loop {
            self.read_responses(context);
            if self.place_acks() {
                continue;
            }
            if !self.read_request(context) {
                break;
            }
        }
        context.counters.doubtful_requests += self.requests.take_doubtful();
        context.counters.tunneled_bytes += self.requests.take_tunneled();
        context.counters.contradicted_responses += self.responses.take_contradicted();
        self.responses.watch_gap(now);
        self.note_service_end(now, context);
        if self.requests.finished() && !self.closed {
            if let Some(request) = self.requests.end(now) {
                self.on_request(request, context);
            }
            if !self.waits() {
                self.end(now, true, context);
            }
        }
    }

    /// Reads on in the caller's direction. Returns whether there was something to read.
    fn read_request(&mut self, context: &mut Context<'_>) -> bool {
        match self.requests.advance() {
            Some(RequestStep::Request(request)) => self.on_request(request, context),
            Some(RequestStep::Resumes { acknowledged }) => {
                self.responses.acknowledge_position(acknowledged);
                self.read_responses(context);
            }
            None => return false,
        }
        true
    }

    /// Takes the end of the service, once the caller has acknowledged it.
    fn note_service_end(&mut self, now: Timestamp, context: &mut Context<'_>) {
        self.service_ended &= self.responses.is_finishing();
        self.closed_by_service &= self.service_ended;
        if self.responses.finished() && !self.service_ended {
            let certain = !self.responses.has_gap();
            self.closed_by_service = !self.requests.finished();
            if let Some(response) = self.responses.cut() {
                self.on_response(response, context);
            }
            self.flush(now, certain, context);
            self.service_ended = true;
        }
    }

    /// Does what is due at `now`.
    pub(super) fn expire(&mut self, now: Timestamp, context: &mut Context<'_>) {
        let limits = *context.limits;
        // Each turn takes the one that is due: the bytes before it are then seen or given up.
        let due = |ack: &&UnplacedAck| ack.time.after(limits.gap_timeout) <= now;
        while let Some(behind) = self.unplaced.front().filter(due).map(|ack| ack.behind) {
            self.give_up_requests(behind, now, context);
            self.pump(now, context);
        }
        let held = self.requests.stream.beyond_gap();
        if let Some((end, _)) = held.filter(|(_, t)| t.after(limits.response_timeout) <= now) {
            self.give_up_requests(end, now, context);
            self.pump(now, context);
        }
        if self.responses.gap_since().is_some_and(|t| t.after(limits.gap_timeout) <= now) {
            self.give_up_responses(context);
            self.pump(now, context);
        }
        if self.claim_deadline(&limits).is_some_and(|deadline| deadline <= now) {
            self.expire_claim(context);
        }
        if self.cut_deadline(&limits).is_some_and(|deadline| deadline <= now)
            && let Some(response) = self.responses.cut()
        {
            self.on_response(response, context);
        }
        self.expire_pending(now, context);
        if self.idle_deadline(&limits).is_some_and(|deadline| deadline <= now) {
            // A silent connection with requests may go on; the others have come to nothing.
            let is_over = self.reset.is_some() || !self.is_used();
            context.counters.idle += u64::from(!is_over);
            self.end(now, is_over, context);
        }
        if self.requests.finished() && !self.waits() {
            self.end(now, true, context);
        }
    }

    /// Ends the connection. Where it was `observed` to end, what did not come never will.
    pub(super) fn end(&mut self, now: Timestamp, observed: bool, context: &mut Context<'_>) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        self.ended = observed;
        while let Some(end) = self.requests.gap_end() {
            self.give_up_requests(end, now, context);
        }
        let behind = self.unplaced.iter().map(|ack| ack.behind).max();
        if let Some(behind) = behind.filter(|_| !self.requests.finished()) {
            self.give_up_requests(behind, now, context);
        }
        self.pump(now, context);
        if let Some(request) = self.requests.end(now) {
            self.on_request(request, context);
        }
        let certain = (observed || self.reset.is_some()) && !self.responses.has_gap();
        if self.waits() && self.responses.has_gap() {
            // The last request may tell where its response begins.
            self.give_up_responses(context);
            self.read_responses(context);
        }
        if let Some(response) = self.responses.cut() {
            self.on_response(response, context);
        }
        self.flush(now, certain, context);
        self.report_unused(now, observed, context);
    }

    /// Forgets the connection to make room. It is not said of an open connection without a request
    /// that it is one: that may still come.
    pub(super) fn evict(&mut self, now: Timestamp, context: &mut Context<'_>) {
        self.used |= self.is_accepted();
        self.end(now, false, context);
    }

    fn report_unused(&mut self, now: Timestamp, observed: bool, context: &mut Context<'_>) {
        let Some(opened) = self.opened.filter(|_| !self.used) else { return };
        let certain = observed && self.losses == context.losses && self.lost_records == 0;
        let result = self.result.unwrap_or(if certain {
            ConnectResult::Unanswered
        } else {
            ConnectResult::Unobserved
        });
        let (connection, ends) = (self.id, self.ends);
        let idle = IdleConnection { connection, ends, opened, ended: now, result };
        context.events.push_back(FlowEvent::IdleConnection(idle));
    }
}

fn head_size(head: &Result<RequestHead, Unreadable>) -> usize {
    head.as_ref().map_or(0, RequestHead::size)
}
