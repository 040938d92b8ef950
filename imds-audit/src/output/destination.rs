//! Places that lines are written to: a stream, a file that may be moved, syslog.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};

/// Rotated files that were removed, though the bound on their size would have left them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemovedFiles {
    /// The files.
    pub files: u64,
    /// Their lines.
    pub lines: u64,
}

/// A place that takes chunks of whole lines.
pub trait Destination: Send {
    /// Writes a part of `bytes` and returns its length, as [`Write::write`] does.
    ///
    /// # Errors
    /// Returns what the system says. `BrokenPipe` stands for a reader that is gone for good, and
    /// `EMSGSIZE` for a first line that is too long for this destination, whatever follows it.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Prepares for `incoming` more bytes, by opening a moved file anew or by rotating. Called
    /// between lines only.
    ///
    /// # Errors
    /// Returns an error if the next bytes have no place to go to.
    fn prepare(&mut self, _incoming: usize) -> io::Result<()> {
        Ok(())
    }

    /// Returns whether the place that was written to last is no longer the one that its name
    /// stands for, so that a line that was cut there need not be finished.
    fn has_moved(&self) -> bool {
        false
    }

    /// Returns whether what was written last is in a file that has no name any more.
    fn is_deleted(&self) -> bool {
        false
    }

    /// Makes room after a write failed for want of it. Returns whether another attempt may help.
    fn make_room(&mut self) -> bool {
        false
    }

    /// Opens anew what has a name.
    ///
    /// # Errors
    /// Returns an error if it cannot be opened; the old one is kept where it still has a name.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Returns how many times it has rotated.
    fn rotations(&self) -> u64 {
        0
    }

    /// Returns what was removed for want of free space since the last call.
    fn take_removed(&mut self) -> RemovedFiles {
        RemovedFiles::default()
    }
}

impl<W: Write + Send> Destination for W {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }
}

impl Destination for Box<dyn Destination> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (**self).write(bytes)
    }

    fn prepare(&mut self, incoming: usize) -> io::Result<()> {
        (**self).prepare(incoming)
    }

    fn has_moved(&self) -> bool {
        (**self).has_moved()
    }

    fn is_deleted(&self) -> bool {
        (**self).is_deleted()
    }

    fn make_room(&mut self) -> bool {
        (**self).make_room()
    }

    fn reopen(&mut self) -> io::Result<()> {
        (**self).reopen()
    }

    fn rotations(&self) -> u64 {
        (**self).rotations()
    }

    fn take_removed(&mut self) -> RemovedFiles {
        (**self).take_removed()
    }
}

/// A file or standard stream that is written to until it takes the bytes, even if the open file description has
/// `O_NONBLOCK` set, which may be shared with other processes.
#[derive(Debug)]
pub struct BlockingFile<F = File>(F);

impl<F: AsFd> From<F> for BlockingFile<F> {
    fn from(file: F) -> Self {
        Self(file)
    }
}

impl<F: AsFd> AsFd for BlockingFile<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl<F: AsFd> Write for BlockingFile<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::io::write(&self.0, bytes) {
                Err(Errno::AGAIN) => {
                    let writable = PollFd::new(&self.0, PollFlags::OUT);
                    poll(&mut [writable], None)?;
                }
                result => return Ok(result?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
