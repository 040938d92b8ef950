//! A bounded, non-blocking line queue, emptied by a thread of its own.
//!
//! A pipe that nobody reads, a terminal that is stopped, a network file system that is gone: each
//! blocks a write, perhaps without end. So a thread of its own writes, and the audit, with its
//! signals, goes on. Lines beyond the bound are dropped and counted, like those that a full disk
//! refuses, and the thread writes a report of the count as soon as writing works again.

mod state;
mod writer_thread;

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use state::State;
use tokio::sync::Notify;
use writer_thread::WriterThread;

use super::{
    destination::Destination,
    loss::LostLines,
    writer::{Writer, WriterError},
};
use crate::event::Checkpoint;

/// The most bytes of lines that wait to be written.
pub(crate) const CAPACITY: usize = 2 << 20;

/// Time that [`Queue::drain`] waits for progress, per attempt.
const ATTEMPT: Duration = Duration::from_millis(100);
/// Attempts in a row without progress after which it gives up.
const IDLE_ATTEMPTS: u32 = 30;
/// Attempts in all.
const ATTEMPTS: u32 = 600;

/// The reason given where a reader is at fault and not the system.
const UNREAD: &str = "the reader is gone or too slow";

/// Lines on their way to a writer.
#[derive(Debug)]
pub struct Queue {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the thread that writes.
    work: Condvar,
    /// Wakes whoever waits for its progress.
    done: Condvar,
}

/// What an output has done, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputStatus {
    /// Bytes written.
    pub written: u64,
    /// Attempts to write that failed.
    pub errors: u64,
    /// Files that were rotated away.
    pub rotations: u64,
    /// Rotated files that were removed for want of free space.
    pub removed_files: u64,
    /// Lines lost.
    pub lost: u64,
    /// Bytes that wait.
    pub waiting: u64,
    /// The last attempt to write failed.
    pub is_failing: bool,
}

/// A handle of an output, for those that do not write to it.
#[derive(Clone, Debug)]
pub struct OutputHandle(Arc<Shared>);

impl OutputHandle {
    /// Has the thread that writes open its destination anew, after the lines that wait.
    pub fn reopen(&self) {
        let mut state = self.0.lock();
        state.reopen_requested = true;
        state.flush_requested = true;
        self.0.work.notify_one();
    }

    /// Returns what was written and lost so far.
    pub fn status(&self) -> OutputStatus {
        let state = self.0.lock();
        OutputStatus {
            written: state.written,
            errors: state.errors,
            rotations: state.rotations,
            removed_files: state.removed_files,
            lost: state.lost,
            waiting: u64::try_from(state.size).unwrap_or(u64::MAX),
            is_failing: state.failing,
        }
    }
}

impl Shared {
    /// Wakes whoever waits for progress, if anybody does.
    fn notify_watchers(&self, state: &State) {
        if state.watchers > 0 {
            self.done.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Starts the thread that writes. `report` makes the line that says how many were lost for one
    /// reason.
    ///
    /// # Errors
    /// Returns an error if the thread cannot be started.
    pub fn start<D, R>(writer: Writer<D>, report: R) -> io::Result<Self>
    where
        D: Destination + 'static,
        R: FnMut(LostLines) -> Vec<u8> + Send + 'static,
    {
        let shared = Arc::new(Shared::default());
        WriterThread::start(Arc::clone(&shared), writer, report)?;
        Ok(Self { shared })
    }

    /// Takes a line, its line feed included; it is written at the next [`flush`](Self::flush), or
    /// when a chunk is full. It is lost if there is no room, or none left for its caller.
    pub fn push(&self, line: &[u8], caller: Option<u64>) {
        let mut state = self.shared.lock();
        if state.closed {
            return;
        }
        if !state.has_room(line.len(), caller) {
            state.lose(1);
            state.last_error.get_or_insert_with(|| UNREAD.to_owned());
            return;
        }
        if state.add(line, caller) {
            state.flush_requested = true;
            self.shared.work.notify_one();
        }
    }

    /// Counts a line that could not be rendered as lost.
    pub fn count_unrenderable(&self) {
        self.shared.lock().lose(1);
    }

    /// Has all waiting lines written. Returns the lost lines that were reported since the last call.
    ///
    /// # Errors
    /// Returns an error if the output is closed.
    pub fn flush(&self) -> Result<LostLines, WriterError> {
        let mut state = self.shared.lock();
        if state.closed {
            return Err(WriterError::Closed);
        }
        // It is called whenever no record waits, mostly with no line either: nobody is woken for that.
        if state.has_work() {
            state.flush_requested = true;
            self.shared.work.notify_one();
        }
        Ok(std::mem::take(&mut state.reported))
    }

    /// Returns a handle of this output.
    pub fn handle(&self) -> OutputHandle {
        OutputHandle(Arc::clone(&self.shared))
    }

    /// Returns what was written and lost so far.
    pub fn status(&self) -> OutputStatus {
        self.handle().status()
    }

    /// Returns the last line that was written, of an output that seals.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        self.shared.lock().checkpoint.clone()
    }

    /// Returns how many bytes wait.
    pub fn held(&self) -> usize {
        self.shared.lock().size
    }

    /// Returns whether the output is closed.
    pub fn is_closed(&self) -> bool {
        self.shared.lock().closed
    }

    /// Wakes `listener` whenever [`flush`](Self::flush) has news: the output was closed, or losses
    /// were reported.
    pub fn set_listener(&self, listener: &Arc<Notify>) {
        self.shared.lock().listener = Some(Arc::clone(listener));
    }

    /// Waits until every line is written or lost, as long as there is progress and at most a
    /// minute. Returns whether that is so.
    pub fn drain(&self) -> bool {
        let mut state = self.shared.lock();
        state.flush_requested = true;
        self.shared.work.notify_one();
        let patience = if state.drain_timed_out { 1 } else { IDLE_ATTEMPTS };
        let (mut idle, mut seen) = (0, state.progress);
        state.watchers += 1;
        for _ in 0..ATTEMPTS {
            if state.is_drained() || idle == patience {
                break;
            }
            state = self
                .shared
                .done
                .wait_timeout(state, ATTEMPT)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
            idle = if state.progress == seen { idle + 1 } else { 0 };
            seen = state.progress;
        }
        state.watchers -= 1;
        state.drain_timed_out = !state.is_drained();
        !state.drain_timed_out
    }

    /// Returns the lines that were lost and not reported, for the last line; no report is written any
    /// more.
    pub fn freeze_losses(&self) -> LostLines {
        let mut state = self.shared.lock();
        let lost = std::mem::take(&mut state.unreported);
        *state.frozen.insert(lost)
    }

    /// Returns how many lines are neither written nor reported as lost so far.
    pub fn unwritten(&self) -> u64 {
        let state = self.shared.lock();
        let open = state.unreported.total() + state.waiting + state.in_hand;
        let frozen = state.frozen.unwrap_or_default().total();
        if state.closed || open == 0 { 0 } else { open + frozen }
    }

    /// Returns the last error of a write, or that the reader is too slow.
    pub fn last_error(&self) -> Option<String> {
        let state = self.shared.lock();
        let unread = || state.drain_timed_out.then(|| UNREAD.to_owned());
        state.last_error.clone().or_else(unread)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.drain();
        let mut state = self.shared.lock();
        state.ended = true;
        state.watchers += 1;
        self.shared.work.notify_one();
        // Another output may be about to open the same file. A thread that is blocked ends with
        // the program.
        for _ in 0..IDLE_ATTEMPTS {
            if state.exited || state.drain_timed_out {
                return;
            }
            state = self
                .shared
                .done
                .wait_timeout(state, ATTEMPT)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
        }
    }
}

#[cfg(test)]
mod tests;
