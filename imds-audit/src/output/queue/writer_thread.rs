//! The thread that empties a queue into its writer.

use std::{
    io,
    sync::{Arc, PoisonError},
    thread,
};

use super::{Shared, state::Chunk};
use crate::output::{
    destination::Destination,
    loss::LostLines,
    thread_started,
    writer::{Writer, WriterError},
};

/// The thread that writes.
pub(super) struct WriterThread<D, R> {
    shared: Arc<Shared>,
    writer: Writer<D>,
    report: R,
}

/// What the thread is to do next.
enum Work {
    Write(Chunk),
    Reopen,
}

impl<D, R> WriterThread<D, R>
where
    D: Destination + 'static,
    R: FnMut(LostLines) -> Vec<u8> + Send + 'static,
{
    /// Starts it.
    ///
    /// # Errors
    /// Returns an error if the thread cannot be started.
    pub(super) fn start(shared: Arc<Shared>, writer: Writer<D>, report: R) -> io::Result<()> {
        let done = Arc::clone(&shared);
        let mut thread = Self { shared, writer, report };
        let run = move || {
            thread_started();
            thread.run();
            drop(thread);
            let mut state = done.lock();
            state.exited = true;
            done.notify_watchers(&state);
        };
        thread::Builder::new().name("output".to_owned()).spawn(run).map(drop)
    }

    fn run(&mut self) {
        while let Some(work) = self.next() {
            let done = match work {
                Work::Write(chunk) => self.write_and_report(chunk),
                Work::Reopen => self.reopen(),
            };
            if done.is_err() {
                return;
            }
            let mut state = self.shared.lock();
            state.busy = false;
            self.shared.notify_watchers(&state);
        }
    }

    /// Waits for work; `None` at the end.
    fn next(&self) -> Option<Work> {
        let mut state = self.shared.lock();
        loop {
            if state.flush_requested && state.has_work() {
                return Some(Work::Write(state.take()));
            }
            if std::mem::take(&mut state.reopen_requested) {
                state.busy = true;
                return Some(Work::Reopen);
            }
            if state.ended {
                return None;
            }
            state = self.shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn write_and_report(&mut self, chunk: Chunk) -> Result<(), WriterError> {
        if !chunk.bytes.is_empty() {
            self.write(&chunk.bytes, chunk.lines)?;
        }
        self.report()?;
        self.shared.lock().reuse(chunk);
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), WriterError> {
        let result = self.writer.reopen();
        self.note(0, result).map(drop)
    }

    /// Writes lines and records the result. Returns how many were lost.
    fn write(&mut self, bytes: &[u8], lines: u64) -> Result<u64, WriterError> {
        let result = self.writer.write(bytes);
        self.note(lines, result)
    }

    fn note(&mut self, lines: u64, result: Result<(), WriterError>) -> Result<u64, WriterError> {
        let lost = self.writer.take_lost();
        let removed = self.writer.take_removed();
        let mut state = self.shared.lock();
        state.in_hand = state.in_hand.saturating_sub(lines);
        state.lose(lost);
        state.unreported += LostLines { removed: removed.lines, ..LostLines::default() };
        state.removed_files = state.removed_files.saturating_add(removed.files);
        state.failing = self.writer.is_failing();
        state.written = self.writer.written();
        state.errors = self.writer.errors();
        state.rotations = self.writer.rotations();
        state.checkpoint = self.writer.checkpoint();
        if let Some(error) = self.writer.last_error() {
            state.last_error = Some(error.to_owned());
        }
        state.progress += 1;
        state.closed = result.is_err();
        if state.closed {
            state.busy = false;
            state.notify_listener();
        }
        self.shared.notify_watchers(&state);
        result.map(|()| lost)
    }

    /// Reports how many lines were lost, if writing works.
    fn report(&mut self) -> Result<(), WriterError> {
        let lost = {
            let state = self.shared.lock();
            if state.failing || state.frozen.is_some() {
                return Ok(());
            }
            state.unreported
        };
        for lost in lost.each().into_iter().filter(|lost| lost.total() > 0) {
            let line = (self.report)(lost);
            let lost_again = self.write(&line, 0)?;
            let mut state = self.shared.lock();
            if lost_again > 0 {
                // The report is no event that was lost; the next attempt repeats it.
                state.unreported -= LostLines { unwritten: lost_again, ..LostLines::default() };
                state.lost = state.lost.saturating_sub(lost_again);
                return Ok(());
            }
            state.unreported -= lost;
            state.reported += lost;
            state.notify_listener();
        }
        Ok(())
    }
}
