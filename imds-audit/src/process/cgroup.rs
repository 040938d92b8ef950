//! Finds the paths of cgroups.

use std::ffi::OsStr;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lru::LruCache;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, fstat, openat, readlinkat, statat};

use super::bounded_read::read_to_end;
use super::cgroup_path::CgroupLocation;

/// The type of a file handle in the cgroup file system (`FILEID_KERNFS` in
/// include/linux/exportfs.h, kernel 5.5 and newer): the id is its eight bytes.
const FILEID_KERNFS: libc::c_int = 0xfe;
/// The number of paths kept; the least recently used goes.
const MAX_PATHS: NonZeroUsize = NonZeroUsize::new(512).unwrap();
/// A longer path is not kept: the kernel's own bound (`PATH_MAX`).
const MAX_PATH: usize = 4096;
/// The number of folders of a path whose owners are read.
const MAX_DEPTH: usize = 32;
/// How far a mount table is read in search of the cgroup root.
const MAX_MOUNTS: usize = 1024 * 1024;

/// Finds the path of a cgroup from its id, also when no process of it is left.
#[derive(Debug)]
pub(crate) struct CgroupResolver {
    root: OwnedFd,
    root_id: u64,
    root_owner: u32,
    paths: LruCache<u64, Box<[u8]>>,
}

/// A `struct file_handle` with room for the id.
#[repr(C)]
struct Handle {
    bytes: libc::c_uint,
    kind: libc::c_int,
    id: [u8; 8],
}

impl CgroupResolver {
    /// Opens the root of the cgroup v2 hierarchy.
    ///
    /// # Errors
    ///
    /// Fails where that is no folder.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, root, flags, Mode::empty())?;
        let stat = fstat(&root)?;
        Ok(Self {
            root,
            root_id: stat.st_ino,
            root_owner: stat.st_uid,
            paths: LruCache::new(MAX_PATHS),
        })
    }

    /// Returns the path below the root, with a leading slash. `None` for a cgroup that is gone
    /// and was never asked for, and without the right to open by handle
    /// (`CAP_DAC_READ_SEARCH`).
    ///
    /// A cgroup that still exists is looked up afresh, as it may have been renamed.
    pub(crate) fn resolve(&mut self, id: u64) -> Option<Box<[u8]>> {
        if id == self.root_id {
            return Some((*b"/").into());
        }
        match self.look_up(id) {
            Some(path) => {
                self.paths.put(id, path.clone());
                Some(path)
            }
            None => self.paths.get(&id).cloned(),
        }
    }

    /// Returns the length of the part of a path that the host named: up to and including the first
    /// folder whose owner differs from that of the hierarchy's root, as with a delegated cgroup.
    /// Returns the whole length if there is no such folder, or if the owners cannot be read.
    pub(crate) fn host_len(&self, path: &[u8]) -> usize {
        let ends = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/');
        let mut ends = ends.map(|(end, _)| end).chain([path.len()]).take(MAX_DEPTH);
        let is_of_another = |end: usize| {
            let folder = path.get(1..end).filter(|folder| !folder.is_empty());
            folder.is_some_and(|folder| {
                let name = OsStr::from_bytes(folder);
                statat(&self.root, name, AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok_and(|stat| stat.st_uid != self.root_owner)
            })
        };
        ends.find(|&end| is_of_another(end)).unwrap_or(path.len())
    }

    /// Opens the cgroup by its id and asks the kernel for the open folder's path.
    fn look_up(&self, id: u64) -> Option<Box<[u8]>> {
        let folder = self.open_by_id(id).ok()?;
        let root = link(&self.root)?;
        let root = root.strip_suffix(b"/").unwrap_or(&root);
        let path = link(&folder)?;
        let below = path.strip_prefix(root).filter(|below| below.first() == Some(&b'/'))?;
        // The kernel marks a removed folder by a word behind its path, which a name may end in.
        let name = OsStr::from_bytes(below.get(1..)?);
        let stat = statat(&self.root, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        (stat.st_ino == id && below.len() <= MAX_PATH).then(|| below.into())
    }

    fn open_by_id(&self, id: u64) -> io::Result<OwnedFd> {
        let mut handle = Handle { bytes: 8, kind: FILEID_KERNFS, id: id.to_ne_bytes() };
        let flags = libc::O_PATH | libc::O_CLOEXEC;
        // SAFETY: the handle has the layout of `struct file_handle` with the eight bytes that it
        // says, and lives through the call; the root is open as long as `self`.
        let fd = unsafe {
            libc::open_by_handle_at(self.root.as_raw_fd(), (&raw mut handle).cast(), flags)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so this is a new descriptor that nothing else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// Returns the path of an open folder. Descriptors are our own, so this is our own procfs,
/// wherever the host's is mounted.
fn link(folder: &OwnedFd) -> Option<Vec<u8>> {
    let name = format!("/proc/self/fd/{}", folder.as_raw_fd());
    Some(readlinkat(CWD, name, Vec::new()).ok()?.into_bytes())
}

/// Finds where the cgroup v2 hierarchy is mounted: below the host's root if there, else anywhere.
pub(super) fn find_mount_below(procfs: &Path, host: &Path) -> Option<PathBuf> {
    let mounts = mounts(procfs);
    let below = mounts.iter().find(|path| path.starts_with(host));
    below.or(mounts.first()).cloned()
}

/// Finds every mount of the cgroup v2 hierarchy.
fn mounts(procfs: &Path) -> Vec<PathBuf> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let read = openat(CWD, procfs.join("self/mounts"), flags, Mode::empty())
        .and_then(|mounts| read_to_end(mounts.as_fd(), MAX_MOUNTS));
    let mount = |line: &[u8]| {
        let mut fields = line.split(|&byte| byte == b' ');
        let path = fields.nth(1)?;
        // An escaped path (a blank in it) is none that a system mounts its cgroups at.
        (fields.next()? == b"cgroup2" && !path.contains(&b'\\'))
            .then(|| PathBuf::from(OsStr::from_bytes(path)))
    };
    read.unwrap_or_default().split(|&byte| byte == b'\n').filter_map(mount).collect()
}

/// Picks, from the path of the record's cgroup and the memberships in `/proc/PID/cgroup`, the
/// one that says most: the first that names a container, else a unit, else anything.
///
/// On a hybrid host the v2 path is often the root, and only a v1 path tells the container.
pub(crate) fn most_specific(resolved: Option<&[u8]>, memberships: &[u8]) -> Option<Box<[u8]>> {
    let mut paths: Vec<(u8, &[u8])> = resolved.map(|path| (0, path)).into_iter().collect();
    paths.extend(memberships.split(|&byte| byte == b'\n').filter_map(membership));
    paths.sort_by_key(|&(order, _)| order);
    let says = |wanted: fn(&CgroupLocation) -> bool| {
        paths.iter().map(|&(_, path)| path).find(|path| wanted(&CgroupLocation::of(path)))
    };
    says(|location| location.container.is_some())
        .or_else(|| says(|location| location.pod.is_some()))
        .or_else(|| says(|location| location.unit.is_some()))
        .or_else(|| paths.iter().map(|&(_, path)| path).find(|&path| path != b"/"))
        .or_else(|| paths.first().map(|&(_, path)| path))
        .map(Into::into)
}

/// Reads a line `ID:CONTROLLERS:PATH` (cgroups(7)): which comes first, and the path.
fn membership(line: &[u8]) -> Option<(u8, &[u8])> {
    let mut fields = line.splitn(3, |&byte| byte == b':');
    let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let order = match (id, controllers) {
        (b"0", b"") => 1,
        (_, b"name=systemd") => 2,
        _ => 3,
    };
    (path.first() == Some(&b'/') && path.len() <= MAX_PATH).then_some((order, path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    /// A cgroup of this test's own, gone at its end.
    struct Cgroup(PathBuf);

    impl Cgroup {
        /// Makes one; `None`, loudly, where this process may not.
        fn new(name: &str) -> Option<(Self, PathBuf)> {
            let root = find_mount_below(Path::new("/proc"), Path::new("/"));
            let Some(root) = root.filter(|_| rustix::process::geteuid().is_root()) else {
                eprintln!("SKIPPED: needs root and a mounted cgroup v2 hierarchy");
                return None;
            };
            let path = root.join(format!("imds-audit-test-{}-{name}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Some((Self(path), root))
        }
    }

    impl Drop for Cgroup {
        fn drop(&mut self) {
            let _ = fs::remove_dir(self.0.join("child (deleted)"));
            let _ = fs::remove_dir(&self.0);
        }
    }

    #[test]
    fn an_id_becomes_a_path_and_outlives_its_cgroup_once_known() {
        let Some((cgroup, root)) = Cgroup::new("path") else { return };
        let child = cgroup.0.join("child (deleted)");
        fs::create_dir(&child).unwrap();
        let id = fs::metadata(&child).unwrap().ino();
        let expected = child.as_os_str().as_bytes()[root.as_os_str().len()..].to_vec();
        let mut resolver = CgroupResolver::open(&root).unwrap();
        assert_eq!(resolver.resolve(id).as_deref(), Some(&expected[..]));
        fs::remove_dir(&child).unwrap();
        assert_eq!(resolver.resolve(id).as_deref(), Some(&expected[..]));
        assert_eq!(CgroupResolver::open(&root).unwrap().resolve(id), None);
    }

    #[test]
    fn the_root_and_unknown_ids_are_told_apart() {
        let Some((_cgroup, root)) = Cgroup::new("root") else { return };
        let mut resolver = CgroupResolver::open(&root).unwrap();
        let id = fs::metadata(&root).unwrap().ino();
        assert_eq!(resolver.resolve(id).as_deref(), Some(&b"/"[..]));
        assert_eq!(resolver.resolve(0), None);
        assert_eq!(resolver.resolve(u64::MAX), None);
    }

    #[test]
    fn the_hosts_part_of_a_path_ends_at_a_folder_of_another_owner() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a.service/b/c")).unwrap();
        let resolver = CgroupResolver::open(root.path()).unwrap();
        let path = b"/a.service/b/c";
        assert_eq!(resolver.host_len(path), path.len());
        assert_eq!(resolver.host_len(b"/gone/x"), 7);
        assert_eq!(resolver.host_len(b"/"), 1);
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(root.path().join("a.service"), Some(1000), None).unwrap();
            assert_eq!(resolver.host_len(path), "/a.service".len());
        }
    }

    #[test]
    fn a_folder_that_is_no_cgroup_resolves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut resolver = CgroupResolver::open(folder.path()).unwrap();
        assert_eq!(resolver.resolve(4), None);
    }

    #[test]
    fn a_hybrid_host_tells_the_container_in_its_v1_lines() {
        let id = "0123456789abcdef".repeat(4);
        let docker = format!("/docker/{id}");
        let lines = format!("4:memory:{docker}\n1:name=systemd:/init.scope\n0::/\n");
        assert_eq!(most_specific(Some(b"/"), lines.as_bytes()).as_deref(), Some(docker.as_bytes()));
        let lines = b"4:memory:/x\n1:name=systemd:/system.slice/a.service\n0::/\n";
        assert_eq!(most_specific(None, lines).as_deref(), Some(&b"/system.slice/a.service"[..]));
        assert_eq!(most_specific(None, b"4:memory:/x:y\n0::/\n").as_deref(), Some(&b"/x:y"[..]));
        assert_eq!(most_specific(None, b"4:memory:/\n0::/\n").as_deref(), Some(&b"/"[..]));
        assert_eq!(most_specific(None, b"nonsense\n1:x\n0::relative\n"), None);
    }

    #[test]
    fn the_recorded_cgroup_goes_before_a_later_one() {
        let later = b"0::/system.slice/later.service\n";
        let then = &b"/system.slice/then.service"[..];
        assert_eq!(most_specific(Some(then), later).as_deref(), Some(then));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(most_specific(None, &bytes).is_none_or(|path| path.len() <= MAX_PATH));
        }
    }
}

#[cfg(test)]
mod forms;
