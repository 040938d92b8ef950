//! The eBPF programs of the audit.

use aya_obj::generated::{bpf_attach_type, bpf_prog_type};

use super::object::ProgramOf;

/// A program of the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// `connect` on IPv4 sockets.
    Connect4,
    /// `connect` on IPv6 sockets, which includes IPv4-mapped addresses.
    Connect6,
    /// Outgoing packets: requests.
    Egress,
    /// Incoming packets: response headers.
    Ingress,
}

impl Program {
    /// All of them. Ingress is attached first and the connects last, so that whatever connects
    /// after that is seen whole.
    pub const ALL: [Self; 4] = [Self::Ingress, Self::Egress, Self::Connect6, Self::Connect4];

    /// Returns its name in the object and in the kernel.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect4 => "connect4",
            Self::Connect6 => "connect6",
            Self::Egress => "egress",
            Self::Ingress => "ingress",
        }
    }

    /// Returns its type, and what it is attached to.
    pub(super) const fn kernel_types(self) -> (bpf_prog_type, bpf_attach_type) {
        use bpf_attach_type::*;
        use bpf_prog_type::*;
        match self {
            Self::Connect4 => (BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT),
            Self::Connect6 => (BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET6_CONNECT),
            Self::Egress => (BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS),
            Self::Ingress => (BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_INGRESS),
        }
    }

    /// Says what is lost without it.
    pub const fn consequence(self) -> &'static str {
        match self {
            Self::Connect4 => "IPv4 callers are named only where they write in their own context",
            Self::Connect6 => {
                "callers on IPv6 sockets (Java) are named only where they write in their own context"
            }
            Self::Egress => "no request is seen",
            Self::Ingress => "every outcome is unobserved",
        }
    }
}

impl ProgramOf for Program {
    const ALL: &'static [Self] = &Program::ALL;

    fn name(self) -> &'static str {
        Program::name(self)
    }

    fn kernel_types(self) -> (bpf_prog_type, bpf_attach_type) {
        Program::kernel_types(self)
    }
}
