//! All connections, and what is due when.

use std::collections::BTreeSet;

use lru::LruCache;

use super::connection::{Connection, Context};
use super::limits::{Counters, Limits};
use super::requests::Rest;
use super::{ConnectionId, Direction, Ends, Finding, Segment, Timestamp};

/// Rebuilds the exchanges of all connections.
///
/// Whatever it learns it hands to the sink of the call in which it learns it. A segment costs
/// the logarithm of the number of connections; only what is due is looked at.
pub struct Tracker {
    limits: Limits,
    counters: Counters,
    losses: u64,
    connections: LruCache<ConnectionId, Entry>,
    deadlines: BTreeSet<(Timestamp, ConnectionId)>,
    buffered: usize,
    /// The ended connections, the one that ended first at the end.
    ended: LruCache<ConnectionId, Rest>,
}

struct Entry {
    connection: Box<Connection>,
    deadline: Timestamp,
    size: usize,
}

impl Tracker {
    /// Creates a tracker that keeps no more than `limits` allow.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            counters: Counters::default(),
            losses: 0,
            connections: LruCache::unbounded(),
            deadlines: BTreeSet::new(),
            buffered: 0,
            ended: LruCache::unbounded(),
        }
    }

    /// Returns what could not be seen as it was.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Returns how many connections are followed.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Returns whether a connection is followed.
    pub fn follows(&self, connection: ConnectionId) -> bool {
        self.connections.contains(&connection)
    }

    /// Returns whether no connection is followed.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Returns how many bytes are buffered: heads of open requests, and bytes beyond gaps.
    pub fn buffered(&self) -> usize {
        self.buffered
    }

    /// Returns about how many bytes everything takes that is followed.
    pub fn held(&self) -> usize {
        self.buffered + self.connections.len() * size_of::<Connection>()
    }

    /// Takes an attempt to connect, before its first packet.
    ///
    /// A second attempt on the same socket ends the first.
    pub fn opened(
        &mut self,
        connection: ConnectionId,
        ends: Ends,
        time: Timestamp,
        sink: &mut impl FnMut(Finding),
    ) {
        self.end(connection, time, sink);
        self.ended.pop(&connection);
        self.start(connection, ends, time, true, sink);
        self.settle(connection, sink);
    }

    /// Takes a segment.
    ///
    /// One without bytes of a connection that is not followed is left alone, unless it opens
    /// the connection.
    pub fn segment(&mut self, segment: &Segment<'_>, sink: &mut impl FnMut(Finding)) {
        let id = segment.connection;
        let opens = segment.syn && segment.direction == Direction::Request;
        if opens {
            let followed = self.connections.peek(&id);
            if followed.is_some_and(|e| e.connection.is_reopened_by(segment.sequence)) {
                self.end(id, segment.time, sink);
            }
            self.ended.pop(&id);
        }
        let asks = segment.direction == Direction::Request && !segment.payload.is_empty();
        let rest = self.ended.peek(&id).copied();
        if let Some(rest) = rest {
            // A retransmission of what is known. Bytes behind that say that the end was none: an
            // end that the caller's kernel did not believe.
            let is_new = rest.next.is_none_or(|next| is_behind(end_of(segment), next));
            if !(asks && is_new) {
                return;
            }
            self.ended.pop(&id);
        }
        if !self.connections.contains(&id) {
            if !(segment.syn || asks) {
                return;
            }
            self.start(id, segment.ends, segment.time, segment.syn, sink);
        }
        if let Some(rest) = rest {
            self.with(id, sink, |connection, _| connection.resume(rest));
        }
        self.with(id, sink, |connection, context| connection.segment(segment, context));
        self.settle(id, sink);
    }

    /// Takes note that records were lost since the last call: from now on it is uncertain of
    /// each request and connection that is open whether something came back for it.
    pub fn lost(&mut self) {
        self.losses += 1;
    }

    /// Does what is due: hands out requests without a response and connections without a
    /// request, gives up gaps, and forgets idle connections.
    pub fn expire(&mut self, now: Timestamp, sink: &mut impl FnMut(Finding)) {
        while let Some(&(deadline, id)) = self.deadlines.first() {
            if deadline > now {
                break;
            }
            self.with(id, sink, |connection, context| connection.expire(now, context));
            // What was due has been done, so the next deadline is later; where it is not, the
            // connection is not worth an endless loop.
            let limits = &self.limits;
            let stuck =
                |e: &Entry| !e.connection.is_closed() && e.connection.deadline(limits) <= now;
            if self.connections.peek(&id).is_some_and(stuck) {
                self.end(id, now, sink);
            }
            self.settle(id, sink);
        }
    }

    /// Returns when [`Self::expire`] has something to do, if nothing else comes before.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// Ends the audit: hands out everything that is still open, with what is known of it.
    pub fn finish(&mut self, now: Timestamp, sink: &mut impl FnMut(Finding)) {
        while let Some((&id, _)) = self.connections.peek_lru() {
            self.with(id, sink, |connection, context| connection.end(now, false, context));
            self.remove(id);
        }
    }

    fn start(
        &mut self,
        id: ConnectionId,
        ends: Ends,
        time: Timestamp,
        opened: bool,
        sink: &mut impl FnMut(Finding),
    ) {
        while self.connections.len() >= self.limits.connections.max(1) {
            self.evict(time, sink);
        }
        let context = Context {
            limits: &self.limits,
            counters: &mut self.counters,
            losses: self.losses,
            sink,
        };
        let connection = Box::new(Connection::new(id, ends, time, opened, &context));
        let deadline = connection.deadline(&self.limits);
        self.deadlines.insert((deadline, id));
        self.connections.put(id, Entry { connection, deadline, size: 0 });
    }

    fn with(
        &mut self,
        id: ConnectionId,
        sink: &mut impl FnMut(Finding),
        act: impl FnOnce(&mut Connection, &mut Context<'_>),
    ) {
        if let Some(entry) = self.connections.peek_mut(&id) {
            let mut context = Context {
                limits: &self.limits,
                counters: &mut self.counters,
                losses: self.losses,
                sink,
            };
            act(&mut entry.connection, &mut context);
        }
    }

    /// Brings the table up to date with what became of a connection.
    fn settle(&mut self, id: ConnectionId, sink: &mut impl FnMut(Finding)) {
        let Some(entry) = self.connections.peek_mut(&id) else { return };
        if entry.connection.is_closed() {
            let rest = entry.connection.has_ended().then(|| entry.connection.rest());
            self.remove(id);
            if let Some(rest) = rest {
                self.bury(id, rest);
            }
            return;
        }
        let deadline = entry.connection.deadline(&self.limits);
        if deadline != entry.deadline {
            self.deadlines.remove(&(entry.deadline, id));
            self.deadlines.insert((deadline, id));
            entry.deadline = deadline;
        }
        let size = entry.connection.size();
        self.buffered = self.buffered + size - entry.size;
        entry.size = size;
        while self.buffered > self.limits.buffered && !self.connections.is_empty() {
            let now = self.connections.peek(&id).map_or(deadline, |e| e.connection.active());
            self.evict(now, sink);
        }
    }

    fn evict(&mut self, now: Timestamp, sink: &mut impl FnMut(Finding)) {
        if let Some((&id, _)) = self.connections.peek_lru() {
            self.counters.evicted += 1;
            self.with(id, sink, |connection, context| connection.end(now, false, context));
            self.remove(id);
        }
    }

    fn end(&mut self, id: ConnectionId, now: Timestamp, sink: &mut impl FnMut(Finding)) {
        self.with(id, sink, |connection, context| connection.end(now, true, context));
        self.remove(id);
    }

    fn remove(&mut self, id: ConnectionId) {
        if let Some(entry) = self.connections.pop(&id) {
            self.deadlines.remove(&(entry.deadline, id));
            self.buffered -= entry.size;
        }
    }

    fn bury(&mut self, id: ConnectionId, rest: Rest) {
        self.ended.put(id, rest);
        while self.ended.len() > self.limits.ended {
            self.ended.pop_lru();
        }
    }
}

/// Returns the sequence number behind a segment's payload.
fn end_of(segment: &Segment<'_>) -> u32 {
    segment.sequence.wrapping_add(u32::from(segment.syn)).wrapping_add(segment.length)
}

/// Returns whether a sequence number comes after another, across the wrap (RFC 9293, section 3.4).
fn is_behind(sequence: u32, other: u32) -> bool {
    let distance = sequence.wrapping_sub(other);
    distance != 0 && distance < 1 << 31
}
