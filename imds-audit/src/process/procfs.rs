//! Reader of the few files of procfs that describe a process.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Dir, Mode, OFlags, ResolveFlags, openat, openat2, readlinkat};
use rustix::io::Errno;

use super::environment::Environment;
use super::executable::DELETED;
use super::namespace_pids::NamespacePids;
use super::proc_stat::{Stat, number};
use super::timeout::{CurrentPid, HungSet};
use crate::snapshot::SnapshotRecord;

/// A stat line has 52 numbers and a name; the kernel never writes as much as this.
const MAX_STAT: usize = 4096;
/// Enough for a dozen v1 hierarchies with long paths; a longer file is read so far.
const MAX_CGROUP: usize = 16 * 1024;
/// How far a mount table is read for its root, which stands near its head.
const MAX_MOUNTS: usize = 64 * 1024;
/// The file has about 1.5 KiB.
const MAX_STATUS: usize = 8 * 1024;
/// The largest number of processes that are looked at.
const MAX_PIDS: usize = 65_536;
/// A user namespace has at most 340 lines of mapping (user_namespaces(7)).
const MAX_UID_MAP: usize = 16 * 1024;

/// The processes among which one is looked for in a container.
const MAX_PROCESSES_SEARCHED: usize = 4096;
/// The initial pid namespace (`PROC_PID_INIT_INO`, include/linux/proc_ns.h), as its link shows it.
const INITIAL_PID_NAMESPACE: &[u8] = b"pid:[4026531836]";

/// A mounted procfs, as one thread reads it.
#[derive(Clone, Debug)]
pub(crate) struct Procfs {
    root: Arc<OwnedFd>,
    /// The process that this thread reads.
    current: Arc<CurrentPid>,
    /// The processes at which other threads have stalled.
    hung: Arc<HungSet>,
    ticks_per_second: u64,
    /// What the reader's time namespace adds to the boot time, in nanoseconds.
    boottime_offset: i128,
    /// Its own numbers of processes, where it is of a pid namespace that is not the initial one.
    namespace: Option<Arc<NamespacePids>>,
}

/// Why procfs cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcfsError {
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
    pub(crate) fn open(root: &Path) -> Result<Self, ProcfsError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, root, flags, Mode::empty())
            .map_err(|error| ProcfsError::Open { path: root.into(), source: error.into() })?;
        let namespace = is_of_own_namespace(root.as_fd()).then(Arc::default);
        let offsets = read(root.as_fd(), "self/timens_offsets", 4096).unwrap_or_default();
        Ok(Self {
            root: Arc::new(root),
            current: Arc::default(),
            hung: Arc::default(),
            ticks_per_second: rustix::param::clock_ticks_per_second().max(1),
            boottime_offset: boottime_offset(&offsets).unwrap_or(0),
            namespace,
        })
    }

    /// Returns the same for a thread of a worker.
    pub(super) fn for_thread(&self, hung: &Arc<HungSet>, current: Arc<CurrentPid>) -> Self {
        Self { current, hung: Arc::clone(hung), ..self.clone() }
    }

    /// Returns the same for records whose numbers of processes are its own, and not the kernel's.
    pub(super) fn with_own_pids(self) -> Self {
        Self { namespace: None, ..self }
    }

    /// Returns whether its numbers of processes are not those of the records.
    pub(super) fn is_of_container(&self) -> bool {
        self.namespace.is_some()
    }

    /// Learns the numbers of a record's caller and its parents, where they are not the kernel's.
    pub(super) fn learn(&self, record: &SnapshotRecord<'_>) {
        let Some(namespace) = &self.namespace else { return };
        if self.hung.contains(record.task().pid) {
            return;
        }
        self.current.set(record.task().pid);
        let look = |pid| self.folder(pid)?.stat();
        let all = || self.numbers().filter_map(|pid| Some((pid, look(pid)?))).collect();
        namespace.learn(record, |time| self.ticks(time), look, all);
    }

    /// Returns the numbers of the processes that are here, a bounded number of them.
    fn numbers(&self) -> impl Iterator<Item = u32> {
        let entries = Dir::read_from(&*self.root).into_iter().flatten();
        let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_owned()));
        names
            .filter_map(|name| u32::try_from(number(name.to_bytes())?).ok())
            .take(MAX_PROCESSES_SEARCHED)
    }

    /// Opens the folder of a process, by the kernel's number; `None` where that would only keep one
    /// more thread waiting. What is read through it is of this process only: once it is gone, reads
    /// fail, whoever has the pid then.
    pub(super) fn process(&self, pid: u32) -> Option<ProcessFolder> {
        if self.hung.contains(pid) {
            return None;
        }
        self.current.set(pid);
        match &self.namespace {
            Some(namespace) => self.folder(namespace.get(pid)?),
            None => self.folder(pid),
        }
    }

    /// Opens the folder of a process, by the number that it has here.
    pub(super) fn folder(&self, pid: u32) -> Option<ProcessFolder> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let folder = openat(&*self.root, pid.to_string(), flags, Mode::empty()).ok()?;
        Some(ProcessFolder { folder, pid })
    }

    /// Returns the number of the process or thread that started last in the reader's pid namespace
    /// (the last field of `loadavg`, proc_loadavg(5)).
    pub(super) fn newest_pid(&self) -> Option<u32> {
        let line = read(self.root.as_fd(), "loadavg", 256).ok()?;
        let last = line.trim_ascii_end().rsplit(|&byte| byte == b' ').next()?;
        number(last).and_then(|pid| u32::try_from(pid).ok())
    }

    /// Returns when the first process of the reader's pid namespace started, in nanoseconds since
    /// boot.
    pub(crate) fn first_start(&self) -> Option<u64> {
        Some(self.time(self.folder(1)?.stat()?.start_ticks))
    }

    /// Returns the numbers of all processes, at most [`MAX_PIDS`], in ascending order.
    pub(super) fn pids(&self) -> Vec<u32> {
        let mut pids = Vec::new();
        let Ok(folder) = Dir::read_from(&*self.root) else { return pids };
        let names = folder.filter_map(Result::ok);
        pids.extend(names.filter_map(|entry| pid(entry.file_name().to_bytes())).take(MAX_PIDS));
        pids.sort_unstable();
        pids
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
pub(super) struct ProcessFolder {
    folder: OwnedFd,
    pid: u32,
}

impl ProcessFolder {
    /// Reads what tells the process and its program from others.
    pub(super) fn stat(&self) -> Option<Stat> {
        Stat::parse(&self.read("stat", MAX_STAT)?, self.pid)
    }

    /// Reads the command line, and whether it goes on behind `limit` bytes.
    pub(super) fn command_line(&self, limit: usize) -> Option<(Vec<u8>, bool)> {
        self.read_cut("cmdline", limit)
    }

    /// Reads the environment that the program was started with, as far as `limit` bytes.
    pub(super) fn environment(&self, limit: usize) -> Environment {
        self.read_cut("environ", limit)
            .map(|(bytes, truncated)| Environment::of(&bytes, truncated))
            .unwrap_or_default()
    }

    /// Reads the working directory, at most a page of its path. A folder that is removed or out of
    /// the process's reach has none.
    pub(super) fn working_directory(&self) -> Option<Vec<u8>> {
        let path = readlinkat(&self.folder, "cwd", Vec::new()).ok()?.into_bytes();
        (path.starts_with(b"/") && !path.ends_with(DELETED)).then_some(path)
    }

    /// Reads what tells the process's root folder from others: its mount namespace and its path.
    /// Nothing is looked up in it.
    pub(super) fn root_name(&self) -> Vec<u8> {
        let link = |name| readlinkat(&self.folder, name, Vec::new()).map(|link| link.into_bytes());
        let mut name = link("ns/mnt").unwrap_or_default();
        name.extend(link("root").unwrap_or_default());
        name
    }

    /// Calls `see` with the number and the link of each open file, until it returns `false`.
    pub(super) fn each_descriptor(&self, mut see: impl FnMut(u32, &[u8]) -> bool) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let Ok(folder) = openat(&self.folder, "fd", flags, Mode::empty()) else { return };
        let Ok(entries) = Dir::read_from(&folder) else { return };
        for entry in entries.filter_map(Result::ok) {
            let Some(number) = pid(entry.file_name().to_bytes()) else { continue };
            let Ok(link) = readlinkat(&folder, entry.file_name(), Vec::new()) else { continue };
            if !see(number, link.to_bytes()) {
                return;
            }
        }
    }

    /// Reads who the process is.
    pub(super) fn status(&self) -> Option<Status> {
        Status::parse(&self.read("status", MAX_STATUS)?)
    }

    /// Reads the path of an open file.
    pub(super) fn descriptor(&self, number: u32) -> Option<Vec<u8>> {
        Some(readlinkat(&self.folder, format!("fd/{number}"), Vec::new()).ok()?.into_bytes())
    }

    /// Returns whether the process sees a file at this path. Only the kernel's cache is asked
    /// (`RESOLVE_CACHED`, Linux 5.12), so that no file system can keep us waiting: a file that is
    /// not in it, as none is on older kernels, does not count.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        let resolve = ResolveFlags::CACHED | ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        self.root().is_some_and(|root| openat2(root, path, flags, Mode::empty(), resolve).is_ok())
    }

    /// Reads the link to the program: at most a page, as the kernel cuts it.
    pub(super) fn exe(&self) -> Option<Vec<u8>> {
        Some(readlinkat(&self.folder, "exe", Vec::new()).ok()?.into_bytes())
    }

    /// Reads the cgroup memberships.
    pub(super) fn cgroup(&self) -> Option<Vec<u8>> {
        self.read("cgroup", MAX_CGROUP)
    }

    /// Reads the mount table.
    pub(super) fn mounts(&self) -> Option<Vec<u8>> {
        self.read("mountinfo", MAX_MOUNTS)
    }

    /// Reads how the process's users map to ours.
    pub(super) fn uid_map(&self) -> Option<Vec<u8>> {
        self.read("uid_map", MAX_UID_MAP)
    }

    /// Reads the name of one of the process's threads.
    pub(super) fn thread_name(&self, tid: u32) -> Option<Vec<u8>> {
        let mut name = self.read(&format!("task/{tid}/comm"), 64)?;
        if name.last() == Some(&b'\n') {
            name.pop();
        }
        Some(name)
    }

    /// Opens the root folder as the process sees it, for looking up names in it only.
    pub(super) fn root(&self) -> Option<OwnedFd> {
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

/// Returns whether a procfs is of this process's pid namespace, and that is not the initial one: it
/// then knows this process by the number that the process has itself.
fn is_of_own_namespace(root: BorrowedFd<'_>) -> bool {
    let link = |name| readlinkat(root, name, Vec::new()).map(|link| link.into_bytes());
    let own = rustix::process::getpid().as_raw_nonzero().to_string();
    link("self").is_ok_and(|pid| pid == own.as_bytes())
        && link("self/ns/pid").is_ok_and(|namespace| namespace != INITIAL_PID_NAMESPACE)
}

/// What `/proc/PID/status` says of a process (proc_pid_status(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status {
    /// The process; of a thread, the one that it belongs to.
    pub(super) process: u32,
    /// The real user.
    pub(super) uid: u32,
    /// The real group.
    pub(super) gid: u32,
    /// The process in its own pid namespace.
    pub(super) namespace_pid: Option<u32>,
}

impl Status {
    fn parse(text: &[u8]) -> Option<Self> {
        let field = |name: &[u8]| {
            let line =
                text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(name))?;
            Some(line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()))
        };
        let first = |name: &[u8]| field(name)?.next().and_then(pid);
        Some(Self {
            process: first(b"Tgid:")?,
            uid: first(b"Uid:")?,
            gid: first(b"Gid:")?,
            namespace_pid: field(b"NSpid:").and_then(|mut words| words.next_back().and_then(pid)),
        })
    }
}

fn pid(text: &[u8]) -> Option<u32> {
    number(text).and_then(|pid| u32::try_from(pid).ok())
}

/// Reads a file, at most `limit` bytes of it, without ever waiting for a writer.
fn read(folder: BorrowedFd<'_>, name: &str, limit: usize) -> Result<Vec<u8>, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = openat(folder, name, flags, Mode::empty())?;
    read_to_end(file.as_fd(), limit)
}

/// Reads at most `limit` bytes.
pub(super) fn read_to_end(file: BorrowedFd<'_>, limit: usize) -> Result<Vec<u8>, Errno> {
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
    fn who_a_process_is_stands_in_its_status() {
        let procfs = Procfs::open(Path::new("/proc")).unwrap();
        let own = procfs.process(std::process::id()).unwrap().status().unwrap();
        assert_eq!(own.process, std::process::id());
        assert_eq!(own.uid, rustix::process::getuid().as_raw());
        assert!(procfs.pids().contains(&std::process::id()));
        assert!(procfs.newest_pid().is_some());
        let text = b"Name:\tUid: 5\nTgid:\t7\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nNSpid:\t7\t3\n";
        let status = Status::parse(text).unwrap();
        assert_eq!((status.process, status.uid, status.gid), (7, 1, 5));
        assert_eq!(status.namespace_pid, Some(3));
        assert_eq!(Status::parse(b"Tgid:\tx"), None);
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
