//! The request bytes of a connection, cleaned header block by header block.

use crate::audit::token::TokenHasher;
use crate::flow::RequestHead;
use crate::redact::OVERWRITTEN;

use super::clean;

/// The longest header block that is waited for, in bytes; a longer one stays zeros.
const MAX_HEAD: usize = 64 << 10;

/// Some bytes of a held packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The number of the packet.
    pub packet: u64,
    /// Where the bytes begin in its payload.
    pub start: usize,
    /// How many they are.
    pub length: usize,
}

/// Bytes that may be written.
#[derive(Debug)]
pub(super) struct Cleaned {
    /// Where they go, in order.
    pub parts: Vec<Part>,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The header block that they are, if it was seen whole.
    pub head: Option<RequestHead>,
    /// Whether the packets waited for them.
    pub was_awaited: bool,
}

/// The bytes of a request's segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a> {
    /// The number of the packet.
    pub packet: u64,
    /// The sequence number of the first byte.
    pub sequence: u32,
    /// The bytes that were captured.
    pub payload: &'a [u8],
    /// How many there were.
    pub length: u32,
    /// Whether a request begins in it, by the judgement of the source.
    pub has_start: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    /// A header block is being read.
    #[default]
    Head,
    /// So many bytes of a body follow.
    Body(u64),
    /// It is not known what the bytes are: they stay zeros.
    Opaque,
}

/// The state of one direction of a connection.
///
/// Only bytes that come in their order are cleaned; what comes again or out of order stays zeros.
#[derive(Debug, Default)]
pub(super) struct RequestStream {
    next: Option<u32>,
    mode: Mode,
    head: Vec<u8>,
    parts: Vec<Part>,
}

impl RequestStream {
    /// Returns the sequence number that comes next, once one is known.
    pub(super) const fn next(&self) -> Option<u32> {
        self.next
    }

    /// Begins anew behind a SYN.
    pub(super) fn open(&mut self, sequence: u32) {
        *self = Self { next: Some(sequence), ..Self::default() };
    }

    /// Takes a segment's bytes. Returns what may be written now; the rest of its packet waits if
    /// [`Self::waits_for`] says so.
    pub(super) fn push(&mut self, bytes: Bytes<'_>, hasher: &TokenHasher) -> Vec<Cleaned> {
        let mut cleaned = Vec::new();
        let Bytes { packet, sequence, payload, length, has_start } = bytes;
        let ahead = self.next.map_or(0, |next| sequence.wrapping_sub(next).cast_signed());
        let is_start = has_start && RequestStream::begins_request(payload);
        if (self.next.is_none() && !Self::begins_request(payload)) || ahead > 0 {
            cleaned.extend(self.cut());
            self.mode = Mode::Opaque;
        }
        if self.mode == Mode::Opaque && is_start && ahead >= 0 {
            self.mode = Mode::Head;
        }
        let seen = usize::try_from(ahead.min(0).unsigned_abs()).unwrap_or(usize::MAX);
        if let Some(new) = payload.get(seen..) {
            self.take(packet, seen, new, hasher, &mut cleaned);
        }
        let end = sequence.wrapping_add(length);
        let is_further = self.next.is_none_or(|next| end.wrapping_sub(next).cast_signed() > 0);
        if is_further {
            self.next = Some(end);
            let missing = u64::from(length).saturating_sub(payload.len() as u64);
            match &mut self.mode {
                _ if missing == 0 => {}
                Mode::Body(rest) if *rest >= missing => *rest -= missing,
                _ => {
                    cleaned.extend(self.cut());
                    self.mode = Mode::Opaque;
                }
            }
        }
        cleaned
    }

    /// Gives up the header block that is being read. Returns what may be written of it.
    pub(super) fn cut(&mut self) -> Option<Cleaned> {
        let (head, parts) = (std::mem::take(&mut self.head), std::mem::take(&mut self.parts));
        let bytes = clean::cut_request(&head);
        let cut = Cleaned { parts, bytes, head: None, was_awaited: true };
        (!cut.parts.is_empty()).then(|| {
            self.mode = Mode::Opaque;
            cut
        })
    }

    fn begins_request(payload: &[u8]) -> bool {
        let kept = clean::cut_request(payload);
        kept.iter().any(|byte| *byte != 0)
    }

    fn take(
        &mut self,
        packet: u64,
        mut start: usize,
        mut bytes: &[u8],
        hasher: &TokenHasher,
        cleaned: &mut Vec<Cleaned>,
    ) {
        while !bytes.is_empty() {
            let taken = match self.mode {
                Mode::Opaque => return,
                Mode::Body(0) => {
                    self.mode = Mode::Head;
                    continue;
                }
                Mode::Body(rest) => {
                    let length = usize::try_from(rest).unwrap_or(usize::MAX).min(bytes.len());
                    let parts = vec![Part { packet, start, length }];
                    let body = vec![OVERWRITTEN; length];
                    cleaned.push(Cleaned { parts, bytes: body, head: None, was_awaited: false });
                    self.mode = Mode::Body(rest - length as u64);
                    length
                }
                Mode::Head => self.take_head(packet, start, bytes, hasher, cleaned),
            };
            start += taken;
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }

    /// Takes bytes of a header block. Returns how many it took.
    fn take_head(
        &mut self,
        packet: u64,
        start: usize,
        bytes: &[u8],
        hasher: &TokenHasher,
        cleaned: &mut Vec<Cleaned>,
    ) -> usize {
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let end = clean::head_length(&self.head);
        let taken = end.map_or(bytes.len(), |end| end - before);
        self.parts.push(Part { packet, start, length: taken });
        let Some(end) = end else {
            if self.head.len() > MAX_HEAD {
                cleaned.extend(self.cut());
            }
            return taken;
        };
        self.head.truncate(end);
        let (raw, parts) = (std::mem::take(&mut self.head), std::mem::take(&mut self.parts));
        let head = RequestHead::parse(&raw);
        self.mode = head.as_ref().map_or(Mode::Opaque, mode_behind);
        let bytes = match &head {
            Some(head) => clean::request(&raw, head, hasher),
            None => vec![0; raw.len()],
        };
        cleaned.push(Cleaned { parts, bytes, head, was_awaited: true });
        taken
    }

    /// Returns whether a packet has bytes of the header block that is being read.
    pub(super) fn waits_for(&self, packet: u64) -> bool {
        self.parts.iter().any(|part| part.packet == packet)
    }
}

/// Returns what follows a header block. A body in chunks has an end that is not looked for.
fn mode_behind(head: &RequestHead) -> Mode {
    if head.header("Transfer-Encoding").is_some() {
        return Mode::Opaque;
    }
    match head.header("Content-Length") {
        None => Mode::Head,
        Some(length) => std::str::from_utf8(length)
            .ok()
            .and_then(|length| length.trim().parse().ok())
            .map_or(Mode::Opaque, Mode::Body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends segments, and returns the payloads as they are written.
    fn written(segments: &[(u32, &[u8])]) -> Vec<Vec<u8>> {
        let (mut stream, hasher) = (RequestStream::default(), TokenHasher::new());
        stream.open(1);
        let mut packets: Vec<_> = segments.iter().map(|(_, bytes)| vec![0; bytes.len()]).collect();
        let mut patch = |cleaned: Cleaned| {
            let mut bytes = cleaned.bytes.as_slice();
            for part in cleaned.parts {
                let (now, rest) = bytes.split_at(part.length);
                packets[part.packet as usize][part.start..][..part.length].copy_from_slice(now);
                bytes = rest;
            }
            assert!(bytes.is_empty());
        };
        for (packet, (sequence, payload)) in segments.iter().enumerate() {
            let bytes = Bytes {
                packet: packet as u64,
                sequence: *sequence,
                payload,
                length: payload.len() as u32,
                has_start: false,
            };
            stream.push(bytes, &hasher).into_iter().for_each(&mut patch);
        }
        stream.cut().into_iter().for_each(&mut patch);
        packets
    }

    #[test]
    fn a_secret_over_two_segments_is_overwritten_in_both() {
        let packets =
            written(&[(1, b"GET / HTTP/1.1\r\nCookie: pla"), (28, b"nted\r\n\r\nGET /b HT")]);
        assert_eq!(packets[0], b"GET / HTTP/1.1\r\nCookie: xxx");
        assert_eq!(packets[1], b"xxxx\r\n\r\nGET xxxxx");
    }

    #[test]
    fn a_body_is_overwritten_and_the_next_request_stays() {
        let packets = written(&[(
            1,
            b"PUT / HTTP/1.1\r\nContent-Length: 7\r\n\r\nplantedGET /b HTTP/1.1\r\n\r\n",
        )]);
        assert!(packets[0].ends_with(b"\r\n\r\nxxxxxxxGET /b HTTP/1.1\r\n\r\n"));
    }

    #[test]
    fn what_is_behind_a_gap_sent_again_or_no_http_stays_zeros() {
        assert_eq!(written(&[(1, b"GET / "), (9, b"planted")]), [&b"GET xx"[..], &[0; 7]]);
        assert_eq!(written(&[(1, b"\x16planted\r\n\r\n")]), [[0; 12]]);
        let again = written(&[(1, b"GET / HTTP/1.1\r\n\r\n"), (1, b"planted planted\r\n\r\n")]);
        assert_eq!(again[1][..18], [0; 18]);
        let chunked = b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nplanted\r\n";
        assert!(written(&[(1, chunked)])[0].ends_with(&[0; 12]));
    }

    proptest::proptest! {
        #[test]
        fn no_cut_of_a_stream_shows_a_secret(cuts in proptest::collection::vec(0..90_usize, 0..6)) {
            let stream = b"GET /?token=planted77 HTTP/1.1\r\nX-aws-ec2-metadata-token: planted77\r\n\
                           planted77: planted77\r\n\r\nplanted77planted77\r\n";
            let mut places: Vec<_> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            places.extend([0, stream.len()]);
            places.sort_unstable();
            let segments: Vec<_> = places
                .windows(2)
                .map(|pair| (1 + pair[0] as u32, &stream[pair[0]..pair[1]]))
                .collect();
            let all = written(&segments).concat();
            assert!(memchr::memmem::find(&all, b"planted").is_none());
            assert_eq!(all.len(), stream.len());
            assert!(all.starts_with(b"GET /?token="), "{:?}", String::from_utf8_lossy(&all));
        }
    }
}
