//! A thread that reads a file ahead of whoever looks at its bytes.

use std::io::{self, ErrorKind, Read};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// The bytes that are read at once: many enough that handing them over costs little beside reading
/// them, and few enough to be in a processor's cache still when they are looked at.
const CHUNK: usize = 512 << 10;
/// The chunks that there are: one is looked at, the others are read or wait.
const CHUNKS: usize = 4;

/// The bytes of a file, chunk by chunk.
pub(crate) trait Chunks {
    /// Returns the bytes of the current chunk that were not consumed.
    fn loaded(&self) -> &[u8];

    /// Consumes bytes of the current chunk.
    fn consume(&mut self, count: usize);

    /// Replaces the current chunk, which must be consumed, by the next one. Returns whether there was
    /// one.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    fn load(&mut self) -> io::Result<bool>;
}

/// A single chunk.
impl Chunks for &[u8] {
    fn loaded(&self) -> &[u8] {
        self
    }

    fn consume(&mut self, count: usize) {
        *self = self.get(count..).unwrap_or_default();
    }

    fn load(&mut self) -> io::Result<bool> {
        Ok(false)
    }
}

/// The bytes of a file, which a thread of its own reads, and unpacks where that is what reading it
/// takes.
///
/// The thread ends with the file, with the first error, or one chunk after this is dropped.
pub(crate) struct ReadAhead {
    chunks: Receiver<io::Result<Chunk>>,
    spare: Sender<Vec<u8>>,
    current: Chunk,
    start: usize,
    has_ended: bool,
}

#[derive(Default)]
struct Chunk {
    buffer: Vec<u8>,
    length: usize,
}

impl ReadAhead {
    /// Starts to read.
    ///
    /// # Errors
    /// Returns an error if the system has no thread to give.
    pub(crate) fn start(mut file: impl Read + Send + 'static) -> io::Result<Self> {
        let (filled, chunks) = channel();
        let (spare, buffers) = channel();
        for _ in 0..CHUNKS {
            // The other end is in this function.
            let _ = spare.send(vec![0; CHUNK]);
        }
        thread::Builder::new().name("read-ahead".to_owned()).spawn(move || {
            while let Ok(mut buffer) = buffers.recv() {
                let read = read_some(&mut file, &mut buffer);
                let is_last = !matches!(read, Ok(1..));
                let chunk = read.map(|length| Chunk { buffer, length });
                if filled.send(chunk).is_err() || is_last {
                    return;
                }
            }
        })?;
        Ok(Self { chunks, spare, current: Chunk::default(), start: 0, has_ended: false })
    }
}

/// Reads once, and again where a signal came between.
fn read_some(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

impl Chunks for ReadAhead {
    #[inline]
    fn loaded(&self) -> &[u8] {
        self.current.buffer.get(self.start..self.current.length).unwrap_or_default()
    }

    #[inline]
    fn consume(&mut self, count: usize) {
        self.start = self.current.length.min(self.start + count);
    }

    fn load(&mut self) -> io::Result<bool> {
        let spent = std::mem::take(&mut self.current);
        self.start = 0;
        if self.has_ended {
            return Ok(false);
        }
        if !spent.buffer.is_empty() {
            // The thread may have ended: it needs no more.
            let _ = self.spare.send(spent.buffer);
        }
        let failed = |_| Err(io::Error::other("the thread that reads it has failed"));
        let next = self.chunks.recv().unwrap_or_else(failed);
        // Behind an error there is nothing.
        self.has_ended = !matches!(next, Ok(Chunk { length: 1.., .. }));
        self.current = next?;
        Ok(!self.has_ended)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn every_byte_comes_once_and_in_order() {
        let bytes: Vec<u8> = (0..3 * CHUNKS * CHUNK + 7).map(|n| (n % 251) as u8).collect();
        let mut file = ReadAhead::start(io::Cursor::new(bytes.clone())).unwrap();
        let mut read = Vec::new();
        while file.load().unwrap() {
            read.extend_from_slice(file.loaded());
        }
        assert!(read == bytes);
        assert!(!file.load().unwrap() && file.loaded().is_empty());
    }

    #[test]
    fn an_error_comes_behind_the_bytes_before_it_and_nothing_behind_it() {
        struct Broken(bool);
        impl Read for Broken {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if std::mem::replace(&mut self.0, true) {
                    return Err(io::Error::other("gone"));
                }
                buffer[..3].copy_from_slice(b"abc");
                Ok(3)
            }
        }
        let mut file = ReadAhead::start(Broken(false)).unwrap();
        assert!(file.load().unwrap());
        assert_eq!(file.loaded(), b"abc");
        file.consume(1);
        assert_eq!(file.loaded(), b"bc");
        assert_eq!(file.load().unwrap_err().to_string(), "gone");
        assert!(!file.load().unwrap() && file.loaded().is_empty());
    }

    #[test]
    fn a_file_without_end_is_not_read_further_than_there_are_chunks() {
        struct Endless {
            _alive: Arc<()>,
        }
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                Ok(buffer.len())
            }
        }
        let alive = Arc::new(());
        let mut file = ReadAhead::start(Endless { _alive: Arc::clone(&alive) }).unwrap();
        assert!(file.load().unwrap());
        assert_eq!(file.loaded().len(), CHUNK);
        assert_eq!(Arc::strong_count(&alive), 2);
        drop(file);
        // The thread meets the closed channel and ends.
        while Arc::strong_count(&alive) > 1 {
            thread::yield_now();
        }
    }
}
