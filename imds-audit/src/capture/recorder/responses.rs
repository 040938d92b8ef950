//! Responses of a capture, with the bytes of their bodies shown as missing.

use super::CaptureRecorder;
use crate::capture::clean;
use crate::capture::held::Held;
use crate::capture::packet::MAX_PAYLOAD;
use crate::capture::responses::{OpenResponse, ResponseStream};
use crate::segment::{ConnectionId, Direction, Segment};

impl CaptureRecorder {
    pub(super) fn response(&mut self, segment: &Segment<'_>, original: &[u8]) {
        let data = segment.sequence.wrapping_add(u32::from(segment.syn));
        let connection = self.connection(segment.connection);
        if let Some(ttl) = segment.ttl {
            connection.ttl = ttl;
        }
        if segment.syn {
            connection.responses = ResponseStream::default();
        }
        let missing = connection.responses.missing_before(data);
        let end = data.wrapping_add(segment.length).wrapping_add(u32::from(segment.fin));
        connection.responses.take(end);
        self.show_body(segment, missing);
        let is_head = segment.payload.starts_with(b"HTTP/1.");
        // A source may show the segments of a body too, without their bytes.
        if is_head || segment.length > 0 || segment.fin || segment.rst || segment.syn {
            self.close_response(segment.connection);
        }
        let payload = clean::response(segment.payload);
        let length = usize::try_from(segment.length).unwrap_or(MAX_PAYLOAD);
        let end = data.wrapping_add(segment.length);
        let expected = clean::body_length(segment.payload).map(|body| {
            data.wrapping_add(u32::try_from(payload.len()).unwrap_or(0)).wrapping_add(body)
        });
        let is_whole = segment.fin || expected.is_some_and(|expected| !is_before(end, expected));
        let mut held =
            Held { payload, length, ..self.held_of(segment, segment.sequence, original) };
        if is_head && !is_whole {
            held.waits_for_body = true;
            let packet = self.next_number();
            let response = Some(OpenResponse { packet, end, expected });
            self.connection(segment.connection).response = response;
        }
        self.hold(held);
    }

    /// Adds bytes that were not captured to the packet of the response that they belong to. Returns
    /// those that are left.
    fn extend_response(&mut self, id: ConnectionId, (start, count): (u32, u32)) -> (u32, u32) {
        let Some(response) = self.connection(id).response else { return (start, count) };
        if response.end != start {
            return (start, count);
        }
        let place = response.packet.checked_sub(self.first);
        let place = place.and_then(|place| usize::try_from(place).ok());
        let Some(held) = place.and_then(|place| self.held.get_mut(place)) else {
            return (start, count);
        };
        let room = u32::try_from(MAX_PAYLOAD.saturating_sub(held.length)).unwrap_or(0);
        let added = count.min(room);
        held.length += usize::try_from(added).unwrap_or(0);
        let end = start.wrapping_add(added);
        if added == room || response.expected.is_none_or(|expected| !is_before(end, expected)) {
            self.close_response(id);
        } else {
            self.connection(id).response = Some(OpenResponse { end, ..response });
        }
        (end, count - added)
    }

    /// Lets the packet of a response go.
    pub(super) fn close_response(&mut self, id: ConnectionId) {
        let Some(OpenResponse { packet, .. }) = self.connection(id).response.take() else { return };
        let place = packet.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        if let Some(held) = place.and_then(|place| self.held.get_mut(place)) {
            held.waits_for_body = false;
        }
    }

    /// Shows the bytes of a body that the caller acknowledges and that were not captured.
    pub(super) fn show_missing(&mut self, segment: &Segment<'_>) {
        let Some(acknowledged) = segment.acknowledgment.filter(|_| !segment.syn) else { return };
        let missing = self.connection(segment.connection).responses.missing_before(acknowledged);
        self.show_body(segment, missing);
    }

    /// Holds packets without bytes in the place of a body's.
    fn show_body(&mut self, segment: &Segment<'_>, missing: Option<(u32, u32)>) {
        let Some(missing) = missing else { return };
        let (mut sequence, mut left) = self.extend_response(segment.connection, missing);
        let connection = self.connection(segment.connection);
        let (ttl, acknowledgment) = (connection.ttl, connection.requests.next());
        while left > 0 {
            let length = left.min(u32::try_from(MAX_PAYLOAD).unwrap_or(u32::MAX));
            let response = Segment {
                direction: Direction::Response,
                ttl: Some(ttl),
                acknowledgment,
                syn: false,
                fin: false,
                rst: false,
                writer: None,
                ..*segment
            };
            let mut held = self.held_of(&response, sequence, &[]);
            held.length = usize::try_from(length).unwrap_or(MAX_PAYLOAD);
            held.note.body = true;
            self.hold(held);
            sequence = sequence.wrapping_add(length);
            left -= length;
        }
    }
}

/// Returns whether a sequence number comes before another one.
const fn is_before(number: u32, other: u32) -> bool {
    number.wrapping_sub(other).cast_signed() < 0
}
