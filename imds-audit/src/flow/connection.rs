//! One connection: both directions, and which response answers which request.

mod ending;
mod pairing;
mod segments;

use std::collections::VecDeque;

use zeroize::Zeroizing;

use super::limits::{Counters, Limits};
use super::requests::{Begun, Requests};
use super::responses::{Answer, Responses};
use super::stream::Tag;
use super::{
    ConnectionId, Direction, Ends, Fate, Finding, RequestHead, Segment, Timestamp, Unreadable,
    Unused,
};

/// What a deferred segment costs beside its bytes.
const DEFERRED_COST: usize = 128;

/// What a connection works with that is not its own.
pub(super) struct Context<'a> {
    pub(super) limits: &'a Limits,
    pub(super) counters: &'a mut Counters,
    /// How often records were lost so far.
    pub(super) losses: u64,
    pub(super) sink: &'a mut dyn FnMut(Finding),
}

/// A request that waits for its response, or keeps its place in line after it was handed out.
struct Pending {
    begun: Begun,
    /// `None` after it was handed out: its response, should it still come, is then not taken
    /// for the next request's.
    head: Option<Result<RequestHead, Unreadable>>,
    to_head: bool,
    to_connect: bool,
    deadline: Timestamp,
}

/// A segment from the service that acknowledges request bytes which we have not seen yet.
struct Deferred {
    position: u64,
    acknowledged: u64,
    tag: Tag,
    length: u32,
    fin: bool,
    payload: Zeroizing<Vec<u8>>,
}

/// Rebuilds one connection's exchanges.
///
/// Responses come in the order of the requests. Where a head was missed, the acknowledgement
/// tells: a caller that does not pipeline has, when it asks, received everything before its
/// response, so the response begins where its request acknowledged to. A connection that was
/// ever seen to pipeline (two requests with the same acknowledgement) is not paired so.
pub(super) struct Connection {
    id: ConnectionId,
    ends: Ends,
    opened: Option<Timestamp>,
    opening: Option<u32>,
    active: Timestamp,
    losses: u64,
    fate: Option<Fate>,
    used: bool,
    reported_unused: bool,
    service_ended: bool,
    closed: bool,
    /// It was seen to end: nothing more comes of it.
    ended: bool,
    pipelines: bool,
    /// The caller sent urgent bytes: from here on it is uncertain what the service reads.
    urgent: bool,
    last_asked: Option<u64>,
    /// How many of its requests were lost and counted, by the newest segment.
    lost_requests: u32,
    /// How many of its records were lost, by the newest segment.
    lost_records: u32,
    /// How many of the lost requests have been answered, or never will be.
    settled: u32,
    early: Option<Answer>,
    pending: VecDeque<Pending>,
    deferred: VecDeque<Deferred>,
    deferred_cost: usize,
    requests: Requests,
    responses: Responses,
}

impl Connection {
    pub(super) fn new(
        id: ConnectionId,
        ends: Ends,
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
            fate: None,
            used: false,
            reported_unused: false,
            service_ended: false,
            closed: false,
            ended: false,
            pipelines: false,
            urgent: false,
            last_asked: None,
            lost_requests: 0,
            lost_records: 0,
            settled: 0,
            early: None,
            pending: VecDeque::new(),
            deferred: VecDeque::new(),
            deferred_cost: 0,
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
        heads + self.deferred_cost + self.requests.size() + self.responses.size()
    }

    /// Returns when [`Self::expire`] must be called.
    pub(super) fn deadline(&self, limits: &Limits) -> Timestamp {
        let waiting = self.pending.iter().filter(|p| p.head.is_some()).map(|p| p.deadline).min();
        let deferred = self.deferred.front().map(|d| d.tag.time.after(limits.gap_timeout));
        let unseen = self.responses.gap_since().map(|since| since.after(limits.gap_timeout));
        let held = self.requests.stream.beyond_gap();
        let held = held.map(|(_, since)| since.after(limits.response_timeout));
        let idle = self.active.after(limits.idle_timeout);
        [waiting, deferred, unseen, held, self.unused_deadline(limits)]
            .into_iter()
            .flatten()
            .fold(idle, Timestamp::min)
    }

    fn unused_deadline(&self, limits: &Limits) -> Option<Timestamp> {
        let unused = !self.used && !self.reported_unused && !self.requests.within_head();
        self.opened.filter(|_| unused).map(|opened| opened.after(limits.unused_timeout))
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
        if segment.fin && segment.direction == Direction::Request && self.requests.finished() {
            self.leave(context);
        }
        if segment.rst {
            self.end(segment.time, true, context);
        }
    }

    /// Reads whatever can be read, in both directions.
    fn pump(&mut self, now: Timestamp, context: &mut Context<'_>) {
        loop {
            if let Some(asked) = self.requests.advance() {
                self.asked(asked, context);
                continue;
            }
            context.counters.doubtful_requests += self.requests.take_doubtful();
            if let Some(answer) = self.responses.advance() {
                self.answered(answer, context);
            } else if let Some(deferred) = self.take_deferred() {
                let Deferred { position, tag, length, fin, payload, .. } = deferred;
                self.accept(position, &payload, length, fin, tag, context);
            } else {
                break;
            }
        }
        self.responses.watch_gap(now);
        self.service_ended &= self.responses.is_finishing();
        if self.responses.finished() && !self.service_ended {
            let certain = !self.responses.has_gap();
            if let Some(answer) = self.responses.cut() {
                self.answered(answer, context);
            }
            self.flush(now, certain, context);
            self.service_ended = true;
        }
        if self.requests.finished() && !self.closed {
            if let Some(asked) = self.requests.end(now) {
                self.asked(asked, context);
            }
            if !self.waits() {
                self.end(now, true, context);
            }
        }
    }

    fn take_deferred(&mut self) -> Option<Deferred> {
        let ready = self.deferred.iter().position(|d| self.requests.covers(d.acknowledged))?;
        let deferred = self.deferred.remove(ready)?;
        self.deferred_cost -= DEFERRED_COST + deferred.payload.len();
        Some(deferred)
    }

    /// Does what is due at `now`.
    pub(super) fn expire(&mut self, now: Timestamp, context: &mut Context<'_>) {
        let limits = *context.limits;
        // Each turn takes the one that is due: what it acknowledges is then seen or given up.
        let due = |d: &&Deferred| d.tag.time.after(limits.gap_timeout) <= now;
        while let Some(end) = self.deferred.front().filter(due).map(|d| d.acknowledged) {
            self.give_up_requests(end, now, context);
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
        self.expire_pending(now, context);
        if self.unused_deadline(&limits).is_some_and(|deadline| deadline <= now) {
            self.unused(now, true, context);
        }
        if self.active.after(limits.idle_timeout) <= now {
            context.counters.idle += 1;
            self.end(now, false, context);
        }
    }

    /// Ends the connection. Where it was `observed` to end, what did not come never will.
    pub(super) fn end(&mut self, now: Timestamp, observed: bool, context: &mut Context<'_>) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        self.ended = observed;
        let acknowledged = self.deferred.iter().map(|d| d.acknowledged).max();
        while let Some(end) = self.requests.gap_end() {
            self.give_up_requests(end, now, context);
        }
        self.give_up_requests(acknowledged.unwrap_or(0), now, context);
        self.pump(now, context);
        if let Some(asked) = self.requests.end(now) {
            self.asked(asked, context);
        }
        let certain = observed && !self.responses.has_gap();
        if let Some(answer) = self.responses.cut() {
            self.answered(answer, context);
        }
        self.flush(now, certain, context);
        self.unused(now, observed, context);
    }

    fn unused(&mut self, now: Timestamp, observed: bool, context: &mut Context<'_>) {
        let Some(opened) = self.opened.filter(|_| !self.used && !self.reported_unused) else {
            return;
        };
        self.reported_unused = true;
        let certain = observed && self.losses == context.losses && self.lost_records == 0;
        let fate = self.fate.unwrap_or(if certain { Fate::Unanswered } else { Fate::Unobserved });
        let (connection, ends) = (self.id, self.ends);
        (context.sink)(Finding::Unused(Unused { connection, ends, opened, ended: now, fate }));
    }
}

fn head_size(head: &Result<RequestHead, Unreadable>) -> usize {
    head.as_ref().map_or(0, RequestHead::size)
}
