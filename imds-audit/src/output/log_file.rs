//! A file that is appended to under a name, and opened anew when the name stands for another file.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, fstat},
    io::Errno,
};

use super::{
    destination::{BlockingFile, Destination},
    writer::WriterError,
};

/// A file that is appended to under a name.
///
/// It is looked up before every chunk: a file that was moved or removed, as logrotate does, is
/// left, and a new one opened under the same name.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    open: Option<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    file: BlockingFile,
    /// Device and inode of a regular file; `None` for a pipe or a device, which stays.
    identity: Option<(u64, u64)>,
    /// The last line has no end: a machine stopped in the middle of it.
    is_unfinished: bool,
}

impl LogFile {
    /// Opens a file to append to; a new one has mode 0600, an existing one keeps its own.
    ///
    /// A symbolic link as the last part of the path is refused (`O_NOFOLLOW`): the auditor is
    /// root and the folder may be another user's. A file that others own, read or write is
    /// reported.
    ///
    /// # Errors
    /// Returns an error if it cannot be opened, or is a pipe without a reader.
    pub(crate) fn open(path: &Path) -> Result<Self, WriterError> {
        let open = OpenFile::open(path)?;
        Ok(Self { path: path.to_owned(), open: Some(open) })
    }

    /// As [`LogFile::open`], for a program that goes on without it: the missing folder is made
    /// (mode 0750), and a file that cannot be opened is tried again before every chunk.
    pub(crate) fn open_or_retry(path: &Path) -> Self {
        let open = match open_with_folder(path) {
            Ok(open) => Some(open),
            Err(error) => {
                log::warn!("an output cannot be opened, it is tried again error={error}");
                None
            }
        };
        Self { path: path.to_owned(), open }
    }

    /// Returns its name.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the size in bytes and the time of creation, or of the last change on a file system
    /// that does not keep it; `None` if it is not open.
    pub(crate) fn metadata(&self) -> Option<fs::Metadata> {
        let file = self.open.as_ref()?.file.as_fd();
        fs::metadata(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
    }

    /// Closes it, so that the next chunk opens it anew.
    pub(crate) fn close(&mut self) {
        self.open = None;
    }

    fn open_again(&mut self, level: log::Level, why: &str) -> io::Result<()> {
        match open_with_folder(&self.path) {
            Ok(open) => {
                self.open = Some(open);
                let path = self.path.display();
                log::log!(level, "the output file was opened anew path={path} {why}");
                Ok(())
            }
            // What has a name still is better than nothing.
            Err(_) if self.open.as_ref().is_some_and(|open| !open.is_deleted()) => Ok(()),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

impl Destination for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.open {
            Some(open) => io::Write::write(&mut open.file, bytes),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn prepare(&mut self, _incoming: usize) -> io::Result<()> {
        match &self.open {
            None => self.open_again(log::Level::Warn, "after it could not be")?,
            Some(open) if open.is_deleted() => {
                self.open_again(log::Level::Warn, "because it was removed")?
            }
            Some(open) if open.has_moved(&self.path) => {
                self.open_again(log::Level::Warn, "because it was moved")?;
            }
            Some(_) => {}
        }
        if let Some(open) = &mut self.open
            && open.is_unfinished
        {
            io::Write::write_all(&mut open.file, b"\n")?;
            open.is_unfinished = false;
        }
        Ok(())
    }

    fn has_moved(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.is_deleted() || open.has_moved(&self.path))
    }

    fn is_deleted(&self) -> bool {
        self.open.as_ref().is_some_and(OpenFile::is_deleted)
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.open_again(log::Level::Info, "because a signal asked for it")
    }
}

/// Opens a file, and makes its folder where it is missing.
fn open_with_folder(path: &Path) -> Result<OpenFile, WriterError> {
    match OpenFile::open(path) {
        Err(WriterError::Open { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                // The next attempt says what is wrong where this one fails.
                let _ = fs::DirBuilder::new().recursive(true).mode(0o750).create(folder);
            }
            OpenFile::open(path)
        }
        result => result,
    }
}

impl OpenFile {
    fn open(path: &Path) -> Result<Self, WriterError> {
        let failed = |error: io::Error| WriterError::Open { path: path.to_owned(), error };
        // For writing only: a process that can read a pipe too is a reader of it, and so never
        // learns that all others are gone.
        let flags = OFlags::WRONLY
            | OFlags::CREATE
            | OFlags::APPEND
            | OFlags::NOFOLLOW
            | OFlags::CLOEXEC
            | OFlags::NOCTTY
            | OFlags::NONBLOCK;
        let file = match rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => File::from(file),
            Err(Errno::NXIO) => return Err(WriterError::NoReader(path.to_owned())),
            Err(error) => return Err(failed(error.into())),
        };
        let metadata = file.metadata().map_err(failed)?;
        let is_regular = metadata.is_file();
        if is_regular {
            report_access(path, &metadata);
        }
        Ok(Self {
            identity: is_regular.then(|| (metadata.dev(), metadata.ino())),
            is_unfinished: is_regular && ends_inside_a_line(&file, &metadata).unwrap_or(false),
            file: BlockingFile::from(file),
        })
    }

    /// Returns whether the name stands for another file or for none. A name that cannot be looked
    /// up for another reason proves nothing.
    fn has_moved(&self, path: &Path) -> bool {
        let Some(identity) = self.identity else { return false };
        match fs::symlink_metadata(path) {
            Ok(found) => (found.dev(), found.ino()) != identity,
            Err(error) => {
                matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
            }
        }
    }

    fn is_deleted(&self) -> bool {
        self.identity.is_some() && fstat(&self.file).is_ok_and(|status| status.st_nlink == 0)
    }
}

/// Warns about a file that others own, read or write. It is used all the same: on a network file
/// system that maps root to another user every file is one.
fn report_access(path: &Path, metadata: &fs::Metadata) {
    let user = rustix::process::geteuid().as_raw();
    let path = path.display();
    if metadata.uid() != user && metadata.uid() != 0 {
        let owner = metadata.uid();
        log::warn!(
            "the output file belongs to another user, who can change it path={path} uid={owner}"
        );
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o022 != 0 {
        log::warn!("the output file can be written to by other users path={path} mode={mode:04o}");
    } else if mode & 0o004 != 0 {
        log::warn!("the output file can be read by every user path={path} mode={mode:04o}");
    }
}

/// Returns whether a regular file's last byte is no line feed. The file is opened once more, by its
/// descriptor and not by its name.
fn ends_inside_a_line(file: &File, metadata: &fs::Metadata) -> io::Result<bool> {
    if metadata.len() == 0 {
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
    use crate::output::writer::Writer;

    fn write(writer: &mut Writer<LogFile>, line: &[u8]) {
        writer.write(line).unwrap();
    }

    #[test]
    fn a_new_file_is_for_its_owner_only_and_is_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        for line in [b"a\n", b"b\n"] {
            write(&mut Writer::new(LogFile::open(&path).unwrap()), line);
        }
        assert_eq!(fs::read(&path).unwrap(), b"a\nb\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_ends_inside_a_line_gets_its_end_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        fs::write(&path, "half").unwrap();
        write(&mut Writer::new(LogFile::open(&path).unwrap()), b"b\n");
        assert_eq!(fs::read(&path).unwrap(), b"half\nb\n");
    }

    #[test]
    fn a_symbolic_link_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("target"), &path).unwrap();
        assert!(matches!(LogFile::open(&path), Err(WriterError::Open { .. })));
        assert!(!folder.path().join("target").exists());
    }

    #[test]
    fn a_file_that_is_moved_or_removed_is_left_for_a_new_one_of_the_same_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let moved = folder.path().join("events.1");
        let mut writer = Writer::new(LogFile::open(&path).unwrap());
        write(&mut writer, b"a\n");
        fs::rename(&path, &moved).unwrap();
        write(&mut writer, b"b\n");
        fs::remove_file(&path).unwrap();
        write(&mut writer, b"c\n");
        // As logrotate's `create` does.
        fs::rename(&path, &moved).unwrap();
        fs::write(&path, "").unwrap();
        write(&mut writer, b"d\n");
        assert_eq!(fs::read(&moved).unwrap(), b"c\n");
        assert_eq!(fs::read(&path).unwrap(), b"d\n");
        assert_eq!(writer.lost(), 0);
    }

    #[test]
    fn a_file_that_is_truncated_in_place_is_written_to_from_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let mut writer = Writer::new(LogFile::open(&path).unwrap());
        write(&mut writer, b"aaaa\n");
        // As logrotate's `copytruncate` does.
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
        write(&mut writer, b"b\n");
        assert_eq!(fs::read(&path).unwrap(), b"b\n");
    }

    #[test]
    fn a_folder_that_cannot_be_had_costs_lines_that_are_counted_until_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let blocker = folder.path().join("folder");
        fs::write(&blocker, "a file where the folder should be").unwrap();
        let path = blocker.join("events");
        let mut writer = Writer::new(LogFile::open_or_retry(&path));
        write(&mut writer, b"a\nb\n");
        assert_eq!((writer.lost(), writer.is_failing()), (2, true));
        fs::remove_file(&blocker).unwrap();
        write(&mut writer, b"c\n");
        assert_eq!(fs::read(&path).unwrap(), b"c\n");
        assert_eq!((writer.lost(), writer.is_failing()), (2, false));
        assert_eq!(fs::metadata(&blocker).unwrap().permissions().mode() & 0o777, 0o750);
    }

    #[test]
    fn a_moved_file_is_kept_while_no_other_can_be_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let moved = folder.path().join("moved");
        let mut writer = Writer::new(LogFile::open(&path).unwrap());
        write(&mut writer, b"a\n");
        fs::rename(&path, &moved).unwrap();
        std::os::unix::fs::symlink("/nonexistent/target", &path).unwrap();
        write(&mut writer, b"b\n");
        assert_eq!(fs::read(&moved).unwrap(), b"a\nb\n");
        // Once its last name is gone too, what comes is lost, and counted.
        fs::remove_file(&moved).unwrap();
        write(&mut writer, b"c\n");
        assert_eq!(writer.lost(), 1);
    }

    #[test]
    fn a_pipe_that_refuses_to_wait_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(matches!(LogFile::open(&path), Err(WriterError::NoReader(_))));
        let nonblocking = OFlags::RDONLY | OFlags::NONBLOCK;
        let mut reader = File::from(rustix::fs::open(&path, nonblocking, Mode::empty()).unwrap());
        let mut writer = Writer::new(LogFile::open(&path).unwrap());
        // More than a pipe holds.
        let line = [vec![b'x'; 1 << 20], vec![b'\n']].concat();
        rustix::io::ioctl_fionbio(&reader, false).unwrap();
        let read = std::thread::spawn(move || {
            let mut read = vec![0; (1 << 20) + 1];
            reader.read_exact(&mut read).unwrap();
            (reader, read)
        });
        writer.write(&line).unwrap();
        let (reader, read) = read.join().unwrap();
        assert!(read == line && writer.lost() == 0);
        drop(reader);
        assert!(matches!(writer.write(&line), Err(WriterError::Closed)));
    }
}
