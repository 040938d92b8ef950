//! The record of a process.

#[cfg(feature = "zerocopy")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{COMM_LENGTH, EndpointPair, Task};

/// The number of ancestors in a [`Snapshot`].
pub const MAX_ANCESTORS: usize = 8;
/// The largest number of argument bytes in a [`Snapshot`].
pub const MAX_ARGUMENTS: usize = 4096;
/// The length kept of an executable's name, with its NUL.
pub const EXE_LENGTH: usize = 64;

/// An ancestor of a process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct Ancestor {
    /// When it started: nanoseconds since boot.
    pub start_time: u64,
    /// Its `exec` count.
    pub exec_id: u64,
    /// Where its arguments lie in its memory, which tells one `exec` from another where only
    /// procfs is asked. 0 where unknown.
    pub arguments_start: u64,
    /// The process in the initial pid namespace.
    pub pid: u32,
    /// Zero.
    pub reserved: u32,
    /// Its name, ended by a NUL.
    pub comm: [u8; COMM_LENGTH],
}

/// A process as it was when it acted, read in its own context.
///
/// The argument bytes follow: `arguments_captured` of them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct Snapshot {
    /// [`kind::CONNECT`](super::kind::CONNECT) or [`kind::WRITER`](super::kind::WRITER).
    pub kind: u32,
    /// What could be read: see [`snapshot_flags`].
    pub flags: u32,
    /// When it was taken: nanoseconds since boot.
    pub time: u64,
    /// The socket's cookie, which no other socket has until the next boot.
    pub socket: u64,
    /// The acting task.
    pub task: Task,
    /// The connection's ends.
    pub ends: EndpointPair,
    /// The cgroup v2 id: the inode number of the cgroup's folder. 0 where unknown.
    pub cgroup: u64,
    /// Where the arguments lie in the process's memory; with `arguments_end` it tells one
    /// `exec` from another. 0 where unknown.
    pub arguments_start: u64,
    /// The end of the arguments.
    pub arguments_end: u64,
    /// The real user, in the initial user namespace.
    pub uid: u32,
    /// The real group, in the initial user namespace.
    pub gid: u32,
    /// The process in its own pid namespace; 0 where unknown.
    pub namespace_pid: u32,
    /// The number of argument bytes that follow.
    pub arguments_captured: u32,
    /// The number of `ancestors` that are filled, nearest first.
    pub ancestor_count: u32,
    /// Zero.
    pub reserved: u32,
    /// The acting thread's name, ended by a NUL.
    pub thread_comm: [u8; COMM_LENGTH],
    /// The process's name (its first thread's), ended by a NUL.
    pub comm: [u8; COMM_LENGTH],
    /// The executable's file name without its folders, ended by a NUL; cut where longer.
    pub exe: [u8; EXE_LENGTH],
    /// The parents, nearest first.
    pub ancestors: [Ancestor; MAX_ANCESTORS],
}

/// What a [`Snapshot`] could read.
pub mod snapshot_flags {
    /// The kernel's structures were read: start time, exec count, names, ancestors.
    pub const KERNEL: u32 = 1;
    /// The argument bytes were read.
    pub const ARGUMENTS: u32 = 2;
}
