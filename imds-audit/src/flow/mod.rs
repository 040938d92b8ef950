//! Reassembly of TCP segments to HTTP exchanges.
//!
//! The stage is pure: it does no I/O and has no clock; time comes with the segments. It does not
//! know the source of a segment (eBPF programs, a capture, a test), so a verdict cannot depend on
//! it. [`Tracker`] is a poll-style state machine: feed it, then drain its events.

mod body;
mod connection;
#[cfg(any(test, fuzzing))]
pub(crate) mod fixture;
mod http;
mod limits;
mod requests;
mod responses;
mod scan_cost;
mod stream;
mod tracker;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use imds_audit_ebpf::Task;

use crate::segment::{ConnectionId, EndpointPair, Timestamp};

pub(crate) use body::{Body, ChunkProgress, Chunks, Expectation};
pub(crate) use http::{HeadParser, Kind, Progress};
pub(crate) use http::{RequestHead, ResponseHead};
pub(crate) use limits::FlowCounters;
pub use limits::Limits;
pub(crate) use tracker::Tracker;

/// A request and its outcome.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The connection of the request.
    pub connection: ConnectionId,
    /// The connection's endpoints.
    pub ends: EndpointPair,
    /// The request.
    pub request: Request,
    /// The outcome.
    pub response: Response,
}

/// A request, as far as it was seen.
#[derive(Debug)]
pub(crate) struct Request {
    /// When its first byte passed.
    pub started: Timestamp,
    /// Its header block, or why there is none.
    pub head: Result<RequestHead, Unreadable>,
    /// The task that sent its first byte, where that is certain.
    pub writer: Option<Task>,
    /// The last task before it that was certain to have written to the connection.
    pub last_writer: Option<Task>,
    /// The connection has bytes, of it or before it, that their sender may have changed after they
    /// were read here: see
    /// [`Segment::shared`](crate::segment::Segment::shared).
    pub shared: bool,
}

/// Why a request has no header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unreadable {
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
pub(crate) enum Response {
    /// A status line came, and the caller acknowledged it.
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
        /// Whether the service ended the connection while the caller still waited: then no
        /// response was lost on its way.
        by_service: bool,
    },
    /// It cannot be said whether one came: bytes were lost, or the caller did not acknowledge what
    /// came, or packets disagree, or the audit ended first.
    Unobserved,
}

/// A connection without a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdleConnection {
    /// The connection.
    pub connection: ConnectionId,
    /// Its endpoints.
    pub ends: EndpointPair,
    /// When it was opened.
    pub opened: Timestamp,
    /// When it ended or was given up.
    pub ended: Timestamp,
    /// The result of the attempt to connect.
    pub result: ConnectResult,
}

/// The result of an attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ConnectResult {
    /// The service accepted the connection.
    Accepted,
    /// The service, or something before it, reset the attempt.
    Refused,
    /// Nothing came back.
    Unanswered,
    /// Records were lost, so the result is unknown.
    Unobserved,
}

/// A `PUT` that waits for its response; its exchange follows.
///
/// A caller may give up and go on without a response long before the exchange ends.
#[derive(Debug)]
pub(crate) struct WaitingRequest {
    /// The connection of the request.
    pub connection: ConnectionId,
    /// The connection's endpoints.
    pub ends: EndpointPair,
    /// The request.
    pub request: Request,
}

/// A request that waits for its response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitingHead<'a> {
    /// The connection of the request.
    pub connection: ConnectionId,
    /// The caller's address and port.
    pub source: Option<SocketAddr>,
    /// When its first byte passed.
    pub started: Timestamp,
    /// The task that sent its first byte, where that is certain.
    pub writer: Option<Task>,
    /// Its header block.
    pub head: &'a RequestHead,
}

/// An event of a [`Tracker`].
#[derive(Debug)]
pub(crate) enum FlowEvent {
    /// A `PUT` was sent and waits for its response; its exchange follows.
    RequestWaiting(WaitingRequest),
    /// A request and its outcome.
    Exchange(Exchange),
    /// A connection without a request.
    IdleConnection(IdleConnection),
}

impl FlowEvent {
    /// Returns the number of bytes that it holds beside itself.
    pub(crate) fn heap_size(&self) -> usize {
        let (request, response) = match self {
            Self::RequestWaiting(waiting) => (&waiting.request, None),
            Self::Exchange(exchange) => (&exchange.request, Some(&exchange.response)),
            Self::IdleConnection(_) => return 0,
        };
        let request = request.head.as_ref().map_or(0, RequestHead::size);
        let response = match response {
            Some(Response::Answered { head, .. }) => head.size(),
            Some(Response::None { .. } | Response::Unobserved) | None => 0,
        };
        request + response
    }
}
