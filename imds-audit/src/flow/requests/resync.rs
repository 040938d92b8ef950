//! Resynchronisation of a request stream after gaps, closed connections and bytes that are not HTTP.

use std::mem;

use imds_audit_ebpf::request_start::{self, ByteWindow, is_blank_line};

use super::super::Unreadable;
use super::super::http::begins_request;
use super::super::scan_cost::count_bytes;
use super::super::stream::{Chunk, LossEpoch, SegmentInfo};
use super::origin::{ClosedState, Opening, ParsedRequest, StreamPosition};
use super::{Requests, State};
use crate::segment::{RequestStart, Timestamp};

impl Requests {
    /// Starts in the middle of a connection. Returns the rest of a request whose start was not seen,
    /// if the bytes begin with one.
    pub(in super::super) fn join(
        &mut self,
        sequence: u32,
        payload: &[u8],
        info: SegmentInfo,
    ) -> Option<ParsedRequest> {
        let evident = begins_request(payload);
        // A keep-alive probe repeats one byte.
        if !evident && payload.len() <= 1 && !info.begins.is_first() {
            return None;
        }
        self.open(sequence);
        self.accounted = info.lost;
        // A retransmitted request was reported or counted before.
        if evident && info.begins != RequestStart::Retransmitted {
            return None;
        }
        self.state = State::Resync;
        // Its response matches no pending request.
        self.owed = 1;
        self.passed_over = true;
        if info.begins == RequestStart::Retransmitted || (info.lost > 0 && !info.begins.is_first())
        {
            // Its start was lost and counted.
            return None;
        }
        self.joined = true;
        let origin = self.begin(info, false);
        Some(self.parsed(origin, Err(Unreadable::Cut), info.time))
    }

    /// Returns whether a chunk begins a request after skipped bytes.
    pub(super) fn resumes_with(&self, chunk: &Chunk) -> bool {
        // If nothing is missing, a caller that sends again after it received something new begins
        // another request, whatever its form.
        matches!(self.state, State::Resync)
            && chunk.first
            && self.is_newer(chunk.info.acknowledged)
            && (self.not_http || begins_request(chunk.bytes()))
    }

    /// Returns whether an acknowledgement covers more than that of the caller's last bytes.
    fn is_newer(&self, acknowledged: Option<u64>) -> bool {
        let Some(acknowledged) = acknowledged else { return false };
        match (self.last_acknowledged, self.claimed_opening) {
            (Some(last), _) | (None, Opening::At(last)) => acknowledged > last,
            (None, Opening::Unknown) => true,
            (None, Opening::Contested) => false,
        }
    }

    /// Abandons the missing bytes before `position`. Returns the request that they belonged to, if
    /// there certainly was one that is not counted elsewhere. `lost` is the number of requests counted
    /// as lost by now.
    pub(in super::super) fn give_up(
        &mut self,
        position: u64,
        time: Timestamp,
        lost: u32,
    ) -> Option<ParsedRequest> {
        let next = self.stream.next().filter(|&next| next < position)?;
        if self.fin == Some(next) {
            // FIN takes one sequence number, so bytes after it do not follow a gap.
            self.stream.seek(next.saturating_add(1));
            return None;
        }
        let before_held = self.stream.lost_before_held();
        let known = before_held.map(|(_, lost)| lost);
        self.accounted_to = self.accounted_to.max(before_held.map_or(0, |(position, _)| position));
        let counted = known.unwrap_or(lost).saturating_sub(self.accounted);
        // Some of the requests lost by now may lie after the gap.
        self.accounted = self.accounted.max(known.unwrap_or(self.accounted + counted.min(1)));
        let held = self.stream.beyond_gap().map(|(held, _)| held);
        if held.is_none() && position == next.saturating_add(1) && !self.within_head() {
            // A single byte that was acknowledged but never seen is the FIN's.
            self.finish(next);
            self.guessed_end = true;
            self.stream.seek(position);
            return None;
        }
        self.stream.seek(held.map_or(position, |held| held.min(position)).max(next));
        let info = SegmentInfo {
            time,
            writer: None,
            acknowledged: None,
            ttl: None,
            lost: known.unwrap_or(lost),
            losses: LossEpoch::default(),
            begins: RequestStart::No,
        };
        self.passed_over = true;
        self.not_http = false;
        self.tail = None;
        match mem::replace(&mut self.state, State::Resync) {
            State::Head(_, origin) => Some(self.parsed(origin, Err(Unreadable::Lost), time)),
            State::Idle if counted > 0 => None,
            State::Idle => {
                let origin = self.begin(info, false);
                Some(self.parsed(origin, Err(Unreadable::Lost), time))
            }
            State::Tunnel => {
                self.state = State::Tunnel;
                None
            }
            State::Chunked(_) | State::Resync => None,
        }
    }

    /// Returns what must be remembered of a stream that ended, should its end have been none.
    pub(in super::super) fn closed_state(&self) -> ClosedState {
        ClosedState {
            // Truncation is meant: only the low half is on the wire.
            next: self.stream.next().map(|next| next as u32),
            acknowledged: self.last_acknowledged.map(|position| position as u32),
            accounted: self.accounted,
            passed_over: self.passed_over,
            not_http: self.not_http,
            place: match self.state {
                State::Idle => StreamPosition::BetweenRequests,
                State::Head(..) | State::Chunked(_) | State::Resync => StreamPosition::InRequest,
                State::Tunnel => StreamPosition::AfterHttp,
            },
        }
    }

    /// Goes on where an earlier stream ended; `acknowledged` is what its last bytes had
    /// acknowledged.
    pub(in super::super) fn reopen(&mut self, rest: ClosedState, acknowledged: Option<u64>) {
        let Some(next) = rest.next else { return };
        self.open(next);
        self.last_acknowledged = acknowledged;
        self.accounted = rest.accounted;
        self.passed_over = rest.passed_over;
        self.not_http = rest.not_http;
        self.state = match rest.place {
            StreamPosition::BetweenRequests => State::Idle,
            StreamPosition::InRequest => State::Resync,
            StreamPosition::AfterHttp => State::Tunnel,
        };
    }

    /// Takes retransmitted requests whose first bytes are new: the records of the first transmission
    /// were lost and counted. Returns the number of requests to which this applies, at most the number
    /// that was lost.
    pub(super) fn take_repeated(&mut self, requests: u32, lost: u32) -> u32 {
        let counted = requests.min(lost.saturating_sub(self.repeated));
        self.repeated += counted;
        if self.stream.next() > Some(self.accounted_to) {
            let accounted = self.accounted.saturating_add(counted).min(lost);
            self.accounted = self.accounted.max(accounted);
        }
        counted
    }

    /// Skips bytes, and counts the requests that begin in them.
    pub(super) fn pass_over(&mut self, chunk: &Chunk) {
        let info = chunk.info;
        let handed_out = mem::take(&mut self.joined);
        let is_again = info.begins == RequestStart::Retransmitted;
        count_bytes(chunk.bytes().len());
        let begins_here =
            chunk.first && (info.begins.is_first() || is_again && begins_request(chunk.bytes()));
        let bytes = chunk.bytes();
        let mut begun = match self.tail {
            Some(tail) if self.not_http => requests_behind_blank_lines(tail, bytes),
            Some(_) if begins_here => request_start::count(ByteWindow::UNKNOWN, bytes),
            Some(tail) => request_start::count(ByteWindow::after(tail), bytes),
            None => request_start::count_behind_gap(bytes),
        };
        self.sends_ahead |= begun > 0;
        begun += u32::from(begins_here && !handed_out && !self.not_http);
        if is_again {
            begun -= self.take_repeated(begun, info.lost);
        }
        self.count_unread(begun, bytes);
    }

    /// Counts requests that begin in skipped bytes.
    pub(super) fn count_unread(&mut self, begun: u32, bytes: &[u8]) {
        self.passed_over = true;
        self.tail = Some(request_start::tail(self.tail.unwrap_or(0), bytes));
        self.doubtful += u64::from(begun);
        self.owed = self.owed.saturating_add(begun);
    }
}

/// Counts the possible requests in bytes that are not HTTP: each capital letter after a blank line.
/// `tail` holds the four bytes before them, the newest in the lowest byte.
pub(super) fn requests_behind_blank_lines(tail: u32, bytes: &[u8]) -> u32 {
    count_bytes(bytes.len());
    let mut before = u64::from(tail);
    let mut count = 0;
    for &byte in bytes {
        count += u32::from(byte.is_ascii_uppercase() && is_blank_line(before));
        before = before << 8 | u64::from(byte);
    }
    count
}
