//! The bounds of what the station keeps, and the counts of what happened at them.

use std::time::Duration;

use super::Timestamp;

/// How much is kept, and how long.
///
/// At each bound the oldest goes first, is handed out with what is known of it, and is counted
/// in [`Counters`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections. Beyond it the one that was silent longest is handed out and forgotten.
    pub connections: usize,
    /// Ended connections that are remembered, so that a late retransmission is not taken for
    /// a new request. Beyond it the one that ended first is forgotten.
    pub ended: usize,
    /// Bytes that all connections together buffer. Beyond it, as with `connections`.
    pub buffered: usize,
    /// The bytes of one header block. A longer request is [`Unreadable::TooLong`], a longer
    /// response's head is cut.
    ///
    /// [`Unreadable::TooLong`]: super::Unreadable::TooLong
    pub head: usize,
    /// Bytes of one direction of a connection that wait for a gap before them to be filled; a
    /// piece counts 128 bytes more than it has. Beyond it the gap is taken as lost.
    pub held: usize,
    /// Requests of one connection without a response. Beyond it all of them are handed out as
    /// unobserved.
    pub pending: usize,
    /// How long a request waits for a status line.
    pub response_timeout: Duration,
    /// How long a connection may stay without a request before it is handed out as unused.
    pub unused_timeout: Duration,
    /// How long a connection may be silent before it is forgotten. It is found again with its
    /// next request.
    pub idle_timeout: Duration,
    /// How long bytes are waited for that the other end is known to have received: a capture
    /// may have the two directions of a connection out of order by a little.
    pub gap_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            ended: 4_096,
            // 64 callers that lose records all the time stay below it; each connection's share of
            // it is what can come in a third of a second of 300 requests a second.
            buffered: 8 << 20,
            head: 64 << 10,
            held: 32 << 10,
            pending: 128,
            response_timeout: Duration::from_secs(30),
            unused_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(600),
            gap_timeout: Duration::from_secs(1),
        }
    }
}

/// Counts what could not be seen as it was, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections that were forgotten because there were too many, or too many bytes.
    pub evicted: u64,
    /// Connections that were forgotten because they were silent too long.
    pub idle: u64,
    /// Gaps among a caller's bytes that never filled.
    pub request_gaps: u64,
    /// Gaps among a service's heads that never filled.
    pub response_gaps: u64,
    /// How often bytes that wait for a gap to be filled exceeded their bound.
    pub held_overflows: u64,
    /// How often a connection had more requests without a response than their bound.
    pub pending_overflows: u64,
    /// Responses that came after their request had been handed out.
    pub late_responses: u64,
    /// Responses that answer no request that was seen.
    pub unpaired_responses: u64,
    /// Segments that begin a request by the judgement of whoever saw them pass, and were not
    /// taken for one, because bytes before them were lost and they do not prove it themselves.
    pub doubtful_requests: u64,
}

impl Timestamp {
    /// Returns the time so much later.
    pub(super) fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}
