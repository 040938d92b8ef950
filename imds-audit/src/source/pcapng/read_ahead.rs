//! A thread that reads a file ahead of whoever looks at its bytes.

use std::io::{self, BufRead, ErrorKind, Read};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// The bytes that are read at once: few enough to be in a processor's cache still when they are
/// looked at.
const CHUNK: usize = 256 << 10;
/// The chunks that there are: one is looked at, the others are read or wait.
const CHUNKS: usize = 6;

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

impl Read for ReadAhead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for ReadAhead {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.current.length && !self.has_ended {
            let spent = std::mem::take(&mut self.current);
            self.start = 0;
            if !spent.buffer.is_empty() {
                // The thread may have ended: it needs no more.
                let _ = self.spare.send(spent.buffer);
            }
            match self.chunks.recv() {
                Ok(Ok(chunk)) => {
                    self.has_ended = chunk.length == 0;
                    self.current = chunk;
                }
                // Behind an error there is nothing.
                Ok(Err(error)) => {
                    self.has_ended = true;
                    return Err(error);
                }
                Err(_) => {
                    self.has_ended = true;
                    return Err(io::Error::other("the thread that reads it has failed"));
                }
            }
        }
        Ok(self.current.buffer.get(self.start..self.current.length).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.start = self.current.length.min(self.start + count);
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
        file.read_to_end(&mut read).unwrap();
        assert!(read == bytes);
        assert_eq!(file.fill_buf().unwrap(), b"");
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
        assert_eq!(file.fill_buf().unwrap(), b"abc");
        file.consume(3);
        assert_eq!(file.fill_buf().unwrap_err().to_string(), "gone");
        assert_eq!(file.fill_buf().unwrap(), b"");
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
        assert_eq!(file.fill_buf().unwrap().len(), CHUNK);
        assert_eq!(Arc::strong_count(&alive), 2);
        drop(file);
        // The thread meets the closed channel and ends.
        while Arc::strong_count(&alive) > 1 {
            thread::yield_now();
        }
    }
}
