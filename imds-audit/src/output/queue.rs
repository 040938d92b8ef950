//! Takes lines without ever waiting for those who read them.
//!
//! A pipe that nobody empties, a terminal that is stopped, a network file system that is gone:
//! each makes a write wait, perhaps for ever. So a thread of its own writes, and the audit, with
//! its signals, goes on. What has no room any more is dropped and counted, like what a full disk
//! refuses, and the thread writes a report of it as soon as writing works again.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tokio::sync::Notify;

use super::writer::{Writer, WriterError};

/// The most bytes of lines that wait to be written.
pub const CAPACITY: usize = 2 << 20;

/// How many bytes of lines are written at a time; more only where one line is longer.
const PIECE: usize = 64 * 1024;

/// How long [`Queue::settle`] waits at a time for something to happen.
const ATTEMPT: Duration = Duration::from_millis(100);
/// How many times in a row it waits in vain.
const ATTEMPTS_IN_VAIN: u32 = 30;
/// How many times it waits at all.
const ATTEMPTS: u32 = 600;

/// What is said where a reader is the trouble and not the system.
const UNREAD: &str = "nobody reads it, or not fast enough";

/// The lines on their way to a writer.
#[derive(Debug)]
pub struct Queue {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to do for the thread that writes.
    work: Condvar,
    /// It has done something.
    done: Condvar,
    /// It has done something that the audit must know.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Whole lines that wait. In pieces of one size, so that a queue that fills and empties leaves
    /// no holes of other sizes in the heap, and what it took is given back.
    pieces: VecDeque<Piece>,
    /// How many bytes they are.
    size: usize,
    /// How many lines.
    waiting: u64,
    /// A piece that is not in use, so that the usual few lines need no new one.
    spare: Option<Piece>,
    /// How many lines the thread has in its hands.
    in_hand: u64,
    /// The thread is at work, also on a report.
    busy: bool,
    /// What waits is to be written now.
    asked: bool,
    /// Lines that were lost, and are not reported.
    unreported: u64,
    /// Lines that were lost and reported, and not yet handed to the summary.
    reported: u64,
    /// Lines that were lost and that the last line is to tell; no report may follow it.
    hushed: Option<u64>,
    /// How often the thread got something done.
    progress: u64,
    failing: bool,
    trouble: Option<String>,
    /// Nobody reads any more.
    closed: bool,
    /// Waiting was given up once.
    stuck: bool,
    /// No more lines come.
    ended: bool,
}

/// Lines that are written together.
#[derive(Debug, Default)]
struct Piece {
    bytes: Vec<u8>,
    lines: u64,
}

impl State {
    fn is_settled(&self) -> bool {
        self.closed || (self.waiting == 0 && !self.busy)
    }

    /// Adds a line. Returns whether a piece is full.
    fn add(&mut self, line: &[u8]) -> bool {
        let has_room = |piece: &Piece| piece.bytes.len() + line.len() <= PIECE;
        if !self.pieces.back().is_some_and(has_room) {
            let mut piece = self.spare.take().unwrap_or_default();
            piece.bytes.reserve_exact(PIECE.max(line.len()));
            self.pieces.push_back(piece);
        }
        if let Some(piece) = self.pieces.back_mut() {
            piece.bytes.extend_from_slice(line);
            piece.lines += 1;
        }
        self.size += line.len();
        self.waiting += 1;
        self.size >= PIECE
    }

    /// Takes the oldest piece for the thread that writes.
    fn take(&mut self) -> Piece {
        let piece = self.pieces.pop_front().unwrap_or_default();
        self.size = self.size.saturating_sub(piece.bytes.len());
        self.waiting = self.waiting.saturating_sub(piece.lines);
        self.in_hand = piece.lines;
        self.busy = true;
        // What waits behind it was asked for too.
        self.asked = !self.pieces.is_empty();
        piece
    }

    /// Takes a piece back that was written.
    fn reuse(&mut self, mut piece: Piece) {
        if piece.bytes.capacity() <= PIECE {
            piece.bytes.clear();
            piece.lines = 0;
            self.spare = Some(piece);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Starts the thread that writes. `report` makes the line that tells how many were lost.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn start<W, R>(writer: Writer<W>, report: R) -> io::Result<Self>
    where
        W: Write + Send + 'static,
        R: FnMut(u64) -> Vec<u8> + Send + 'static,
    {
        let shared = Arc::new(Shared::default());
        let mut clerk = Clerk { shared: Arc::clone(&shared), writer, report };
        thread::Builder::new().name("output".to_owned()).spawn(move || clerk.run())?;
        Ok(Self { shared })
    }

    /// Takes a line, its line feed included; it is written at the next [`flush`](Self::flush), or
    /// when enough has come together. Where there is no room, it is lost.
    pub fn push(&self, line: &[u8]) {
        let mut state = self.shared.lock();
        if state.closed {
            return;
        }
        if state.size + line.len() > CAPACITY {
            state.unreported += 1;
            state.trouble.get_or_insert_with(|| UNREAD.to_owned());
            return;
        }
        if state.add(line) {
            state.asked = true;
            self.shared.work.notify_one();
        }
    }

    /// Counts a line that could not even be made.
    pub fn lose(&self) {
        self.shared.lock().unreported += 1;
    }

    /// Has everything written that waits. Returns how many lost lines have been reported since
    /// the last call.
    ///
    /// # Errors
    /// Where nobody reads any more.
    pub fn flush(&self) -> Result<u64, WriterError> {
        let mut state = self.shared.lock();
        if state.closed {
            return Err(WriterError::Closed);
        }
        state.asked = true;
        self.shared.work.notify_one();
        Ok(std::mem::take(&mut state.reported))
    }

    /// Returns how many bytes wait.
    pub fn held(&self) -> usize {
        self.shared.lock().size
    }

    /// Returns whether nobody reads any more.
    pub fn is_closed(&self) -> bool {
        self.shared.lock().closed
    }

    /// Waits until [`flush`](Self::flush) has news: nobody reads any more, or losses have been
    /// reported.
    pub async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    /// Waits until everything is written or lost, as long as something is done at all: a bounded
    /// number of attempts. Returns whether it is.
    pub fn settle(&self) -> bool {
        let mut state = self.shared.lock();
        state.asked = true;
        self.shared.work.notify_one();
        let patience = if state.stuck { 1 } else { ATTEMPTS_IN_VAIN };
        let (mut in_vain, mut seen) = (0, state.progress);
        for _ in 0..ATTEMPTS {
            if state.is_settled() || in_vain == patience {
                break;
            }
            state = self
                .shared
                .done
                .wait_timeout(state, ATTEMPT)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
            in_vain = if state.progress == seen { in_vain + 1 } else { 0 };
            seen = state.progress;
        }
        state.stuck = !state.is_settled();
        !state.stuck
    }

    /// Returns how many lines were lost and not reported: the last line will tell it, and nothing
    /// may follow that.
    pub fn hush(&self) -> u64 {
        let mut state = self.shared.lock();
        let lost = std::mem::take(&mut state.unreported);
        *state.hushed.insert(lost)
    }

    /// Returns how many lines were not written and are told nowhere, as far as is known now.
    pub fn unwritten(&self) -> u64 {
        let state = self.shared.lock();
        let open = state.unreported + state.waiting + state.in_hand;
        if state.closed || open == 0 { 0 } else { open + state.hushed.unwrap_or(0) }
    }

    /// Returns what the system said when writing last failed, or that nobody reads.
    pub fn trouble(&self) -> Option<String> {
        let state = self.shared.lock();
        let unread = || state.stuck.then(|| UNREAD.to_owned());
        state.trouble.clone().or_else(unread)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.settle();
        self.shared.lock().ended = true;
        self.shared.work.notify_one();
        // Where it is stuck, the thread ends with the program.
    }
}

/// The thread that writes.
struct Clerk<W, R> {
    shared: Arc<Shared>,
    writer: Writer<W>,
    report: R,
}

impl<W: Write, R: FnMut(u64) -> Vec<u8>> Clerk<W, R> {
    fn run(&mut self) {
        while let Some(piece) = self.next() {
            if !piece.bytes.is_empty() && self.write(&piece.bytes, piece.lines).is_err() {
                return;
            }
            if self.report().is_err() {
                return;
            }
            let mut state = self.shared.lock();
            state.reuse(piece);
            state.busy = false;
            drop(state);
            self.shared.done.notify_all();
        }
    }

    /// Waits for lines, or for losses that can be reported; `None` at the end.
    fn next(&mut self) -> Option<Piece> {
        let mut state = self.shared.lock();
        loop {
            let is_due = state.asked && (state.waiting > 0 || state.unreported > 0);
            if is_due {
                return Some(state.take());
            }
            if state.ended {
                return None;
            }
            state = self.shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Writes some lines, and notes what came of them. Returns how many were lost.
    fn write(&mut self, bytes: &[u8], lines: u64) -> Result<u64, WriterError> {
        let result = self.writer.write(bytes).and_then(|()| self.writer.flush());
        let lost = self.writer.take_lost();
        let mut state = self.shared.lock();
        state.in_hand = state.in_hand.saturating_sub(lines);
        state.unreported += lost;
        state.failing = self.writer.is_failing();
        if let Some(trouble) = self.writer.trouble() {
            state.trouble = Some(trouble.to_owned());
        }
        state.progress += 1;
        state.closed = result.is_err();
        if state.closed {
            state.busy = false;
            self.shared.changed.notify_one();
        }
        self.shared.done.notify_all();
        result.map(|()| lost)
    }

    /// Reports what was lost, where writing works.
    fn report(&mut self) -> Result<(), WriterError> {
        let lost = {
            let state = self.shared.lock();
            if state.unreported == 0 || state.failing || state.hushed.is_some() {
                return Ok(());
            }
            state.unreported
        };
        let line = (self.report)(lost);
        let lost_again = self.write(&line, 0)?;
        let mut state = self.shared.lock();
        if lost_again > 0 {
            // The report is no event that was lost; the next attempt repeats it.
            state.unreported = state.unreported.saturating_sub(lost_again);
        } else {
            state.unreported = state.unreported.saturating_sub(lost);
            state.reported += lost;
            self.shared.changed.notify_one();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
