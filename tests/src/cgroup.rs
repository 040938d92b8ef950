//! Control groups named as orchestrators name theirs.

use std::fs;
use std::path::{Path, PathBuf};

/// Two nested control groups: a pod's, and its container's. Removed when dropped.
#[derive(Debug)]
pub struct Cgroup {
    root: PathBuf,
    outer: PathBuf,
    inner: PathBuf,
}

impl Cgroup {
    /// Makes `outer` below the root of the version 2 hierarchy, and `inner` in it; `None` where
    /// no such hierarchy is mounted for writing.
    pub fn create(outer: &str, inner: &str) -> Option<Self> {
        let root = mount()?;
        let outer = root.join(outer);
        let group = Self { root, inner: outer.join(inner), outer };
        fs::create_dir_all(&group.inner).ok()?;
        Some(group)
    }

    /// Gives the root of the hierarchy.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Gives the inner group's folder.
    pub fn folder(&self) -> &Path {
        &self.inner
    }

    /// Moves a process into the inner group.
    pub fn adopt(&self, pid: u32) {
        fs::write(self.inner.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for folder in [&self.inner, &self.outer] {
            if let Err(error) = fs::remove_dir(folder) {
                eprintln!("cannot remove {}: {error}", folder.display());
            }
        }
    }
}

/// Finds where version 2 of control groups is mounted (proc(5): the fifth column is the mount
/// point, the file system's type follows a hyphen).
pub(crate) fn mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts
        .lines()
        .filter_map(|line| line.split_once(" - "))
        .filter(|(_, tail)| tail.starts_with("cgroup2 "))
        .find_map(|(head, _)| head.split(' ').nth(4).map(|point| Path::new(point).to_owned()))
}
