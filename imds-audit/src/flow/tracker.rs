//! The table of all connections, with their deadlines and events.

use std::collections::{BTreeSet, VecDeque};

use lru::LruCache;

use super::connection::{Connection, Context};
use super::limits::{FlowCounters, Limits};
use super::requests::ClosedState;
use super::{FlowEvent, WaitingHead};
use crate::segment::{ConnectionId, Direction, EndpointPair, Segment, Timestamp};

/// Poll-style state machine that rebuilds the exchanges of all connections.
///
/// After each call of a `handle_…` method, or of [`Self::finish`], drain
/// [`Self::poll_event`]: events wait in a list that only the caller empties. A segment costs the
/// logarithm of the number of connections, and a timeout only visits what is due.
pub(crate) struct Tracker {
    limits: Limits,
    counters: FlowCounters,
    losses: u64,
    connections: LruCache<ConnectionId, Entry>,
    deadlines: BTreeSet<(Timestamp, ConnectionId)>,
    /// Connections without a request: whether each was accepted, and when it was last heard of.
    unused: BTreeSet<Unused>,
    buffered: usize,
    events: VecDeque<FlowEvent>,
    /// The ended connections, the one that ended first at the end.
    ended: LruCache<ConnectionId, ClosedState>,
    /// The ended connections without a request, apart: a flood of them pushes out no other.
    ended_unused: LruCache<ConnectionId, ()>,
}

struct Entry {
    connection: Box<Connection>,
    deadline: Timestamp,
    /// Its place in [`Tracker::unused`].
    unused: Option<Unused>,
    size: usize,
}

/// A connection without a request, in the order in which they make room: attempts first.
type Unused = (bool, Timestamp, ConnectionId);

impl Tracker {
    /// Creates a tracker that keeps no more than `limits` allow.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            counters: FlowCounters::default(),
            losses: 0,
            connections: LruCache::unbounded(),
            deadlines: BTreeSet::new(),
            unused: BTreeSet::new(),
            buffered: 0,
            events: VecDeque::new(),
            ended: LruCache::unbounded(),
            ended_unused: LruCache::unbounded(),
        }
    }

    /// Returns the next event, in the order in which they happened; `None` once all are taken.
    pub(crate) fn poll_event(&mut self) -> Option<FlowEvent> {
        self.events.pop_front()
    }

    /// Returns what could not be seen as it was.
    pub(crate) fn counters(&self) -> FlowCounters {
        self.counters
    }

    /// Returns how many connections are followed.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Returns whether a connection is followed.
    #[cfg(test)]
    pub(crate) fn follows(&self, connection: ConnectionId) -> bool {
        self.connections.contains(&connection)
    }

    /// Returns whether a connection was seen to end, as far back as ends are remembered.
    pub(crate) fn has_ended(&self, connection: ConnectionId) -> bool {
        self.ended.contains(&connection) || self.ended_unused.contains(&connection)
    }

    /// Iterates over the requests that wait for a response, those of the connections that were
    /// active last first.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = WaitingHead<'_>> {
        self.connections.iter().flat_map(|(_, entry)| entry.connection.waiting())
    }

    /// Returns whether no connection is followed.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Returns how many bytes are buffered: heads of open requests, and bytes beyond gaps.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn buffered(&self) -> usize {
        self.buffered
    }

    /// Returns about how many bytes everything takes that is followed.
    pub(crate) fn held(&self) -> usize {
        self.buffered + self.connections.len() * size_of::<Connection>()
    }

    /// Takes an attempt to connect, before its first packet.
    ///
    /// A second attempt on the same socket ends the first.
    pub(crate) fn handle_connect(
        &mut self,
        connection: ConnectionId,
        ends: EndpointPair,
        time: Timestamp,
    ) {
        self.end(connection, time);
        self.ended.pop(&connection);
        self.start(connection, ends, time, true);
        self.update_index(connection);
    }

    /// Takes a segment.
    ///
    /// One without bytes of a connection that is not followed is left alone, unless it opens
    /// the connection.
    pub(crate) fn handle_segment(&mut self, segment: &Segment<'_>) {
        let id = segment.connection;
        let opens = segment.syn && segment.direction == Direction::Request;
        if opens {
            let followed = self.connections.peek(&id);
            if followed.is_some_and(|e| e.connection.is_reopened_by(segment.sequence)) {
                self.end(id, segment.time);
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
            if !(opens || asks) {
                return;
            }
            self.start(id, segment.ends, segment.time, opens);
        }
        if let Some(rest) = rest {
            self.with_connection(id, |connection, _| connection.reopen(rest));
        }
        // What is heard of goes to the front: the one that was silent longest makes room.
        self.connections.promote(&id);
        self.with_connection(id, |connection, context| connection.segment(segment, context));
        self.update_index(id);
    }

    /// Takes note that records were lost since the last call: from now on it is uncertain of
    /// each request and connection that is open whether something came back for it.
    pub(crate) fn handle_loss(&mut self) {
        self.losses += 1;
    }

    /// Does what is due: hands out requests without a response and connections without a
    /// request, gives up gaps, and forgets idle connections.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp) {
        while let Some(&(deadline, id)) = self.deadlines.first() {
            if deadline > now {
                break;
            }
            self.with_connection(id, |connection, context| connection.expire(now, context));
            // What was due has been done, so the next deadline is later; where it is not, the
            // connection is not worth an endless loop.
            let limits = &self.limits;
            let stuck =
                |e: &Entry| !e.connection.is_closed() && e.connection.deadline(limits) <= now;
            if self.connections.peek(&id).is_some_and(stuck) {
                self.end(id, now);
            }
            self.update_index(id);
        }
    }

    /// Returns when [`Self::handle_timeout`] has something to do, if nothing else comes before.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let first = self.deadlines.first().map(|&(deadline, _)| deadline);
        first.filter(|&deadline| deadline != Timestamp(u64::MAX))
    }

    /// Ends the audit: hands out everything that is still open, with what is known of it.
    pub(crate) fn finish(&mut self, now: Timestamp) {
        while let Some((&id, _)) = self.connections.peek_lru() {
            self.with_connection(id, |connection, context| connection.end(now, false, context));
            self.remove(id);
        }
    }

    fn start(&mut self, id: ConnectionId, ends: EndpointPair, time: Timestamp, opened: bool) {
        while self.connections.len() >= self.limits.connections.max(1) {
            self.make_room(time);
        }
        self.ended_unused.pop(&id);
        let context = Context {
            limits: &self.limits,
            counters: &mut self.counters,
            losses: self.losses,
            events: &mut self.events,
        };
        let connection = Box::new(Connection::new(id, ends, time, opened, &context));
        let deadline = connection.deadline(&self.limits);
        self.deadlines.insert((deadline, id));
        self.connections.put(id, Entry { connection, deadline, unused: None, size: 0 });
    }

    fn with_connection(
        &mut self,
        id: ConnectionId,
        act: impl FnOnce(&mut Connection, &mut Context<'_>),
    ) {
        if let Some(entry) = self.connections.peek_mut(&id) {
            let mut context = Context {
                limits: &self.limits,
                counters: &mut self.counters,
                losses: self.losses,
                events: &mut self.events,
            };
            act(&mut entry.connection, &mut context);
        }
    }

    /// Brings the table up to date with what became of a connection.
    fn update_index(&mut self, id: ConnectionId) {
        let Some(entry) = self.connections.peek_mut(&id) else { return };
        if entry.connection.is_closed() {
            let has_ended = entry.connection.has_ended();
            let state = entry.connection.closed_state();
            self.remove(id);
            match state {
                Some(state) => self.remember_closed(id, state),
                None if has_ended => {
                    self.ended_unused.put(id, ());
                    if self.ended_unused.len() > self.limits.ended {
                        self.ended_unused.pop_lru();
                    }
                }
                None => {}
            }
            return;
        }
        let deadline = entry.connection.deadline(&self.limits);
        if deadline != entry.deadline {
            self.deadlines.remove(&(entry.deadline, id));
            self.deadlines.insert((deadline, id));
            entry.deadline = deadline;
        }
        let (is_used, is_accepted) = (entry.connection.is_used(), entry.connection.is_accepted());
        let unused = (!is_used).then(|| (is_accepted, entry.connection.active(), id));
        if unused != entry.unused {
            if let Some(before) = std::mem::replace(&mut entry.unused, unused) {
                self.unused.remove(&before);
            }
            self.unused.extend(unused);
        }
        let size = entry.connection.size();
        self.buffered = self.buffered + size - entry.size;
        entry.size = size;
        while self.buffered > self.limits.buffered {
            // Rare, and only where somebody makes us hold all that: whoever holds most pays.
            let largest = self.connections.iter().max_by_key(|(_, entry)| entry.size);
            let Some((&largest, entry)) = largest else { return };
            let now = entry.connection.active();
            self.evict(largest, now);
        }
    }

    /// Forgets a connection: an attempt to connect before one that was accepted, one without a
    /// request before the others, and of those the one that was silent longest.
    fn make_room(&mut self, now: Timestamp) {
        let unused = self.unused.first().map(|&(.., id)| id);
        if let Some(id) = unused.or_else(|| self.connections.peek_lru().map(|(&id, _)| id)) {
            self.evict(id, now);
        }
    }

    fn evict(&mut self, id: ConnectionId, now: Timestamp) {
        // An attempt over which nothing came loses nothing by it: its event says so.
        let loses = |entry: &Entry| entry.connection.is_used() || entry.connection.is_accepted();
        self.counters.evicted += u64::from(self.connections.peek(&id).is_some_and(loses));
        self.with_connection(id, |connection, context| connection.evict(now, context));
        self.remove(id);
    }

    fn end(&mut self, id: ConnectionId, now: Timestamp) {
        self.with_connection(id, |connection, context| connection.end(now, true, context));
        self.remove(id);
    }

    fn remove(&mut self, id: ConnectionId) {
        if let Some(entry) = self.connections.pop(&id) {
            self.deadlines.remove(&(entry.deadline, id));
            if let Some(unused) = entry.unused {
                self.unused.remove(&unused);
            }
            self.buffered -= entry.size;
        }
    }

    fn remember_closed(&mut self, id: ConnectionId, state: ClosedState) {
        self.ended.put(id, state);
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
