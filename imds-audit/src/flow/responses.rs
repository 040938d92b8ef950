//! The service's direction of a connection, cut into response heads.
//!
//! Every packet of the service is a claim: it passes the hooks, and a capture, before the caller's
//! kernel has judged it, and whoever can send packets can forge one. So bytes and ends only count
//! up to what the caller itself acknowledged, and where two packets disagree, neither counts.

mod ends;
mod reset;

use std::mem;

use super::body::{Body, ChunkProgress, Chunks};
use super::http::{HeadParser, Kind, Progress, ResponseHead};
use super::stream::{SegmentInfo, Stream};
use crate::segment::Timestamp;

pub(super) use reset::ResetEffect;

/// The bytes of a status line up to the status: `HTTP/1.1 200`.
const STATUS_END: usize = 12;

/// A response head that the caller acknowledged.
pub(super) struct ParsedResponse {
    /// Where it begins.
    pub(super) position: u64,
    pub(super) time: Timestamp,
    pub(super) ttl: Option<u8>,
    /// `None` where two packets disagree about its bytes.
    pub(super) head: Option<ResponseHead>,
}

enum State {
    /// A head begins, or goes on, at the next position.
    Head(HeadParser, Option<SegmentInfo>),
    Chunked(Chunks),
    UntilClose,
    /// Where the next head begins is unknown: only a request's acknowledgement tells.
    Resync,
}

/// Finds the response heads among the service's bytes. Bodies are passed over: those that are
/// never captured by their length, the others without being kept.
pub(super) struct Responses {
    stream: Stream,
    state: State,
    /// Where the head begins that is expected or being read.
    head_at: u64,
    head_limit: usize,
    /// The service's end, which the caller acknowledged.
    fin: Option<u64>,
    /// Ends that nobody acknowledged yet, and when each was claimed first.
    ends: Vec<(u64, Timestamp)>,
    /// How much the caller is known to have received.
    acknowledged: Option<u64>,
    /// The answers to the caller's SYN disagree about where the responses begin.
    opening_contested: bool,
    /// Whether bodies are captured: see [`crate::segment::Segment::has_bodies`].
    pub(super) has_bodies: bool,
    /// Where the bytes that were not captured of a segment begin.
    uncaptured: Option<u64>,
    /// Since when the caller is known to have received bytes that we have not seen.
    gap_since: Option<Timestamp>,
    /// The last head's place and its status line up to the status.
    last_head: Option<(u64, [u8; STATUS_END])>,
    /// Heads whose status another packet contradicted after they had been handed on.
    contradicted: u64,
}

impl Responses {
    pub(super) fn new(head_limit: usize, held_limit: usize) -> Self {
        Self {
            stream: Stream::of_claims(held_limit),
            state: State::Head(HeadParser::new(Kind::Response, head_limit), None),
            head_at: 0,
            head_limit,
            fin: None,
            ends: Vec::new(),
            acknowledged: None,
            opening_contested: false,
            has_bodies: true,
            uncaptured: None,
            gap_since: None,
            last_head: None,
            contradicted: 0,
        }
    }

    /// Takes an answer to the caller's SYN, which claims where the responses begin. Returns whether
    /// it is the only claim so far: where two disagree, a request's acknowledgement tells.
    pub(super) fn open(&mut self, sequence: u32) -> bool {
        if self.acknowledged.is_some() {
            return true;
        }
        let position = self.stream.estimate(sequence);
        match self.stream.next() {
            _ if self.opening_contested => {}
            None => {
                self.stream.refer_to(position);
                self.expect_head_at(position);
            }
            Some(claimed) if claimed == position => {}
            Some(_) => {
                self.opening_contested = true;
                self.lose_sync();
            }
        }
        !self.opening_contested
    }

    /// Takes an acknowledgement number of the caller. Returns its position.
    pub(super) fn acknowledge(&mut self, sequence: u32) -> u64 {
        let position = self.stream.estimate(sequence);
        if self.acknowledged.is_none() {
            // Until now there was nothing but a claim to measure by.
            self.stream.refer_to(position);
            if self.stream.next().is_some_and(|next| next > position) {
                self.expect_head_at(position);
            }
        }
        self.acknowledge_position(position);
        position
    }

    /// As [`Self::acknowledge`].
    pub(super) fn acknowledge_position(&mut self, position: u64) {
        if self.acknowledged.is_some_and(|acknowledged| position <= acknowledged) {
            return;
        }
        self.acknowledged = Some(position);
        self.stream.refer_to(position);
        self.stream.release(position);
        // What the caller received behind an end shows that it was none.
        self.fin = self.fin.filter(|&fin| position <= fin.saturating_add(1));
        self.confirm_end();
    }

    /// Returns the position of an acknowledgement number.
    pub(super) fn estimate(&self, sequence: u32) -> u64 {
        self.stream.estimate(sequence)
    }

    /// Expects a head at `position`.
    pub(super) fn expect_head_at(&mut self, position: u64) {
        self.stream.seek(position);
        self.head_at = position;
        self.state = State::Head(HeadParser::new(Kind::Response, self.head_limit), None);
        self.gap_since = None;
    }

    /// Waits for a request's acknowledgement to say where a head begins.
    pub(super) fn lose_sync(&mut self) {
        self.state = State::Resync;
        self.gap_since = None;
    }

    pub(super) fn next(&self) -> Option<u64> {
        self.stream.next()
    }

    /// Returns whether a request that acknowledges `acknowledged` tells better than we know
    /// where its response begins. Where `waiting` requests come before it, a body whose end is
    /// not in sight may only be late: its gap is then given up in time.
    pub(super) fn needs_sync(&self, acknowledged: u64, waiting: bool) -> bool {
        let Some(next) = self.stream.next() else { return true };
        match self.state {
            State::Head(..) => false,
            State::Chunked(_) | State::UntilClose => !waiting && acknowledged > next,
            State::Resync => true,
        }
    }

    /// Takes a segment's bytes as claims. Returns whether the bound on what is held was kept: where
    /// it was not, some of them were dropped.
    pub(super) fn insert(
        &mut self,
        position: u64,
        payload: &[u8],
        length: u32,
        info: SegmentInfo,
    ) -> bool {
        self.note_contradiction(position, payload);
        let captured = position.saturating_add(payload.len() as u64);
        let end = position.saturating_add(u64::from(length));
        if end > captured {
            self.uncaptured = Some(captured);
            // What they are cannot be compared with what is held at their place.
            self.stream.contest_range(captured, end);
        }
        match self.state {
            State::UntilClose | State::Resync => true,
            _ if payload.is_empty() => true,
            State::Head(..) | State::Chunked(_) => self.stream.insert(position, payload, info),
        }
    }

    /// Compares a segment with the status that was read at its place.
    fn note_contradiction(&mut self, position: u64, payload: &[u8]) {
        let Some((place, status)) = self.last_head else { return };
        let theirs = usize::try_from(place.wrapping_sub(position))
            .ok()
            .and_then(|offset| payload.get(offset..)?.get(..STATUS_END));
        if theirs.is_some_and(|theirs| theirs != status) {
            self.contradicted += 1;
            self.last_head = None;
        }
    }

    /// Returns how many heads were contradicted after they had been handed on, since the last call.
    pub(super) fn take_contradicted(&mut self) -> u64 {
        mem::take(&mut self.contradicted)
    }

    /// Returns whether the caller received bytes, or bytes came, that do not join on, or that it did
    /// not acknowledge.
    pub(super) fn has_gap(&self) -> bool {
        let Some(next) = self.stream.next() else { return self.acknowledged.is_some() };
        match self.state {
            State::UntilClose => false,
            State::Resync => true,
            State::Head(..) | State::Chunked(_) => {
                self.stream.beyond_gap().is_some()
                    || self.fin.is_some_and(|fin| fin != next)
                    || self.is_acknowledged_beyond(next)
            }
        }
    }

    fn is_acknowledged_beyond(&self, next: u64) -> bool {
        let is_end = self.fin.is_some_and(|fin| fin <= next);
        let end = if is_end {
            self.fin.map_or(next, |fin| next.max(fin.saturating_add(1)))
        } else {
            next
        };
        self.acknowledged.is_some_and(|acknowledged| acknowledged > end)
    }

    /// Notes whether the caller received what we have not seen; returns since when.
    pub(super) fn watch_gap(&mut self, now: Timestamp) {
        let gap = match (&self.state, self.stream.next()) {
            (State::Head(..) | State::Chunked(_), Some(next)) => self.is_acknowledged_beyond(next),
            _ => false,
        };
        self.gap_since = if gap { self.gap_since.or(Some(now)) } else { None };
    }

    pub(super) fn gap_since(&self) -> Option<Timestamp> {
        self.gap_since
    }

    /// Returns when the bytes came that stand where a head is expected, where the caller has not
    /// acknowledged them.
    pub(super) fn claimed_since(&self) -> Option<Timestamp> {
        let next = self.stream.next()?;
        let (position, since) = self.stream.beyond_gap()?;
        (matches!(self.state, State::Head(..)) && position <= next).then_some(since)
    }

    /// Returns when an end was claimed right behind a head that has its status line and is not
    /// complete.
    pub(super) fn cut_since(&self) -> Option<Timestamp> {
        let State::Head(parser, Some(_)) = &self.state else { return None };
        let next = self.stream.next().filter(|_| parser.has_first_line())?;
        self.ends.iter().find(|&&(end, _)| end == next).map(|&(_, since)| since)
    }

    pub(super) fn size(&self) -> usize {
        let head = match &self.state {
            State::Head(parser, _) => parser.size(),
            _ => 0,
        };
        head + self.stream.cost()
    }

    /// Reads on to the end of the next head. Call [`Self::body_follows`] then.
    pub(super) fn advance(&mut self) -> Option<ParsedResponse> {
        loop {
            match self.state {
                State::UntilClose | State::Resync => {
                    self.stream.clear();
                    return None;
                }
                State::Chunked(_)
                    if self.uncaptured.is_some() && self.uncaptured == self.next() =>
                {
                    self.lose_sync();
                }
                State::Head(..) | State::Chunked(_) => {}
            }
            let mut chunk = self.stream.take()?;
            match &mut self.state {
                State::Head(parser, first) => {
                    let first = *first.get_or_insert(chunk.info);
                    if chunk.contested {
                        self.state = State::Resync;
                        return Some(self.parsed(first, None));
                    }
                    match parser.push(chunk.bytes()) {
                        Progress::More => {}
                        Progress::Complete(used) => {
                            chunk.advance(used);
                            self.stream.give_back(chunk);
                            return self.complete(first, true);
                        }
                        Progress::TooLong => return self.complete(first, false),
                        Progress::Invalid => self.state = State::Resync,
                    }
                }
                // What the chunks say where is uncertain.
                State::Chunked(_) if chunk.contested => self.state = State::Resync,
                State::Chunked(chunks) => match chunks.push(chunk.bytes()) {
                    ChunkProgress::More => {}
                    ChunkProgress::Complete(used) => {
                        chunk.advance(used);
                        self.stream.give_back(chunk);
                        let next = self.stream.next()?;
                        self.expect_head_at(next);
                    }
                    ChunkProgress::Invalid => self.state = State::Resync,
                },
                State::UntilClose | State::Resync => {}
            }
        }
    }

    /// Takes a head that will never be complete, if at least its status line came.
    pub(super) fn cut(&mut self) -> Option<ParsedResponse> {
        match &self.state {
            State::Head(parser, Some(first)) if !parser.is_empty() => {
                let first = *first;
                self.complete(first, false)
            }
            _ => None,
        }
    }

    fn complete(&mut self, first: SegmentInfo, whole: bool) -> Option<ParsedResponse> {
        match mem::replace(&mut self.state, State::Resync) {
            State::Head(parser, _) => {
                self.last_head = parser.start().map(|start| (self.head_at, start));
                let head = parser.into_response(whole)?;
                Some(self.parsed(first, Some(head)))
            }
            _ => None,
        }
    }

    fn parsed(&self, first: SegmentInfo, head: Option<ResponseHead>) -> ParsedResponse {
        ParsedResponse { position: self.head_at, time: first.time, ttl: first.ttl, head }
    }

    /// Says what follows the head that [`Self::advance`] returned last.
    pub(super) fn body_follows(&mut self, body: Body) {
        match (body, self.stream.next()) {
            (Body::Length(length), Some(next)) => self.expect_head_at(next.saturating_add(length)),
            (Body::Chunked, Some(next)) if self.has_bodies && self.uncaptured != Some(next) => {
                self.state = State::Chunked(Chunks::new());
            }
            (Body::UntilClose, _) => self.state = State::UntilClose,
            (Body::Length(_) | Body::Chunked | Body::Unknown | Body::Tunnel, _) => {
                self.lose_sync();
            }
        }
    }
}
