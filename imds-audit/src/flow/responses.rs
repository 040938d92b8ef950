//! The service's direction of a connection, cut into response heads.

use std::mem;

use super::Timestamp;
use super::body::{Body, ChunkProgress, Chunks};
use super::http::{HeadParser, Kind, Progress, ResponseHead};
use super::stream::{Stream, Tag};

/// A response head.
pub(super) struct Answer {
    /// Where it begins.
    pub(super) position: u64,
    pub(super) time: Timestamp,
    pub(super) ttl: Option<u8>,
    pub(super) head: ResponseHead,
}

enum State {
    /// A head begins, or goes on, at the next position.
    Head(HeadParser, Option<Tag>),
    Chunked(Chunks),
    UntilClose,
    /// Where the next head begins is unknown: only a request's acknowledgement tells.
    Unsynced,
}

/// Finds the response heads among the service's bytes. Bodies are passed over: those that are
/// never captured by their length, the others without being kept.
pub(super) struct Responses {
    stream: Stream,
    state: State,
    /// Where the head begins that is expected or being read.
    head_at: u64,
    head_limit: usize,
    fin: Option<u64>,
    /// How much the caller is known to have received.
    heard: Option<u64>,
    /// Where the bytes that were not captured of a segment begin.
    uncaptured: Option<u64>,
    /// Since when the caller is known to have received bytes that we have not seen.
    gap_since: Option<Timestamp>,
}

impl Responses {
    pub(super) fn new(head_limit: usize, held_limit: usize) -> Self {
        Self {
            stream: Stream::new(held_limit),
            state: State::Head(HeadParser::new(Kind::Response, head_limit), None),
            head_at: 0,
            head_limit,
            fin: None,
            heard: None,
            uncaptured: None,
            gap_since: None,
        }
    }

    pub(super) fn position(&mut self, sequence: u32) -> u64 {
        self.stream.position(sequence)
    }

    /// Expects a head at `position`.
    pub(super) fn expect(&mut self, position: u64) {
        self.stream.seek(position);
        self.head_at = position;
        self.state = State::Head(HeadParser::new(Kind::Response, self.head_limit), None);
        self.gap_since = None;
    }

    /// Waits for a request's acknowledgement to say where a head begins.
    pub(super) fn lose_sync(&mut self) {
        self.state = State::Unsynced;
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
            State::Unsynced => true,
        }
    }

    /// Notes how much the caller has received. An end before that was none.
    pub(super) fn heard(&mut self, position: u64) {
        self.heard = self.heard.max(Some(position));
        self.fin = self.fin.filter(|&fin| position <= fin.saturating_add(1));
    }

    /// Takes the service's end, where the caller takes it too: not before what it has received.
    ///
    /// One that lies where the stream stands is certain; one that lies ahead, with bytes missing
    /// before it, holds until another comes.
    pub(super) fn finish(&mut self, position: u64) {
        let earliest = match self.state {
            State::Head(..) | State::Chunked(_) => {
                self.next().map(|next| self.heard.map_or(next, |heard| heard.min(next)))
            }
            State::UntilClose | State::Unsynced => self.heard,
        };
        if earliest.is_none_or(|earliest| position >= earliest)
            && (self.fin.is_none() || self.fin != self.next())
        {
            self.fin = Some(position);
        }
    }

    /// Returns whether an end of the service is known.
    pub(super) fn is_finishing(&self) -> bool {
        self.fin.is_some()
    }

    /// Returns whether the caller takes a reset at this position: it must be the next that the
    /// caller expects (RFC 9293, section 3.10.7.4, as RFC 5961, section 3.2, made it). Within a
    /// body that we pass over, that may be any place. `None` where nothing tells.
    pub(super) fn may_reset(&self, position: u64) -> Option<bool> {
        if self.fin.is_some_and(|fin| position == fin.saturating_add(1)) {
            return Some(true);
        }
        match (&self.state, self.next()) {
            (State::Head(..) | State::Chunked(_), Some(next)) => {
                let first = self.heard.unwrap_or(next);
                Some((first..=first.max(next)).contains(&position))
            }
            _ => self.heard.map(|heard| heard == position),
        }
    }

    /// Widens the sequence number of a packet that may be stray.
    pub(super) fn estimate(&self, sequence: u32) -> u64 {
        self.stream.estimate(sequence)
    }

    /// Returns whether the service has finished, and all that it sent was seen or passed over.
    pub(super) fn finished(&self) -> bool {
        self.fin.is_some_and(|fin| match self.state {
            State::UntilClose | State::Unsynced => true,
            State::Head(..) | State::Chunked(_) => self.next().is_none_or(|next| next >= fin),
        })
    }

    /// Takes a segment's bytes. Returns whether the bound on what is held was kept.
    pub(super) fn insert(&mut self, position: u64, payload: &[u8], length: u32, tag: Tag) -> bool {
        let captured = position.saturating_add(payload.len() as u64);
        // Nothing follows an end.
        let end = position.saturating_add(u64::from(length));
        self.fin = self.fin.filter(|&fin| end <= fin || length == 0);
        if u64::from(length) > payload.len() as u64 {
            self.uncaptured = Some(captured);
        }
        match self.state {
            State::UntilClose | State::Unsynced => true,
            _ if payload.is_empty() => true,
            State::Head(..) | State::Chunked(_) => self.stream.insert(position, payload, tag),
        }
    }

    /// Returns whether the caller received bytes, or bytes came, that do not join on.
    pub(super) fn has_gap(&self) -> bool {
        let Some(next) = self.stream.next() else { return self.heard.is_some() };
        match self.state {
            State::UntilClose => false,
            State::Unsynced => true,
            State::Head(..) | State::Chunked(_) => {
                self.stream.beyond_gap().is_some()
                    || self.fin.is_some_and(|fin| fin > next)
                    || self.heard_beyond(next)
            }
        }
    }

    fn heard_beyond(&self, next: u64) -> bool {
        let end = self.fin.map_or(next, |fin| next.max(fin.saturating_add(1)));
        let seen = if self.fin.is_some_and(|fin| fin <= next) { end } else { next };
        self.heard.is_some_and(|heard| heard > seen)
    }

    /// Notes whether the caller received what we have not seen; returns since when.
    pub(super) fn watch_gap(&mut self, now: Timestamp) {
        let gap = match (&self.state, self.stream.next()) {
            (State::Head(..) | State::Chunked(_), Some(next)) => self.heard_beyond(next),
            _ => false,
        };
        self.gap_since = if gap { self.gap_since.or(Some(now)) } else { None };
    }

    pub(super) fn gap_since(&self) -> Option<Timestamp> {
        self.gap_since
    }

    pub(super) fn size(&self) -> usize {
        let head = match &self.state {
            State::Head(parser, _) => parser.size(),
            _ => 0,
        };
        head + self.stream.cost()
    }

    /// Reads on to the end of the next head. What follows it must then be told with
    /// [`Self::body_follows`].
    pub(super) fn advance(&mut self) -> Option<Answer> {
        loop {
            match self.state {
                State::UntilClose | State::Unsynced => {
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
            let mut piece = self.stream.take()?;
            match &mut self.state {
                State::Head(parser, first) => {
                    let first = *first.get_or_insert(piece.tag);
                    match parser.push(piece.bytes()) {
                        Progress::More => {}
                        Progress::Complete(used) => {
                            piece.advance(used);
                            self.stream.give_back(piece);
                            return self.complete(first, true);
                        }
                        Progress::TooLong => return self.complete(first, false),
                        Progress::Invalid => self.state = State::Unsynced,
                    }
                }
                State::Chunked(chunks) => match chunks.push(piece.bytes()) {
                    ChunkProgress::More => {}
                    ChunkProgress::Complete(used) => {
                        piece.advance(used);
                        self.stream.give_back(piece);
                        let next = self.stream.next()?;
                        self.expect(next);
                    }
                    ChunkProgress::Invalid => self.state = State::Unsynced,
                },
                State::UntilClose | State::Unsynced => {}
            }
        }
    }

    /// Takes a head that will never be complete, if at least its status line came.
    pub(super) fn cut(&mut self) -> Option<Answer> {
        match &self.state {
            State::Head(parser, Some(first)) if !parser.is_empty() => {
                let first = *first;
                self.complete(first, false)
            }
            _ => None,
        }
    }

    fn complete(&mut self, first: Tag, whole: bool) -> Option<Answer> {
        match mem::replace(&mut self.state, State::Unsynced) {
            State::Head(parser, _) => {
                let head = parser.into_response(whole)?;
                Some(Answer { position: self.head_at, time: first.time, ttl: first.ttl, head })
            }
            _ => None,
        }
    }

    /// Says what follows the head that [`Self::advance`] returned last.
    pub(super) fn body_follows(&mut self, body: Body) {
        match (body, self.stream.next()) {
            (Body::Length(length), Some(next)) => self.expect(next.saturating_add(length)),
            (Body::Chunked, Some(next)) if self.uncaptured != Some(next) => {
                self.state = State::Chunked(Chunks::new());
            }
            (Body::UntilClose, _) => self.state = State::UntilClose,
            (Body::Length(_) | Body::Chunked | Body::Unknown | Body::Tunnel, _) => {
                self.lose_sync();
            }
        }
    }
}
