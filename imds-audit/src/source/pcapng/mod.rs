//! Capture files: pcap and pcapng, read packet by packet.
//!
//! Everything in a file is hostile. Memory is bounded by the largest packet that is taken
//! (16 MiB), whatever the length of the file; a file that is cut or corrupt is refused in one
//! sentence, with the offset, after everything before that place was handed on.

mod blocks;
mod input;
pub(crate) mod note;
mod read_ahead;
mod reader;

#[cfg(test)]
mod tests;

pub(crate) use read_ahead::{Chunks, ReadAhead};
pub(crate) use reader::{CaptureReader, Packet};

use std::io;

/// A file that cannot be read, or cannot be read further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaptureError {
    /// The file system, or the decompression, failed.
    #[error("reading failed at byte {offset}")]
    Io {
        /// The place in the (decompressed) file.
        offset: u64,
        /// The cause.
        #[source]
        error: io::Error,
    },
    /// It is another kind of file.
    #[error("this is neither pcap nor pcapng: it begins with the bytes {0}")]
    Unknown(String),
    /// It ends too early.
    #[error("the file ends within {what} that begins at byte {offset}")]
    Cut {
        /// What was being read.
        what: &'static str,
        /// Where it begins.
        offset: u64,
    },
    /// It contradicts itself.
    #[error("the file is corrupt at byte {offset}: {why}")]
    Corrupt {
        /// The place.
        offset: u64,
        /// What is wrong.
        why: &'static str,
    },
}
