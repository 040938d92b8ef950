//! The eBPF programs of the audit.

use std::ffi::CStr;

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
    /// Programs that processes begin, on the whole host.
    Exec,
}

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// To a cgroup and all below it.
    Cgroup(bpf_attach_type),
    /// To a tracepoint of the kernel, by its name.
    Tracepoint(&'static CStr),
}

impl Program {
    /// All of them. Ingress is attached first and the connects after it, so that whatever connects
    /// then is seen whole.
    pub const ALL: [Self; 5] =
        [Self::Ingress, Self::Egress, Self::Connect6, Self::Connect4, Self::Exec];

    /// Returns its name in the object and in the kernel.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect4 => "connect4",
            Self::Connect6 => "connect6",
            Self::Egress => "egress",
            Self::Ingress => "ingress",
            Self::Exec => "exec",
        }
    }

    /// Returns where it is attached.
    pub(super) const fn hook(self) -> Hook {
        use bpf_attach_type::*;
        match self {
            Self::Connect4 => Hook::Cgroup(BPF_CGROUP_INET4_CONNECT),
            Self::Connect6 => Hook::Cgroup(BPF_CGROUP_INET6_CONNECT),
            Self::Egress => Hook::Cgroup(BPF_CGROUP_INET_EGRESS),
            Self::Ingress => Hook::Cgroup(BPF_CGROUP_INET_INGRESS),
            Self::Exec => Hook::Tracepoint(c"sched_process_exec"),
        }
    }

    /// Returns whether the audit starts without it where the kernel refuses it.
    pub const fn is_optional(self) -> bool {
        matches!(self, Self::Exec)
    }

    /// Returns its type, and what it is attached to.
    pub(super) const fn kernel_types(self) -> (bpf_prog_type, bpf_attach_type) {
        use bpf_prog_type::*;
        let kind = match self {
            Self::Connect4 | Self::Connect6 => BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
            Self::Egress | Self::Ingress => BPF_PROG_TYPE_CGROUP_SKB,
            Self::Exec => BPF_PROG_TYPE_RAW_TRACEPOINT,
        };
        match self.hook() {
            Hook::Cgroup(attach) => (kind, attach),
            // Zero, which stands for none here.
            Hook::Tracepoint(_) => (kind, bpf_attach_type::BPF_CGROUP_INET_INGRESS),
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
            Self::Exec => {
                "a script that ends right after its request may not be named, but the command \
                 that it ran"
            }
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
