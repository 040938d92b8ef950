//! Folder of one process in procfs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Dir, Mode, OFlags, ResolveFlags, openat, openat2, readlinkat};

use super::bounded_read::read;
use super::environment::Environment;
use super::executable::DELETED;
use super::proc_stat::{Stat, pid};
use super::proc_status::Status;

/// A stat line has 52 numbers and a name; the kernel never writes as much as this.
const MAX_STAT: usize = 4096;
/// Enough for a dozen v1 hierarchies with long paths; a longer file is read so far.
const MAX_CGROUP: usize = 16 * 1024;
/// How far a mount table is read for its root, which stands near its head.
const MAX_MOUNTS: usize = 64 * 1024;
/// The file has about 1.5 KiB.
const MAX_STATUS: usize = 8 * 1024;
/// A user namespace has at most 340 lines of mapping (user_namespaces(7)).
const MAX_UID_MAP: usize = 16 * 1024;

/// The folder of one process.
#[derive(Debug)]
pub(super) struct ProcessFolder {
    folder: OwnedFd,
    pid: u32,
}

impl ProcessFolder {
    /// Opens the folder of a process in that of a procfs.
    pub(super) fn open(procfs: BorrowedFd<'_>, pid: u32) -> Option<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let folder = openat(procfs, pid.to_string(), flags, Mode::empty()).ok()?;
        Some(Self { folder, pid })
    }

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
