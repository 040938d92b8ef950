//! The response bytes of a connection: what was not captured is shown as packets without bytes.

/// The most bytes that are shown as missing at once; a larger jump is no body.
const MAX_MISSING: u32 = 64 << 20;

/// The state of one direction of a connection.
#[derive(Debug, Default)]
pub(super) struct ResponseStream {
    next: Option<u32>,
}

/// A response whose body follows. Its packet takes the body's length, so that readers see one message
/// that was cut and not one that never ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenResponse {
    /// The number of the packet.
    pub(super) packet: u64,
    /// The sequence number behind what the packet stands for.
    pub(super) end: u32,
    /// The sequence number behind the body, if the header block names its length.
    pub(super) expected: Option<u32>,
}

impl ResponseStream {
    /// Returns the bytes that are missing before `sequence`, as a place and a number; `None` if there
    /// are none. They count as seen from then on.
    pub(super) fn missing_before(&mut self, sequence: u32) -> Option<(u32, u32)> {
        let next = self.next?;
        let ahead = sequence.wrapping_sub(next);
        // The other half of the numbers is behind.
        if ahead == 0 || ahead > MAX_MISSING {
            return None;
        }
        self.next = Some(sequence);
        Some((next, ahead))
    }

    /// Takes a segment that ends before `end`.
    pub(super) fn take(&mut self, end: u32) {
        if self.next.is_none_or(|next| end.wrapping_sub(next).cast_signed() > 0) {
            self.next = Some(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_was_not_captured_is_missing_once() {
        let mut stream = ResponseStream::default();
        assert_eq!(stream.missing_before(500), None);
        stream.take(u32::MAX - 9);
        assert_eq!(stream.missing_before(10), Some((u32::MAX - 9, 20)));
        assert_eq!(stream.missing_before(10), None);
        stream.take(5);
        assert_eq!(stream.next, Some(10));
        assert_eq!(stream.missing_before(9), None);
    }
}
