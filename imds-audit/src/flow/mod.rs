//! Rebuilds the HTTP exchanges of TCP connections from their segments.
//!
//! The station is pure: it does no I/O and has no clock; time comes with the segments. It never
//! learns where a segment comes from (the kernel half, a capture, a test), so a verdict cannot
//! depend on it.

mod body;
mod connection;
#[cfg(any(test, fuzzing))]
pub(crate) mod fixture;
mod http;
mod limits;
mod requests;
mod responses;
mod stream;
mod tracker;
mod work;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use imds_audit_ebpf::Task;

pub use http::{Headers, RequestHead, ResponseHead};
pub use limits::{Counters, Limits};
pub use tracker::Tracker;

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
pub struct Ends {
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
    pub ends: Ends,
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
    /// The first of them, as many as were captured: never more than `length`. The kernel half
    /// captures of responses only header bytes, and sends no record at all for segments that
    /// lie inside a body.
    pub payload: &'a [u8],
    /// The IP time to live or hop limit.
    pub ttl: Option<u8>,
    /// The task that sent it, where that is certain.
    pub writer: Option<Task>,
    /// Whether it has the first bytes of a request, by the judgement of whoever counts
    /// `lost_requests`; [`Begins::No`] where nobody does. Where we cannot tell, after bytes were lost, a
    /// request that began before our eyes is then at least counted.
    pub begins: Begins,
    /// How many requests of the connection were lost so far on their way to us and counted where
    /// that happened. They are not handed out a second time, as a gap. 0 where nobody counts.
    pub lost_requests: u32,
    /// How many records of the connection were lost so far, whatever they held. 0 where nobody
    /// counts.
    pub lost_records: u32,
}

/// Whether a segment has the first bytes of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Begins {
    /// It has not, or nobody says.
    #[default]
    No,
    /// It has, and acknowledges more than the request bytes before it did, or is the first.
    Alone,
    /// It has, and its caller is known to send requests while others wait for their responses.
    Ahead,
    /// It was sent before, by the judgement of whoever saw that: what it acknowledges says nothing
    /// of the first time, and a request that it begins, and that we see now, was counted as lost.
    Again,
}

impl Begins {
    /// Returns whether it has a request's first bytes, sent for the first time.
    fn is_first(self) -> bool {
        matches!(self, Self::Alone | Self::Ahead)
    }
}

/// A request with what came of it.
#[derive(Debug)]
pub struct Exchange {
    /// The connection that it went over.
    pub connection: ConnectionId,
    /// The connection's ends.
    pub ends: Ends,
    /// The request.
    pub request: Request,
    /// What came back.
    pub response: Response,
}

/// A request, as far as it was seen.
#[derive(Debug)]
pub struct Request {
    /// When its first byte passed.
    pub started: Timestamp,
    /// Its header block, or why there is none.
    pub head: Result<RequestHead, Unreadable>,
    /// The task that sent its first byte, where that is certain.
    pub writer: Option<Task>,
    /// The last task before it that was certain to have written to the connection.
    pub last_writer: Option<Task>,
}

/// Why a request has no header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unreadable {
    /// The bytes are no HTTP request.
    NotHttp,
    /// The connection ended, or the audit began or ended, within it.
    Cut,
    /// Bytes in between were lost on their way to us.
    Lost,
    /// The header block is longer than we keep.
    TooLong,
    /// Bytes of it, or before it, were sent as urgent ones. Whether the service reads such a byte in
    /// its place is its own choice (`SO_OOBINLINE`); Linux leaves it out.
    Urgent,
}

/// What came back for a request.
#[derive(Debug)]
pub enum Response {
    /// A status line came.
    Answered {
        /// When its first byte passed.
        time: Timestamp,
        /// The header block, perhaps cut.
        head: ResponseHead,
        /// The IP time to live that it arrived with.
        ttl: Option<u8>,
    },
    /// The connection ended, or the time ran out, without a status line.
    None {
        /// When that was certain.
        time: Timestamp,
    },
    /// It cannot be said whether one came: bytes were lost, or the audit ended first.
    Unobserved,
}

/// A connection that ended without a request.
#[derive(Clone, Copy, Debug)]
pub struct Unused {
    /// The connection.
    pub connection: ConnectionId,
    /// Its ends.
    pub ends: Ends,
    /// When it was opened.
    pub opened: Timestamp,
    /// When it ended or was given up.
    pub ended: Timestamp,
    /// Whether the service accepted it, refused it, or was never heard.
    pub fate: Fate,
}

/// What came of an attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// The service accepted the connection.
    Accepted,
    /// The service, or something before it, reset the attempt.
    Refused,
    /// Nothing came back.
    Unanswered,
    /// We cannot say.
    Unobserved,
}

/// A request whose caller, before a response came, said that it sends nothing more. It may have
/// given up, or may still read: the exchange itself is handed on when that is certain.
#[derive(Debug)]
pub struct Left {
    /// The connection that it went over.
    pub connection: ConnectionId,
    /// The connection's ends.
    pub ends: Ends,
    /// The request.
    pub request: Request,
}

/// What the station hands on.
#[derive(Debug)]
pub enum Finding {
    /// A request that its caller may no longer wait for; its exchange follows.
    Left(Left),
    /// A request and what came of it.
    Exchange(Exchange),
    /// A connection without a request.
    Unused(Unused),
}
