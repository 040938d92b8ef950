//! Which response answers which request, and what is said where none came.

use super::super::body::Body;
use super::super::requests::{Asked, Begun};
use super::super::responses::Answer;
use super::super::stream::Losses;
use super::super::{
    Exchange, Finding, Left, Request, RequestHead, Response, Timestamp, Unreadable,
};
use super::{Connection, Context, Pending};

impl Connection {
    pub(super) fn asked(&mut self, asked: Asked, context: &mut Context<'_>) {
        let Asked { begun, head, completed, resynchronised } = asked;
        let method = head.as_ref().map_or(&b""[..], RequestHead::method);
        let (to_head, to_connect) = (method == b"HEAD", method == b"CONNECT");
        let head =
            head.and_then(|head| if self.urgent { Err(Unreadable::Urgent) } else { Ok(head) });
        self.used = true;
        self.pipelines |= begun.ahead
            || begun
                .acknowledged
                .is_some_and(|now| self.last_asked.is_some_and(|last| now <= last));
        self.last_asked = self.last_asked.max(begun.acknowledged);
        if let Some(lost) = resynchronised {
            // What they were answered the caller had before it sent this request.
            self.settled = self.settled.max(lost);
            self.flush(completed, false, context);
            self.responses.lose_sync();
        }
        if let Some(acknowledged) = begun.acknowledged
            && !self.pipelines
            && self.responses.needs_sync(acknowledged, self.waits())
        {
            self.flush(completed, false, context);
            self.responses.expect(acknowledged);
        }
        let early = self.early.take();
        if begun.counted {
            self.settled += 1;
            if early.is_some() {
                context.counters.late_responses += 1;
                return;
            }
        }
        if let Some(answer) = early {
            self.hand_out(begun, head, self.response(answer), context);
            return;
        }
        if self.service_ended && begun.counted {
            return;
        }
        if self.service_ended {
            let certain = !self.responses.has_gap() && begun.losses == self.losses(context);
            self.hand_out(begun, head, absent(completed, certain), context);
            return;
        }
        if self.pending.len() >= context.limits.pending {
            context.counters.pending_overflows += 1;
            self.flush(completed, false, context);
            self.pipelines = true;
            self.responses.lose_sync();
        }
        self.pending.push_back(Pending {
            to_head,
            to_connect,
            head: Some(head).filter(|_| !begun.counted),
            begun,
            deadline: completed.after(context.limits.response_timeout),
        });
    }

    pub(super) fn waits(&self) -> bool {
        self.pending.iter().any(|p| p.head.is_some())
    }

    pub(super) fn answered(&mut self, answer: Answer, context: &mut Context<'_>) {
        let status = answer.head.status();
        if (100..200).contains(&status) && status != 101 {
            self.responses.body_follows(Body::of_response(&answer.head, false, false));
            return;
        }
        let pending = self.pending.pop_front();
        let (to_head, to_connect) =
            pending.as_ref().map_or((false, false), |p| (p.to_head, p.to_connect));
        let body = Body::of_response(&answer.head, to_head, to_connect);
        match pending {
            Some(Pending { begun, head: Some(head), .. }) => {
                self.hand_out(begun, head, self.response(answer), context);
            }
            Some(Pending { head: None, .. }) => context.counters.late_responses += 1,
            None if self.requests.began_after(answer.position) => {
                context.counters.late_responses += 1;
            }
            None if self.is_owed() => context.counters.late_responses += 1,
            None if self.requests.within_head() && self.early.is_none() => {
                self.early = Some(answer);
            }
            None => context.counters.unpaired_responses += 1,
        }
        if body == Body::Tunnel {
            self.requests.silence();
        }
        self.responses.body_follows(body);
    }

    /// Returns what is said of a request whose turn an answer came at.
    ///
    /// Of a caller that sends ahead of its responses no acknowledgement tells whose turn it is:
    /// where a record was lost, nothing is said rather than another request's outcome.
    fn response(&self, answer: Answer) -> Response {
        if self.pipelines && self.lost_records > 0 {
            return Response::Unobserved;
        }
        Response::Answered { time: answer.time, head: answer.head, ttl: answer.ttl }
    }

    /// Takes a response for one to a request that was not handed out to wait for it: it was lost
    /// and counted, or its beginning was not seen. Returns whether there was one.
    fn is_owed(&mut self) -> bool {
        if self.settled < self.lost_requests {
            self.settled += 1;
            return true;
        }
        self.requests.is_owed()
    }

    /// Returns how often records were lost by now.
    fn losses(&self, context: &Context<'_>) -> Losses {
        Losses { anywhere: context.losses, here: self.lost_records }
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
            if let Some(asked) = self.requests.give_up(position, now, self.lost_requests) {
                self.asked(asked, context);
            }
            while let Some(asked) = self.requests.advance() {
                self.asked(asked, context);
            }
        }
    }

    /// Takes the response head that is missing as lost.
    pub(super) fn give_up_responses(&mut self, context: &mut Context<'_>) {
        context.counters.response_gaps += 1;
        if let Some(answer) = self.responses.cut() {
            self.answered(answer, context);
        }
        let next = self.responses.next();
        let newest = self.pending.back().and_then(|p| p.begun.acknowledged);
        let newest = newest.filter(|&a| !self.pipelines && Some(a) > next);
        let last = newest.and_then(|_| self.pending.pop_back());
        self.flush(self.active, false, context);
        self.pending.extend(last);
        match newest {
            Some(acknowledged) => self.responses.expect(acknowledged),
            None => self.responses.lose_sync(),
        }
    }

    /// Hands out all requests that wait; where `certain`, no response came.
    pub(super) fn flush(&mut self, now: Timestamp, certain: bool, context: &mut Context<'_>) {
        let now_lost = self.losses(context);
        for pending in std::mem::take(&mut self.pending) {
            if let Some(head) = pending.head {
                let response = absent(now, certain && pending.begun.losses == now_lost);
                self.hand_out(pending.begun, head, response, context);
            }
        }
    }

    /// Tells which requests wait while their caller sends nothing more.
    pub(super) fn leave(&self, context: &mut Context<'_>) {
        for pending in &self.pending {
            if let Some(Ok(head)) = &pending.head {
                let Begun { started, writer, last_writer, .. } = pending.begun;
                (context.sink)(Finding::Left(Left {
                    connection: self.id,
                    ends: self.ends,
                    request: Request { started, head: Ok(head.clone()), writer, last_writer },
                }));
            }
        }
    }

    pub(super) fn hand_out(
        &self,
        begun: Begun,
        head: Result<RequestHead, Unreadable>,
        response: Response,
        context: &mut Context<'_>,
    ) {
        let Begun { started, writer, last_writer, .. } = begun;
        (context.sink)(Finding::Exchange(Exchange {
            connection: self.id,
            ends: self.ends,
            request: Request { started, head, writer, last_writer },
            response,
        }));
    }

    pub(super) fn expire_pending(&mut self, now: Timestamp, context: &mut Context<'_>) {
        let due = |p: &Pending| p.head.is_some() && p.deadline <= now;
        if !self.pending.iter().any(due) {
            return;
        }
        let certain = !self.responses.has_gap();
        if let Some(answer) = self.responses.cut() {
            self.answered(answer, context);
        }
        let now_lost = self.losses(context);
        let mut due_now = Vec::new();
        for pending in self.pending.iter_mut().filter(|p| due(p)) {
            let certain = certain && pending.begun.losses == now_lost;
            due_now.extend(pending.head.take().map(|head| (pending.begun, head, certain)));
        }
        for (begun, head, certain) in due_now {
            self.hand_out(begun, head, absent(now, certain), context);
        }
    }
}

fn absent(time: Timestamp, certain: bool) -> Response {
    if certain { Response::None { time } } else { Response::Unobserved }
}
