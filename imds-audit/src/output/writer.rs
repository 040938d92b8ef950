//! A writer that keeps lines whole and counts those that could not be written.

use std::{
    io::{self, ErrorKind, Stderr, Stdout},
    path::PathBuf,
};

use rustix::io::Errno;

use super::destination::{BlockingFile, Destination, RemovedFiles};
use crate::event::Checkpoint;
use crate::seal::Sealer;

/// Why an output cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    /// The reader is gone: a clean end.
    #[error("the output is closed")]
    Closed,
    /// The file cannot be opened.
    #[error("cannot open {} for writing", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// The pipe has no reader yet.
    #[error("cannot open {} for writing: the pipe has no reader", .0.display())]
    NoReader(PathBuf),
}

/// Writes chunks of whole lines to a destination.
///
/// A line is written whole or, after an error, finished before the next one: nothing is ever
/// appended to half a line. Lines that an error hits are dropped and counted; only the rest of a
/// cut line is kept, so memory is bounded by one line.
#[derive(Debug)]
pub struct Writer<D> {
    destination: D,
    /// The rest of a line whose beginning was written.
    rest: Vec<u8>,
    failing: bool,
    last_error: Option<String>,
    lost: u64,
    written: u64,
    errors: u64,
    /// Seals the lines that are written, if that was asked for.
    sealer: Option<Sealer>,
}

impl Writer<BlockingFile<Stderr>> {
    /// Writes to standard error, without a file descriptor of its own: that there are no more of
    /// them can still be printed.
    pub fn stderr() -> Self {
        Self::new(io::stderr().into())
    }
}

impl Writer<BlockingFile<Stdout>> {
    /// Writes to standard output.
    pub fn stdout() -> Self {
        Self::new(io::stdout().into())
    }
}

impl<D: Destination> Writer<D> {
    /// Writes to `destination`, which should have no buffer of its own.
    pub const fn new(destination: D) -> Self {
        Self {
            destination,
            rest: Vec::new(),
            failing: false,
            last_error: None,
            lost: 0,
            written: 0,
            errors: 0,
            sealer: None,
        }
    }

    /// Seals every line. Lines must be JSON objects.
    pub fn sealed(mut self) -> Self {
        self.sealer = Some(Sealer::new());
        self
    }

    /// Returns the last line of the chain; `None` if lines are not sealed.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        self.sealer.as_ref().and_then(Sealer::checkpoint)
    }

    /// Writes a chunk of whole lines.
    ///
    /// # Errors
    /// Returns an error only if the destination is closed; any other failure drops the lines that
    /// it hits, which [`take_lost`](Self::take_lost) returns.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), WriterError> {
        if !self.finish_line()? {
            self.lose(chunk);
            return Ok(());
        }
        if let Err(error) = self.destination.prepare(chunk.len()) {
            self.fail(&error);
            self.lose(chunk);
            return Ok(());
        }
        match self.sealer.as_mut().map(|sealer| sealer.seal(chunk)) {
            Some(sealed) => self.write_lines(&sealed)?,
            None => self.write_lines(chunk)?,
        }
        if self.destination.is_deleted() {
            if let Some(sealer) = &mut self.sealer {
                sealer.keep(0);
            }
            self.fail(&io::Error::other("the file was removed while it was written to"));
            self.failing = false;
            self.lose(chunk);
        }
        Ok(())
    }

    /// Opens the destination anew, between lines.
    ///
    /// # Errors
    /// Returns an error only if the destination is closed.
    pub fn reopen(&mut self) -> Result<(), WriterError> {
        if !self.finish_line()? {
            self.rest.clear();
            self.lose_rest();
        }
        if let Err(error) = self.destination.reopen() {
            self.fail(&error);
        }
        Ok(())
    }

    /// Returns whether the last attempt to write failed.
    pub const fn is_failing(&self) -> bool {
        self.failing
    }

    /// Returns what the system said when writing last failed.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// Returns how many lines were dropped since the last call.
    pub const fn take_lost(&mut self) -> u64 {
        std::mem::replace(&mut self.lost, 0)
    }

    /// Returns how many lines were dropped and not yet taken.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Returns how many bytes were written.
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Returns how many attempts to write failed.
    pub const fn errors(&self) -> u64 {
        self.errors
    }

    /// Returns how many times the destination has rotated.
    pub fn rotations(&self) -> u64 {
        self.destination.rotations()
    }

    /// Returns what was removed for want of free space since the last call.
    pub fn take_removed(&mut self) -> RemovedFiles {
        self.destination.take_removed()
    }

    /// Writes the rest of a cut line. Returns whether no such rest is in the way any more.
    fn finish_line(&mut self) -> Result<bool, WriterError> {
        let rest = std::mem::take(&mut self.rest);
        if rest.is_empty() {
            return Ok(true);
        }
        let (done, error) = self.write_some(&rest)?;
        let Some(error) = error else { return Ok(true) };
        if self.destination.has_moved() {
            // Its beginning is in another file, and of no use to the next one.
            self.lose_rest();
            return Ok(true);
        }
        self.rest = rest;
        self.rest.drain(..done);
        self.fail(&error);
        Ok(false)
    }

    fn write_lines(&mut self, chunk: &[u8]) -> Result<(), WriterError> {
        let mut at = 0;
        loop {
            let (done, error) = self.write_some(chunk.get(at..).unwrap_or_default())?;
            at += done;
            let Some(error) = error else {
                // Nothing written proves nothing.
                self.failing &= at == 0;
                return Ok(());
            };
            self.fail(&error);
            let unwritten = chunk.get(at..).unwrap_or_default();
            let end = memchr::memchr(b'\n', unwritten).map_or(unwritten.len(), |end| end + 1);
            if error.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error()) {
                self.lost += 1;
                at += end;
                continue;
            }
            let is_cut = at.checked_sub(1).is_some_and(|last| chunk.get(last) != Some(&b'\n'));
            let keep = if is_cut { end } else { 0 };
            if let Some(sealer) = &mut self.sealer {
                sealer.keep(at + keep);
            }
            self.rest.extend_from_slice(unwritten.get(..keep).unwrap_or_default());
            self.lose(unwritten.get(keep..).unwrap_or_default());
            return Ok(());
        }
    }

    /// Writes until everything is written or an error comes. Returns how much was written.
    fn write_some(&mut self, bytes: &[u8]) -> Result<(usize, Option<io::Error>), WriterError> {
        let mut done = 0;
        loop {
            let rest = bytes.get(done..).unwrap_or_default();
            if rest.is_empty() {
                return Ok((done, None));
            }
            match self.destination.write(rest) {
                Ok(0) => return Ok((done, Some(ErrorKind::WriteZero.into()))),
                Ok(count) => {
                    done += count;
                    self.written = self.written.saturating_add(u64::try_from(count).unwrap_or(0));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    return Err(WriterError::Closed);
                }
                Err(error) if is_full(&error) && self.destination.make_room() => {}
                Err(error) => return Ok((done, Some(error))),
            }
        }
    }

    fn fail(&mut self, error: &io::Error) {
        let error = describe(error);
        if !self.failing {
            log::warn!("cannot write events error={error}");
        }
        self.failing = true;
        self.errors = self.errors.saturating_add(1);
        self.last_error = Some(error);
    }

    /// Counts a cut line as lost.
    fn lose_rest(&mut self) {
        self.lost += 1;
        if let Some(sealer) = &mut self.sealer {
            sealer.drop_last();
        }
    }

    fn lose(&mut self, lines: &[u8]) {
        let dropped = memchr::memchr_iter(b'\n', lines).count();
        self.lost = self.lost.saturating_add(u64::try_from(dropped).unwrap_or(u64::MAX));
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Returns an error's text with that of its cause.
fn describe(error: &io::Error) -> String {
    let cause = error.get_ref().and_then(|inner| inner.source());
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

#[cfg(test)]
mod tests;
