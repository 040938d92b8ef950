//! Which packets of the service the caller's kernel believes.
//!
//! The hooks, and a capture, see a packet before the caller's kernel judges it. What the kernel
//! throws away must not end a connection here, or whoever forges a packet hides a caller's next
//! requests. The caller's own packets are what its kernel wrote, and are believed.

use super::super::requests::Rest;
use super::super::{Direction, Segment};
use super::Connection;

impl Connection {
    /// Returns whether the caller's kernel takes a segment, as far as its flags and numbers tell.
    pub(super) fn accepts(&self, segment: &Segment<'_>) -> bool {
        if segment.direction == Direction::Request {
            return true;
        }
        if segment.rst {
            let position = self.responses.estimate(segment.sequence);
            let deferred =
                self.deferred.iter().any(|d| d.position + u64::from(d.length) == position);
            return deferred
                || self
                    .responses
                    .may_reset(position)
                    .unwrap_or_else(|| self.is_opened_by(segment));
        }
        !segment.syn || self.is_opened_by(segment)
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

    /// Returns what must be remembered of it after its end.
    pub(in super::super) fn rest(&self) -> Rest {
        self.requests.rest()
    }

    /// Goes on behind an end that was none. What was told before is not told again.
    pub(in super::super) fn resume(&mut self, rest: Rest) {
        let acknowledged = rest.acknowledged.map(|number| self.responses.position(number));
        self.requests.resume(rest, acknowledged);
    }
}
