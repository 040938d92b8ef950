//! The records that the eBPF programs write to the ring buffer and userspace reads.
//!
//! Each record starts with its [`kind`] as a `u32`. All integers are in the host's byte order,
//! addresses in network order as they stand in memory. No record has padding: what a field
//! does not name does not exist.
//!
//! | record | fixed part | followed by |
//! |---|---|---|
//! | [`Snapshot`] | 624 bytes | the process's argument bytes |
//! | [`Segment`] | 136 bytes | payload bytes |
//! | [`Connect`] | 112 bytes | |
//!
//! A record lies in the ring in one of a few sizes; the bytes behind the counted ones are
//! whatever was there before and must not be read.

mod connect;
mod endpoint_pair;
mod segment;
mod snapshot;
mod task;

pub use connect::Connect;
pub use endpoint_pair::EndpointPair;
pub use segment::{MAX_CHUNKS, MAX_PAYLOAD, Segment, segment_flags, tcp_flags};
pub use snapshot::{Ancestor, EXE_LENGTH, MAX_ANCESTORS, MAX_ARGUMENTS, Snapshot, snapshot_flags};
pub use task::{COMM_LENGTH, ProcessKey, Task};

/// What a record is, in its first four bytes.
pub mod kind {
    /// A [`Snapshot`](crate::Snapshot) taken in the process's own `connect`.
    pub const CONNECT: u32 = 1;
    /// A [`Snapshot`](crate::Snapshot) of a process that wrote to a connection that another
    /// process, or another program of the same process, opened.
    pub const WRITER: u32 = 2;
    /// A [`Segment`](crate::Segment) on its way to the service.
    pub const REQUEST: u32 = 3;
    /// A [`Segment`](crate::Segment) from the service.
    pub const RESPONSE: u32 = 4;
    /// A [`Connect`](crate::Connect) of a process whose snapshot was written shortly before.
    pub const CONNECT_ONLY: u32 = 5;
}
