//! Reads the few files of procfs that tell of a process.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat};
use rustix::io::Errno;

use super::patience::{Sight, Watch};
use super::stat::{Stat, number};

/// A stat line has 52 numbers and a name; the kernel never writes as much as this.
const MAX_STAT: usize = 4096;
/// Enough for a dozen v1 hierarchies with long paths; a longer file is read so far.
const MAX_CGROUP: usize = 16 * 1024;
/// How far a mount table is read for its root, which stands near its head.
const MAX_MOUNTS: usize = 64 * 1024;
/// A user namespace has at most 340 lines of mapping (user_namespaces(7)).
const MAX_UID_MAP: usize = 16 * 1024;

/// A mounted procfs, as one thread reads it.
#[derive(Clone, Debug)]
pub struct Procfs {
    root: Arc<OwnedFd>,
    /// What this thread looks at.
    sight: Arc<Sight>,
    /// What others look at in vain.
    watch: Arc<Watch>,
    ticks_per_second: u64,
    /// What the reader's time namespace adds to the boot time, in nanoseconds.
    boottime_offset: i128,
}

/// Why procfs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProcfsError {
    /// The folder cannot be opened.
    #[error("cannot open the process file system at {}", path.display())]
    Open {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Procfs {
    /// Opens the procfs that is mounted at `root`.
    ///
    /// # Errors
    ///
    /// Fails where that is no folder.
    pub fn open(root: &Path) -> Result<Self, ProcfsError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, root, flags, Mode::empty())
            .map_err(|error| ProcfsError::Open { path: root.into(), source: error.into() })?;
        let offsets = read(root.as_fd(), "self/timens_offsets", 4096).unwrap_or_default();
        Ok(Self {
            root: Arc::new(root),
            sight: Arc::default(),
            watch: Arc::default(),
            ticks_per_second: rustix::param::clock_ticks_per_second().max(1),
            boottime_offset: boottime_offset(&offsets).unwrap_or(0),
        })
    }

    /// Returns what is looked at in vain.
    pub(super) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// Returns the same for another thread.
    pub(super) fn seen_by(&self, sight: Arc<Sight>) -> Self {
        Self { sight, ..self.clone() }
    }

    /// Opens a process's folder; `None` where that would only keep one more thread waiting. What
    /// is read through it is of this process only: once it is gone, reads fail, whoever has the
    /// pid then.
    pub(super) fn process(&self, pid: u32) -> Option<ProcessFolder> {
        if self.watch.holds(pid) {
            return None;
        }
        self.sight.turn_to(pid);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let folder = openat(&*self.root, pid.to_string(), flags, Mode::empty()).ok()?;
        Some(ProcessFolder { folder, pid })
    }

    /// Returns what field 22 of the stat line says of a process that started at this time, in
    /// nanoseconds since boot. The kernel adds the reader's offset, then rounds down
    /// (`do_task_stat` in fs/proc/array.c).
    pub(super) fn ticks(&self, start_time: u64) -> u64 {
        let shifted = i128::from(start_time) + self.boottime_offset;
        u64::try_from(shifted * i128::from(self.ticks_per_second) / 1_000_000_000).unwrap_or(0)
    }

    /// Returns the earliest time, in nanoseconds since boot, that shows as this many ticks.
    pub(super) fn time(&self, ticks: u64) -> u64 {
        let shifted = i128::from(ticks) * 1_000_000_000 / i128::from(self.ticks_per_second);
        u64::try_from(shifted - self.boottime_offset).unwrap_or(0)
    }
}

/// The folder of one process.
#[derive(Debug)]
pub struct ProcessFolder {
    folder: OwnedFd,
    pid: u32,
}

impl ProcessFolder {
    /// Reads what tells the process and its program from others.
    pub fn stat(&self) -> Option<Stat> {
        Stat::parse(&self.read("stat", MAX_STAT)?, self.pid)
    }

    /// Reads the command line, and whether it goes on behind `limit` bytes.
    pub fn command_line(&self, limit: usize) -> Option<(Vec<u8>, bool)> {
        self.read_cut("cmdline", limit)
    }

    /// Reads the environment that the program was started with, and whether it goes on behind
    /// `limit` bytes.
    pub fn environment(&self, limit: usize) -> Option<(Vec<u8>, bool)> {
        self.read_cut("environ", limit)
    }

    /// Reads the link to the program: at most a page, as the kernel cuts it.
    pub fn exe(&self) -> Option<Vec<u8>> {
        Some(readlinkat(&self.folder, "exe", Vec::new()).ok()?.into_bytes())
    }

    /// Reads the cgroup memberships.
    pub fn cgroup(&self) -> Option<Vec<u8>> {
        self.read("cgroup", MAX_CGROUP)
    }

    /// Reads the mount table.
    pub fn mounts(&self) -> Option<Vec<u8>> {
        self.read("mountinfo", MAX_MOUNTS)
    }

    /// Reads how the process's users map to ours.
    pub fn uid_map(&self) -> Option<Vec<u8>> {
        self.read("uid_map", MAX_UID_MAP)
    }

    /// Reads the name of one of the process's threads.
    pub fn thread_name(&self, tid: u32) -> Option<Vec<u8>> {
        let mut name = self.read(&format!("task/{tid}/comm"), 64)?;
        if name.last() == Some(&b'\n') {
            name.pop();
        }
        Some(name)
    }

    /// Opens the root folder as the process sees it, for looking up names in it only.
    pub fn root(&self) -> Option<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(&self.folder, "root", flags, Mode::empty()).ok()
    }

    fn read_cut(&self, name: &str, limit: usize) -> Option<(Vec<u8>, bool)> {
        let mut bytes = self.read(name, limit + 1)?;
        let truncated = bytes.len() > limit;
        bytes.truncate(limit);
        Some((bytes, truncated))
    }

    fn read(&self, name: &str, limit: usize) -> Option<Vec<u8>> {
        read(self.folder.as_fd(), name, limit).ok()
    }
}

/// Reads a file, at most `limit` bytes of it, without ever waiting for a writer.
fn read(folder: BorrowedFd<'_>, name: &str, limit: usize) -> Result<Vec<u8>, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = openat(folder, name, flags, Mode::empty())?;
    read_to_end(file.as_fd(), limit)
}

/// Reads at most `limit` bytes.
pub fn read_to_end(file: BorrowedFd<'_>, limit: usize) -> Result<Vec<u8>, Errno> {
    const STEP: usize = 4096;
    let mut bytes = Vec::new();
    while bytes.len() < limit {
        let length = bytes.len();
        bytes.resize(limit.min(length + STEP), 0);
        let buffer = bytes.get_mut(length..).unwrap_or_default();
        let count = match rustix::io::read(file, buffer) {
            Ok(count) => count,
            Err(Errno::INTR) => {
                bytes.truncate(length);
                continue;
            }
            Err(error) => return Err(error),
        };
        bytes.truncate(length + count);
        if count == 0 {
            break;
        }
    }
    Ok(bytes)
}

/// Reads the line `boottime SECONDS NANOSECONDS` of `/proc/self/timens_offsets`
/// (time_namespaces(7)); the seconds may be negative.
fn boottime_offset(offsets: &[u8]) -> Option<i128> {
    offsets.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
        if fields.next()? != b"boottime" {
            return None;
        }
        let seconds = fields.next()?;
        let (sign, seconds) = match seconds.strip_prefix(b"-") {
            Some(seconds) => (-1, seconds),
            None => (1, seconds),
        };
        let nanoseconds = number(fields.next()?)?;
        Some(sign * i128::from(number(seconds)?) * 1_000_000_000 + i128::from(nanoseconds))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    #[test]
    fn a_vanished_process_says_nothing_more() {
        let procfs = Procfs::open(Path::new("/proc")).unwrap();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let folder = procfs.process(child.id()).unwrap();
        assert!(folder.stat().is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(folder.stat(), None);
        assert_eq!(folder.exe(), None);
        assert!(procfs.process(child.id()).is_none());
    }

    #[test]
    fn reads_stop_at_their_bound_and_do_not_wait() {
        let folder = tempfile::tempdir().unwrap();
        let process = folder.path().join("7");
        fs::create_dir(&process).unwrap();
        fs::write(process.join("cmdline"), vec![b'a'; 10_000]).unwrap();
        let made = Command::new("mkfifo").arg(process.join("cgroup")).status().unwrap();
        assert!(made.success());
        let process = Procfs::open(folder.path()).unwrap().process(7).unwrap();
        assert_eq!(process.command_line(5000), Some((vec![b'a'; 5000], true)));
        assert_eq!(process.command_line(10_000), Some((vec![b'a'; 10_000], false)));
        assert_eq!(process.cgroup(), Some(Vec::new()));
        assert_eq!(process.stat(), None);
    }

    #[test]
    fn start_times_are_rounded_down_as_the_kernel_does() {
        let folder = tempfile::tempdir().unwrap();
        let mut procfs = Procfs::open(folder.path()).unwrap();
        procfs.ticks_per_second = 100;
        assert_eq!(procfs.ticks(12_349_999_999), 1234);
        assert_eq!(procfs.ticks(12_350_000_000), 1235);
        assert_eq!(procfs.time(1235), 12_350_000_000);
        procfs.boottime_offset =
            boottime_offset(b"monotonic  5 6\nboottime   -2 500000000\n").unwrap();
        assert_eq!(procfs.ticks(12_350_000_000), 1085);
        assert_eq!(procfs.time(1085), 12_350_000_000);
        assert_eq!(procfs.ticks(0), 0);
        assert_eq!(boottime_offset(b"boottime"), None);
    }
}
