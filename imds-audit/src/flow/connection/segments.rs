//! Takes segments in, each direction by itself.

use zeroize::Zeroizing;

use super::super::stream::{Losses, Tag};
use super::super::{Begins, Fate, Response, Segment};
use super::{Connection, Context, DEFERRED_COST, Deferred};

impl Connection {
    pub(super) fn request_segment(&mut self, segment: &Segment<'_>, context: &mut Context<'_>) {
        let acknowledged = segment.acknowledgment.map(|n| self.responses.position(n));
        if let Some(position) = acknowledged {
            self.responses.heard(position);
            if !segment.syn && !segment.rst {
                self.fate = Some(Fate::Accepted);
            }
        }
        self.pipelines |= segment.begins == Begins::Ahead;
        self.urgent |= segment.urgent && !segment.payload.is_empty();
        let tag = Tag {
            time: segment.time,
            writer: segment.writer,
            acknowledged: acknowledged.filter(|_| segment.begins != Begins::Again),
            ttl: segment.ttl,
            lost: segment.lost_requests,
            begins: segment.begins,
            losses: Losses { anywhere: context.losses, here: segment.lost_records },
        };
        let data = segment.sequence.wrapping_add(u32::from(segment.syn));
        if segment.syn && self.opening.is_none() {
            self.opening = Some(segment.sequence);
            self.opened.get_or_insert(segment.time);
            self.requests.open(data);
        }
        if self.requests.stream.next().is_none()
            && !segment.payload.is_empty()
            && let Some(asked) = self.requests.join(data, segment.payload, tag)
        {
            self.used = true;
            self.hand_out(asked.begun, asked.head, Response::Unobserved, context);
        }
        let position = self.requests.stream.position(data);
        if !segment.payload.is_empty() {
            self.requests.doubt_end(position.saturating_add(segment.payload.len() as u64));
        }
        if !self.requests.stream.insert(position, segment.payload, tag) {
            context.counters.held_overflows += 1;
            self.pump(segment.time, context);
            if let Some(end) = self.requests.gap_end() {
                self.give_up_requests(end, segment.time, context);
            }
            self.requests.stream.insert(position, segment.payload, tag);
        }
        let length = (segment.payload.len() as u64).max(u64::from(segment.length));
        if segment.fin {
            self.requests.finish(position.saturating_add(length));
        }
        if segment.rst {
            self.requests.reset(position.saturating_add(length));
        }
    }

    pub(super) fn response_segment(&mut self, segment: &Segment<'_>, context: &mut Context<'_>) {
        let data = segment.sequence.wrapping_add(u32::from(segment.syn));
        if segment.rst {
            // It carries no data.
            self.fate = self.fate.or(Some(Fate::Refused));
            return;
        }
        self.fate = Some(Fate::Accepted);
        let position = if segment.payload.is_empty() && !segment.syn {
            self.responses.estimate(data)
        } else {
            self.responses.position(data)
        };
        if segment.syn {
            if self.responses.next().is_none() {
                self.responses.expect(position);
            }
            self.requests.responses_begin(position);
        }
        let tag = Tag {
            time: segment.time,
            writer: None,
            acknowledged: None,
            ttl: segment.ttl,
            lost: segment.lost_requests,
            begins: segment.begins,
            losses: Losses { anywhere: context.losses, here: segment.lost_records },
        };
        let length = segment.length.max(u32::try_from(segment.payload.len()).unwrap_or(u32::MAX));
        let acknowledged = match segment.acknowledgment {
            Some(number) if self.requests.stream.next().is_some() => {
                self.requests.stream.position(number)
            }
            _ => 0,
        };
        if self.requests.covers(acknowledged) {
            self.accept(position, segment.payload, length, segment.fin, tag, context);
            return;
        }
        let cost = DEFERRED_COST + segment.payload.len();
        if self.deferred_cost + cost > context.limits.held {
            context.counters.held_overflows += 1;
            self.give_up_requests(acknowledged, segment.time, context);
            self.accept(position, segment.payload, length, segment.fin, tag, context);
            return;
        }
        self.deferred_cost += cost;
        self.deferred.push_back(Deferred {
            position,
            acknowledged,
            tag,
            length,
            fin: segment.fin,
            payload: Zeroizing::new(segment.payload.to_vec()),
        });
    }

    pub(super) fn accept(
        &mut self,
        position: u64,
        payload: &[u8],
        length: u32,
        fin: bool,
        tag: Tag,
        context: &mut Context<'_>,
    ) {
        if !self.responses.insert(position, payload, length, tag) {
            context.counters.held_overflows += 1;
            self.give_up_responses(context);
            self.responses.insert(position, payload, length, tag);
        }
        if fin {
            self.responses.finish(position.saturating_add(u64::from(length)));
        }
    }
}
