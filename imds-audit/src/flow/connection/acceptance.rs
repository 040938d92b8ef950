//! Which packets of the service the caller's kernel may accept.
//!
//! The hooks, and a capture, see a packet before the caller's kernel judges it. What the kernel
//! throws away must not end a connection here, or whoever forges a packet hides a caller's next
//! requests. The caller's own packets are what its kernel wrote, and are believed; the data and the
//! end of the service are believed once it acknowledges them. A reset is never acknowledged: it is
//! believed where its number fits and the caller is not heard again.

use super::super::requests::ClosedState;
use super::super::responses::ResetEffect;
use super::Connection;
use crate::segment::{Direction, Segment};

impl Connection {
    /// Returns whether the caller's kernel may take a segment, as far as its flags and numbers tell.
    pub(super) fn accepts(&self, segment: &Segment<'_>) -> bool {
        if segment.direction == Direction::Request {
            return true;
        }
        if segment.rst {
            return self.reset_effect(segment) != ResetEffect::None;
        }
        !segment.syn || self.is_opened_by(segment)
    }

    /// Returns what a reset of the service does.
    pub(super) fn reset_effect(&self, segment: &Segment<'_>) -> ResetEffect {
        let position = self.responses.estimate(segment.sequence);
        self.responses.reset_effect(position).unwrap_or_else(|| {
            if self.is_opened_by(segment) { ResetEffect::Ends } else { ResetEffect::None }
        })
    }

    /// Returns whether a segment answers the caller's SYN: it acknowledges that, and no more than
    /// was sent (RFC 9293, section 3.10.7.3).
    fn is_opened_by(&self, segment: &Segment<'_>) -> bool {
        let Some(opening) = self.opening else { return true };
        segment.acknowledgment.is_some_and(|number| {
            let stream = &self.requests.stream;
            number != opening
                && stream.estimate(number) > stream.estimate(opening)
                && self.requests.covers(stream.estimate(number))
        })
    }

    /// Returns what must be remembered of it after its end, so that whatever still comes of it is not
    /// taken for another request; `None` where it had none, or was not seen to end.
    pub(in super::super) fn closed_state(&self) -> Option<ClosedState> {
        (self.ended && self.is_used()).then(|| self.requests.closed_state())
    }

    /// Goes on behind an end that was none. What was reported is not reported again.
    pub(in super::super) fn reopen(&mut self, state: ClosedState) {
        let acknowledged = state.acknowledged.map(|number| self.responses.acknowledge(number));
        self.requests.reopen(state, acknowledged);
    }
}
