//! Pairs responses with requests, and states the outcome of requests without a response.

use super::super::body::{Body, Expectation};
use super::super::requests::{ParsedRequest, RequestOrigin};
use super::super::responses::ParsedResponse;
use super::super::stream::LossEpoch;
use super::super::{
    Exchange, FlowEvent, Request, RequestHead, Response, Unreadable, WaitingHead, WaitingRequest,
};
use super::{Connection, Context, Pending};
use crate::segment::Timestamp;

impl Connection {
    pub(super) fn on_request(&mut self, request: ParsedRequest, context: &mut Context<'_>) {
        let ParsedRequest { origin, head, completed, resynchronised } = request;
        if let Some(acknowledged) = origin.acknowledged {
            // Responses to earlier requests, whatever comes later.
            self.responses.acknowledge_position(acknowledged);
            self.read_responses(context);
        }
        let expectation = head.as_ref().map(Expectation::of).unwrap_or_default();
        let head =
            head.and_then(|head| if self.urgent { Err(Unreadable::Urgent) } else { Ok(head) });
        self.used = true;
        self.pipelines |= origin.ahead
            || origin
                .acknowledged
                .is_some_and(|now| self.last_asked.is_some_and(|last| now <= last));
        self.last_asked = self.last_asked.max(origin.acknowledged);
        if let Some(lost) = resynchronised {
            // The caller had the responses to what was lost before it sent this request.
            self.settled = self.settled.max(lost);
            self.flush(completed, false, context);
            self.responses.lose_sync();
        }
        if self.service_ended && self.responses.mark_end_uncertain() {
            self.service_ended = false;
        }
        if let Some(acknowledged) = origin.acknowledged
            && !self.pipelines
            && self.responses.needs_sync(acknowledged, self.waits())
        {
            self.flush(completed, false, context);
            self.responses.expect_head_at(acknowledged);
        }
        let early = self.early.take();
        if let Some(number) = origin.counted {
            // Its response may have come before its bytes came again.
            let waits = self.settle(number);
            context.counters.late_responses += u64::from(early.is_some());
            if early.is_some() || !waits {
                return;
            }
        }
        if let Some(response) = early {
            let response = self.outcome(&origin, response);
            self.emit(origin, head, response, context);
            return;
        }
        if self.service_ended {
            if origin.counted.is_none() {
                let certain = !self.responses.has_gap() && origin.losses == self.losses(context);
                self.emit(origin, head, self.absent(completed, certain), context);
            }
            return;
        }
        if self.pending.len() >= context.limits.pending {
            context.counters.pending_overflows += 1;
            self.flush(completed, false, context);
            self.pipelines = true;
            self.responses.lose_sync();
        }
        if let Ok(head) = &head
            && head.method() == b"PUT"
            && origin.counted.is_none()
        {
            self.emit_waiting(&origin, head.clone(), context);
        }
        self.pending.push_back(Pending {
            expectation,
            head: Some(head).filter(|_| origin.counted.is_none()),
            origin,
            deadline: completed.after(context.limits.response_timeout),
        });
    }

    /// Iterates over its requests that wait for a response.
    pub(in super::super) fn waiting(&self) -> impl Iterator<Item = WaitingHead<'_>> {
        self.pending.iter().filter_map(|pending| {
            let Some(Ok(head)) = &pending.head else { return None };
            let RequestOrigin { started, writer, .. } = pending.origin;
            let (connection, source) = (self.id, self.ends.source);
            Some(WaitingHead { connection, source, started, writer, head })
        })
    }

    pub(super) fn waits(&self) -> bool {
        self.pending.iter().any(|p| p.head.is_some())
    }

    /// Reads the responses that the caller acknowledged.
    pub(super) fn read_responses(&mut self, context: &mut Context<'_>) {
        while let Some(response) = self.responses.advance() {
            self.on_response(response, context);
        }
    }

    pub(super) fn on_response(&mut self, response: ParsedResponse, context: &mut Context<'_>) {
        let interim = |status| (100..200).contains(&status) && status != 101;
        if let Some(head) = response.head.as_ref().filter(|head| interim(head.status())) {
            self.responses.body_follows(Body::of_response(head, Expectation::default()));
            if let Some(pending) = self.pending.front_mut()
                && pending.origin.acknowledged == Some(response.position)
            {
                // The next head begins behind it.
                pending.origin.acknowledged = self.responses.next();
            }
            return;
        }
        let pending = self.pending.pop_front();
        let expectation = pending.as_ref().map(|p| p.expectation).unwrap_or_default();
        let head = response.head.as_ref();
        let body = head.map_or(Body::Unknown, |head| Body::of_response(head, expectation));
        match pending {
            Some(Pending { origin, head: Some(head), .. }) => {
                let response = self.outcome(&origin, response);
                self.emit(origin, head, response, context);
            }
            Some(Pending { head: None, .. }) => context.counters.late_responses += 1,
            None if self.requests.began_after(response.position) => {
                context.counters.late_responses += 1;
            }
            None if self.is_owed() => context.counters.late_responses += 1,
            None if self.requests.within_head() && self.early.is_none() => {
                self.early = Some(response);
            }
            // It was sent behind all that has been read.
            None if self.settle(self.lost_requests) => context.counters.late_responses += 1,
            None if self.requests.may_hide_requests() => context.counters.unpaired_responses += 1,
            None => context.counters.unsolicited_responses += 1,
        }
        if body == Body::Tunnel {
            self.requests.tunnel();
        }
        self.responses.body_follows(body);
    }

    /// Returns the outcome of the request whose turn a response came at.
    ///
    /// Of a caller that sends ahead of its responses no acknowledgement tells whose turn it is:
    /// where a record was lost, nothing is said rather than another request's outcome. Nor is it
    /// where a response does not begin where its request acknowledged to.
    fn outcome(&self, origin: &RequestOrigin, response: ParsedResponse) -> Response {
        let is_expected = origin.acknowledged.is_none_or(|place| place == response.position);
        let is_sure = self.lost_records == 0 || (is_expected && !self.pipelines);
        match response.head {
            Some(head) if is_sure => {
                Response::Answered { time: response.time, head, ttl: response.ttl }
            }
            _ => Response::Unobserved,
        }
    }

    /// Takes a response for one to a request before the one at hand that was not handed out to wait
    /// for it: its beginning was not seen, or it was lost and counted. Returns whether there was one.
    fn is_owed(&mut self) -> bool {
        self.requests.is_owed() || self.settle(self.requests.lost_before())
    }

    /// Takes one of the first so many requests that were lost and counted for answered. Returns
    /// whether there was one.
    fn settle(&mut self, lost: u32) -> bool {
        let is_lost = self.settled < lost;
        self.settled += u32::from(is_lost);
        is_lost
    }

    /// Returns how often records were lost by now.
    fn losses(&self, context: &Context<'_>) -> LossEpoch {
        LossEpoch { global: context.losses, connection: self.lost_records }
    }

    /// Takes request bytes before `position` as lost.
    pub(super) fn give_up_requests(
        &mut self,
        position: u64,
        now: Timestamp,
        context: &mut Context<'_>,
    ) {
        if self.requests.covers(position) {
            return;
        }
        context.counters.request_gaps += 1;
        while !self.requests.covers(position) {
            if let Some(request) = self.requests.give_up(position, now, self.lost_requests) {
                self.on_request(request, context);
            }
            while self.read_request(context) {}
        }
    }

    /// Takes the response head that is missing as lost.
    pub(super) fn give_up_responses(&mut self, context: &mut Context<'_>) {
        context.counters.response_gaps += 1;
        if let Some(response) = self.responses.cut() {
            self.on_response(response, context);
        }
        let next = self.responses.next();
        let newest = self.pending.back().and_then(|p| p.origin.acknowledged);
        let newest = newest.filter(|&a| !self.pipelines && Some(a) > next);
        let last = newest.and_then(|_| self.pending.pop_back());
        self.flush(self.active, false, context);
        self.pending.extend(last);
        match newest {
            Some(acknowledged) => self.responses.expect_head_at(acknowledged),
            None => self.responses.lose_sync(),
        }
    }

    /// Hands out all requests that wait; where `certain`, no response came.
    pub(super) fn flush(&mut self, now: Timestamp, certain: bool, context: &mut Context<'_>) {
        let now_lost = self.losses(context);
        for pending in std::mem::take(&mut self.pending) {
            if let Some(head) = pending.head {
                let response = self.absent(now, certain && pending.origin.losses == now_lost);
                self.emit(pending.origin, head, response, context);
            }
        }
    }

    fn emit_waiting(&self, origin: &RequestOrigin, head: RequestHead, context: &mut Context<'_>) {
        let RequestOrigin { started, writer, last_writer, .. } = *origin;
        context.events.push_back(FlowEvent::RequestWaiting(WaitingRequest {
            connection: self.id,
            ends: self.ends,
            request: Request { started, head: Ok(head), writer, last_writer, shared: self.shared },
        }));
    }

    pub(super) fn emit(
        &self,
        origin: RequestOrigin,
        head: Result<RequestHead, Unreadable>,
        response: Response,
        context: &mut Context<'_>,
    ) {
        let RequestOrigin { started, writer, last_writer, .. } = origin;
        let response = match response {
            Response::None { .. } if self.translated => Response::Unobserved,
            response => response,
        };
        context.events.push_back(FlowEvent::Exchange(Exchange {
            connection: self.id,
            ends: self.ends,
            request: Request { started, head, writer, last_writer, shared: self.shared },
            response,
        }));
    }

    /// Hands out the request whose response the caller does not acknowledge.
    pub(super) fn expire_claim(&mut self, context: &mut Context<'_>) {
        if let Some(pending) = self.pending.front_mut()
            && let Some(head) = pending.head.take()
        {
            let origin = pending.origin;
            self.emit(origin, head, Response::Unobserved, context);
        }
    }

    pub(super) fn expire_pending(&mut self, now: Timestamp, context: &mut Context<'_>) {
        let due = |p: &Pending| p.head.is_some() && p.deadline <= now;
        if !self.pending.iter().any(due) {
            return;
        }
        let certain = !self.responses.has_gap();
        if let Some(response) = self.responses.cut() {
            self.on_response(response, context);
        }
        let now_lost = self.losses(context);
        let mut due_now = Vec::new();
        for pending in self.pending.iter_mut().filter(|p| due(p)) {
            let certain = certain && pending.origin.losses == now_lost;
            due_now.extend(pending.head.take().map(|head| (pending.origin, head, certain)));
        }
        for (origin, head, certain) in due_now {
            let response = self.absent(now, certain);
            self.emit(origin, head, response, context);
        }
    }

    /// Returns the response of a request that got none, where that is `certain`.
    ///
    /// After a reset it was so from then on; one that came behind the caller's own end did not end
    /// the wait. Of one that the caller's kernel may have thrown away it cannot be said what it did.
    fn absent(&self, time: Timestamp, certain: bool) -> Response {
        let is_reset = self.reset.is_some() && !self.requests.finished();
        let by_service = self.closed_by_service || is_reset;
        match certain && (self.reset_is_sure || !is_reset) {
            true => Response::None { time: self.reset.unwrap_or(time), by_service },
            false => Response::Unobserved,
        }
    }
}
