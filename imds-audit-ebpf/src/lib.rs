//! The types that the eBPF programs and userspace share: the records of the ring buffer, keys and
//! values of maps, and read-only globals.

#![no_std]

mod globals;
mod loss;
mod process_maps;
mod records;
pub mod rehearsal;
pub mod request_start;
pub mod swar;

use core::mem::{offset_of, size_of};

pub use globals::{ABSENT, Endpoint, MAX_ENDPOINTS, Offsets};
pub use loss::{Loss, LossCount, LossKey};
pub use process_maps::{BegunProgram, MAX_BEGUN_ARGUMENTS, Owner, SentSnapshot, SnapshotKey};
pub use records::{
    Ancestor, COMM_LENGTH, Connect, EXE_LENGTH, EndpointPair, MAX_ANCESTORS, MAX_ARGUMENTS,
    MAX_CHUNKS, MAX_PAYLOAD, ProcessKey, Segment, Snapshot, Task, kind, segment_flags,
    snapshot_flags, tcp_flags,
};

// The layout is a contract between two compilers.
const _: () = {
    assert!(size_of::<Task>() == 24);
    assert!(size_of::<Ancestor>() == 48);
    assert!(size_of::<EndpointPair>() == 48);
    assert!(size_of::<Endpoint>() == 20);
    assert!(size_of::<Segment>() == 136);
    assert!(size_of::<Connect>() == 112);
    assert!(size_of::<SnapshotKey>() == 24);
    assert!(size_of::<SentSnapshot>() == 24);
    assert!(size_of::<BegunProgram>() == 592);
    assert!(size_of::<LossKey>() == 24);
    assert!(size_of::<LossCount>() == 24);
    assert!(size_of::<Snapshot>() == 624);
    assert!(offset_of!(Snapshot, ancestors) == 240);
};
