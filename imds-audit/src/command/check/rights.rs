//! The rights that the audit needs, and those that it is better with.

use super::finding::{Item, Status};
use crate::source::ebpf::host::{
    BPF, Capability, DAC_READ_SEARCH, NET_ADMIN, PERFMON, Rights, SYS_ADMIN, SYS_PTRACE,
};

/// A right, what it is for and what is lost without it.
struct Need {
    right: Capability,
    purpose: &'static str,
    without: Status,
    consequence: &'static str,
}

const NEEDS: [Need; 5] = [
    Need {
        right: BPF,
        purpose: "loads the eBPF programs",
        without: Status::Missing,
        consequence: "nothing can be audited: the eBPF programs cannot be loaded",
    },
    Need {
        right: NET_ADMIN,
        purpose: "attaches them to connects and packets",
        without: Status::Missing,
        consequence: "nothing can be audited: connects and packets cannot be watched",
    },
    Need {
        right: PERFMON,
        purpose: "lets them read who is calling, and pass the verifier",
        without: Status::Missing,
        consequence: "nothing can be audited: without it the verifier refuses the eBPF programs",
    },
    Need {
        right: SYS_PTRACE,
        purpose: "shows the program of other users' processes in procfs",
        without: Status::Degraded,
        consequence: "the full path of other users' programs and their users' names may be absent",
    },
    Need {
        right: DAC_READ_SEARCH,
        purpose: "names the cgroup of a process that has ended",
        without: Status::Degraded,
        consequence: "unit, container and pod of processes that end quickly are absent",
    },
];

/// How the program can get its rights.
#[derive(Clone, Debug)]
pub(super) struct Ways {
    /// How the program was called.
    pub program: String,
    /// Whether this is already root: then rights were taken away, as in a container.
    pub is_root: bool,
    /// Whether this is the host's own user namespace.
    pub initial_user_namespace: bool,
}

impl Ways {
    /// Says what to do to get rights.
    pub(super) fn remedy(&self) -> String {
        if !self.is_root {
            return format!("run as root: sudo {} check", self.program);
        }
        if !self.initial_user_namespace {
            return "run as root of the host, not of a user namespace (rootless container)"
                .to_owned();
        }
        "give the container or unit these rights: docker run --pid=host \
         --cap-add BPF --cap-add NET_ADMIN --cap-add PERFMON --cap-add SYS_ADMIN \
         --cap-add SYS_PTRACE --cap-add DAC_READ_SEARCH …"
            .to_owned()
    }
}

/// Looks at each right.
///
/// `has_cgroup` tells whether cgroup v2 could be opened: CAP_SYS_ADMIN is needed only to mount it.
pub(super) fn items(rights: Rights, ways: &Ways, has_cgroup: bool) -> Vec<Item> {
    let mut items: Vec<Item> = NEEDS.iter().map(|need| item(need, rights, ways)).collect();
    items.push(if rights.has(SYS_ADMIN) {
        Item::ok(SYS_ADMIN.name, "held; mounts cgroup v2 where the host has not")
    } else if has_cgroup {
        Item::ok(SYS_ADMIN.name, "not held, and not needed: cgroup v2 can be opened")
    } else {
        Item::lacking(
            SYS_ADMIN.name,
            Status::Missing,
            "not held; would mount cgroup v2, which this host has not",
            "nothing can be audited: there is no cgroup to attach to",
        )
        .remedy(ways.remedy())
    });
    if !ways.initial_user_namespace {
        let item = Item::lacking(
            "user-namespace",
            Status::Degraded,
            "not the host's own: rights count only inside of it",
            "the kernel may refuse the programs though the rights are held",
        );
        items.push(item.remedy("run in the host's user namespace"));
    }
    items
}

fn item(need: &Need, rights: Rights, ways: &Ways) -> Item {
    let Need { right, purpose, without, consequence } = need;
    if rights.has(*right) {
        Item::ok(right.name, format!("held; {purpose}"))
    } else if rights.allows(*right) {
        Item::ok(right.name, format!("through {}; {purpose}", SYS_ADMIN.name))
    } else {
        let found = format!("not held; {purpose}");
        Item::lacking(right.name, *without, found, *consequence).remedy(ways.remedy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(is_root: bool, initial_user_namespace: bool) -> Ways {
        Ways { program: "./imds-audit".to_owned(), is_root, initial_user_namespace }
    }

    fn of<'a>(items: &'a [Item], name: &str) -> &'a Item {
        items.iter().find(|item| item.name == name).unwrap()
    }

    #[test]
    fn without_rights_each_is_named_with_its_purpose_and_the_command() {
        let items = items(Rights::NONE, &ways(false, true), true);
        let bpf = of(&items, "CAP_BPF");
        assert_eq!(bpf.status, Status::Missing);
        assert_eq!(bpf.remedy.as_deref(), Some("run as root: sudo ./imds-audit check"));
        assert_eq!(of(&items, "CAP_NET_ADMIN").status, Status::Missing);
        assert_eq!(of(&items, "CAP_PERFMON").status, Status::Missing);
        assert_eq!(of(&items, "CAP_SYS_ADMIN").status, Status::Ok);
    }

    #[test]
    fn sys_admin_is_missed_only_where_cgroup_v2_is_not_mounted() {
        let items = items(Rights::NONE, &ways(false, true), false);
        assert_eq!(of(&items, "CAP_SYS_ADMIN").status, Status::Missing);
    }

    #[test]
    fn root_without_rights_is_not_told_to_use_sudo() {
        for ways in [ways(true, true), ways(true, false)] {
            assert!(!ways.remedy().contains("sudo"), "{ways:?}");
        }
    }
}
