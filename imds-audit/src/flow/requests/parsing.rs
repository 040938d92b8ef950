//! Parses the caller's bytes into requests.

use std::mem;

use super::super::Unreadable;
use super::super::body::{Body, ChunkProgress, Chunks};
use super::super::http::{HeadParser, Kind, Progress, RequestHead};
use super::super::stream::{Chunk, SegmentInfo};
use super::resync::requests_behind_blank_lines;
use super::{ParsedRequest, RequestOrigin, RequestStep, Requests, State};
use crate::segment::{RequestStart, Timestamp};

impl Requests {
    /// Reads to the end of the next request's head, or to a position for resynchronisation.
    pub(in super::super) fn advance(&mut self) -> Option<RequestStep> {
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

    /// Ends the stream at the current position. Returns the request that this truncates.
    pub(in super::super) fn end(&mut self, time: Timestamp) -> Option<ParsedRequest> {
        match mem::replace(&mut self.state, State::Resync) {
            State::Head(_, origin) => Some(self.parsed(origin, Err(Unreadable::Cut), time)),
            state => {
                self.state = state;
                None
            }
        }
    }

    pub(super) fn begin(&mut self, info: SegmentInfo, ahead: bool) -> RequestOrigin {
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

    pub(super) fn parsed(
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
