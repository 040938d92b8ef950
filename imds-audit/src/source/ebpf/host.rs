//! Properties and limits of the host, found by looking and trying, not by version numbers.

use std::{
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::PathBuf,
};

use rustix::{
    fs::{Mode, OFlags},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags},
};

/// The inode number of the root of a kernfs hierarchy, so of cgroup v2's (`fs/kernfs/dir.c`
/// gives out numbers from 1 and the root is made first).
const ROOT_INODE: u64 = 1;
/// The inode number of the initial pid namespace (`PROC_PID_INIT_INO` in
/// `include/linux/proc_ns.h`).
const INITIAL_PID_NAMESPACE: u64 = 0xefff_fffc;
/// The inode number of the initial user namespace (`PROC_USER_INIT_INO`, same file).
const INITIAL_USER_NAMESPACE: u64 = 0xefff_fffd;

/// The folder of cgroup v2 that the programs are attached to.
#[derive(Debug)]
pub struct CgroupRoot {
    /// An open descriptor of the folder.
    pub folder: OwnedFd,
    /// Where it is mounted; `None` where it was mounted for us alone.
    pub path: Option<PathBuf>,
    /// Whether it is the root of the whole hierarchy. In a container it may be a part of it, and
    /// then the audit sees only that part.
    pub is_whole: bool,
}

/// Why there is no cgroup v2 folder to attach to.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The kernel has no cgroup v2 at all, or it is not mounted and may not be mounted by us.
    #[error(
        "cgroup v2 is mounted nowhere, and mounting it privately failed: {0}. Mount it \
         (mount -t cgroup2 none /mnt) or run as root with CAP_SYS_ADMIN"
    )]
    Unavailable(#[source] io::Error),
    /// It is mounted, but cannot be opened.
    #[error("the cgroup v2 root at {path} cannot be opened: {error}")]
    Open {
        /// Where it is mounted.
        path: PathBuf,
        /// The system's answer.
        #[source]
        error: io::Error,
    },
}

impl CgroupRoot {
    /// Finds the root of cgroup v2: the mount that shows the whole hierarchy, else a private one,
    /// else a mount of a part of it.
    ///
    /// # Errors
    /// Returns an error if cgroup v2 is mounted nowhere and may not be mounted.
    pub fn find() -> Result<Self, CgroupError> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut partial = None;
        let mut hidden = None;
        for path in cgroup2_mounts(&mounts) {
            match Self::open(path) {
                Ok(root) if root.is_whole => return Ok(root),
                Ok(root) => partial = partial.or(Some(root)),
                // Another mount may lie over this one.
                Err(error) => hidden = hidden.or(Some(error)),
            }
        }
        match (Self::mount_privately(), partial) {
            (Ok(private), Some(partial)) if !private.is_whole => Ok(partial),
            (Ok(private), _) => Ok(private),
            (Err(_), Some(partial)) => Ok(partial),
            (Err(error), None) => Err(hidden.unwrap_or(CgroupError::Unavailable(error))),
        }
    }

    fn open(path: PathBuf) -> Result<Self, CgroupError> {
        let opened = rustix::fs::open(
            &path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let opened = opened.and_then(|folder| {
            let inode = rustix::fs::fstat(&folder)?.st_ino;
            Ok((folder, inode))
        });
        match opened {
            Ok((folder, inode)) => {
                Ok(Self { folder, path: Some(path), is_whole: inode == ROOT_INODE })
            }
            Err(error) => Err(CgroupError::Open { path, error: error.into() }),
        }
    }

    /// Mounts cgroup v2 where nobody else sees it: the mount is in no namespace and goes when its
    /// descriptor is closed (Linux 5.2 and newer).
    fn mount_privately() -> io::Result<Self> {
        let context = rustix::mount::fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_create(context.as_fd())?;
        let mount = rustix::mount::fsmount(
            context.as_fd(),
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::MOUNT_ATTR_RDONLY,
        )?;
        let folder = rustix::fs::openat(
            mount.as_fd(),
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let inode = rustix::fs::fstat(&folder)?.st_ino;
        Ok(Self { folder, path: None, is_whole: inode == ROOT_INODE })
    }
}

/// Returns the mount points of cgroup v2 in a `mountinfo` (proc_pid_mountinfo(5)).
fn cgroup2_mounts(mountinfo: &str) -> impl Iterator<Item = PathBuf> + '_ {
    mountinfo.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        if right.split(' ').next()? != "cgroup2" {
            return None;
        }
        Some(PathBuf::from(unescape(left.split(' ').nth(4)?)))
    })
}

/// Undoes the octal escapes of `mountinfo`: `\040` for a space.
fn unescape(field: &str) -> std::ffi::OsString {
    use std::os::unix::ffi::OsStringExt;
    let bytes = field.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code = bytes
            .get(at + 1..at + 4)
            .filter(|_| byte == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                out.push(code);
                at += 4;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    std::ffi::OsString::from_vec(out)
}

/// A right that the audit needs, or is better with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capability {
    /// Its name, as capabilities(7) has it.
    pub name: &'static str,
    number: u32,
}

/// Loads programs and makes maps (Linux 5.8 and newer; before it, CAP_SYS_ADMIN).
pub(crate) const BPF: Capability = Capability { name: "CAP_BPF", number: 39 };
/// Lets network programs be loaded and attached.
pub(crate) const NET_ADMIN: Capability = Capability { name: "CAP_NET_ADMIN", number: 12 };
/// Lets programs read kernel memory, and spares them what the verifier asks of unprivileged ones:
/// it follows every branch speculatively too, and refuses spilled pointers that are written over
/// (measured on 6.18: the packet programs are beyond its limits, `bpf_get_current_comm` is not
/// theirs to call).
pub(crate) const PERFMON: Capability = Capability { name: "CAP_PERFMON", number: 38 };
/// Stands for all three.
pub(crate) const SYS_ADMIN: Capability = Capability { name: "CAP_SYS_ADMIN", number: 21 };
/// Lets procfs tell about other users' processes.
pub(crate) const SYS_PTRACE: Capability = Capability { name: "CAP_SYS_PTRACE", number: 19 };
/// Lets a cgroup be opened by its number, so also when its processes are gone.
pub(crate) const DAC_READ_SEARCH: Capability =
    Capability { name: "CAP_DAC_READ_SEARCH", number: 2 };

/// The effective rights of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rights(u64);

impl Rights {
    /// No right at all.
    #[cfg(test)]
    pub(crate) const NONE: Self = Self(0);

    /// Asks the kernel for them (capget(2)), which takes no descriptor: a process that has none
    /// left must not be taken for one without rights. If even that is refused, none counts as
    /// missing, and the error of whatever needs it is reported.
    pub(crate) fn read() -> Self {
        rustix::thread::capabilities(None)
            .map_or(Self(u64::MAX), |sets| Self(sets.effective.bits()))
    }

    /// Returns whether a right is held by itself.
    pub(crate) const fn has(self, capability: Capability) -> bool {
        self.0 >> capability.number & 1 == 1
    }

    /// Returns whether a right is held by itself or through CAP_SYS_ADMIN, which stands for
    /// CAP_BPF and CAP_PERFMON.
    pub(crate) const fn allows(self, capability: Capability) -> bool {
        self.has(capability) || (matches!(capability.number, 38 | 39) && self.has(SYS_ADMIN))
    }

    /// Returns those of the rights that loading and attaching needs and that are missing.
    pub(crate) fn missing(self) -> Vec<&'static str> {
        [BPF, NET_ADMIN, PERFMON]
            .into_iter()
            .filter(|&right| !self.allows(right))
            .map(|r| r.name)
            .collect()
    }
}

/// What is known of the host without trying anything.
#[derive(Clone, Debug, serde::Serialize, schemars::JsonSchema)]
pub(crate) struct Host {
    /// The host's name.
    pub name: String,
    /// The kernel's release, as `uname -r` shows it.
    pub kernel: String,
    /// The machine's architecture, as `uname -m` shows it.
    pub architecture: String,
    /// The kernel's lockdown mode; `None` where it has none.
    pub lockdown: Option<String>,
    /// Whether this process is in the initial pid namespace, so that the kernel's pids are
    /// procfs's.
    pub initial_pid_namespace: bool,
}

impl Host {
    /// Looks at the host.
    pub(crate) fn read() -> Self {
        let uname = rustix::system::uname();
        Self {
            name: uname.nodename().to_string_lossy().into_owned(),
            kernel: uname.release().to_string_lossy().into_owned(),
            architecture: uname.machine().to_string_lossy().into_owned(),
            lockdown: fs::read_to_string("/sys/kernel/security/lockdown")
                .ok()
                .and_then(|modes| selected(&modes).map(str::to_owned)),
            initial_pid_namespace: fs::metadata("/proc/self/ns/pid")
                .is_ok_and(|namespace| namespace.ino() == INITIAL_PID_NAMESPACE),
        }
    }
}

/// Returns whether this process is in the initial user namespace. In another, rights count only
/// for what belongs to that namespace, and BPF does not.
pub(crate) fn is_initial_user_namespace() -> bool {
    // A kernel without user namespaces has no such file, and only the initial one.
    fs::metadata("/proc/self/ns/user").map_or(true, |file| file.ino() == INITIAL_USER_NAMESPACE)
}

/// Returns the mode in brackets: `none [integrity] confidentiality`.
fn selected(modes: &str) -> Option<&str> {
    let (_, rest) = modes.split_once('[')?;
    Some(rest.split_once(']')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cgroup2_mounts_are_taken_and_spaces_are_unescaped() {
        let mountinfo = "\
31 23 0:26 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu\n\
42 23 0:39 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
43 23 0:39 /a /mnt/with\\040space rw shared:1 master:2 - cgroup2 none rw\n\
broken line\n";
        let found: Vec<_> = cgroup2_mounts(mountinfo).collect();
        assert_eq!(
            found,
            [PathBuf::from("/sys/fs/cgroup/unified"), PathBuf::from("/mnt/with space")]
        );
    }

    #[test]
    fn sys_admin_stands_for_bpf_and_perfmon_but_not_for_net_admin() {
        let rights = Rights(1 << SYS_ADMIN.number);
        assert!(rights.allows(BPF) && rights.allows(PERFMON));
        assert_eq!(rights.missing(), ["CAP_NET_ADMIN"]);
        assert_eq!(Rights(0).missing(), ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]);
    }

    #[test]
    fn effective_rights_are_those_of_the_status() {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
        let expected = u64::from_str_radix(line.trim(), 16).unwrap();
        assert_eq!(Rights::read().0, expected);
    }

    #[test]
    fn the_lockdown_mode_in_brackets_counts() {
        assert_eq!(selected("none [integrity] confidentiality\n"), Some("integrity"));
        assert_eq!(selected(""), None);
    }
}
