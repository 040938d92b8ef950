//! Reasons why the eBPF programs do not run.

use std::io;

use imds_audit_ebpf::MAX_ENDPOINTS;

use super::{host::CgroupError, object::ObjectError, program::Program, syscall::Refused};

/// Why the eBPF programs do not run.
#[derive(Debug, thiserror::Error)]
pub enum EbpfError {
    /// This build has no eBPF programs.
    #[error(
        "this imds-audit was built without its eBPF programs and cannot audit; build it with \
         `cargo xtask build`"
    )]
    NotBuilt,
    /// More endpoints than there are places.
    #[error("at most {MAX_ENDPOINTS} endpoints can be audited, {0} were given")]
    TooManyEndpoints(usize),
    /// Rights are missing.
    #[error(
        "not allowed to load BPF programs: {} missing. Run as root, or with: \
         setpriv --inh-caps +bpf,+net_admin,+perfmon --ambient-caps +bpf,+net_admin,+perfmon … \
         ({error})", missing.join(" and ")
    )]
    Rights {
        /// The missing capabilities.
        missing: Vec<&'static str>,
        /// The system's answer.
        error: String,
    },
    /// The kernel refuses to set up the object.
    #[error("the kernel refuses the object's maps: {0}")]
    Object(#[source] Box<ObjectError>),
    /// The kernel refuses a program.
    #[error("the kernel refuses the program {}: {error}", program.name())]
    Load {
        /// Which one.
        program: Program,
        /// The system's answer and the verifier's output.
        #[source]
        error: Refused,
    },
    /// The kernel cannot compile a program that its verifier accepts.
    #[error(
        "the verifier accepts the program {}, and the kernel's just-in-time compiler cannot \
         translate it (error 524, ENOTSUPP): the audit needs a newer kernel of this architecture, \
         or net.core.bpf_jit_enable=1", program.name()
    )]
    Jit {
        /// Which one.
        program: Program,
    },
    /// A security module denies the system call.
    #[error(
        "no capability is missing, and a security module such as SELinux denies {what}: {error}. \
         `ausearch -m avc` shows the rule; the domain needs the class bpf with map_create, \
         map_read, map_write, prog_load and prog_run"
    )]
    Denied {
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        error: String,
    },
    /// A program cannot be attached.
    #[error("the program {} cannot be attached to the cgroup v2 root: {error}", program.name())]
    Attach {
        /// Which one.
        program: Program,
        /// The system's answer.
        #[source]
        error: io::Error,
    },
    /// There is no cgroup v2.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The ring cannot be read.
    #[error("the ring of records cannot be read: {0}")]
    Ring(#[source] io::Error),
    /// A map cannot be used.
    #[error("the map {name} cannot be used: {error}")]
    Map {
        /// Which one.
        name: &'static str,
        /// The system's answer.
        #[source]
        error: Box<aya::maps::MapError>,
    },
}
