//! The record of a packet, or of a part of one.

#[cfg(feature = "zerocopy")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{COMM_LENGTH, EndpointPair, Task};

/// The largest number of payload bytes in one [`Segment`]; a larger packet comes as several.
pub const MAX_PAYLOAD: usize = 16_384;
/// The number of records that one packet's request bytes may take: 64 KiB in all, the most
/// that a packet holds.
pub const MAX_CHUNKS: usize = 4;

/// A packet of a connection, or a part of one.
///
/// The captured bytes follow: `captured` of them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct Segment {
    /// [`kind::REQUEST`](super::kind::REQUEST) or [`kind::RESPONSE`](super::kind::RESPONSE).
    pub kind: u32,
    /// The TCP flags, as in the packet's header: see [`tcp_flags`].
    pub tcp_flags: u8,
    /// The IP time to live or hop limit.
    pub ttl: u8,
    /// See [`segment_flags`].
    pub flags: u8,
    /// Whether the bytes are a request's first, and sent for the first time: one of `NO`,
    /// `IN_TURN`, `PIPELINED` and `RETRANSMITTED` of [`crate::request_start`].
    pub begins: u8,
    /// When the packet passed: nanoseconds since boot.
    pub time: u64,
    /// The socket's cookie.
    pub socket: u64,
    /// The sequence number of the first byte of `length`.
    pub sequence: u32,
    /// The acknowledgement number.
    pub acknowledgment: u32,
    /// The number of payload bytes that this record stands for.
    pub length: u32,
    /// The number of them that follow.
    pub captured: u32,
    /// The sending task if `flags` says so, else zero.
    pub task: Task,
    /// The writing thread's name, ended by a NUL.
    pub comm: [u8; COMM_LENGTH],
    /// The connection's ends.
    pub ends: EndpointPair,
    /// How many requests of this socket were counted as
    /// [`Loss::Request`](crate::Loss::Request) so far: what is missing of the stream before this
    /// record is counted there.
    pub lost_requests: u32,
    /// How many records of this socket were lost so far, for whatever reason; it may count two
    /// that were lost at once as one.
    pub lost_records: u32,
}

/// Bits of [`Segment::flags`].
pub mod segment_flags {
    /// `task` is the task that sent the packet, in its own context.
    pub const SENDER: u8 = 1;
    /// The packet has bytes in pages that its sender may still change: what the service receives
    /// may differ from what was captured.
    pub const SHARED_PAGES: u8 = 2;
    /// The packet's own destination is the audited endpoint, and its socket's peer is another
    /// address, which address translation leads there. No response is seen on such a connection.
    pub const TRANSLATED: u8 = 4;
}

/// Bits of [`Segment::tcp_flags`] (RFC 9293, section 3.1).
pub mod tcp_flags {
    /// The sender has no more data.
    pub const FIN: u8 = 0x01;
    /// The connection opens.
    pub const SYN: u8 = 0x02;
    /// The connection is reset.
    pub const RST: u8 = 0x04;
    /// The acknowledgement number holds.
    pub const ACK: u8 = 0x10;
    /// A byte of the packet, or one soon after it, is urgent.
    pub const URG: u8 = 0x20;
}
