//! The read-only globals that userspace sets before the programs are loaded.

#[cfg(feature = "zerocopy")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The number of endpoints that can be audited at once.
pub const MAX_ENDPOINTS: usize = 8;

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
