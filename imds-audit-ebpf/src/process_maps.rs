//! Keys and values of the maps by process, which the programs and userspace share.

#[cfg(feature = "zerocopy")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{EXE_LENGTH, ProcessKey};

/// The most argument bytes kept of a [`BegunProgram`]: a script's path stands at their beginning. A
/// power of two, which the verifier can follow.
pub const MAX_BEGUN_ARGUMENTS: usize = 512;

/// A process whose snapshot was written: the key of a [`SentSnapshot`]. Userspace removes the entry
/// of a process that it has forgotten, so that the next packet or `connect` has a new snapshot.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct SnapshotKey {
    /// The process in the initial pid namespace.
    pub pid: u32,
    /// Zero.
    pub reserved: u32,
    /// When it started: nanoseconds since boot.
    pub start_time: u64,
    /// How often it called `exec`.
    pub exec_id: u64,
}

impl From<ProcessKey> for SnapshotKey {
    #[inline(always)]
    fn from(ProcessKey { pid, start_time, exec_id }: ProcessKey) -> Self {
        Self { pid, reserved: 0, start_time, exec_id }
    }
}

/// The last snapshot of a process that was written.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct SentSnapshot {
    /// When it was taken: nanoseconds since boot.
    pub time: u64,
    /// Who the process was then.
    pub owner: Owner,
}

/// How a process began the program that it runs: the value by a [`SnapshotKey`], kept beyond its
/// end. A script that has ended before userspace came to it is found here.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct BegunProgram {
    /// The cgroup v2 id. 0 if unknown.
    pub cgroup: u64,
    /// The length of its arguments in bytes.
    pub arguments_length: u32,
    /// How many of them are here.
    pub arguments_captured: u32,
    /// The file name of the program, ended by a NUL.
    pub exe: [u8; EXE_LENGTH],
    /// The arguments' first bytes; zero behind those counted.
    pub arguments: [u8; MAX_BEGUN_ARGUMENTS],
}

/// The owner of a process, which may change without an `exec`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct Owner {
    /// The cgroup v2 id. 0 if unknown.
    pub cgroup: u64,
    /// The real user, in the initial user namespace.
    pub uid: u32,
    /// The real group, in the initial user namespace.
    pub gid: u32,
}
