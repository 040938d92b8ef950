//! Parser of the caller's direction of a connection: bytes to requests.

mod origin;
mod parsing;
mod resync;

use std::mem;

use imds_audit_ebpf::Task;
use origin::Opening;

use super::body::Chunks;
use super::http::HeadParser;
use super::stream::Stream;

pub(super) use origin::{ClosedState, ParsedRequest, RequestOrigin, RequestStep};

enum State {
    /// Before a request line.
    Idle,
    Head(HeadParser, RequestOrigin),
    Chunked(Chunks),
    /// The start of the next request is unknown: wait for an evident request line.
    Resync,
    /// The connection was upgraded: no more HTTP comes.
    Tunnel,
}

/// Splits the caller's bytes into requests.
///
/// After a gap it resynchronises at a segment that begins with an evident request line and
/// acknowledges more of the response stream than any segment before: a caller that has received
/// something new is not in the middle of an older request. Without that proof, bytes in a header's
/// value that look like a request line would become a request. After bytes that are not HTTP, with
/// none missing, the acknowledgement alone is the proof.
///
/// The service cannot move this stream, except by the response that turns the connection into a
/// tunnel at the caller's own request.
pub(super) struct Requests {
    pub(super) stream: Stream,
    state: State,
    head_limit: usize,
    fin: Option<u64>,
    last_acknowledged: Option<u64>,
    /// Start of the response stream, as claimed by the service's SYN-ACK alone.
    claimed_opening: Opening,
    last_writer: Option<Task>,
    resynchronised: Option<u32>,
    /// The skipped bytes are not HTTP, and none of them is missing.
    not_http: bool,
    /// The connection becomes a tunnel after the current head.
    tunnel_follows: bool,
    /// Bytes that may contain requests were skipped: bodies, bytes that are not HTTP, gaps.
    passed_over: bool,
    /// Number of bytes skipped because the connection was upgraded.
    tunneled: u64,
    /// Number of requests before the next byte, or before `accounted_to` if that is later, that were
    /// lost and are counted elsewhere.
    accounted: u32,
    /// Position of the bytes that carried that count.
    accounted_to: u64,
    /// Number of those that were retransmitted, and seen then.
    repeated: u32,
    /// Number of skipped requests whose responses may still come and match no pending request.
    owed: u32,
    /// Position in the response stream that the caller had acknowledged at the last
    /// resynchronisation.
    resumed: Option<u64>,
    /// Number of positions that may begin a request, or belong to one that was lost.
    doubtful: u64,
    /// The last four bytes before the next one; `None` after a gap.
    tail: Option<u32>,
    /// Skipped requests were sent before the responses to earlier ones (pipelined).
    sends_ahead: bool,
    /// The FIN was not seen: a missing byte was taken for it.
    guessed_end: bool,
    /// The next bytes belong to a request that was emitted when they arrived.
    joined: bool,
}

impl Requests {
    pub(super) fn new(head_limit: usize, held_limit: usize) -> Self {
        Self {
            stream: Stream::new(held_limit),
            state: State::Idle,
            head_limit,
            fin: None,
            last_acknowledged: None,
            claimed_opening: Opening::Unknown,
            last_writer: None,
            resynchronised: None,
            not_http: false,
            tunnel_follows: false,
            passed_over: false,
            tunneled: 0,
            accounted: 0,
            accounted_to: 0,
            repeated: 0,
            owed: 0,
            resumed: None,
            doubtful: 0,
            tail: None,
            sends_ahead: false,
            guessed_end: false,
            joined: false,
        }
    }

    /// Starts at the first byte of the connection.
    pub(super) fn open(&mut self, sequence: u32) {
        let position = self.stream.position(sequence);
        self.stream.seek(position);
    }

    /// Sets the claimed start of the response stream, `None` if two claims disagree. A request that
    /// acknowledges no more than this is the connection's first.
    pub(super) fn responses_begin(&mut self, position: Option<u64>) {
        self.claimed_opening = position.map_or(Opening::Contested, Opening::At);
    }

    /// Records the caller's FIN, unless bytes after it have been read. A FIN at the current position
    /// is final; one ahead of it may be replaced.
    pub(super) fn finish(&mut self, position: u64) {
        let next = self.stream.next();
        if next.is_none_or(|next| position >= next) && (self.fin.is_none() || self.fin != next) {
            self.fin = Some(position);
        }
    }

    /// Records the caller's RST, which ends the stream if it is at the current position.
    pub(super) fn reset(&mut self, position: u64) {
        if self.stream.next() == Some(position) {
            self.fin = Some(position);
        }
    }

    /// Withdraws a guessed end that lies before `position`, where bytes were seen.
    pub(super) fn mark_end_uncertain(&mut self, position: u64) {
        if self.guessed_end && self.fin.is_some_and(|fin| fin < position) {
            self.guessed_end = false;
            self.fin = None;
            self.state = State::Resync;
        }
    }

    /// Treats the following bytes as a tunnel. A head that has been read in part is completed first.
    pub(super) fn tunnel(&mut self) {
        if matches!(self.state, State::Head(..)) {
            self.tunnel_follows = true;
        } else {
            self.state = State::Tunnel;
            self.tail = Some(u32::from_be_bytes(*b"\r\n\r\n"));
        }
    }

    /// Returns whether skipped bytes may contain requests that the service answers.
    pub(super) fn may_hide_requests(&self) -> bool {
        self.passed_over
    }

    /// Returns whether the next byte begins a request or lies in a tunnel. The stream's position is
    /// then all that is needed to continue it.
    pub(super) fn is_between_requests(&self) -> bool {
        matches!(self.state, State::Idle | State::Resync | State::Tunnel)
    }

    /// Returns the number of tunnelled bytes since the last call.
    pub(super) fn take_tunneled(&mut self) -> u64 {
        mem::take(&mut self.tunneled)
    }

    /// Returns whether a request's head is incomplete.
    pub(super) fn within_head(&self) -> bool {
        matches!(self.state, State::Head(..))
    }

    /// Returns whether a response that begins at `position` precedes the current request: the caller
    /// had acknowledged it when it sent the request.
    pub(super) fn began_after(&self, position: u64) -> bool {
        match &self.state {
            State::Head(_, origin) => origin.acknowledged > Some(position),
            _ => false,
        }
    }

    /// Returns whether every byte up to the caller's end was seen.
    pub(super) fn finished(&self) -> bool {
        self.fin.is_some_and(|fin| self.stream.next().is_none_or(|next| next >= fin))
    }

    /// Returns whether every byte before `position` was seen.
    pub(super) fn covers(&self, position: u64) -> bool {
        self.stream.next().is_none_or(|next| {
            let is_end = self.fin == Some(next) && position == next.saturating_add(1);
            position <= next || (is_end && self.stream.beyond_gap().is_none())
        })
    }

    /// Returns the end of the gap at the current position, if there is one.
    pub(super) fn gap_end(&self) -> Option<u64> {
        let next = self.stream.next()?;
        let held = self.stream.beyond_gap().map(|(position, _)| position);
        held.or(self.fin).filter(|&position| position > next)
    }

    pub(super) fn size(&self) -> usize {
        let head = match &self.state {
            State::Head(parser, _) => parser.size(),
            _ => 0,
        };
        head + self.stream.cost()
    }

    /// Counts a response to a skipped request. Returns whether one was outstanding.
    pub(super) fn is_owed(&mut self) -> bool {
        let owed = self.owed > 0;
        self.owed = self.owed.saturating_sub(1);
        owed
    }

    /// Returns an upper bound on the requests before the next byte that were lost and counted.
    pub(super) fn lost_before(&self) -> u32 {
        self.accounted
    }

    /// Returns the number of positions since the last call that may begin a request but were not
    /// parsed as one.
    pub(super) fn take_doubtful(&mut self) -> u64 {
        mem::take(&mut self.doubtful)
    }
}
