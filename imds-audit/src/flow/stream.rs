//! The bytes of one direction of a connection, in order.

use std::collections::BTreeMap;

use imds_audit_ebpf::Task;

use super::scan_cost::count_bytes;
use crate::segment::{RequestStart, Timestamp};

/// What keeping a chunk costs beside its bytes: an estimate that bounds how many of one byte
/// each can pile up.
const CHUNK_COST: usize = 128;

/// A sequence number is put above this, so that there is room below it.
const ORIGIN: u64 = 1 << 32;

/// How often records were lost up to some moment. The first is reported late, the second is known of
/// the connection's own records alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LossEpoch {
    /// Of whatever connection: see [`super::Tracker::lost`].
    pub(super) global: u64,
    /// Of the connection: see [`super::Segment::lost_records`].
    pub(super) connection: u32,
}

/// What is known of the segment that bytes came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct SegmentInfo {
    pub(super) time: Timestamp,
    pub(super) writer: Option<Task>,
    /// How much the sender had received of the other direction.
    pub(super) acknowledged: Option<u64>,
    pub(super) ttl: Option<u8>,
    /// How many requests were lost and counted before it: see [`super::Segment::lost_requests`].
    pub(super) lost: u32,
    /// How often records were lost before it came.
    pub(super) losses: LossEpoch,
    /// See [`super::Segment::begins`].
    pub(super) begins: RequestStart,
}

/// Bytes that came in one segment.
pub(super) struct Chunk {
    bytes: Vec<u8>,
    used: usize,
    pub(super) info: SegmentInfo,
    /// The segment began with it.
    pub(super) first: bool,
    /// Another segment had other bytes at the same place.
    pub(super) contested: bool,
}

impl Chunk {
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.used..).unwrap_or_default()
    }

    /// Returns whether bytes of its segment before it were read.
    pub(super) fn is_behind_others(&self) -> bool {
        self.used > 0
    }

    pub(super) fn advance(&mut self, count: usize) {
        self.used = self.used.saturating_add(count).min(self.bytes.len());
        self.first &= count == 0;
    }

    /// Splits off what lies behind so many bytes.
    fn split_off(&mut self, count: usize) -> Option<Self> {
        let rest = self.bytes().get(count..).filter(|rest| !rest.is_empty())?.to_vec();
        self.bytes.truncate(self.used + count);
        let (info, contested) = (self.info, self.contested);
        Some(Self { bytes: rest, used: 0, info, first: false, contested })
    }

    fn length(&self) -> u64 {
        (self.bytes.len() - self.used) as u64
    }

    fn cost(&self) -> usize {
        self.bytes.len() + CHUNK_COST
    }
}

/// Puts segments in order by their sequence numbers.
///
/// A position is a sequence number widened to 64 bits, so that it does not wrap. Of bytes that
/// come twice the first count: that is what the receiver, too, has taken.
///
/// A stream of *claims* has bytes that its receiver may have thrown away: they are only given out
/// once they are [released](Self::release), and until then two segments that disagree about a byte
/// make it contested.
pub(super) struct Stream {
    next: Option<u64>,
    reference: Option<u64>,
    held: BTreeMap<u64, Chunk>,
    cost: usize,
    limit: usize,
    /// Bytes before this are given out; `None` for all, which nobody contests.
    released: Option<u64>,
}

impl Stream {
    /// Creates a stream whose bytes are believed.
    pub(super) fn new(limit: usize) -> Self {
        Self { next: None, reference: None, held: BTreeMap::new(), cost: 0, limit, released: None }
    }

    /// Creates a stream of claims.
    pub(super) fn of_claims(limit: usize) -> Self {
        Self { released: Some(0), ..Self::new(limit) }
    }

    /// Gives out the bytes before `position` from now on.
    pub(super) fn release(&mut self, position: u64) {
        self.released = self.released.max(Some(position));
    }

    /// Returns whether a byte is held.
    pub(super) fn holds(&self, position: u64) -> bool {
        let chunk = self.held.range(..=position).next_back();
        chunk.is_some_and(|(start, chunk)| start + chunk.length() > position)
    }

    /// Returns the position of the next byte that is wanted.
    pub(super) fn next(&self) -> Option<u64> {
        self.next
    }

    /// Returns the position of the first byte that is held behind a gap, and when it came.
    pub(super) fn beyond_gap(&self) -> Option<(u64, Timestamp)> {
        let (&position, chunk) = self.held.first_key_value()?;
        Some((position, chunk.info.time))
    }

    /// Returns where the last bytes end that are held.
    pub(super) fn end(&self) -> Option<u64> {
        self.held.last_key_value().map(|(start, chunk)| start + chunk.length())
    }

    /// Returns the position of the first bytes held behind a gap that were sent for the first time,
    /// and how many requests were lost and counted before them. What came again tells that of a
    /// later moment than its place.
    pub(super) fn lost_before_held(&self) -> Option<(u64, u32)> {
        let is_again = |chunk: &Chunk| chunk.info.begins == RequestStart::Retransmitted;
        let first_sent = self.held.iter().find(|(_, chunk)| !is_again(chunk));
        first_sent.map(|(&position, chunk)| (position, chunk.info.lost))
    }

    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// Widens a sequence number, taking it for the one nearest to what was seen last.
    pub(super) fn position(&mut self, sequence: u32) -> u64 {
        let position = self.estimate(sequence);
        self.reference = self.reference.max(Some(position));
        position
    }

    /// Has later sequence numbers taken for those nearest to `position`.
    pub(super) fn refer_to(&mut self, position: u64) {
        self.reference = Some(position);
    }

    /// Widens a sequence number that may be of a stray packet: what comes later is not measured
    /// by it.
    pub(super) fn estimate(&self, sequence: u32) -> u64 {
        let Some(reference) = self.reference else { return ORIGIN + u64::from(sequence) };
        // Truncation is meant: only the low half is on the wire.
        let distance = sequence.wrapping_sub(reference as u32) as i32;
        reference.saturating_add_signed(i64::from(distance))
    }

    /// Wants the byte at `position` next; whatever lies before it is dropped.
    pub(super) fn seek(&mut self, position: u64) {
        self.next = Some(position);
        while let Some(entry) = self.held.first_entry() {
            if entry.key().saturating_add(entry.get().length()) > position {
                break;
            }
            self.cost = self.cost.saturating_sub(entry.remove().cost());
        }
        self.give_up_room();
    }

    pub(super) fn clear(&mut self) {
        self.held.clear();
        self.cost = 0;
    }

    /// Gives up the room for pieces where there are none: a map that was emptied keeps its last
    /// node, which has room for eleven of them, and most connections are silent most of the time.
    fn give_up_room(&mut self) {
        if self.held.is_empty() {
            self.held.clear();
        }
    }

    /// Takes a segment's bytes. Returns whether the bound on what is held was kept; where it
    /// was not, bytes beyond the gap were dropped.
    pub(super) fn insert(&mut self, position: u64, payload: &[u8], info: SegmentInfo) -> bool {
        let Some(next) = self.next else { return true };
        let end = position.saturating_add(payload.len() as u64);
        let mut at = position.max(next);
        let mut kept = true;
        if self.released.is_some() {
            self.contest(position, payload);
        }
        if let Some((_, before)) =
            self.held.range(..=at).next_back().map(|(k, p)| (*k, k + p.length()))
        {
            at = at.max(before);
        }
        while at < end {
            let following = self.held.range(at..).next().map(|(&k, p)| (k, k + p.length()));
            let stop = following.map_or(end, |(start, _)| start.min(end));
            if stop > at {
                kept &= self.hold(position, at, stop, payload, info);
            }
            at = following.map_or(end, |(_, over)| over.max(stop));
        }
        kept
    }

    /// Marks what is held between two positions.
    pub(super) fn contest_range(&mut self, from: u64, to: u64) {
        let first = self.held.range(..=from).next_back().map_or(from, |(&start, _)| start);
        for (start, chunk) in self.held.range_mut(first..to) {
            chunk.contested |= start + chunk.length() > from;
        }
    }

    /// Marks what is held and differs from a segment's bytes.
    fn contest(&mut self, position: u64, payload: &[u8]) {
        let end = position.saturating_add(payload.len() as u64);
        let first = self.held.range(..=position).next_back().map_or(position, |(&start, _)| start);
        for (&start, chunk) in self.held.range_mut(first..end) {
            let from = start.max(position);
            let theirs = payload.get(offset(from, position)..).unwrap_or_default();
            let ours = chunk.bytes().get(offset(from, start)..).unwrap_or_default();
            let shared = ours.len().min(theirs.len());
            count_bytes(shared);
            chunk.contested |= ours.get(..shared) != theirs.get(..shared);
        }
    }

    fn hold(
        &mut self,
        position: u64,
        from: u64,
        to: u64,
        payload: &[u8],
        info: SegmentInfo,
    ) -> bool {
        let range = offset(from, position)..offset(to, position);
        let bytes = payload.get(range).unwrap_or_default();
        let cost = bytes.len() + CHUNK_COST;
        count_bytes(bytes.len());
        if Some(from) != self.next && self.cost + cost > self.limit {
            return false;
        }
        let chunk = Chunk {
            bytes: bytes.to_vec(),
            used: 0,
            info,
            first: from == position,
            contested: false,
        };
        self.cost += cost;
        self.held.insert(from, chunk);
        true
    }

    /// Takes the next chunk, if it is there.
    pub(super) fn take(&mut self) -> Option<Chunk> {
        let next = self.next?;
        let entry = self.held.first_entry()?;
        let start = *entry.key();
        if start > next {
            return None;
        }
        if self.released.is_some_and(|released| released <= next) {
            return None;
        }
        let mut chunk = entry.remove();
        self.give_up_room();
        self.cost = self.cost.saturating_sub(chunk.cost());
        if start < next {
            chunk.advance(offset(next, start));
        }
        if let Some(released) = self.released
            && let Some(rest) = chunk.split_off(offset(released, next))
        {
            self.cost += rest.cost();
            self.held.insert(released, rest);
        }
        self.next = Some(next.saturating_add(chunk.length()));
        Some(chunk)
    }

    /// Gives back what is left of the chunk taken last.
    pub(super) fn give_back(&mut self, chunk: Chunk) {
        if let (Some(next), length @ 1..) = (self.next, chunk.length()) {
            let start = next.saturating_sub(length);
            self.next = Some(start);
            self.cost += chunk.cost();
            self.held.insert(start, chunk);
        }
    }
}

fn offset(position: u64, base: u64) -> usize {
    usize::try_from(position.saturating_sub(base)).unwrap_or(usize::MAX)
}
