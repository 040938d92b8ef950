//! A window on a file that always begins where the next block does.

use std::io::{self, Read};

use super::CaptureError;

/// The largest block that is read into memory; a larger one is skipped, or is corrupt.
pub(super) const MAX_BLOCK: usize = 16 << 20;

/// The bytes that are read at once: few enough to stay in the processor's cache until they are
/// looked at.
const CHUNK: usize = 256 << 10;

/// The unread part of a file.
pub(super) struct Input<R> {
    reader: R,
    buffer: Vec<u8>,
    /// The unread bytes of the buffer.
    start: usize,
    end: usize,
    offset: u64,
}

impl<R: Read> Input<R> {
    /// Makes an input at the file's beginning.
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: vec![0; CHUNK], start: 0, end: 0, offset: 0 }
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
        if self.end - self.start < count {
            self.fill(count)?;
        }
        let end = self.end.min(self.start + count);
        Ok(self.buffer.get(self.start..end).unwrap_or_default())
    }

    /// Returns the last bytes that were consumed, which must have been peeked at together.
    pub(super) fn consumed(&self, count: usize) -> &[u8] {
        self.buffer.get(self.start.saturating_sub(count)..self.start).unwrap_or_default()
    }

    /// Consumes bytes that were peeked at.
    pub(super) fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.offset += count as u64;
    }

    /// Skips bytes. Returns whether the file has as many.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub(super) fn skip(&mut self, mut count: u64) -> Result<bool, CaptureError> {
        loop {
            let loaded = (self.end - self.start) as u64;
            let now = usize::try_from(count.min(loaded)).unwrap_or(0);
            self.consume(now);
            count -= now as u64;
            if count == 0 {
                return Ok(true);
            }
            if self.peek(1)?.is_empty() {
                return Ok(false);
            }
        }
    }

    fn fill(&mut self, count: usize) -> Result<(), CaptureError> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() < count {
            self.buffer.resize(count, 0);
        }
        while self.end < count {
            let room = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.reader.read(room) {
                Ok(0) => break,
                Ok(read) => self.end = (self.end + read).min(self.buffer.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let offset = self.offset + self.end as u64;
                    return Err(CaptureError::Io { offset, error });
                }
            }
        }
        Ok(())
    }
}
