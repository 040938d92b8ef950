//! Parsed requests, and the state of a closed request stream.

use imds_audit_ebpf::Task;

use super::super::Unreadable;
use super::super::http::RequestHead;
use super::super::stream::LossEpoch;
use crate::segment::Timestamp;

/// Facts about a request that are known from its first byte.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct RequestOrigin {
    pub(in super::super) started: Timestamp,
    pub(in super::super) writer: Option<Task>,
    pub(in super::super) last_writer: Option<Task>,
    /// Losses up to its first byte.
    pub(in super::super) losses: LossEpoch,
    /// Position in the response stream that the caller had acknowledged with the first byte.
    pub(in super::super) acknowledged: Option<u64>,
    /// If it was counted as lost and then retransmitted: the number of lost requests up to and
    /// including it.
    pub(in super::super) counted: Option<u32>,
    /// It was pipelined: it or an earlier request began in the middle of a segment, and so was sent
    /// before the previous response could have arrived.
    pub(in super::super) ahead: bool,
}

/// A request whose head is complete, or will never be.
pub(in super::super) struct ParsedRequest {
    pub(in super::super) origin: RequestOrigin,
    pub(in super::super) head: Result<RequestHead, Unreadable>,
    /// Time of the last byte of its head.
    pub(in super::super) completed: Timestamp,
    /// Set after a resynchronisation, when requests before it may be missing: the number of lost
    /// requests that are counted by then.
    pub(in super::super) resynchronised: Option<u32>,
}

/// Result of reading the stream.
pub(in super::super) enum RequestStep {
    /// A request was read to the end of its head.
    Request(ParsedRequest),
    /// A request follows skipped bytes. The responses that its caller had acknowledged answer those,
    /// and must be read first.
    Resumes {
        /// Position in the response stream that the caller had acknowledged.
        acknowledged: u64,
    },
}

/// State of a caller's direction that outlives the connection.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct ClosedState {
    /// The sequence number after the last bytes that were read or abandoned; `None` if there were
    /// none.
    pub(in super::super) next: Option<u32>,
    /// The acknowledgement number of its last bytes.
    pub(in super::super) acknowledged: Option<u32>,
    /// Number of lost requests that were accounted for.
    pub(super) accounted: u32,
    /// See [`super::Requests::may_hide_requests`].
    pub(super) passed_over: bool,
    /// The skipped bytes are not HTTP, and none of them is missing.
    pub(super) not_http: bool,
    pub(super) place: StreamPosition,
}

/// Position at which a stream ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum StreamPosition {
    /// Before a request line.
    BetweenRequests,
    /// Within a request, or bytes that may be one.
    InRequest,
    /// After the last HTTP message.
    AfterHttp,
}

/// The service's claim about the start of the response stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    Unknown,
    At(u64),
    /// Two claims disagree.
    Contested,
}
