//! Writes whole lines to a file or a pipe, and counts those that could not be written.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// The bytes that are held back until the queue is empty; at this many they are written.
const BUFFER: usize = 64 * 1024;

/// Why an output cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    /// Nobody reads any more: a clean end.
    #[error("the output is closed")]
    Closed,
    /// The file cannot be opened.
    #[error("cannot open {} for writing: {error}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The pipe has no reader yet.
    #[error("cannot open {} for writing: nobody reads that pipe", .0.display())]
    Unread(PathBuf),
}

/// A file that is written to until it takes the bytes, also where whoever opened it has it refuse
/// to wait (`O_NONBLOCK`, which is the open file's and not ours alone).
#[derive(Debug)]
pub struct Patient(File);

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let writable = PollFd::new(&self.0, PollFlags::OUT);
                    poll(&mut [writable], None)?;
                }
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Holds lines back and writes them together.
///
/// A line is written whole or, after an error, finished before the next one: nothing is ever
/// glued to half a line. Lines that an error hits are dropped and counted, so that memory stays
/// bounded by 64 KiB and two lines.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    /// Whole lines, but for the first, whose beginning may be written already.
    buffer: Vec<u8>,
    /// `buffer` begins with the rest of a line.
    cut: bool,
    failing: bool,
    trouble: Option<String>,
    lost: u64,
}

impl Writer<Patient> {
    /// Opens a file to append to; a new one has mode 0600, an old one keeps its own.
    ///
    /// A symbolic link as the last part of the path is refused (`O_NOFOLLOW`): the auditor is
    /// root and the folder may be another's. If the file's last line has no end, because a
    /// machine stopped in the middle of it, it gets one.
    ///
    /// # Errors
    /// Where it cannot be opened, or is a pipe that nobody reads.
    pub fn open(path: &Path) -> Result<Self, WriterError> {
        // For writing only: who can read a pipe too is a reader of it, and so never learns that
        // all others are gone.
        let flags = OFlags::WRONLY
            | OFlags::CREATE
            | OFlags::APPEND
            | OFlags::NOFOLLOW
            | OFlags::CLOEXEC
            | OFlags::NOCTTY
            | OFlags::NONBLOCK;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = match rustix::fs::open(path, flags, mode) {
            Ok(file) => File::from(file),
            Err(Errno::NXIO) => return Err(WriterError::Unread(path.to_owned())),
            Err(error) => {
                return Err(WriterError::Open { path: path.to_owned(), error: error.into() });
            }
        };
        let unfinished = ends_inside_a_line(&file).unwrap_or(false);
        let mut writer = Self::new(Patient(file));
        if unfinished {
            writer.buffer.push(b'\n');
            writer.cut = true;
        }
        Ok(writer)
    }

    /// Takes the standard error.
    ///
    /// # Errors
    /// Where there is none.
    pub fn stderr() -> Result<Self, WriterError> {
        Self::standard(io::stderr().as_fd(), "standard error")
    }

    /// Takes the standard output, without the buffer of [`std::io::Stdout`].
    ///
    /// # Errors
    /// Where there is none.
    pub fn stdout() -> Result<Self, WriterError> {
        Self::standard(io::stdout().as_fd(), "standard output")
    }

    fn standard(stream: BorrowedFd<'_>, name: &str) -> Result<Self, WriterError> {
        let failed = |error| WriterError::Open { path: name.into(), error };
        let stream = stream.try_clone_to_owned().map_err(failed)?;
        Ok(Self::new(Patient(File::from(stream))))
    }
}

impl<W: Write> Writer<W> {
    /// Writes to `output`, which should have no buffer of its own.
    pub const fn new(output: W) -> Self {
        Self { output, buffer: Vec::new(), cut: false, failing: false, trouble: None, lost: 0 }
    }

    /// Takes a line, its line feed included; it is written at the next [`flush`](Self::flush),
    /// or at once when enough has come together.
    pub fn write(&mut self, line: &[u8]) -> Result<(), WriterError> {
        self.buffer.extend_from_slice(line);
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// Writes what was held back.
    ///
    /// Only a closed output is an error; any other failure drops the lines that it hits and is
    /// counted, see [`take_lost`](Self::take_lost).
    pub fn flush(&mut self) -> Result<(), WriterError> {
        let mut done = 0;
        let result = loop {
            let rest = self.buffer.get(done..).unwrap_or_default();
            if rest.is_empty() {
                break self.output.flush();
            }
            match self.output.write(rest) {
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        match result {
            Ok(()) => {
                // Nothing written proves nothing.
                self.failing &= done == 0;
                self.buffer.clear();
                self.cut = false;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(WriterError::Closed),
            Err(error) => {
                if !self.failing {
                    log::warn!("cannot write events error={error}");
                }
                self.failing = true;
                self.trouble = Some(error.to_string());
                self.drop_lines(done);
                Ok(())
            }
        }
    }

    /// Returns whether the last attempt to write failed.
    pub const fn is_failing(&self) -> bool {
        self.failing
    }

    /// Returns what the system said when writing last failed.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Returns how many lines were dropped since the last call.
    pub const fn take_lost(&mut self) -> u64 {
        std::mem::replace(&mut self.lost, 0)
    }

    /// Returns how many lines were dropped and not yet taken.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Drops what could not be written behind the first `done` bytes, but for the rest of a line
    /// whose beginning was.
    fn drop_lines(&mut self, done: usize) {
        let inside = match done.checked_sub(1) {
            Some(last) => self.buffer.get(last) != Some(&b'\n'),
            None => self.cut,
        };
        self.buffer.drain(..done);
        let keep = match self.buffer.iter().position(|byte| *byte == b'\n') {
            Some(end) if inside => end + 1,
            _ => 0,
        };
        let dropped = self.buffer.iter().skip(keep).filter(|byte| **byte == b'\n').count();
        self.lost = self.lost.saturating_add(u64::try_from(dropped).unwrap_or(u64::MAX));
        self.buffer.truncate(keep);
        self.cut = keep > 0;
    }
}

/// Says whether a file's last byte is no line feed. The file is opened once more for that, as the
/// one that it is and not by its name.
fn ends_inside_a_line(file: &File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok(false);
    }
    let mut file = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Takes as many bytes as there is room for, then fails.
    struct Disk {
        written: Vec<u8>,
        room: usize,
        error: ErrorKind,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(self.error.into());
            }
            self.room -= count;
            self.written.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn disk(room: usize) -> Writer<Disk> {
        Writer::new(Disk { written: Vec::new(), room, error: ErrorKind::StorageFull })
    }

    #[test]
    fn a_full_disk_never_glues_a_line_to_half_of_another() {
        let mut writer = disk(7);
        for line in [b"one\n", b"two\n", b"tri\n"] {
            writer.write(line).unwrap();
        }
        writer.flush().unwrap();
        assert_eq!(writer.output.written, b"one\ntwo");
        assert_eq!((writer.lost(), writer.is_failing()), (1, true));
        writer.write(b"for\n").unwrap();
        writer.flush().unwrap();
        assert_eq!(writer.lost(), 2);
        writer.output.room = 100;
        writer.write(b"fiv\n").unwrap();
        writer.flush().unwrap();
        assert_eq!(writer.output.written, b"one\ntwo\nfiv\n");
        assert!(!writer.is_failing());
        assert_eq!((writer.take_lost(), writer.take_lost()), (2, 0));
    }

    #[test]
    fn a_closed_pipe_is_a_clean_end() {
        let mut writer = disk(0);
        writer.output.error = ErrorKind::BrokenPipe;
        writer.write(b"a\n").unwrap();
        assert!(matches!(writer.flush(), Err(WriterError::Closed)));
    }

    #[test]
    fn a_device_that_is_full_is_counted() {
        let mut writer = Writer::open(Path::new("/dev/full")).unwrap();
        writer.write(b"a\n").unwrap();
        writer.flush().unwrap();
        assert_eq!(writer.lost(), 1);
    }

    #[test]
    fn a_flood_on_a_full_disk_takes_bounded_memory() {
        let mut writer = disk(0);
        for _ in 0..100_000 {
            writer.write(b"0123456789\n").unwrap();
        }
        assert!(writer.buffer.capacity() <= 2 * BUFFER);
        writer.flush().unwrap();
        assert_eq!(writer.lost(), 100_000);
    }

    #[test]
    fn a_new_file_is_for_its_owner_only_and_is_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        for line in [b"a\n", b"b\n"] {
            let mut writer = Writer::open(&path).unwrap();
            writer.write(line).unwrap();
            writer.flush().unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"a\nb\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_ends_inside_a_line_gets_its_end_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        std::fs::write(&path, "half").unwrap();
        let mut writer = Writer::open(&path).unwrap();
        writer.write(b"b\n").unwrap();
        writer.flush().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"half\nb\n");
    }

    #[test]
    fn a_symbolic_link_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("target"), &path).unwrap();
        assert!(matches!(Writer::open(&path), Err(WriterError::Open { .. })));
        assert!(!folder.path().join("target").exists());
    }

    #[test]
    fn a_pipe_that_refuses_to_wait_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(matches!(Writer::open(&path), Err(WriterError::Unread(_))));
        let nonblocking = OFlags::RDONLY | OFlags::NONBLOCK;
        let mut reader = File::from(rustix::fs::open(&path, nonblocking, Mode::empty()).unwrap());
        let mut writer = Writer::open(&path).unwrap();
        // More than a pipe holds.
        let line = [vec![b'x'; 1 << 20], vec![b'\n']].concat();
        rustix::io::ioctl_fionbio(&reader, false).unwrap();
        let read = std::thread::spawn(move || {
            let mut read = vec![0; (1 << 20) + 1];
            reader.read_exact(&mut read).unwrap();
            (reader, read)
        });
        writer.write(&line).unwrap();
        writer.flush().unwrap();
        let (reader, read) = read.join().unwrap();
        assert!(read == line && writer.lost() == 0);
        drop(reader);
        assert!(matches!(writer.write(&line), Err(WriterError::Closed)));
    }

    proptest::proptest! {
        #[test]
        fn lines_written_and_lost_are_all_lines(
            rooms in proptest::collection::vec(0_usize..12, 1..20),
        ) {
            let mut writer = disk(0);
            for room in &rooms {
                writer.output.room = *room;
                writer.write(b"abc\n").unwrap();
                writer.flush().unwrap();
            }
            writer.output.room = 100;
            writer.flush().unwrap();
            let written = writer.output.written.clone();
            let lines = written.split_inclusive(|byte| *byte == b'\n');
            proptest::prop_assert!(lines.clone().all(|line| line == b"abc\n"));
            proptest::prop_assert_eq!(lines.count() as u64 + writer.lost(), rooms.len() as u64);
        }
    }
}
