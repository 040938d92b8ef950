//! The task and the process that act.

#[cfg(feature = "zerocopy")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The length of a task's name in the kernel (`TASK_COMM_LEN`), with its NUL.
pub const COMM_LENGTH: usize = 16;

/// A task, so that it is told apart from a later one with the same pid, and from what the
/// same process was before it called `exec`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct Task {
    /// The process (the kernel's `tgid`), in the initial pid namespace.
    pub pid: u32,
    /// The thread (the kernel's `pid`), in the initial pid namespace.
    pub tid: u32,
    /// When the process started: nanoseconds since boot. 0 where it could not be read.
    pub start_time: u64,
    /// How often the process called `exec` (`self_exec_id`). 0 where it could not be read.
    pub exec_id: u64,
}

/// The identity of a process, whichever thread acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessKey {
    /// The process in the initial pid namespace.
    pub pid: u32,
    /// When it started: nanoseconds since boot.
    pub start_time: u64,
    /// How often it called `exec`.
    pub exec_id: u64,
}

impl Task {
    /// Returns the identity of the task's process.
    pub const fn process(&self) -> ProcessKey {
        ProcessKey { pid: self.pid, start_time: self.start_time, exec_id: self.exec_id }
    }
}
