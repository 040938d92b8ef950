//! A window on a file that always begins where the next block does.

use std::io::{BufRead, ErrorKind};

use super::CaptureError;

/// The largest block that is read into memory; a larger one is skipped, or is corrupt.
pub(super) const MAX_BLOCK: usize = 16 << 20;

/// The unread part of a file.
///
/// What lies together in the reader's own buffer is looked at there; only bytes that cross its end
/// are copied.
pub(super) struct Input<R> {
    reader: R,
    /// Bytes before those of the reader, which were not together in its buffer.
    copied: Vec<u8>,
    /// How many of the bytes in front were consumed, and can still be looked at.
    consumed: usize,
    offset: u64,
}

impl<R: BufRead> Input<R> {
    /// Makes an input at the file's beginning.
    pub(super) const fn new(reader: R) -> Self {
        Self { reader, copied: Vec::new(), consumed: 0, offset: 0 }
    }

    /// Returns how many bytes were consumed.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the next bytes, `count` of them if the file has as many; at most [`MAX_BLOCK`].
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub(super) fn peek(&mut self, count: usize) -> Result<&[u8], CaptureError> {
        let count = count.min(MAX_BLOCK);
        self.release();
        if !self.copied.is_empty() || self.front()?.len() < count {
            self.copy(count)?;
        }
        let front = self.front()?;
        Ok(front.get(..count).unwrap_or(front))
    }

    /// Returns the last bytes that were consumed, which must have been peeked at together.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub(super) fn consumed(&mut self, count: usize) -> Result<&[u8], CaptureError> {
        let end = self.consumed;
        Ok(self.front()?.get(end.saturating_sub(count)..end).unwrap_or_default())
    }

    /// Consumes bytes that were peeked at.
    pub(super) const fn consume(&mut self, count: usize) {
        self.consumed += count;
        self.offset += count as u64;
    }

    /// Skips bytes. Returns whether the file has as many.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub(super) fn skip(&mut self, mut count: u64) -> Result<bool, CaptureError> {
        while count > 0 {
            self.release();
            let loaded = self.front()?.len();
            if loaded == 0 {
                return Ok(false);
            }
            let now = usize::try_from(count).map_or(loaded, |count| count.min(loaded));
            self.consume(now);
            count -= now as u64;
        }
        Ok(true)
    }

    /// Returns the bytes in front, consumed ones among them; none at the end.
    fn front(&mut self) -> Result<&[u8], CaptureError> {
        if self.copied.is_empty() {
            let offset = self.offset;
            fill(&mut self.reader, offset)
        } else {
            Ok(&self.copied)
        }
    }

    /// Lets go of what was consumed.
    fn release(&mut self) {
        let consumed = std::mem::take(&mut self.consumed);
        if self.copied.is_empty() {
            self.reader.consume(consumed);
        } else {
            self.copied.drain(..consumed.min(self.copied.len()));
        }
    }

    /// Copies bytes until there are as many as asked for, or the file ends.
    fn copy(&mut self, count: usize) -> Result<(), CaptureError> {
        while let missing @ 1.. = count.saturating_sub(self.copied.len()) {
            let buffered = fill(&mut self.reader, self.offset)?;
            let taken = buffered.get(..missing).unwrap_or(buffered);
            if taken.is_empty() {
                break;
            }
            self.copied.extend_from_slice(taken);
            let length = taken.len();
            self.reader.consume(length);
        }
        Ok(())
    }
}

/// Returns what the reader has in its buffer, after another attempt where a signal came between.
fn fill(reader: &mut impl BufRead, offset: u64) -> Result<&[u8], CaptureError> {
    let failed = |error| CaptureError::Io { offset, error };
    while let Err(error) = reader.fill_buf() {
        if error.kind() != ErrorKind::Interrupted {
            return Err(failed(error));
        }
    }
    // What is in the buffer is there without another look at the file.
    reader.fill_buf().map_err(failed)
}
