//! The host's network namespace.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use crate::process::Roots;

/// The inode number of the initial pid namespace (`PROC_PID_INIT_INO`, include/linux/proc_ns.h).
const INITIAL_PID_NAMESPACE: u64 = 0xefff_fffc;
/// A setting that only the initial network namespace has (`net_core_table`,
/// net/core/sysctl_net_core.c): procfs shows a reader those of its own network namespace.
const INITIAL_NETWORK_ONLY: &str = "/proc/sys/net/core/netdev_max_backlog";

/// Returns the inode number of the host's network namespace; `None` where it is not certain.
///
/// It is that of the host's first process, where `roots` show it, else this program's own, if that
/// is the initial one. An audit inside a container or a network namespace of its own does not take
/// those for the host's.
pub(crate) fn host_netns(roots: &Roots) -> Option<u32> {
    let first = first_process_netns(
        inode(&roots.procfs.join("1/ns/pid")),
        inode(&roots.procfs.join("1/ns/net")),
    );
    let own = || {
        let is_initial = Path::new(INITIAL_NETWORK_ONLY).exists();
        own_netns().filter(|_| is_initial)
    };
    first.and_then(|inode| u32::try_from(inode).ok()).or_else(own)
}

/// Returns the inode number of this program's network namespace.
pub(super) fn own_netns() -> Option<u32> {
    inode(Path::new("/proc/self/ns/net")).and_then(|inode| u32::try_from(inode).ok())
}

/// Returns the network namespace of a procfs's first process, if that is the host's.
fn first_process_netns(pid_namespace: Option<u64>, netns: Option<u64>) -> Option<u64> {
    netns.filter(|_| pid_namespace == Some(INITIAL_PID_NAMESPACE))
}

fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|metadata| metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_process_of_a_container_is_not_the_hosts() {
        let container = INITIAL_PID_NAMESPACE + 700;
        for (pid_namespace, netns, expected) in [
            (Some(INITIAL_PID_NAMESPACE), Some(7), Some(7)),
            (Some(INITIAL_PID_NAMESPACE), None, None),
            (Some(container), Some(7), None),
            (None, Some(7), None),
        ] {
            assert_eq!(first_process_netns(pid_namespace, netns), expected);
        }
    }

    #[test]
    fn a_procfs_without_a_first_process_is_no_evidence() {
        let empty = tempfile::tempdir().unwrap();
        let roots = Roots { procfs: empty.path().to_owned(), ..Roots::default() };
        let is_initial = Path::new(INITIAL_NETWORK_ONLY).exists();
        assert_eq!(host_netns(&roots).is_some(), is_initial);
    }
}
