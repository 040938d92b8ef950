//! A request that was cut out of the stream, and the state of a stream that ended.

use imds_audit_ebpf::Task;

use super::super::Unreadable;
use super::super::http::RequestHead;
use super::super::stream::LossEpoch;
use crate::segment::Timestamp;

/// What is known of a request from its first byte on.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct RequestOrigin {
    pub(in super::super) started: Timestamp,
    pub(in super::super) writer: Option<Task>,
    pub(in super::super) last_writer: Option<Task>,
    /// How often records were lost before.
    pub(in super::super) losses: LossEpoch,
    /// How much of the response stream the caller had when it sent the first byte.
    pub(in super::super) acknowledged: Option<u64>,
    /// Where it was counted as lost and came again: how many were lost before it, with itself.
    pub(in super::super) counted: Option<u32>,
    /// It or one before it began in the middle of a segment, and so was sent before the response
    /// to the one before could have come.
    pub(in super::super) ahead: bool,
}

/// A request that is as complete as it will ever be.
pub(in super::super) struct ParsedRequest {
    pub(in super::super) origin: RequestOrigin,
    pub(in super::super) head: Result<RequestHead, Unreadable>,
    /// When the last byte of its head passed.
    pub(in super::super) completed: Timestamp,
    /// Requests before it may have gone unseen: so many had been lost and counted.
    pub(in super::super) resynchronised: Option<u32>,
}

/// How far a stream was read.
pub(in super::super) enum RequestStep {
    /// To the end of a request.
    Request(ParsedRequest),
    /// To a request behind bytes that were not read. What its caller had received then answers
    /// those, and is to be read first.
    Resumes {
        /// How much that is.
        acknowledged: u64,
    },
}

/// What is left of a caller's direction after its end.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct ClosedState {
    /// The sequence number behind the last bytes that were read or given up; `None` where there
    /// were none.
    pub(in super::super) next: Option<u32>,
    /// How much its last bytes had acknowledged.
    pub(in super::super) acknowledged: Option<u32>,
    /// How many lost requests had been accounted for.
    pub(super) accounted: u32,
    /// See [`super::Requests::may_hide_requests`].
    pub(super) passed_over: bool,
    /// The bytes that are passed over are no HTTP, and none of them is missing.
    pub(super) not_http: bool,
    pub(super) place: StreamPosition,
}

/// Where a stream ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum StreamPosition {
    /// Before a request line.
    BetweenRequests,
    /// Within a request, or what may be one.
    InRequest,
    /// Behind the last HTTP.
    AfterHttp,
}

/// What the service said about where its responses begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    Unknown,
    At(u64),
    /// Two answers disagree.
    Contested,
}
