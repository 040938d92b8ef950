//! One side of a relayed connection: its socket and what was read from it and not yet used.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use zeroize::Zeroize;

/// The size of a new buffer in bytes, in which nearly every message fits, and the least room for a
/// read.
const SIZE: usize = 8 << 10;
const MIN_ROOM: usize = 4 << 10;
/// How much is held unused, in bytes, before no more is read: the longest header block.
const MAX_UNUSED: usize = 64 << 10;

/// A socket with what was read from it. Tokens pass through the buffer, so whatever leaves it is
/// cleared: its memory beyond its length was never written to, or is zero.
pub(super) struct Side {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Where the unused bytes begin.
    start: usize,
    is_at_end: bool,
    is_shut: bool,
}

impl Side {
    pub(super) fn new(stream: TcpStream) -> Self {
        // Small responses must not wait for the acknowledgement of the one before.
        stream.set_nodelay(true).ok();
        Self { stream, buffer: Vec::new(), start: 0, is_at_end: false, is_shut: false }
    }

    /// Returns what was read and not yet used.
    pub(super) fn unused(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Takes bytes from the beginning of [`Self::unused`] for used.
    pub(super) fn advance(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.buffer.len());
        if self.start == self.buffer.len() {
            self.buffer.as_mut_slice().zeroize();
            self.buffer.clear();
            self.start = 0;
        }
    }

    /// Returns whether the other end will send no more.
    pub(super) fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    /// Returns whether more can be read now.
    pub(super) fn wants_more(&self) -> bool {
        !self.is_at_end && self.unused().len() < MAX_UNUSED
    }

    /// Waits until there is something to read, and reads it. Nothing is lost where the call is given
    /// up.
    pub(super) async fn fill(&mut self) -> io::Result<()> {
        self.make_room();
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            self.is_at_end = true;
        }
        Ok(())
    }

    /// Moves the unused bytes to the front of a buffer that has room for a read.
    fn make_room(&mut self) {
        let room = |buffer: &Vec<u8>| buffer.capacity() - buffer.len();
        if room(&self.buffer) >= MIN_ROOM {
            return;
        }
        if self.start > 0 {
            let length = self.buffer.len();
            self.buffer.copy_within(self.start.., 0);
            let unused = length - self.start;
            self.buffer.get_mut(unused..).unwrap_or_default().zeroize();
            self.buffer.truncate(unused);
            self.start = 0;
        }
        if room(&self.buffer) < MIN_ROOM {
            // Grown by hand, so that the old memory is cleared.
            let mut grown = Vec::with_capacity((2 * self.buffer.capacity()).max(SIZE));
            grown.extend_from_slice(&self.buffer);
            self.buffer.as_mut_slice().zeroize();
            self.buffer = grown;
        }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Says that nothing more will be sent, once.
    pub(super) async fn shut(&mut self) -> io::Result<()> {
        if self.is_shut {
            return Ok(());
        }
        self.is_shut = true;
        self.stream.shutdown().await
    }

    /// Has the connection reset when it is dropped.
    pub(super) fn reset(&self) {
        // With the default the connection is closed instead, which ends it too.
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(std::time::Duration::ZERO)).ok();
    }

    /// Reads and discards until the other end has closed.
    pub(super) async fn drain(&mut self) {
        while !self.is_at_end {
            let unused = self.unused().len();
            self.advance(unused);
            if self.fill().await.is_err() {
                return;
            }
        }
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.buffer.as_mut_slice().zeroize();
    }
}
