//! Options that say where the host's file systems are mounted.

use std::path::PathBuf;

use clap::Args;

use crate::process::Roots;

/// Where the host's file systems are mounted, for a program inside a container.
#[derive(Args, Clone, Debug)]
pub(crate) struct RootArguments {
    /// Where the host's root is mounted, for an audit from inside a container; its procfs, its
    /// cgroups and the kubelet's log folders are looked for below it
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub host_root: PathBuf,

    /// Where the host's procfs is mounted, if not in the host's root
    #[arg(long, value_name = "DIR")]
    pub procfs: Option<PathBuf>,

    /// Where the host's cgroup v2 hierarchy is mounted, if not in the host's root
    #[arg(long, value_name = "DIR")]
    pub cgroup: Option<PathBuf>,

    /// The folder with the kubelet's log folders `pods` and `containers`, if not /var/log in the
    /// host's root
    #[arg(long, value_name = "DIR")]
    pub kubelet_logs: Option<PathBuf>,
}

impl RootArguments {
    /// Returns where the host's file systems are.
    pub(crate) fn roots(&self) -> Roots {
        Roots::below_but(
            &self.host_root,
            self.procfs.as_deref(),
            self.cgroup.as_deref(),
            self.kubelet_logs.as_deref(),
        )
    }
}
