//! Takes segments in, each direction by itself.

use super::super::responses::ResetEffect;
use super::super::stream::{LossEpoch, SegmentInfo};
use super::super::{ConnectResult, Response};
use super::{Connection, Context, MAX_UNPLACED, UnplacedAck};
use crate::segment::{RequestStart, Segment};

impl Connection {
    pub(super) fn request_segment(&mut self, segment: &Segment<'_>, context: &mut Context<'_>) {
        if !segment.rst {
            // A caller that goes on has not been reset.
            self.reset = None;
            self.reset_is_sure = false;
        }
        let acknowledged = segment.acknowledgment.map(|n| self.responses.estimate(n));
        if acknowledged.is_some() && !segment.syn && !segment.rst {
            self.result = Some(ConnectResult::Accepted);
        }
        self.pipelines |= segment.begins == RequestStart::Pipelined;
        self.urgent |= segment.urgent && !segment.payload.is_empty();
        self.shared |= segment.shared && !segment.payload.is_empty();
        self.translated |= segment.translated;
        let info = SegmentInfo {
            acknowledged: acknowledged.filter(|_| segment.begins != RequestStart::Retransmitted),
            writer: segment.writer,
            ..info(segment, context)
        };
        let data = segment.sequence.wrapping_add(u32::from(segment.syn));
        if segment.syn && self.opening.is_none() {
            self.opening = Some(segment.sequence);
            self.opened.get_or_insert(segment.time);
            self.requests.open(data);
        }
        if self.requests.stream.next().is_none()
            && !segment.payload.is_empty()
            && let Some(request) = self.requests.join(data, segment.payload, info)
        {
            self.used = true;
            self.emit(request.origin, request.head, Response::Unobserved, context);
        }
        let position = self.requests.stream.position(data);
        let captured = position.saturating_add(segment.payload.len() as u64);
        if !segment.payload.is_empty() {
            self.requests.mark_end_uncertain(captured);
        }
        if let Some(number) = segment.acknowledgment {
            // What is sent again was acknowledged behind all that was sent before.
            let is_again = segment.begins == RequestStart::Retransmitted || position < self.sent;
            let behind = if is_again { captured.max(self.sent) } else { position };
            self.acknowledge(number, behind, segment, context);
        }
        self.sent = self.sent.max(captured);
        if !self.requests.stream.insert(position, segment.payload, info) {
            context.counters.held_overflows += 1;
            self.pump(segment.time, context);
            if let Some(end) = self.requests.gap_end() {
                self.give_up_requests(end, segment.time, context);
            }
            self.requests.stream.insert(position, segment.payload, info);
        }
        let length = (segment.payload.len() as u64).max(u64::from(segment.length));
        if segment.fin {
            self.requests.finish(position.saturating_add(length));
        }
        if segment.rst {
            self.requests.reset(position.saturating_add(length));
        }
    }

    /// Takes what the caller had received when it had sent all bytes before `behind`: responses to
    /// those, and to none that it sent later.
    fn acknowledge(
        &mut self,
        number: u32,
        behind: u64,
        segment: &Segment<'_>,
        context: &mut Context<'_>,
    ) {
        if self.requests.stream.next().is_none() || self.requests.covers(behind) {
            self.responses.acknowledge(number);
            self.read_responses(context);
            // Before the caller's own end, should this be it.
            self.note_service_end(segment.time, context);
            return;
        }
        // The position is measured by what is acknowledged already; later ones do not move it.
        let position = self.responses.estimate(number);
        if self.unplaced.iter().any(|ack| ack.behind <= behind && ack.position >= position) {
            return;
        }
        if self.unplaced.len() == MAX_UNPLACED {
            // A later one says more.
            self.unplaced.pop_front();
        }
        self.unplaced.push_back(UnplacedAck { behind, position, time: segment.time });
    }

    /// Takes acknowledgements whose place in the caller's stream has been read.
    ///
    /// Returns whether there was one.
    pub(super) fn place_acks(&mut self) -> bool {
        let before = self.unplaced.len();
        let (requests, responses) = (&self.requests, &mut self.responses);
        self.unplaced.retain(|ack| {
            let is_placed = requests.covers(ack.behind);
            if is_placed {
                responses.acknowledge_position(ack.position);
            }
            !is_placed
        });
        self.unplaced.len() != before
    }

    /// Takes a packet of the service as a claim.
    pub(super) fn response_segment(&mut self, segment: &Segment<'_>, context: &mut Context<'_>) {
        if segment.rst {
            // It carries no data.
            self.result = self.result.or(Some(ConnectResult::Refused));
            self.reset_is_sure |= self.reset_effect(segment) == ResetEffect::Ends;
            self.reset = self.reset.or(Some(segment.time));
            return;
        }
        self.result = Some(ConnectResult::Accepted);
        let data = segment.sequence.wrapping_add(u32::from(segment.syn));
        if segment.syn {
            let is_certain = self.responses.open(data);
            let begin = self.responses.estimate(data);
            self.requests.responses_begin(is_certain.then_some(begin));
        }
        let position = self.responses.estimate(data);
        let length = segment.length.max(u32::try_from(segment.payload.len()).unwrap_or(u32::MAX));
        let info = info(segment, context);
        self.responses.has_bodies = segment.has_bodies;
        if !self.responses.insert(position, segment.payload, length, info) {
            context.counters.held_overflows += 1;
        }
        if segment.fin {
            self.responses.claim_end(position.saturating_add(u64::from(length)), segment.time);
        }
    }
}

fn info(segment: &Segment<'_>, context: &Context<'_>) -> SegmentInfo {
    SegmentInfo {
        time: segment.time,
        writer: None,
        acknowledged: None,
        ttl: segment.ttl,
        lost: segment.lost_requests,
        begins: segment.begins,
        losses: LossEpoch { global: context.losses, connection: segment.lost_records },
    }
}
