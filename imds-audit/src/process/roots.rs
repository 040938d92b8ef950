//! Locations of the host's file systems.

use std::path::{Path, PathBuf};

use super::cgroup;

/// Where the host's process and cgroup file systems are mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// The procfs of the initial pid namespace.
    pub procfs: PathBuf,
    /// The root of the cgroup v2 hierarchy, where one is mounted.
    pub cgroup: Option<PathBuf>,
    /// The folder with the kubelet's `pods` and `containers`.
    pub kubelet_logs: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self::below(Path::new("/"))
    }
}

impl Roots {
    /// Takes the host's file systems as they lie below a folder, but for those that are named.
    pub fn below_but(
        host: &Path,
        procfs: Option<&Path>,
        cgroup: Option<&Path>,
        kubelet_logs: Option<&Path>,
    ) -> Self {
        let roots = Self::below(host);
        Self {
            procfs: procfs.map_or(roots.procfs, Path::to_owned),
            cgroup: cgroup.map(Path::to_owned).or(roots.cgroup),
            kubelet_logs: kubelet_logs.map_or(roots.kubelet_logs, Path::to_owned),
        }
    }

    /// Takes the host's file systems as they lie below a folder, such as its root mounted into a
    /// container.
    pub fn below(host: &Path) -> Self {
        let procfs = host.join("proc");
        Self {
            cgroup: cgroup::find_mount_below(&procfs, host),
            procfs,
            kubelet_logs: host.join("var/log"),
        }
    }
}
