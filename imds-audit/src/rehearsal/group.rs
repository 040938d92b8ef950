//! A cgroup of a command's own.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags},
};

use super::target::{Target, below, cgroup_of, open};
use crate::{
    process::Roots,
    source::ebpf::host::{CgroupError, CgroupRoot},
};

/// How the names of such cgroups begin; the process's number follows.
const PREFIX: &str = "imds-audit-rehearsal-";

/// Why a command gets no cgroup.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GroupError {
    /// There is no cgroup v2.
    #[error(transparent)]
    Hierarchy(#[from] CgroupError),
    /// The system refuses.
    #[error(
        "a cgroup for the command cannot be made at {}; in a container mount cgroup v2 for writing \
         (docker run --cgroupns=host -v /sys/fs/cgroup:/sys/fs/cgroup:rw), or rehearse from the host \
         with --container or --pid", path.display()
    )]
    Create {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        #[source]
        error: io::Error,
    },
    /// It was made, and cannot be used.
    #[error(transparent)]
    Target(#[from] super::target::TargetError),
}

/// A cgroup below this process's own, so that limits and the unit's name hold for the command too.
/// Removed when dropped.
#[derive(Debug)]
pub(crate) struct Group {
    folder: PathBuf,
    parent: PathBuf,
    path: Option<String>,
    processes: File,
    /// Keeps a mount of this process's own.
    _root: OwnedFd,
}

impl Group {
    /// Makes the cgroup.
    ///
    /// # Errors
    /// Returns an error if cgroup v2 is not to be had for writing.
    pub(crate) fn create(roots: &Roots) -> Result<Self, GroupError> {
        let root = CgroupRoot::find()?;
        let (root, base) = match &root.path {
            Some(path) => {
                (root.folder.try_clone().map_err(CgroupError::Unavailable)?, path.clone())
            }
            // On a host with cgroup v1 alone; nobody else sees what is made there.
            None => {
                let folder = mount_writable().map_err(CgroupError::Unavailable)?;
                let base = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
                (folder, base)
            }
        };
        let own = cgroup_of(roots, std::process::id()).ok().flatten().unwrap_or_default();
        let parent = below(&base, Path::new(&own));
        remove_left_behind(&parent);
        let name = format!("{PREFIX}{}", std::process::id());
        let folder = parent.join(&name);
        let create = |error| GroupError::Create { path: folder.clone(), error };
        fs::create_dir(&folder).map_err(create)?;
        let processes = File::options().write(true).open(folder.join("cgroup.procs"));
        let processes = processes.map_err(|error| {
            fs::remove_dir(&folder).ok();
            create(error)
        })?;
        let path = Some(format!("{}/{name}", own.trim_end_matches('/')));
        Ok(Self { folder, parent, path, processes, _root: root })
    }

    /// Returns it as what is rehearsed.
    ///
    /// # Errors
    /// Returns an error if it cannot be opened.
    pub(crate) fn target(&self) -> Result<Target, GroupError> {
        Ok(Target::of_command(open(&self.folder)?, self.path.clone()))
    }

    /// Returns a descriptor through which a process that writes `0` to it enters (cgroups(7)).
    ///
    /// # Errors
    /// Returns the system's error.
    pub(crate) fn entrance(&self) -> io::Result<File> {
        self.processes.try_clone()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What the command left running goes on where the command came from.
        let left = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        if let Ok(mut parent) = File::options().write(true).open(self.parent.join("cgroup.procs")) {
            for pid in left.lines() {
                // One that has ended needs no move.
                parent.write_all(pid.as_bytes()).ok();
            }
        }
        if let Err(error) = fs::remove_dir(&self.folder) {
            log::warn!("a cgroup is left behind path={} error={error}", self.folder.display());
        }
    }
}

/// Removes the empty cgroups of rehearsals that were killed.
fn remove_left_behind(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let Some(pid) = number.and_then(|number| number.parse::<u32>().ok()) else { continue };
        if !Path::new(&format!("/proc/{pid}")).exists() {
            // One in which the command still runs is kept by the kernel.
            fs::remove_dir(entry.path()).ok();
        }
    }
}

/// Mounts cgroup v2 for writing where nobody else sees it (Linux 5.2 and newer).
fn mount_writable() -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(context.as_fd())?;
    let mount = rustix::mount::fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(mount.as_fd(), ".", flags, Mode::empty())?)
}
