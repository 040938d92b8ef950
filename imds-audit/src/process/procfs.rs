//! Reader of the few files of procfs that describe a process.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Dir, Mode, OFlags, openat, readlinkat};

use super::bounded_read::read;
use super::namespace_pids::NamespacePids;
use super::proc_stat::{number, pid};
use super::process_folder::ProcessFolder;
use super::timeout::{CurrentPid, HungSet};
use crate::snapshot::SnapshotRecord;

/// The largest number of processes that are looked at.
const MAX_PIDS: usize = 65_536;
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
        ProcessFolder::open(self.root.as_fd(), pid)
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

/// Returns whether a procfs is of this process's pid namespace, and that is not the initial one: it
/// then knows this process by the number that the process has itself.
fn is_of_own_namespace(root: BorrowedFd<'_>) -> bool {
    let link = |name| readlinkat(root, name, Vec::new()).map(|link| link.into_bytes());
    let own = rustix::process::getpid().as_raw_nonzero().to_string();
    link("self").is_ok_and(|pid| pid == own.as_bytes())
        && link("self/ns/pid").is_ok_and(|namespace| namespace != INITIAL_PID_NAMESPACE)
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
    fn this_process_is_found_with_its_status() {
        let procfs = Procfs::open(Path::new("/proc")).unwrap();
        let own = procfs.process(std::process::id()).unwrap().status().unwrap();
        assert_eq!(own.process, std::process::id());
        assert_eq!(own.uid, rustix::process::getuid().as_raw());
        assert!(procfs.pids().contains(&std::process::id()));
        assert!(procfs.newest_pid().is_some());
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
