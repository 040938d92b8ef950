//! Refusals of the rehearsal's programs.

use std::io;

use aya::maps::MapError;
use imds_audit_ebpf::rehearsal::MAX_ENDPOINTS;

use crate::source::ebpf::{object::ObjectError, syscall::Refused};

/// Why the programs cannot redirect.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    /// This build has no eBPF object for it.
    #[error(
        "this imds-audit was built without its eBPF programs; build it with `cargo xtask build`"
    )]
    NotBuilt,
    /// More endpoints than the programs know.
    #[error("at most {MAX_ENDPOINTS} endpoints can be rehearsed, {0} were given")]
    TooManyEndpoints(usize),
    /// The kernel refuses the object's maps.
    #[error("the kernel refuses the rehearsal's maps")]
    Object(#[source] Box<ObjectError>),
    /// The kernel refuses a program.
    #[error("the kernel refuses the program {name}")]
    Load {
        /// Its name.
        name: &'static str,
        /// The system's error and the verifier's log.
        #[source]
        error: Refused,
    },
    /// A program cannot be attached.
    #[error("the program {name} cannot be attached to the cgroup")]
    Attach {
        /// Its name.
        name: &'static str,
        /// The system's error.
        #[source]
        error: io::Error,
    },
    /// The cgroup, or one above it, is being rehearsed.
    #[error("this cgroup, or one above it, is being rehearsed by another imds-audit")]
    Busy,
    /// The kernel does not say what is attached.
    #[error("the kernel does not list the programs of the cgroup")]
    Query(#[source] io::Error),
    /// A map cannot be used.
    #[error("the map {name} cannot be used")]
    Map {
        /// Its name.
        name: &'static str,
        /// The system's error.
        #[source]
        error: Box<MapError>,
    },
    /// A network namespace's cookie is not to be had.
    #[error("the network namespace's cookie cannot be read")]
    Cookie(#[source] io::Error),
}
