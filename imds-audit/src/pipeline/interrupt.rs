//! A flag that ends a replay early, and input that it wakes up.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

/// The flag; its copies are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    is_set: AtomicBool,
    /// Readable once it is set.
    event: OwnedFd,
}

impl Interrupt {
    /// Makes a flag that is not set.
    ///
    /// # Errors
    /// Returns an error if there are no descriptors left.
    pub(crate) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(Shared { is_set: AtomicBool::new(false), event })))
    }

    /// Sets it, and wakes every input that waits.
    pub(crate) fn set(&self) {
        self.0.is_set.store(true, Ordering::Release);
        // It fails only where it is set already.
        let _ = rustix::io::write(&self.0.event, &1_u64.to_ne_bytes());
    }

    /// Returns whether it is set.
    pub(crate) fn is_set(&self) -> bool {
        self.0.is_set.load(Ordering::Acquire)
    }
}

/// A file that is read until its end, or until the flag is set.
#[derive(Debug)]
pub(crate) struct InterruptibleFile {
    file: File,
    interrupt: Interrupt,
    /// It is a pipe, or another file whose bytes come in their own time.
    may_wait: bool,
}

impl InterruptibleFile {
    /// Opens a file. A named pipe is opened at once, and waited for when it is read.
    ///
    /// # Errors
    /// Returns an error if it cannot be opened.
    pub(crate) fn open(path: &Path, interrupt: &Interrupt) -> io::Result<Self> {
        let flags = rustix::fs::OFlags::NONBLOCK.bits();
        let flags = i32::try_from(flags).unwrap_or(0);
        Self::new(OpenOptions::new().read(true).custom_flags(flags).open(path)?, interrupt)
    }

    /// Reads standard input.
    ///
    /// # Errors
    /// Returns an error if there is none.
    pub(crate) fn stdin(interrupt: &Interrupt) -> io::Result<Self> {
        Self::new(File::from(io::stdin().as_fd().try_clone_to_owned()?), interrupt)
    }

    fn new(file: File, interrupt: &Interrupt) -> io::Result<Self> {
        let may_wait = !file.metadata()?.is_file();
        if !may_wait {
            // What is read ahead is read once. It is advice: a file system may not take it.
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
        }
        Ok(Self { file, interrupt: interrupt.clone(), may_wait })
    }
}

impl Read for InterruptibleFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.interrupt.is_set() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "a signal asked for the end"));
            }
            if self.may_wait {
                let mut ready = [
                    PollFd::new(&self.file, PollFlags::IN),
                    PollFd::new(&self.interrupt.0.event, PollFlags::IN),
                ];
                match poll(&mut ready, None) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
                if self.interrupt.is_set() || ready[0].revents().is_empty() {
                    continue;
                }
            }
            match self.file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_pipe_that_nobody_writes_to_is_left_when_the_flag_is_set() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            &path,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        )
        .unwrap();
        let interrupt = Interrupt::new().unwrap();
        let mut file = InterruptibleFile::open(&path, &interrupt).unwrap();
        let reader = thread::spawn(move || file.read(&mut [0; 8]));
        interrupt.set();
        assert!(reader.join().unwrap().is_err());
        assert!(interrupt.is_set());
    }

    #[test]
    fn a_file_is_read_to_its_end() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        io::Write::write_all(&mut file, b"twelve bytes").unwrap();
        let interrupt = Interrupt::new().unwrap();
        let mut file = InterruptibleFile::open(file.path(), &interrupt).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "twelve bytes");
    }
}
