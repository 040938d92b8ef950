//! Command lines.

use std::fmt;
use std::sync::Arc;

/// The largest number of argument bytes kept of a process; the rest is cut and marked.
pub(crate) const MAX_ARGUMENT_BYTES: usize = 16 * 1024;
/// The largest number of arguments kept of a process; the rest is cut and marked.
pub(crate) const MAX_ARGUMENT_COUNT: usize = 4096;
/// More empty arguments than this at the end are the padding of a rewritten command line.
const MAX_TRAILING_EMPTY: usize = 8;

/// Changes a command line before it is kept, as to leave out secrets.
pub(crate) type ArgumentFilter = fn(&Arguments) -> Arguments;

/// A command line.
///
/// It holds at most [`MAX_ARGUMENT_BYTES`] bytes in [`MAX_ARGUMENT_COUNT`] arguments. Its
/// `Debug` form leaves the arguments out: they may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Arguments {
    /// The arguments with a NUL between them; none behind the last.
    bytes: Arc<[u8]>,
    /// Without any argument `bytes` is empty, as it is with one empty argument.
    count: usize,
    truncated: bool,
}

impl Arguments {
    /// Takes a command line as it lies in the process's memory: each argument ended by a NUL.
    ///
    /// A line that the process wrote over (`setproctitle`) is one argument; the NULs that pad
    /// it are left out.
    pub fn new(memory: &[u8], truncated: bool) -> Self {
        let (memory, cut) = match memory.get(..MAX_ARGUMENT_BYTES) {
            Some(head) if memory.len() > MAX_ARGUMENT_BYTES => (head, true),
            _ => (memory, false),
        };
        let mut truncated = truncated || cut;
        let padding = memory.iter().rev().take_while(|&&byte| byte == 0).count();
        let dropped = if padding > MAX_TRAILING_EMPTY + 1 { padding } else { padding.min(1) };
        let mut kept = memory.get(..memory.len() - dropped).unwrap_or_default();
        let mut count = if memory.is_empty() { 0 } else { 1 + nuls(kept).count() };
        if count > MAX_ARGUMENT_COUNT {
            let end = nuls(kept).nth(MAX_ARGUMENT_COUNT - 1).unwrap_or(kept.len());
            kept = kept.get(..end).unwrap_or_default();
            count = MAX_ARGUMENT_COUNT;
            truncated = true;
        }
        Self { bytes: kept.into(), count, truncated }
    }

    /// Returns the same command line with other words, at most as many bytes as are kept.
    pub fn with_words(&self, words: &[impl AsRef<[u8]>]) -> Self {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        for (index, word) in words.iter().enumerate() {
            if index > 0 {
                bytes.push(0);
            }
            bytes.extend_from_slice(word.as_ref());
        }
        let truncated = self.truncated || bytes.len() > MAX_ARGUMENT_BYTES;
        bytes.truncate(MAX_ARGUMENT_BYTES);
        let count = match words.len() {
            0 => 0,
            _ => 1 + nuls(&bytes).count(),
        };
        Self { bytes: bytes.into(), count, truncated }
    }

    /// Iterates over the arguments; the first is the program's own name for itself.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.split(|&byte| byte == 0).take(self.count)
    }

    /// Returns how many arguments there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns whether arguments, or the end of the last, are missing.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Returns the number of bytes held.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

impl fmt::Debug for Arguments {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Arguments")
            .field("count", &self.count)
            .field("truncated", &self.truncated)
            .finish_non_exhaustive()
    }
}

/// Yields where the NULs are.
fn nuls(bytes: &[u8]) -> impl Iterator<Item = usize> {
    memchr::memchr_iter(0, bytes)
}
