//! Takes lines without ever waiting for those who read them.
//!
//! A pipe that nobody empties, a terminal that is stopped, a network file system that is gone:
//! each makes a write wait, perhaps for ever. So a thread of its own writes, and the audit, with
//! its signals, goes on. What has no room any more is dropped and counted, like what a full disk
//! refuses, and the thread writes a report of it as soon as writing works again.

use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tokio::sync::Notify;

use super::writer::{Writer, WriterError};

/// The most bytes of lines that wait to be written.
pub const CAPACITY: usize = 2 << 20;

/// How many bytes of lines are written at a time.
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
    /// Whole lines that wait.
    bytes: Vec<u8>,
    /// How many.
    waiting: u64,
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

impl State {
    fn is_settled(&self) -> bool {
        self.closed || (self.waiting == 0 && !self.busy)
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
        let spare = Vec::new();
        let mut clerk = Clerk { shared: Arc::clone(&shared), writer, report, spare };
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
        if state.bytes.len() + line.len() > CAPACITY {
            state.unreported += 1;
            state.trouble.get_or_insert_with(|| UNREAD.to_owned());
            return;
        }
        state.bytes.extend_from_slice(line);
        state.waiting += 1;
        if state.bytes.len() >= PIECE {
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
    /// A buffer that is not in use, so that the usual few lines need no new one.
    spare: Vec<u8>,
}

impl<W: Write, R: FnMut(u64) -> Vec<u8>> Clerk<W, R> {
    fn run(&mut self) {
        while let Some(mut bytes) = self.next() {
            for piece in pieces(&bytes) {
                let lines = memchr::memchr_iter(b'\n', piece).count() as u64;
                if self.write(piece, lines).is_err() {
                    return;
                }
            }
            if self.report().is_err() {
                return;
            }
            if bytes.capacity() <= 2 * PIECE {
                bytes.clear();
                self.spare = bytes;
            }
            self.shared.lock().busy = false;
            self.shared.done.notify_all();
        }
    }

    /// Waits for lines, or for losses that can be reported; `None` at the end.
    fn next(&mut self) -> Option<Vec<u8>> {
        let mut state = self.shared.lock();
        loop {
            let is_due = state.asked && (state.waiting > 0 || state.unreported > 0);
            if is_due {
                state.asked = false;
                state.busy = true;
                state.in_hand = std::mem::take(&mut state.waiting);
                return Some(std::mem::replace(&mut state.bytes, std::mem::take(&mut self.spare)));
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

/// Cuts lines into pieces that end where a line does, and are longer than [`PIECE`] only where a
/// line is.
fn pieces(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let head = bytes.get(..PIECE).unwrap_or(bytes);
        let end = if head.len() == bytes.len() {
            bytes.len()
        } else {
            let end = memchr::memrchr(b'\n', head);
            end.or_else(|| memchr::memchr(b'\n', bytes)).map_or(bytes.len(), |end| end + 1)
        };
        let (piece, rest) = bytes.split_at_checked(end)?;
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests;
