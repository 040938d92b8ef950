//! Recognises where requests begin in bytes that are not parsed.
//!
//! Both sides count such requests: the eBPF programs those in a packet for which the ring had no
//! room, userspace those in a packet that it cannot place behind a gap. They count by the same
//! rule, so that the sum holds: a method behind a blank line, in whose bytes its first byte lies.
//! A method truncated by the packet's end counts if its prefix matches.

/// A segment has no request's first bytes. One of the values of
/// [`Segment::begins`](crate::Segment::begins), as are the following.
pub const NO: u8 = 0;
/// It has, and acknowledges more than the request bytes before it did, or is the first.
pub const IN_TURN: u8 = 1;
/// It has; and it, or one before it on the same connection, was sent when nothing new had come
/// since another request, so that its method alone told it from that one's rest. Such a caller
/// may still wait for an earlier response whatever it acknowledges.
pub const PIPELINED: u8 = 2;
/// Its first bytes were sent before. If it has a request's first bytes, and the record of the
/// first time was lost, the request was counted then.
pub const RETRANSMITTED: u8 = 3;

/// How the methods of requests begin that a metadata service is asked with, and a few more.
pub const METHODS: [[u8; 4]; 6] = [*b"GET ", *b"PUT ", *b"HEAD", *b"POST", *b"DELE", *b"OPTI"];

/// The bytes before a beginning's fourth that tell it: a blank line and three of the method.
pub const HISTORY: u32 = 6;

/// The last eight bytes of a stream, the newest as the lowest.
#[derive(Clone, Copy, Debug)]
pub struct ByteWindow(u64);

impl ByteWindow {
    /// Nothing is known of what came before.
    pub const UNKNOWN: Self = Self(0);

    /// Returns the window before a packet's first byte, where the last four bytes before it are
    /// known, the newest as the lowest. A method that has begun there is forgotten.
    #[inline(always)]
    pub fn after(tail: u32) -> Self {
        let is_end = |place: u32| matches!((tail >> (8 * place)) as u8, b'\r' | b'\n');
        let kept = match (is_end(0), is_end(1), is_end(2)) {
            (true, true, true) => 0x00ff_ffff,
            (true, true, false) => 0xffff,
            (true, false, _) => 0xff,
            (false, ..) => 0,
        };
        Self(u64::from(tail & kept))
    }

    /// Takes the next byte. Returns whether it is the fourth of a request that begins behind a
    /// blank line.
    #[inline(always)]
    pub fn push(&mut self, byte: u8) -> bool {
        self.0 = self.0 << 8 | u64::from(byte);
        self.starts_request()
    }

    /// Returns whether the newest byte is the fourth of a request that begins behind a blank line.
    #[inline(always)]
    pub fn starts_request(self) -> bool {
        is_blank_line(self.0 >> 32) && METHODS.iter().any(|method| is(self.0 as u32, *method, 4))
    }

    /// Returns how many bytes there are, one to three, of a method that begins behind a blank
    /// line and is cut; 0 for none.
    #[inline(always)]
    pub fn partial_method_len(self) -> u32 {
        let mut length = 3;
        while length > 0 {
            let bytes = self.0 as u32;
            if is_blank_line(self.0 >> (8 * length))
                && METHODS.iter().any(|method| is(bytes, *method, length))
            {
                break;
            }
            length -= 1;
        }
        length
    }
}

impl From<u64> for ByteWindow {
    #[inline(always)]
    fn from(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl From<ByteWindow> for u64 {
    #[inline(always)]
    fn from(window: ByteWindow) -> Self {
        window.0
    }
}

/// Returns whether bytes, the newest as the lowest, end with a blank line.
#[inline(always)]
pub fn is_blank_line(bytes: u64) -> bool {
    bytes & 0xffff == 0x0a0a || bytes & 0x00ff_ffff == 0x000a_0d0a
}

/// Returns whether the newest bytes are the first ones of a method: `length` of them, 1 to 4.
#[inline(always)]
fn is(bytes: u32, method: [u8; 4], length: u32) -> bool {
    let shift = 32 - 8 * length;
    bytes << shift == u32::from_be_bytes(method) >> shift << shift
}

/// Returns the last four bytes behind others, the newest as the lowest, when more have come.
pub fn tail(before: u32, bytes: &[u8]) -> u32 {
    let last = bytes.get(bytes.len().saturating_sub(4)..).unwrap_or_default();
    last.iter().fold(before, |tail, &byte| tail << 8 | u32::from(byte))
}

/// Counts the requests that begin behind a blank line in bytes before which a window stands.
pub fn count(mut window: ByteWindow, bytes: &[u8]) -> u32 {
    let whole = bytes.iter().fold(0, |count, &byte| count + u32::from(window.push(byte)));
    whole + u32::from(window.partial_method_len() != 0)
}

/// As [`count`], of bytes before which others are missing: what they begin with may be the rest of
/// a blank line, for no header's line begins with a method and a space.
pub fn count_behind_gap(bytes: &[u8]) -> u32 {
    let rest = bytes.strip_prefix(b"\r\n").or_else(|| bytes.strip_prefix(b"\n"));
    let begins = rest.and_then(<[u8]>::first_chunk).is_some_and(|first| METHODS.contains(first));
    u32::from(begins) + count(ByteWindow::UNKNOWN, bytes)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    fn count_of(bytes: &[u8]) -> u32 {
        count(ByteWindow::UNKNOWN, bytes)
    }

    #[test]
    fn the_request_that_the_bytes_begin_with_is_left_to_others() {
        assert_eq!(count_of(b"GET / HTTP/1.1\r\n\r\n"), 0);
        assert_eq!(count_of(b""), 0);
    }

    #[test]
    fn each_request_behind_a_blank_line_counts() {
        assert_eq!(count_of(b"GET /1 HTTP/1.1\r\n\r\nPUT /2 HTTP/1.1\r\nA: b\r\n\r\nHEAD /3"), 2);
        assert_eq!(count_of(b"t: x\n\nGET /1 HTTP/1.1\n\nOPTIONS * HTTP/1.1\n\n"), 2);
    }

    #[test]
    fn a_method_elsewhere_is_none() {
        let text = b"GET / HTTP/1.1\r\nGET / HTTP/1.1\r\nX: \r\n\r\n GET / HTTP/1.1\r\n\r\ngET ";
        assert_eq!(count_of(text), 0);
    }

    #[test]
    fn cutting_a_stream_anywhere_counts_each_request_once() {
        let stream = b"\r\n\r\nGET /1 HTTP/1.1\r\n\r\nPUT /2 HTTP/1.1\n\nHEAD /3 HTTP/1.1\r\n\r\n\
                       OPTIONS * HTTP/1.1\r\n\r\nDELETE / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\n\r\n";
        for size in 1..stream.len() {
            let mut last = 0;
            let counts = stream.chunks(size).map(|bytes| {
                let counted = count(ByteWindow::after(last), bytes);
                last = tail(last, bytes);
                counted
            });
            assert_eq!(counts.sum::<u32>(), 6, "in pieces of {size}");
        }
    }

    #[test]
    fn behind_a_gap_a_line_s_end_is_taken_for_a_blank_line_s() {
        assert_eq!(count_behind_gap(b"\nGET /1 HTTP/1.1\r\n\r\n"), 1);
        assert_eq!(count_behind_gap(b"\r\nGET /1 HTTP/1.1\r\n\r\nGET /2"), 2);
        assert_eq!(count_behind_gap(b"GET /1 HTTP/1.1\r\nA: b"), 0);
        assert_eq!(count_behind_gap(b"\nHost: imds"), 0);
    }

    #[test]
    fn a_tail_is_the_last_four_bytes() {
        for size in 1..6 {
            let bytes: Vec<u8> = (1..=12).collect();
            let tail = bytes.chunks(size).fold(0, tail);
            assert_eq!(tail.to_be_bytes(), [9, 10, 11, 12], "in pieces of {size}");
        }
    }
}
