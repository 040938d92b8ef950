//! Bounds on the state kept, and counts of what happened at them.

use std::time::Duration;

use crate::segment::Timestamp;

/// How much is kept, and how long.
///
/// At each bound the oldest goes first, is handed out with what is known of it, and is counted
/// in [`FlowCounters`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections. Beyond it the attempt to connect that was silent longest is handed out and
    /// forgotten, else the connection without a request, else the connection.
    pub connections: usize,
    /// Ended connections that are remembered, so that a late retransmission is not taken for
    /// a new request. Beyond it the one that ended first is forgotten.
    pub ended: usize,
    /// Bytes that all connections together buffer. Beyond it the connection that has most of them is
    /// handed out and forgotten.
    pub buffered: usize,
    /// The bytes of one header block. A longer request is [`Unreadable::TooLong`], a longer
    /// response's head is cut.
    ///
    /// [`Unreadable::TooLong`]: super::Unreadable::TooLong
    pub head: usize,
    /// Bytes of one direction of a connection that wait for a gap before them to be filled, or for
    /// the caller to acknowledge them; a segment counts 128 bytes more than it has. Beyond it a gap
    /// among the caller's bytes is taken as lost, and a response's bytes are dropped.
    pub held: usize,
    /// Requests of one connection without a response. Beyond it all of them are handed out as
    /// unobserved.
    pub pending: usize,
    /// How long a request waits for a status line.
    pub response_timeout: Duration,
    /// How long the caller's kernel may take to acknowledge a response. Linux delays that by up to
    /// 0.2 s. After it the outcome is unobserved: either the response was forged and thrown away, or
    /// the record of its acknowledgement was lost.
    pub acknowledgment_timeout: Duration,
    /// How long a caller may be silent after a reset from the service before the connection is
    /// forgotten, if no request waits on it. A reset that the caller's kernel threw away shows by
    /// what the caller sends next: its SYN is sent again after 1 s. A request that waits for its
    /// response does so until `response_timeout`.
    pub reset_timeout: Duration,
    /// How long an attempt to connect to which nothing came back may be silent before it is handed
    /// out as unanswered. SYNs are sent again within half a minute of each other. A connection that
    /// was accepted is handed out when it ends: it may still have its first request.
    pub unanswered_timeout: Duration,
    /// How long a connection may be silent after its last request before it is forgotten. It is
    /// found again with its next request.
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
            acknowledgment_timeout: Duration::from_secs(1),
            reset_timeout: Duration::from_secs(2),
            unanswered_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(600),
            gap_timeout: Duration::from_secs(1),
        }
    }
}

/// Counts what could not be seen as it was, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounters {
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
    /// Responses that answer no request that was seen, on a connection with bytes that were not read
    /// as requests.
    pub unpaired_responses: u64,
    /// Responses that answer no request, on a connection whose bytes were all read as requests: what
    /// a service says that gives up an idle connection (408, say). Nothing is lost with them.
    pub unsolicited_responses: u64,
    /// Responses whose status another packet contradicted after they had been handed out.
    pub contradicted_responses: u64,
    /// Bytes of callers whose connections no longer speak HTTP, at their own request.
    pub tunneled_bytes: u64,
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
