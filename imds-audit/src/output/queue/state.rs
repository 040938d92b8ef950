//! Lines that wait, whose they are, and what became of the others.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::Arc,
};

use tokio::sync::Notify;

use super::CAPACITY;
use crate::{event::Checkpoint, output::loss::LostLines};

/// How many times the room that is left one caller's waiting lines may take. A caller alone gets three
/// quarters of all, two get three sevenths each: whoever floods leaves room for the others.
const SHARE: usize = 3;

/// Bytes of lines that are written at a time; more only if one line is longer.
pub(super) const CHUNK: usize = 64 * 1024;

/// The state of a queue.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Whole lines that wait, in chunks of one size: a queue that fills and empties then leaves no
    /// holes of other sizes in the heap, and its memory is given back.
    pub(super) chunks: VecDeque<Chunk>,
    /// Their size in bytes.
    pub(super) size: usize,
    /// Their number of lines.
    pub(super) waiting: u64,
    /// Their size in bytes by caller.
    pub(super) callers: HashMap<u64, usize>,
    /// A chunk that is not in use, so that the usual few lines need no new one.
    pub(super) spare: Option<Chunk>,
    /// Lines that the thread is writing.
    pub(super) in_hand: u64,
    /// The thread is at work, on lines or on a report.
    pub(super) busy: bool,
    /// Lines that wait are to be written now.
    pub(super) flush_requested: bool,
    /// The destination is to be opened anew.
    pub(super) reopen_requested: bool,
    /// Lines that were lost, and are not reported.
    pub(super) unreported: LostLines,
    /// Lines that were lost and reported, and not yet handed to the summary.
    pub(super) reported: LostLines,
    /// Lost lines that the last line reports; no report may follow it.
    pub(super) frozen: Option<LostLines>,
    /// Counts what the thread has done.
    pub(super) progress: u64,
    pub(super) failing: bool,
    pub(super) last_error: Option<String>,
    /// Totals of the writer.
    pub(super) written: u64,
    pub(super) errors: u64,
    pub(super) rotations: u64,
    /// Rotated files that were removed for want of free space.
    pub(super) removed_files: u64,
    /// Lines that were lost in all.
    pub(super) lost: u64,
    /// The last line, of an output that seals.
    pub(super) checkpoint: Option<Checkpoint>,
    /// The reader is gone.
    pub(super) closed: bool,
    /// Waiting for the thread was given up once.
    pub(super) drain_timed_out: bool,
    /// No more lines come.
    pub(super) ended: bool,
    /// The thread is gone, and its destination closed.
    pub(super) exited: bool,
    /// How many wait for the thread's progress.
    pub(super) watchers: u32,
    /// Woken when losses were reported or the output is closed.
    pub(super) listener: Option<Arc<Notify>>,
}

/// Lines that are written together.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    pub(super) lines: u64,
    /// The bytes of each caller, once for lines that follow each other.
    pub(super) callers: Vec<(u64, usize)>,
}

impl State {
    /// Returns whether nothing waits.
    pub(super) fn is_drained(&self) -> bool {
        self.closed || (self.waiting == 0 && !self.busy && !self.reopen_requested)
    }

    /// Returns whether there is something to write or to report.
    pub(super) const fn has_work(&self) -> bool {
        self.waiting > 0 || self.unreported.total() > 0
    }

    /// Wakes whoever waits for news.
    pub(super) fn notify_listener(&self) {
        if let Some(listener) = &self.listener {
            listener.notify_one();
        }
    }

    /// Counts lines as lost.
    pub(super) fn lose(&mut self, lines: u64) {
        self.unreported += LostLines { unwritten: lines, ..LostLines::default() };
        self.lost += lines;
    }

    /// Returns whether there is room for a line of a caller's.
    pub(super) fn has_room(&self, length: usize, caller: Option<u64>) -> bool {
        let Some(left) = CAPACITY.saturating_sub(self.size).checked_sub(length) else {
            return false;
        };
        let held = |caller| self.callers.get(&caller).map_or(0, |held| *held);
        caller.is_none_or(|caller| held(caller) + length <= left.saturating_mul(SHARE))
    }

    /// Adds a line. Returns whether a chunk is full.
    pub(super) fn add(&mut self, line: &[u8], caller: Option<u64>) -> bool {
        let has_room = |chunk: &Chunk| chunk.bytes.len() + line.len() <= CHUNK;
        if !self.chunks.back().is_some_and(has_room) {
            let mut chunk = self.spare.take().unwrap_or_default();
            chunk.bytes.reserve_exact(CHUNK.max(line.len()));
            self.chunks.push_back(chunk);
        }
        if let Some(chunk) = self.chunks.back_mut() {
            chunk.bytes.extend_from_slice(line);
            chunk.lines += 1;
            if let Some(caller) = caller {
                *self.callers.entry(caller).or_default() += line.len();
                match chunk.callers.last_mut().filter(|(last, _)| *last == caller) {
                    Some((_, size)) => *size += line.len(),
                    None => chunk.callers.push((caller, line.len())),
                }
            }
        }
        self.size += line.len();
        self.waiting += 1;
        self.size >= CHUNK
    }

    /// Takes the oldest chunk for the thread that writes.
    pub(super) fn take(&mut self) -> Chunk {
        let mut chunk = self.chunks.pop_front().unwrap_or_default();
        for (caller, size) in chunk.callers.drain(..) {
            if let Entry::Occupied(mut held) = self.callers.entry(caller) {
                *held.get_mut() = held.get().saturating_sub(size);
                if *held.get() == 0 {
                    held.remove();
                }
            }
        }
        self.size = self.size.saturating_sub(chunk.bytes.len());
        self.waiting = self.waiting.saturating_sub(chunk.lines);
        self.in_hand = chunk.lines;
        self.busy = true;
        // Lines behind it were to be flushed too.
        self.flush_requested = !self.chunks.is_empty();
        chunk
    }

    /// Keeps the memory of a chunk that was written.
    pub(super) fn reuse(&mut self, mut chunk: Chunk) {
        if chunk.bytes.capacity() <= CHUNK {
            chunk.bytes.clear();
            chunk.lines = 0;
            self.spare = Some(chunk);
        }
    }
}
