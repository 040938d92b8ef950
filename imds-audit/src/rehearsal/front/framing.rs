//! Bounds of a message: the longest header block, and the end of a body, found as its bytes pass.

use crate::flow::{Body, ChunkProgress, Chunks};

/// The longest header block that is read, in bytes: the engine's own limit. A longer request passes
/// unread, as it does the audit.
pub(super) const MAX_HEAD: usize = 64 << 10;

/// What is left of a body.
#[derive(Debug)]
pub(super) enum Framing {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunks),
    /// Everything until the sender closes.
    UntilClose,
    /// Bytes in which no further message can be found.
    Opaque,
}

impl Framing {
    /// Begins the body that follows a header block.
    pub(super) fn new(body: Body) -> Self {
        match body {
            Body::Length(length) => Self::Length(length),
            Body::Chunked => Self::Chunked(Chunks::new()),
            Body::UntilClose => Self::UntilClose,
            Body::Unknown | Body::Tunnel => Self::Opaque,
        }
    }

    /// Returns whether the body has ended.
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Length(0))
    }

    /// Returns how many of the bytes belong to the body.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::Length(left) => {
                let taken = (bytes.len() as u64).min(*left);
                *left -= taken;
                // No more than the bytes given.
                usize::try_from(taken).unwrap_or(bytes.len())
            }
            Self::Chunked(chunks) => match chunks.push(bytes) {
                ChunkProgress::More => bytes.len(),
                ChunkProgress::Complete(used) => {
                    *self = Self::Length(0);
                    used
                }
                ChunkProgress::Invalid => {
                    *self = Self::Opaque;
                    bytes.len()
                }
            },
            Self::UntilClose | Self::Opaque => bytes.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_takes_what_is_its_own_and_no_more() {
        let mut length = Framing::new(Body::Length(5));
        assert_eq!(length.take(b"abc"), 3);
        assert!(!length.is_done());
        assert_eq!(length.take(b"deGET /"), 2);
        assert!(length.is_done());
        let mut chunked = Framing::new(Body::Chunked);
        assert_eq!(chunked.take(b"3\r\nab"), 5);
        assert_eq!(chunked.take(b"c\r\n0\r\n\r\nHTTP"), 8);
        assert!(chunked.is_done());
        let mut broken = Framing::new(Body::Chunked);
        assert_eq!(broken.take(b"zz\r\n"), 4);
        assert!(matches!(broken, Framing::Opaque));
    }
}
