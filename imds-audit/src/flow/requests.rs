//! The caller's direction of a connection, cut into requests.

use std::mem;

use imds_audit_ebpf::Task;
use imds_audit_ebpf::beginnings::{self, Window};

use super::body::{Body, ChunkProgress, Chunks};
use super::http::{HeadParser, Kind, Progress, RequestHead, begins_request};
use super::stream::{Losses, Piece, Stream, Tag};
use super::work::look;
use super::{Begins, Timestamp, Unreadable};

/// What is known of a request from its first byte on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    pub(super) started: Timestamp,
    pub(super) writer: Option<Task>,
    pub(super) last_writer: Option<Task>,
    /// How often records were lost before.
    pub(super) losses: Losses,
    /// How much of the response stream the caller had when it sent the first byte.
    pub(super) acknowledged: Option<u64>,
    /// It was counted as lost where that happened, and came again.
    pub(super) counted: bool,
    /// It or one before it began in the middle of a segment, and so was sent before the response
    /// to the one before could have come.
    pub(super) ahead: bool,
}

/// A request that is as complete as it will ever be.
pub(super) struct Asked {
    pub(super) begun: Begun,
    pub(super) head: Result<RequestHead, Unreadable>,
    /// When the last byte of its head passed.
    pub(super) completed: Timestamp,
    /// Requests before it may have gone unseen: so many had been lost and counted.
    pub(super) resynchronised: Option<u32>,
}

/// What is left of a caller's direction after its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    /// The sequence number behind the last bytes that were read or given up; `None` where there
    /// were none.
    pub(super) next: Option<u32>,
    /// How much its last bytes had acknowledged.
    pub(super) acknowledged: Option<u32>,
    /// How many lost requests had been accounted for.
    accounted: u32,
    /// It was for lost bytes that it was unknown where the next request begins.
    gapped: bool,
    place: Place,
}

/// Where a stream ended.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Before a request line.
    Between,
    /// Within a request, or what may be one.
    Within,
    /// Behind the last HTTP.
    Beyond,
}

enum State {
    /// Before a request line.
    Idle,
    Head(HeadParser, Begun),
    Chunked(Chunks),
    /// Where the next request begins is unknown: wait for an evident request line.
    Unsynced,
    /// No more HTTP comes: the sender has finished, or the connection was upgraded.
    Quiet,
}

/// Cuts the caller's bytes into requests.
///
/// After a gap, or bytes that are not HTTP, it goes on at a segment that begins with an evident
/// request line and acknowledges more of the response stream than any before: a caller that
/// has received something new since is not in the middle of an older request. Without that
/// proof, bytes chosen to look like a request line in a header's value would become a request.
pub(super) struct Requests {
    pub(super) stream: Stream,
    state: State,
    head_limit: usize,
    fin: Option<u64>,
    last_acknowledged: Option<u64>,
    last_writer: Option<Task>,
    resynchronised: Option<u32>,
    not_http: bool,
    /// How many requests were lost and counted elsewhere, of those before the next byte.
    accounted: u32,
    /// How many of those were sent again, and seen then.
    repeated: u32,
    /// How many requests may still be answered whose response nobody waits for.
    owed: u32,
    /// Beginnings of what may be requests, or part of one that was lost.
    doubtful: u64,
    /// The last four bytes before the next; `None` behind a gap.
    tail: Option<u32>,
    /// Requests that are not read were sent ahead of responses.
    sends_ahead: bool,
    /// It is for lost bytes that it is unknown where the next request begins.
    gapped: bool,
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
            last_writer: None,
            resynchronised: None,
            not_http: false,
            accounted: 0,
            repeated: 0,
            owed: 0,
            doubtful: 0,
            tail: None,
            sends_ahead: false,
            gapped: false,
            guessed_end: false,
            joined: false,
        }
    }

    /// Begins at the first byte of the connection.
    pub(super) fn open(&mut self, sequence: u32) {
        let position = self.stream.position(sequence);
        self.stream.seek(position);
    }

    /// Begins in the middle of a connection. Returns the rest of a request whose beginning
    /// went unseen, where the bytes begin with one.
    pub(super) fn join(&mut self, sequence: u32, payload: &[u8], tag: Tag) -> Option<Asked> {
        let evident = begins_request(payload);
        // A keep-alive probe carries one byte that was sent before.
        if !evident && payload.len() <= 1 && !tag.begins.is_first() {
            return None;
        }
        self.open(sequence);
        self.accounted = tag.lost;
        // What is sent again was told before, or counted.
        if evident && tag.begins != Begins::Again {
            return None;
        }
        self.state = State::Unsynced;
        // Its response answers no request that waits.
        self.owed = 1;
        self.gapped = true;
        if tag.begins == Begins::Again || (tag.lost > 0 && !tag.begins.is_first()) {
            // Its beginning was lost and counted.
            return None;
        }
        self.joined = true;
        let begun = self.begin(tag, false);
        Some(self.asked(begun, Err(Unreadable::Cut), tag.time))
    }

    /// Notes where the response stream begins: a request that acknowledges no more than this
    /// is the connection's first.
    pub(super) fn responses_begin(&mut self, position: u64) {
        self.last_acknowledged.get_or_insert(position);
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
    pub(super) fn doubt_end(&mut self, position: u64) {
        if self.guessed_end && self.fin.is_some_and(|fin| fin < position) {
            self.guessed_end = false;
            self.fin = None;
            self.state = State::Unsynced;
            self.gapped = true;
        }
    }

    /// Takes what follows for something else than HTTP.
    pub(super) fn silence(&mut self) {
        self.state = State::Quiet;
    }

    /// Returns whether a request has begun that is not complete.
    pub(super) fn within_head(&self) -> bool {
        matches!(self.state, State::Head(..))
    }

    /// Returns whether a response that begins at `position` came before the request that has begun
    /// was sent: its caller had acknowledged it.
    pub(super) fn began_after(&self, position: u64) -> bool {
        match &self.state {
            State::Head(_, begun) => begun.acknowledged > Some(position),
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

    /// Reads on to the end of the next request's head.
    pub(super) fn advance(&mut self) -> Option<Asked> {
        while let Some(mut piece) = self.stream.take() {
            let asked = self.read(&mut piece);
            if !piece.bytes().is_empty() {
                self.stream.give_back(piece);
            }
            if asked.is_some() {
                return asked;
            }
        }
        None
    }

    /// Gives up the bytes that are missing before `position`. Returns the request that they
    /// belonged to, where there certainly was one that was not counted elsewhere: `lost` were by
    /// now.
    pub(super) fn give_up(&mut self, position: u64, time: Timestamp, lost: u32) -> Option<Asked> {
        let next = self.stream.next().filter(|&next| next < position)?;
        if self.fin == Some(next) {
            // The end has a number of its own; bytes behind it are no gap away.
            self.stream.seek(next.saturating_add(1));
            return None;
        }
        let known = self.stream.lost_before_held();
        let counted = known.unwrap_or(lost).saturating_sub(self.accounted);
        // Of those that were lost by now some may lie behind the gap.
        self.accounted = self.accounted.max(known.unwrap_or(self.accounted + counted.min(1)));
        let held = self.stream.beyond_gap().map(|(held, _)| held);
        if held.is_none() && position == next.saturating_add(1) && !self.within_head() {
            // One byte that is acknowledged and was never seen is the end's.
            self.finish(next);
            self.guessed_end = true;
            self.stream.seek(position);
            return None;
        }
        self.stream.seek(held.map_or(position, |held| held.min(position)).max(next));
        let tag = Tag {
            time,
            writer: None,
            acknowledged: None,
            ttl: None,
            lost: known.unwrap_or(lost),
            losses: Losses::default(),
            begins: Begins::No,
        };
        self.gapped = true;
        self.tail = None;
        match mem::replace(&mut self.state, State::Unsynced) {
            State::Head(_, begun) => Some(self.asked(begun, Err(Unreadable::Lost), time)),
            State::Idle if counted > 0 => None,
            State::Idle => {
                let begun = self.begin(tag, false);
                Some(self.asked(begun, Err(Unreadable::Lost), time))
            }
            State::Quiet => {
                self.state = State::Quiet;
                None
            }
            State::Chunked(_) | State::Unsynced => None,
        }
    }

    /// Takes one of the `owed` for answered. Returns whether there was one.
    pub(super) fn is_owed(&mut self) -> bool {
        let owed = self.owed > 0;
        self.owed = self.owed.saturating_sub(1);
        owed
    }

    /// Returns how many beginnings looked like a request's and were not taken for such, since the
    /// last call.
    pub(super) fn take_doubtful(&mut self) -> u64 {
        mem::take(&mut self.doubtful)
    }

    /// Ends the stream where it stands. Returns the request that was cut by it.
    pub(super) fn end(&mut self, time: Timestamp) -> Option<Asked> {
        match mem::replace(&mut self.state, State::Unsynced) {
            State::Head(_, begun) => Some(self.asked(begun, Err(Unreadable::Cut), time)),
            state => {
                self.state = state;
                None
            }
        }
    }

    /// Returns what must be remembered of a stream that ended, should its end have been none.
    pub(super) fn rest(&self) -> Rest {
        Rest {
            // Truncation is meant: only the low half is on the wire.
            next: self.stream.next().map(|next| next as u32),
            acknowledged: self.last_acknowledged.map(|position| position as u32),
            accounted: self.accounted,
            gapped: self.gapped,
            place: match self.state {
                State::Idle => Place::Between,
                State::Head(..) | State::Chunked(_) | State::Unsynced => Place::Within,
                State::Quiet => Place::Beyond,
            },
        }
    }

    /// Goes on where an earlier stream ended; `acknowledged` is what its last bytes had
    /// acknowledged.
    pub(super) fn resume(&mut self, rest: Rest, acknowledged: Option<u64>) {
        let Some(next) = rest.next else { return };
        self.open(next);
        self.last_acknowledged = acknowledged;
        self.accounted = rest.accounted;
        self.gapped = rest.gapped;
        self.state = match rest.place {
            Place::Between => State::Idle,
            Place::Within => State::Unsynced,
            Place::Beyond => State::Quiet,
        };
    }

    fn begin(&mut self, tag: Tag, ahead: bool) -> Begun {
        let counted = tag.begins == Begins::Again && self.take_repeated(1, tag.lost) == 1;
        Begun {
            counted,
            ahead: ahead || self.sends_ahead,
            started: tag.time,
            writer: tag.writer,
            last_writer: self.last_writer,
            losses: tag.losses,
            acknowledged: tag.acknowledged,
        }
    }

    /// Takes requests that were sent before, and whose first bytes are new all the same: their
    /// records were lost then, and they were counted. Returns how many of them that holds for:
    /// never more than were lost.
    fn take_repeated(&mut self, requests: u32, lost: u32) -> u32 {
        let counted = requests.min(lost.saturating_sub(self.repeated));
        self.repeated += counted;
        counted
    }

    fn asked(
        &mut self,
        begun: Begun,
        head: Result<RequestHead, Unreadable>,
        completed: Timestamp,
    ) -> Asked {
        Asked { begun, head, completed, resynchronised: mem::take(&mut self.resynchronised) }
    }

    fn read(&mut self, piece: &mut Piece) -> Option<Asked> {
        let tag = piece.tag;
        if piece.first && tag.begins.is_first() {
            // All that was lost before it was sent lies before it.
            self.accounted = self.accounted.max(tag.lost);
        }
        let mut asked = None;
        while asked.is_none() && !piece.bytes().is_empty() {
            asked = self.step(piece);
        }
        self.last_writer = tag.writer.or(self.last_writer);
        self.last_acknowledged = self.last_acknowledged.max(tag.acknowledged);
        asked
    }

    fn step(&mut self, piece: &mut Piece) -> Option<Asked> {
        let tag = piece.tag;
        match &mut self.state {
            State::Idle => {
                let bytes = piece.bytes();
                // RFC 9112, section 2.2: empty lines before a request line are ignored.
                let empty = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
                if empty < bytes.len() {
                    let begun = self.begin(tag, piece.is_behind_others());
                    self.state =
                        State::Head(HeadParser::new(Kind::Request, self.head_limit), begun);
                }
                piece.advance(empty);
                None
            }
            State::Head(parser, _) => {
                let progress = parser.push(piece.bytes());
                match progress {
                    Progress::Complete(used) => piece.advance(used),
                    _ => piece.advance(usize::MAX),
                }
                self.head_read(progress, piece)
            }
            State::Chunked(chunks) => {
                match chunks.push(piece.bytes()) {
                    ChunkProgress::More => piece.advance(usize::MAX),
                    ChunkProgress::Complete(used) => {
                        piece.advance(used);
                        self.state = State::Idle;
                    }
                    ChunkProgress::Invalid => {
                        piece.advance(usize::MAX);
                        self.state = State::Unsynced;
                    }
                }
                None
            }
            State::Unsynced => {
                let newer = tag.acknowledged.is_some()
                    && self.last_acknowledged.is_none_or(|last| tag.acknowledged > Some(last));
                let evident = piece.first && begins_request(piece.bytes());
                if evident && newer {
                    self.state = State::Idle;
                    self.resynchronised = Some(self.accounted);
                    self.owed = 0;
                    self.gapped = false;
                } else {
                    self.pass_over(piece);
                    piece.advance(usize::MAX);
                }
                None
            }
            State::Quiet => {
                piece.advance(usize::MAX);
                None
            }
        }
    }

    /// Counts the requests that begin in bytes which are not read for it.
    fn pass_over(&mut self, piece: &Piece) {
        let tag = piece.tag;
        let handed_out = mem::take(&mut self.joined);
        let is_again = tag.begins == Begins::Again;
        look(piece.bytes().len());
        let begins_here =
            piece.first && (tag.begins.is_first() || is_again && begins_request(piece.bytes()));
        let mut begun = match self.tail {
            Some(_) if begins_here => beginnings::count(Window::UNKNOWN, piece.bytes()),
            Some(tail) => beginnings::count(Window::after(tail), piece.bytes()),
            None => beginnings::count_behind_gap(piece.bytes()),
        };
        self.sends_ahead |= begun > 0;
        begun += u32::from(begins_here && !handed_out);
        self.tail = Some(beginnings::tail(self.tail.unwrap_or(0), piece.bytes()));
        if is_again {
            begun -= self.take_repeated(begun, tag.lost);
        }
        if self.gapped {
            self.doubtful += u64::from(begun);
            self.owed = self.owed.saturating_add(begun);
        }
    }

    fn head_read(&mut self, progress: Progress, piece: &mut Piece) -> Option<Asked> {
        if progress == Progress::More {
            return None;
        }
        let State::Head(parser, begun) = mem::replace(&mut self.state, State::Unsynced) else {
            return None;
        };
        let head = match progress {
            Progress::TooLong => Err(Unreadable::TooLong),
            Progress::More | Progress::Invalid => Err(Unreadable::NotHttp),
            Progress::Complete(_) => parser.into_request().ok_or(Unreadable::NotHttp),
        };
        match &head {
            Ok(head) => self.body_follows(Body::of_request(head), piece),
            Err(Unreadable::NotHttp) if mem::replace(&mut self.not_http, true) => return None,
            Err(_) => {}
        }
        Some(self.asked(begun, head, piece.tag.time))
    }

    fn body_follows(&mut self, body: Body, piece: &mut Piece) {
        match body {
            Body::Length(length) => {
                self.state = State::Idle;
                let here = piece.bytes().len() as u64;
                piece.advance(usize::try_from(length).unwrap_or(usize::MAX));
                if let (Some(next), Some(beyond @ 1..)) =
                    (self.stream.next(), length.checked_sub(here))
                {
                    self.stream.seek(next.saturating_add(beyond));
                }
            }
            Body::Chunked => self.state = State::Chunked(Chunks::new()),
            Body::UntilClose | Body::Unknown => self.state = State::Unsynced,
            Body::Tunnel => self.state = State::Quiet,
        }
    }
}
