//! The caller's direction of a connection, cut into requests.

mod origin;
mod resync;

use std::mem;

use imds_audit_ebpf::Task;
use origin::Opening;
use resync::requests_behind_blank_lines;

use super::Unreadable;
use super::body::{Body, ChunkProgress, Chunks};
use super::http::{HeadParser, Kind, Progress, RequestHead};
use super::stream::{Chunk, SegmentInfo, Stream};
use crate::segment::{RequestStart, Timestamp};

pub(super) use origin::{ClosedState, ParsedRequest, RequestOrigin, RequestStep};

enum State {
    /// Before a request line.
    Idle,
    Head(HeadParser, RequestOrigin),
    Chunked(Chunks),
    /// Where the next request begins is unknown: wait for an evident request line.
    Resync,
    /// The connection was upgraded: no more HTTP comes.
    Tunnel,
}

/// Cuts the caller's bytes into requests.
///
/// After a gap it goes on at a segment that begins with an evident request line and acknowledges
/// more of the response stream than any before: a caller that has received something new since is
/// not in the middle of an older request. Without that proof, bytes chosen to look like a request
/// line in a header's value would become a request. After bytes that are no HTTP, and with none
/// missing, the acknowledgement alone is the proof.
///
/// Nothing that the service sends moves this stream, but the answer that turns the connection into
/// a tunnel, at the caller's own request.
pub(super) struct Requests {
    pub(super) stream: Stream,
    state: State,
    head_limit: usize,
    fin: Option<u64>,
    last_acknowledged: Option<u64>,
    /// Where the response stream begins, by the service's answer to the opening alone.
    claimed_opening: Opening,
    last_writer: Option<Task>,
    resynchronised: Option<u32>,
    /// The bytes that are passed over are no HTTP, and none of them is missing.
    not_http: bool,
    /// Once the head at hand is read, the connection no longer speaks HTTP.
    tunnel_follows: bool,
    /// Bytes were passed over that may hold requests: bodies, bytes that are no HTTP, gaps.
    passed_over: bool,
    /// How many bytes were passed over because the connection was upgraded.
    tunneled: u64,
    /// How many requests were lost and counted elsewhere, of those before the next byte or before
    /// `accounted_to`, whichever comes later.
    accounted: u32,
    /// Where the bytes begin that told so.
    accounted_to: u64,
    /// How many of those were sent again, and seen then.
    repeated: u32,
    /// How many requests may still be answered whose response nobody waits for.
    owed: u32,
    /// What the caller had received where requests were read again last.
    resumed: Option<u64>,
    /// Beginnings of what may be requests, or part of one that was lost.
    doubtful: u64,
    /// The last four bytes before the next; `None` behind a gap.
    tail: Option<u32>,
    /// Requests that are not read were sent ahead of responses.
    sends_ahead: bool,
    /// The end was not seen: a byte that is missing was taken for it.
    guessed_end: bool,
    /// The next bytes are of a request that was handed out when they came.
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

    /// Begins at the first byte of the connection.
    pub(super) fn open(&mut self, sequence: u32) {
        let position = self.stream.position(sequence);
        self.stream.seek(position);
    }

    /// Takes a claim about where the response stream begins, `None` where two disagree: a request
    /// that acknowledges no more than this is the connection's first.
    pub(super) fn responses_begin(&mut self, position: Option<u64>) {
        self.claimed_opening = position.map_or(Opening::Contested, Opening::At);
    }

    /// Takes the caller's end, unless bytes behind it have been read. One that lies where the
    /// stream stands is certain; one that lies ahead holds until another comes.
    pub(super) fn finish(&mut self, position: u64) {
        let next = self.stream.next();
        if next.is_none_or(|next| position >= next) && (self.fin.is_none() || self.fin != next) {
            self.fin = Some(position);
        }
    }

    /// Takes the caller's reset, which says where its stream ended.
    pub(super) fn reset(&mut self, position: u64) {
        if self.stream.next() == Some(position) {
            self.fin = Some(position);
        }
    }

    /// Takes note of bytes that end at `position`: an end before them that was guessed was none.
    pub(super) fn mark_end_uncertain(&mut self, position: u64) {
        if self.guessed_end && self.fin.is_some_and(|fin| fin < position) {
            self.guessed_end = false;
            self.fin = None;
            self.state = State::Resync;
        }
    }

    /// Takes what follows for something else than HTTP. A head whose bytes were seen in part is read to
    /// its end.
    pub(super) fn tunnel(&mut self) {
        if matches!(self.state, State::Head(..)) {
            self.tunnel_follows = true;
        } else {
            self.state = State::Tunnel;
            self.tail = Some(u32::from_be_bytes(*b"\r\n\r\n"));
        }
    }

    /// Returns whether bytes were passed over that may hold requests which the service answers.
    pub(super) fn may_hide_requests(&self) -> bool {
        self.passed_over
    }

    /// Returns whether the next byte begins a request, or lies in a tunnel: where the stream goes on
    /// is then known without more than its position.
    pub(super) fn is_between_requests(&self) -> bool {
        matches!(self.state, State::Idle | State::Resync | State::Tunnel)
    }

    /// Returns how many bytes went through a tunnel since the last call.
    pub(super) fn take_tunneled(&mut self) -> u64 {
        mem::take(&mut self.tunneled)
    }

    /// Returns whether a request has begun that is not complete.
    pub(super) fn within_head(&self) -> bool {
        matches!(self.state, State::Head(..))
    }

    /// Returns whether a response that begins at `position` came before the request that has begun
    /// was sent: its caller had acknowledged it.
    pub(super) fn began_after(&self, position: u64) -> bool {
        match &self.state {
            State::Head(_, origin) => origin.acknowledged > Some(position),
            _ => false,
        }
    }

    /// Returns whether the caller has sent all that it will send, and we have seen it.
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

    /// Returns the furthest position that is known of: where a gap, if there is one, ends.
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

    /// Reads on to the end of the next request's head, or to where requests are read again.
    pub(super) fn advance(&mut self) -> Option<RequestStep> {
        while let Some(mut chunk) = self.stream.take() {
            let acknowledged = chunk.info.acknowledged.filter(|_| self.resumes_with(&chunk));
            if let Some(acknowledged) = acknowledged.filter(|_| self.resumed != acknowledged) {
                self.resumed = Some(acknowledged);
                self.stream.give_back(chunk);
                return Some(RequestStep::Resumes { acknowledged });
            }
            let asked = self.read(&mut chunk);
            if !chunk.bytes().is_empty() {
                self.stream.give_back(chunk);
            }
            if let Some(asked) = asked {
                return Some(RequestStep::Request(asked));
            }
        }
        None
    }

    /// Takes one of the `owed` for answered. Returns whether there was one.
    pub(super) fn is_owed(&mut self) -> bool {
        let owed = self.owed > 0;
        self.owed = self.owed.saturating_sub(1);
        owed
    }

    /// Returns how many requests were lost and counted before the next byte, as far as is known: not
    /// less than there are.
    pub(super) fn lost_before(&self) -> u32 {
        self.accounted
    }

    /// Returns how many beginnings looked like a request's and were not taken for such, since the
    /// last call.
    pub(super) fn take_doubtful(&mut self) -> u64 {
        mem::take(&mut self.doubtful)
    }

    /// Ends the stream where it stands. Returns the request that was cut by it.
    pub(super) fn end(&mut self, time: Timestamp) -> Option<ParsedRequest> {
        match mem::replace(&mut self.state, State::Resync) {
            State::Head(_, origin) => Some(self.parsed(origin, Err(Unreadable::Cut), time)),
            state => {
                self.state = state;
                None
            }
        }
    }

    fn begin(&mut self, info: SegmentInfo, ahead: bool) -> RequestOrigin {
        let is_again = info.begins == RequestStart::Retransmitted;
        let counted = (is_again && self.take_repeated(1, info.lost) == 1).then_some(self.accounted);
        RequestOrigin {
            counted,
            ahead: ahead || self.sends_ahead,
            started: info.time,
            writer: info.writer,
            last_writer: self.last_writer,
            losses: info.losses,
            acknowledged: info.acknowledged,
        }
    }

    fn parsed(
        &mut self,
        origin: RequestOrigin,
        head: Result<RequestHead, Unreadable>,
        completed: Timestamp,
    ) -> ParsedRequest {
        ParsedRequest {
            origin,
            head,
            completed,
            resynchronised: mem::take(&mut self.resynchronised),
        }
    }

    fn read(&mut self, chunk: &mut Chunk) -> Option<ParsedRequest> {
        let info = chunk.info;
        if chunk.first && info.begins.is_first() {
            // All that was lost before it was sent lies before it.
            self.accounted = self.accounted.max(info.lost);
            self.accounted_to = self.accounted_to.max(self.stream.next().unwrap_or(0));
        }
        let mut asked = None;
        while asked.is_none() && !chunk.bytes().is_empty() {
            asked = self.step(chunk);
        }
        self.last_writer = info.writer.or(self.last_writer);
        self.last_acknowledged = self.last_acknowledged.max(info.acknowledged);
        asked
    }

    fn step(&mut self, chunk: &mut Chunk) -> Option<ParsedRequest> {
        let info = chunk.info;
        match &mut self.state {
            State::Idle => {
                let bytes = chunk.bytes();
                // RFC 9112, section 2.2: empty lines before a request line are ignored.
                let empty = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
                if empty < bytes.len() {
                    let origin = self.begin(info, chunk.is_behind_others());
                    self.state =
                        State::Head(HeadParser::new(Kind::Request, self.head_limit), origin);
                }
                chunk.advance(empty);
                None
            }
            State::Head(parser, _) => {
                let progress = parser.push(chunk.bytes());
                if progress == Progress::Invalid {
                    (self.tail, self.not_http) = (Some(0), true);
                    let begun = requests_behind_blank_lines(0, chunk.bytes());
                    self.count_unread(begun, chunk.bytes());
                }
                match progress {
                    Progress::Complete(used) => chunk.advance(used),
                    _ => chunk.advance(usize::MAX),
                }
                self.head_read(progress, chunk)
            }
            State::Chunked(chunks) => {
                match chunks.push(chunk.bytes()) {
                    ChunkProgress::More => chunk.advance(usize::MAX),
                    ChunkProgress::Complete(used) => {
                        chunk.advance(used);
                        self.state = State::Idle;
                    }
                    ChunkProgress::Invalid => {
                        chunk.advance(usize::MAX);
                        self.state = State::Resync;
                    }
                }
                None
            }
            State::Resync => {
                if self.resumes_with(chunk) {
                    self.state = State::Idle;
                    self.resynchronised = Some(self.accounted).filter(|_| !self.not_http);
                    self.owed = 0;
                    self.not_http = false;
                } else {
                    self.pass_over(chunk);
                    chunk.advance(usize::MAX);
                }
                None
            }
            State::Tunnel => {
                self.tunneled = self.tunneled.saturating_add(chunk.bytes().len() as u64);
                self.pass_over(chunk);
                chunk.advance(usize::MAX);
                None
            }
        }
    }

    fn head_read(&mut self, progress: Progress, chunk: &mut Chunk) -> Option<ParsedRequest> {
        if progress == Progress::More {
            return None;
        }
        let State::Head(parser, origin) = mem::replace(&mut self.state, State::Resync) else {
            return None;
        };
        let head = match progress {
            Progress::TooLong => Err(Unreadable::TooLong),
            Progress::More | Progress::Invalid => Err(Unreadable::NotHttp),
            Progress::Complete(_) => parser.into_request().ok_or(Unreadable::NotHttp),
        };
        match &head {
            Ok(head) => self.body_follows(Body::of_request(head), chunk),
            Err(Unreadable::NotHttp) => {
                self.passed_over = true;
                self.not_http = true;
            }
            Err(_) => self.passed_over = true,
        }
        if mem::take(&mut self.tunnel_follows) {
            self.tunnel();
        }
        Some(self.parsed(origin, head, chunk.info.time))
    }

    fn body_follows(&mut self, body: Body, chunk: &mut Chunk) {
        self.passed_over |= body != Body::Length(0);
        match body {
            Body::Length(length) => {
                self.state = State::Idle;
                let here = chunk.bytes().len() as u64;
                chunk.advance(usize::try_from(length).unwrap_or(usize::MAX));
                if let (Some(next), Some(beyond @ 1..)) =
                    (self.stream.next(), length.checked_sub(here))
                {
                    self.stream.seek(next.saturating_add(beyond));
                }
            }
            Body::Chunked => self.state = State::Chunked(Chunks::new()),
            Body::UntilClose | Body::Unknown => self.state = State::Resync,
            Body::Tunnel => self.state = State::Tunnel,
        }
    }
}
