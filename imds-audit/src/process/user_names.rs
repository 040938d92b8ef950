//! Finds users' names.

use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};

use lru::LruCache;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};

use super::bounded_read::read_to_end;
use super::proc_stat::number;
use super::process_folder::ProcessFolder;

/// How far a passwd file is read; users behind that have no name.
const MAX_PASSWD: usize = 1024 * 1024;
/// A longer name is none: the C library's own bound (`LOGIN_NAME_MAX`).
const MAX_NAME: usize = 256;
/// The number of looked-up names kept; the least recently used goes.
const MAX_NAMES: NonZeroUsize = NonZeroUsize::new(256).unwrap();
/// File systems whose answer comes from the kernel: another (FUSE, NFS) may keep us waiting for
/// as long as the owner of the container likes.
const LOCAL: [&[u8]; 14] = [
    b"overlay",
    b"ext4",
    b"ext3",
    b"ext2",
    b"xfs",
    b"btrfs",
    b"tmpfs",
    b"ramfs",
    b"rootfs",
    b"zfs",
    b"squashfs",
    b"erofs",
    b"f2fs",
    b"bcachefs",
];

/// One state of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Version {
    device: u64,
    inode: u64,
    size: i64,
    modified: (i64, u64),
    changed: (i64, u64),
}

/// The names of users, each in the root folder of the process that it is wanted for.
///
/// A container has its own users, so a name is looked up in `etc/passwd` below `/proc/PID/root`,
/// which is the host's own file for a process of the host. Only that file is asked: no
/// directory service, which would put the network between us and an answer.
#[derive(Debug)]
pub(crate) struct Users {
    names: LruCache<(Version, u32), Option<Box<[u8]>>>,
}

impl Default for Users {
    fn default() -> Self {
        Self { names: LruCache::new(MAX_NAMES) }
    }
}

impl Users {
    /// Returns the name of a user of the initial user namespace, as the process knows it.
    pub(super) fn name(&mut self, uid: u32, process: &ProcessFolder) -> Option<Box<[u8]>> {
        let uid = match process.uid_map() {
            Some(map) => inner(uid, &map)?,
            None => uid,
        };
        if !root_is_local(&process.mounts()?) {
            return None;
        }
        let file = open_passwd(&process.root()?)?;
        let version = version(&file)?;
        if let Some(known) = self.names.get(&(version, uid)) {
            return known.clone();
        }
        let passwd = read_to_end(file.as_fd(), MAX_PASSWD).ok()?;
        let name = find(&passwd, uid).map(Into::into);
        self.names.put((version, uid), name.clone());
        name
    }
}

/// Opens `etc/passwd` below a root that its owner may have filled with traps: links out of it,
/// mounts, pipes and devices.
fn open_passwd(root: &OwnedFd) -> Option<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let regular = |file: &OwnedFd| {
        fstat(file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
    };
    let look = OFlags::PATH | OFlags::CLOEXEC;
    openat2(root, "etc/passwd", look, Mode::empty(), resolve).ok().filter(regular)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    openat2(root, "etc/passwd", flags, Mode::empty(), resolve).ok().filter(regular)
}

/// Returns what changes when the file does.
fn version(file: &OwnedFd) -> Option<Version> {
    let stat = fstat(file).ok()?;
    Some(Version {
        device: stat.st_dev,
        inode: stat.st_ino,
        size: stat.st_size,
        modified: (stat.st_mtime, stat.st_mtime_nsec),
        changed: (stat.st_ctime, stat.st_ctime_nsec),
    })
}

/// Finds a user in a passwd file (passwd(5)); of several the first, as the C library does.
fn find(passwd: &[u8], uid: u32) -> Option<&[u8]> {
    passwd.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        let name = fields.next()?;
        let found = number(fields.nth(1)?)?;
        // The field behind it proves that the number was not cut.
        fields.next()?;
        // A sign in front asks a directory service to fill in the line; `#` makes it a comment.
        let named = !name.is_empty()
            && name.len() <= MAX_NAME
            && !name.starts_with(b"+")
            && !name.starts_with(b"-")
            && !name.starts_with(b"#");
        (named && found == u64::from(uid)).then_some(name)
    })
}

/// Maps a user of ours into the process's user namespace (user_namespaces(7)).
fn inner(uid: u32, map: &[u8]) -> Option<u32> {
    map.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields =
            line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()).map(number);
        let (first, ours, count) = (fields.next()??, fields.next()??, fields.next()??);
        let distance = u64::from(uid).checked_sub(ours).filter(|&distance| distance < count)?;
        u32::try_from(first.checked_add(distance)?).ok()
    })
}

/// Returns whether a mount table (proc(5), mountinfo) has a root folder that answers without
/// help from outside the kernel. Of mounts over each other the last counts.
fn root_is_local(mounts: &[u8]) -> bool {
    mounts
        .split(|&byte| byte == b'\n')
        .filter_map(|line| {
            let mut fields = line.split(|&byte| byte == b' ');
            (fields.nth(4)? == b"/").then_some(())?;
            fields.find(|&field| field == b"-")?;
            fields.next()
        })
        .next_back()
        .is_some_and(|kind| LOCAL.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Procfs;
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::process::Command;

    const MOUNTS: &str = "30 1 0:26 / / rw,relatime shared:1 - overlay overlay rw\n";

    /// Makes a process 7 whose root is a folder of its own.
    fn tree(passwd: &str) -> (tempfile::TempDir, ProcessFolder) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("7")).unwrap();
        fs::create_dir_all(folder.path().join("container/etc")).unwrap();
        symlink("../container", folder.path().join("7/root")).unwrap();
        fs::write(folder.path().join("7/mountinfo"), MOUNTS).unwrap();
        fs::write(folder.path().join("container/etc/passwd"), passwd).unwrap();
        let process = Procfs::open(folder.path()).unwrap().process(7).unwrap();
        (folder, process)
    }

    #[test]
    fn a_live_process_of_this_host_has_the_hosts_name() {
        let process =
            Procfs::open(Path::new("/proc")).unwrap().process(std::process::id()).unwrap();
        let id = Command::new("id").arg("-un").output().unwrap().stdout;
        let uid = rustix::process::getuid().as_raw();
        let mounts = process.mounts().unwrap();
        let name = Users::default().name(uid, &process);
        assert_eq!(name.is_some(), root_is_local(&mounts));
        assert!(name.is_none_or(|name| &*name == id.trim_ascii()));
    }

    #[test]
    fn a_container_has_its_own_names() {
        let (folder, process) = tree("root:x:0:0::/:\napp:x:1000:1000::/:/bin/sh\n");
        let mut users = Users::default();
        assert_eq!(users.name(1000, &process).as_deref(), Some(&b"app"[..]));
        assert_eq!(users.name(1001, &process), None);
        fs::write(folder.path().join("7/uid_map"), "0 100000 65536\n").unwrap();
        assert_eq!(users.name(101_000, &process).as_deref(), Some(&b"app"[..]));
        assert_eq!(users.name(1000, &process), None);
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let (folder, process) = tree("old:x:5:5::/:\n");
        let mut users = Users::default();
        assert_eq!(users.name(5, &process).as_deref(), Some(&b"old"[..]));
        fs::write(folder.path().join("container/etc/passwd"), "newer:x:5:5::/:\n").unwrap();
        assert_eq!(users.name(5, &process).as_deref(), Some(&b"newer"[..]));
    }

    #[test]
    fn links_do_not_lead_out_of_a_container() {
        let (folder, process) = tree("");
        let passwd = folder.path().join("container/etc/passwd");
        fs::write(folder.path().join("outside"), "outside:x:5:5::/:\n").unwrap();
        for target in [folder.path().join("outside"), "../../outside".into()] {
            fs::remove_file(&passwd).unwrap();
            symlink(target, &passwd).unwrap();
            assert_eq!(Users::default().name(5, &process), None);
        }
        fs::write(folder.path().join("container/inside"), "inside:x:5:5::/:\n").unwrap();
        fs::remove_file(&passwd).unwrap();
        symlink("/inside", &passwd).unwrap();
        assert_eq!(Users::default().name(5, &process).as_deref(), Some(&b"inside"[..]));
    }

    #[test]
    fn a_pipe_or_a_root_that_may_block_is_not_opened() {
        let (folder, process) = tree("app:x:5:5::/:\n");
        let mounts = folder.path().join("7/mountinfo");
        let fuse = "31 30 0:27 / / rw - fuse.sshfs host: rw\n";
        fs::write(&mounts, format!("{MOUNTS}{fuse}")).unwrap();
        assert_eq!(Users::default().name(5, &process), None);
        fs::write(&mounts, MOUNTS).unwrap();
        assert!(Users::default().name(5, &process).is_some());
        let passwd = folder.path().join("container/etc/passwd");
        fs::remove_file(&passwd).unwrap();
        assert!(Command::new("mkfifo").arg(&passwd).status().unwrap().success());
        assert_eq!(Users::default().name(5, &process), None);
    }

    #[test]
    fn odd_lines_name_nobody() {
        for passwd in
            ["+:x:5:5::/:", ":x:5:5", "a:x:5", "a:x:05x:5:", "a:x:-5:5:", "a:x", "#a:x:5:5:"]
        {
            assert_eq!(find(passwd.as_bytes(), 5), None, "{passwd}");
        }
        assert_eq!(find(b"junk\na:x:5:5\nb:x:5:5:", 5), Some(&b"a"[..]));
        let long = format!("{}:x:5:5:", "n".repeat(257));
        assert_eq!(find(long.as_bytes(), 5), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), uid: u32) {
            prop_assert!(find(&bytes, uid).is_none_or(|name| name.len() <= MAX_NAME));
            let _ = (inner(uid, &bytes), root_is_local(&bytes));
        }
    }
}
