//! Segments of connections, which sources produce and `flow` consumes. Neither knows the other.

use std::net::SocketAddr;

use imds_audit_ebpf::Task;

/// Tells one connection from every other: the kernel's socket cookie, or a number that a
/// capture's reader gives out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// A point in time: nanoseconds since boot (or since any fixed point, in a capture).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub u64);

/// Which way a segment goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the caller to the service.
    Request,
    /// From the service to the caller.
    Response,
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndpointPair {
    /// The caller's end; `None` before its port is known.
    pub source: Option<SocketAddr>,
    /// The service's end, an IPv4 address also where the socket is an IPv4-mapped one.
    pub endpoint: SocketAddr,
    /// Whether the socket is an IPv6 one that carries IPv4.
    pub mapped: bool,
    /// The inode number of the caller's network namespace.
    pub netns: Option<u32>,
}

/// A packet of a connection, or a part of one.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// The connection that it belongs to.
    pub connection: ConnectionId,
    /// The connection's ends.
    pub ends: EndpointPair,
    /// Which way it goes.
    pub direction: Direction,
    /// When it passed.
    pub time: Timestamp,
    /// The sequence number of its first byte (of the SYN itself, where that is set).
    pub sequence: u32,
    /// The acknowledgement number, `None` where the packet has none.
    pub acknowledgment: Option<u32>,
    /// The connection opens with it.
    pub syn: bool,
    /// The sender has no more data after it.
    pub fin: bool,
    /// The connection is reset.
    pub rst: bool,
    /// A byte of it, or one soon after it, is urgent (RFC 9293, section 3.8.5).
    pub urgent: bool,
    /// How many payload bytes it had on the wire.
    pub length: u32,
    /// The first of them, as many as were captured: never more than `length`. The eBPF programs
    /// capture of responses only header bytes, and report no segments that lie inside a body.
    pub payload: &'a [u8],
    /// Whether the source captures the bodies of responses. Where it does not, bytes that stand in a
    /// body's place are no part of it.
    pub has_bodies: bool,
    /// The IP time to live or hop limit.
    pub ttl: Option<u8>,
    /// The task that sent it, where that is certain.
    pub writer: Option<Task>,
    /// Whether it has the first bytes of a request, by the judgement of whoever counts
    /// `lost_requests`; [`RequestStart::No`] where nobody does. Where we cannot tell, after bytes were lost, a
    /// request that began before our eyes is then at least counted.
    pub begins: RequestStart,
    /// How many requests of the connection were lost so far on their way to us and counted where
    /// that happened. They are not handed out a second time, as a gap. 0 where nobody counts.
    pub lost_requests: u32,
    /// How many records of the connection were lost so far, whatever they held. 0 where nobody
    /// counts.
    pub lost_records: u32,
    /// It has bytes in pages that its sender may still change (sendfile, splice, MSG_ZEROCOPY): what
    /// the receiver reads may differ from `payload`.
    pub shared: bool,
    /// Address translation leads the connection to `ends.endpoint`, and its socket is connected to
    /// another address: no response of it is seen.
    pub translated: bool,
}

/// Whether a segment has the first bytes of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RequestStart {
    /// It has not, or nobody says.
    #[default]
    No,
    /// It has, and acknowledges more than the request bytes before it did, or is the first.
    InTurn,
    /// It has, and its caller is known to send requests while others wait for their responses.
    Pipelined,
    /// It was sent before, by the judgement of whoever saw that: what it acknowledges says nothing
    /// of the first time, and a request that it begins, and that we see now, was counted as lost.
    Retransmitted,
}

impl RequestStart {
    /// Returns whether it has a request's first bytes, sent for the first time.
    pub(crate) fn is_first(self) -> bool {
        matches!(self, Self::InTurn | Self::Pipelined)
    }
}
