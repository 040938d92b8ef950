//! The records that the eBPF programs write to the ring buffer and userspace reads.
//!
//! Each record starts with its [`Kind`] as a `u32`. All integers are in the host's byte order,
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

#![no_std]

mod loss;
pub mod rehearsal;
pub mod request_start;
pub mod swar;

use core::mem::{offset_of, size_of};

#[cfg(feature = "zerocopy")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use loss::{Loss, LossCount, LossKey};

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

/// The number of endpoints that can be audited at once.
pub const MAX_ENDPOINTS: usize = 8;
/// The number of ancestors in a [`Snapshot`].
pub const MAX_ANCESTORS: usize = 8;
/// The largest number of argument bytes in a [`Snapshot`].
pub const MAX_ARGUMENTS: usize = 4096;
/// The most argument bytes kept of a [`BegunProgram`]: a script's path stands at their beginning. A
/// power of two, which the verifier can follow.
pub const MAX_BEGUN_ARGUMENTS: usize = 512;
/// The largest number of payload bytes in one [`Segment`]; a larger packet comes as several.
pub const MAX_PAYLOAD: usize = 16_384;
/// The number of records that one packet's request bytes may take: 64 KiB in all, the most
/// that a packet holds.
pub const MAX_CHUNKS: usize = 4;
/// The length of a task's name in the kernel (`TASK_COMM_LEN`), with its NUL.
pub const COMM_LENGTH: usize = 16;
/// The length kept of an executable's name, with its NUL.
pub const EXE_LENGTH: usize = 64;

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

/// The two endpoints of a connection, as the socket has them (before any address translation).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct EndpointPair {
    /// The caller's address; an IPv4 address stands in the first four bytes.
    pub local: [u8; 16],
    /// The service's address, in the same form.
    pub peer: [u8; 16],
    /// The caller's port, in host order; 0 before it is bound.
    pub local_port: u16,
    /// The service's port, in host order.
    pub peer_port: u16,
    /// 4 or 6: the family of the packets, so 4 for an IPv4-mapped socket.
    pub ip_version: u8,
    /// 4 or 6: the family of the socket, so 6 for an IPv4-mapped one.
    pub socket_version: u8,
    /// Zero.
    pub reserved: u16,
    /// The inode number of the socket's network namespace; 0 where it could not be read.
    pub netns: u32,
    /// Zero.
    pub reserved2: u32,
}

/// A `connect` of a process whose [`Snapshot`] was written before, or had no room.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct Connect {
    /// [`kind::CONNECT_ONLY`].
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

/// How a process began the program that it runs: the value by a [`SnapshotKey`], kept beyond its end. A
/// script that has ended before userspace came to it is found here.
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
    /// The arguments' first bytes; what lies behind those counted is not this program's.
    pub arguments: [u8; MAX_BEGUN_ARGUMENTS],
}

/// What may change of a process without an `exec` and decides whose it is.
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

/// A process as it was when it acted, read in its own context.
///
/// The argument bytes follow: `arguments_captured` of them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct Snapshot {
    /// [`kind::CONNECT`] or [`kind::WRITER`].
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

/// A packet of a connection, or a part of one.
///
/// The captured bytes follow: `captured` of them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct Segment {
    /// [`kind::REQUEST`] or [`kind::RESPONSE`].
    pub kind: u32,
    /// The TCP flags, as in the packet's header: see [`tcp_flags`].
    pub tcp_flags: u8,
    /// The IP time to live or hop limit.
    pub ttl: u8,
    /// See [`segment_flags`].
    pub flags: u8,
    /// Whether the bytes are a request's first, and sent for the first time: one of
    /// [`request_start::NO`], [`request_start::IN_TURN`], [`request_start::PIPELINED`] and
    /// [`request_start::RETRANSMITTED`].
    pub begins: u8,
    /// When the packet passed: nanoseconds since boot.
    pub time: u64,
    /// The socket's cookie.
    pub socket: u64,
    /// The sequence number of the first byte of `length`.
    pub sequence: u32,
    /// The acknowledgement number.
    pub acknowledgment: u32,
    /// The number of payload bytes that this record stands for.
    pub length: u32,
    /// The number of them that follow.
    pub captured: u32,
    /// The sending task if `flags` says so, else zero.
    pub task: Task,
    /// The writing thread's name, ended by a NUL.
    pub comm: [u8; COMM_LENGTH],
    /// The connection's ends.
    pub ends: EndpointPair,
    /// How many requests of this socket were counted as [`Loss::Request`] so far: what is missing
    /// of the stream before this record is counted there.
    pub lost_requests: u32,
    /// How many records of this socket were lost so far, for whatever reason; it may count two
    /// that were lost at once as one.
    pub lost_records: u32,
}

/// Bits of [`Segment::flags`].
pub mod segment_flags {
    /// `task` is the task that sent the packet, in its own context.
    pub const SENDER: u8 = 1;
    /// The packet has bytes in pages that its sender may still change: what the service receives
    /// may differ from what was captured.
    pub const SHARED_PAGES: u8 = 2;
    /// The packet's own destination is the audited endpoint, and its socket's peer is another
    /// address, which address translation leads there. No response is seen on such a connection.
    pub const TRANSLATED: u8 = 4;
}

/// Bits of [`Segment::tcp_flags`] (RFC 9293, section 3.1).
pub mod tcp_flags {
    /// The sender has no more data.
    pub const FIN: u8 = 0x01;
    /// The connection opens.
    pub const SYN: u8 = 0x02;
    /// The connection is reset.
    pub const RST: u8 = 0x04;
    /// The acknowledgement number holds.
    pub const ACK: u8 = 0x10;
    /// A byte of the packet, or one soon after it, is urgent.
    pub const URG: u8 = 0x20;
}

/// An audited endpoint, in the read-only global `ENDPOINTS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct Endpoint {
    /// The address as four words in memory order; an IPv4 address stands in the first.
    pub address: [u32; 4],
    /// The port, in host order.
    pub port: u32,
}

/// The value of an offset that the running kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// Where the fields that the eBPF programs read lie in the running kernel's structures: byte
/// offsets, or [`ABSENT`]. It is the read-only global `OFFSETS`.
///
/// Each is named after the structure and the members on the way to the field.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
#[expect(missing_docs, reason = "the names say it: a kernel structure and its member")]
pub struct Offsets {
    pub task_struct_tgid: u32,
    pub task_struct_pid: u32,
    pub task_struct_flags: u32,
    pub task_struct_group_leader: u32,
    pub task_struct_real_parent: u32,
    pub task_struct_start_boottime: u32,
    pub task_struct_self_exec_id: u32,
    pub task_struct_comm: u32,
    pub task_struct_mm: u32,
    pub task_struct_cred: u32,
    pub task_struct_cgroups: u32,
    pub task_struct_thread_pid: u32,
    pub mm_struct_arg_start: u32,
    pub mm_struct_arg_end: u32,
    pub mm_struct_exe_file: u32,
    pub file_f_path_dentry: u32,
    pub dentry_d_name_name: u32,
    pub cred_uid: u32,
    pub cred_gid: u32,
    pub css_set_dfl_cgrp: u32,
    pub cgroup_kn: u32,
    pub kernfs_node_id: u32,
    pub pid_level: u32,
    pub pid_numbers: u32,
    pub upid_nr: u32,
    pub upid_size: u32,
    pub sock_sk_lock_owned: u32,
    pub sock_common_skc_net: u32,
    pub net_ns_inum: u32,
    pub skb_shared_info_flags: u32,
    pub skb_shared_info_tx_flags: u32,
    pub sk_buff_head: u32,
    pub sk_buff_end: u32,
}

impl Offsets {
    /// Nothing is known.
    pub const NONE: Self = Self {
        task_struct_tgid: ABSENT,
        task_struct_pid: ABSENT,
        task_struct_flags: ABSENT,
        task_struct_group_leader: ABSENT,
        task_struct_real_parent: ABSENT,
        task_struct_start_boottime: ABSENT,
        task_struct_self_exec_id: ABSENT,
        task_struct_comm: ABSENT,
        task_struct_mm: ABSENT,
        task_struct_cred: ABSENT,
        task_struct_cgroups: ABSENT,
        task_struct_thread_pid: ABSENT,
        mm_struct_arg_start: ABSENT,
        mm_struct_arg_end: ABSENT,
        mm_struct_exe_file: ABSENT,
        file_f_path_dentry: ABSENT,
        dentry_d_name_name: ABSENT,
        cred_uid: ABSENT,
        cred_gid: ABSENT,
        css_set_dfl_cgrp: ABSENT,
        cgroup_kn: ABSENT,
        kernfs_node_id: ABSENT,
        pid_level: ABSENT,
        pid_numbers: ABSENT,
        upid_nr: ABSENT,
        upid_size: ABSENT,
        sock_sk_lock_owned: ABSENT,
        sock_common_skc_net: ABSENT,
        net_ns_inum: ABSENT,
        skb_shared_info_flags: ABSENT,
        skb_shared_info_tx_flags: ABSENT,
        sk_buff_head: ABSENT,
        sk_buff_end: ABSENT,
    };
}

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
