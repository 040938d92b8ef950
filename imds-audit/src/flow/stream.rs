//! One direction of a connection, put back in order.

use std::collections::BTreeMap;

use imds_audit_ebpf::Task;
use zeroize::Zeroizing;

use super::work::look;
use super::{Begins, Timestamp};

/// What keeping a piece costs beside its bytes: an estimate that bounds how many of one byte
/// each can pile up.
const PIECE_COST: usize = 128;

/// A sequence number is put above this, so that there is room below it.
const ORIGIN: u64 = 1 << 32;

/// How often records were lost up to some moment. The first is told late, the second is known of
/// the connection's own records alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// Of whatever connection: see [`super::Tracker::lost`].
    pub(super) anywhere: u64,
    /// Of the connection: see [`super::Segment::lost_records`].
    pub(super) here: u32,
}

/// What is known of the segment that bytes came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tag {
    pub(super) time: Timestamp,
    pub(super) writer: Option<Task>,
    /// How much the sender had received of the other direction.
    pub(super) acknowledged: Option<u64>,
    pub(super) ttl: Option<u8>,
    /// How many requests were lost and counted before it: see [`super::Segment::lost_requests`].
    pub(super) lost: u32,
    /// How often records were lost before it came.
    pub(super) losses: Losses,
    /// See [`super::Segment::begins`].
    pub(super) begins: Begins,
}

/// Bytes that came in one segment.
pub(super) struct Piece {
    bytes: Zeroizing<Vec<u8>>,
    used: usize,
    pub(super) tag: Tag,
    /// The segment began with it.
    pub(super) first: bool,
}

impl Piece {
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

    fn length(&self) -> u64 {
        (self.bytes.len() - self.used) as u64
    }

    fn cost(&self) -> usize {
        self.bytes.len() + PIECE_COST
    }
}

/// Puts segments in order by their sequence numbers.
///
/// A position is a sequence number widened to 64 bits, so that it does not wrap. Of bytes that
/// come twice the first count: that is what the receiver, too, has taken.
pub(super) struct Stream {
    next: Option<u64>,
    reference: Option<u64>,
    held: BTreeMap<u64, Piece>,
    cost: usize,
    limit: usize,
}

impl Stream {
    pub(super) fn new(limit: usize) -> Self {
        Self { next: None, reference: None, held: BTreeMap::new(), cost: 0, limit }
    }

    /// Returns the position of the next byte that is wanted.
    pub(super) fn next(&self) -> Option<u64> {
        self.next
    }

    /// Returns the position of the first byte that is held behind a gap, and when it came.
    pub(super) fn beyond_gap(&self) -> Option<(u64, Timestamp)> {
        let (&position, piece) = self.held.first_key_value()?;
        Some((position, piece.tag.time))
    }

    /// Returns how many requests were lost and counted before the first byte that is held behind
    /// a gap. What came again tells that of a later moment than its place.
    pub(super) fn lost_before_held(&self) -> Option<u32> {
        let mut first_sent = self.held.values().filter(|piece| piece.tag.begins != Begins::Again);
        first_sent.next().map(|piece| piece.tag.lost)
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
    pub(super) fn insert(&mut self, position: u64, payload: &[u8], tag: Tag) -> bool {
        let Some(next) = self.next else { return true };
        let end = position.saturating_add(payload.len() as u64);
        let mut at = position.max(next);
        let mut kept = true;
        if let Some((_, before)) =
            self.held.range(..=at).next_back().map(|(k, p)| (*k, k + p.length()))
        {
            at = at.max(before);
        }
        while at < end {
            let following = self.held.range(at..).next().map(|(&k, p)| (k, k + p.length()));
            let stop = following.map_or(end, |(start, _)| start.min(end));
            if stop > at {
                kept &= self.hold(position, at, stop, payload, tag);
            }
            at = following.map_or(end, |(_, over)| over.max(stop));
        }
        kept
    }

    fn hold(&mut self, position: u64, from: u64, to: u64, payload: &[u8], tag: Tag) -> bool {
        let range = offset(from, position)..offset(to, position);
        let bytes = payload.get(range).unwrap_or_default();
        let cost = bytes.len() + PIECE_COST;
        look(bytes.len());
        if Some(from) != self.next && self.cost + cost > self.limit {
            return false;
        }
        let piece =
            Piece { bytes: Zeroizing::new(bytes.to_vec()), used: 0, tag, first: from == position };
        self.cost += cost;
        self.held.insert(from, piece);
        true
    }

    /// Takes the next piece, if it is there.
    pub(super) fn take(&mut self) -> Option<Piece> {
        let next = self.next?;
        let entry = self.held.first_entry()?;
        let start = *entry.key();
        if start > next {
            return None;
        }
        let mut piece = entry.remove();
        self.give_up_room();
        self.cost = self.cost.saturating_sub(piece.cost());
        if start < next {
            piece.advance(offset(next, start));
        }
        self.next = Some(next.saturating_add(piece.length()));
        Some(piece)
    }

    /// Gives back what is left of the piece taken last.
    pub(super) fn give_back(&mut self, piece: Piece) {
        if let (Some(next), length @ 1..) = (self.next, piece.length()) {
            let start = next.saturating_sub(length);
            self.next = Some(start);
            self.cost += piece.cost();
            self.held.insert(start, piece);
        }
    }
}

fn offset(position: u64, base: u64) -> usize {
    usize::try_from(position.saturating_sub(base)).unwrap_or(usize::MAX)
}
