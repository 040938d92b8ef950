//! A window on a file that always begins where the next block does.

use super::CaptureError;
use super::read_ahead::Chunks;

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

impl<R: Chunks> Input<R> {
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
    #[inline]
    pub(super) fn peek(&mut self, count: usize) -> Result<&[u8], CaptureError> {
        let count = count.min(MAX_BLOCK);
        self.release();
        if !self.copied.is_empty() || self.reader.loaded().len() < count {
            self.load(count)?;
        }
        let front = self.front();
        Ok(front.get(..count).unwrap_or(front))
    }

    /// Returns the last bytes that were consumed, which must have been peeked at together.
    #[inline]
    pub(super) fn consumed(&self, count: usize) -> &[u8] {
        let end = self.consumed;
        self.front().get(end.saturating_sub(count)..end).unwrap_or_default()
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
            let front = self.peek(1)?;
            if front.is_empty() {
                return Ok(false);
            }
            let loaded = self.front().len();
            let now = usize::try_from(count).map_or(loaded, |count| count.min(loaded));
            self.consume(now);
            count -= now as u64;
        }
        Ok(true)
    }

    /// Returns the bytes in front that are together, consumed ones among them.
    #[inline]
    fn front(&self) -> &[u8] {
        if self.copied.is_empty() { self.reader.loaded() } else { &self.copied }
    }

    /// Lets go of what was consumed.
    #[inline]
    fn release(&mut self) {
        let consumed = std::mem::take(&mut self.consumed);
        if self.copied.is_empty() {
            self.reader.consume(consumed);
        } else {
            self.copied.drain(..consumed.min(self.copied.len()));
        }
    }

    /// Brings bytes together until there are as many as asked for, or the file ends.
    #[cold]
    fn load(&mut self, count: usize) -> Result<(), CaptureError> {
        let mut is_there = true;
        while is_there {
            let missing = count.saturating_sub(self.copied.len());
            let loaded = self.reader.loaded();
            // Nothing lies in between: it need not be copied.
            if missing == 0 || self.copied.is_empty() && loaded.len() >= count {
                break;
            }
            let taken = loaded.get(..missing).unwrap_or(loaded);
            let length = taken.len();
            self.copied.extend_from_slice(taken);
            self.reader.consume(length);
            if length < missing {
                let offset = self.offset;
                is_there =
                    self.reader.load().map_err(|error| CaptureError::Io { offset, error })?;
            }
        }
        Ok(())
    }
}
