//! The record of a `connect` without a snapshot.

#[cfg(feature = "zerocopy")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{COMM_LENGTH, EndpointPair, Task};

/// A `connect` of a process whose [`Snapshot`](super::Snapshot) was written before, or had no room.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct Connect {
    /// [`kind::CONNECT_ONLY`](super::kind::CONNECT_ONLY).
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
    /// When it happened: nanoseconds since boot.
    pub time: u64,
    /// The socket's cookie.
    pub socket: u64,
    /// The connecting task.
    pub task: Task,
    /// That thread's name, ended by a NUL.
    pub comm: [u8; COMM_LENGTH],
    /// The connection's endpoints.
    pub ends: EndpointPair,
}
