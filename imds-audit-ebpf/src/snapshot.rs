//! The snapshot of the current process, taken in its own context.

use core::mem::size_of;

use aya_ebpf::helpers::generated::{
    bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid,
    bpf_get_current_uid_gid, bpf_ktime_get_boot_ns, bpf_probe_read_user,
};
use imds_audit_ebpf::{
    ABSENT, Ancestor, COMM_LENGTH, EndpointPair, MAX_ANCESTORS, MAX_ARGUMENTS, Owner, Snapshot,
    Task, snapshot_flags,
};

use crate::{
    config::{may_read_kernel, offset},
    kernel::{Pointer, exec_id},
    ring::Reservation,
    verifier::{bound_for_verifier, fill_with_zeroes},
};

const FIXED: usize = size_of::<Snapshot>();
/// Holds the argument bytes of most processes.
const SMALL: usize = 256;
/// Holds those of nearly all others.
const MEDIUM: usize = 1024;
const PAGE: u64 = 4096;

/// Where a snapshot is taken.
pub trait Occasion {
    /// `kind::CONNECT` or `kind::WRITER`.
    const KIND: u32;

    /// Returns the socket's cookie.
    fn socket(&self) -> u64;

    /// Writes the connection's endpoints.
    ///
    /// # Safety
    /// `place` must be valid for writes.
    unsafe fn write_endpoints(&self, place: *mut EndpointPair);
}

/// The argument bytes' place in the process's memory.
#[derive(Clone, Copy)]
struct Arguments {
    start: u64,
    end: u64,
}

/// Takes the current process's snapshot by reading the kernel and writes it to the ring.
/// Returns whether there was room.
#[inline(always)]
pub fn write_current(
    occasion: &impl Occasion,
    current: Pointer,
    task: &Task,
    owner: &Owner,
) -> bool {
    let memory = current.follow(offset!(task_struct_mm));
    let arguments = Arguments {
        start: memory.u64(offset!(mm_struct_arg_start)),
        end: memory.u64(offset!(mm_struct_arg_end)),
    };
    let length = arguments.end.wrapping_sub(arguments.start);
    if length <= SMALL as u64 {
        write_sized::<{ FIXED + SMALL }>(occasion, current, task, owner, arguments)
    } else if length <= MEDIUM as u64 {
        write_sized::<{ FIXED + MEDIUM }>(occasion, current, task, owner, arguments)
    } else {
        write_sized::<{ FIXED + MAX_ARGUMENTS }>(occasion, current, task, owner, arguments)
    }
}

/// Writes what the helpers report of the current process, where kernel memory may not be read.
/// Returns whether there was room.
#[inline(always)]
pub fn write_helpers_only(occasion: &impl Occasion) -> bool {
    let Some(record) = Reservation::<FIXED>::new() else { return false };
    // SAFETY: the helpers have no arguments.
    let (ids, owner, cgroup) = unsafe {
        (bpf_get_current_pid_tgid(), bpf_get_current_uid_gid(), bpf_get_current_cgroup_id())
    };
    let task = Task { pid: (ids >> 32) as u32, tid: ids as u32, start_time: 0, exec_id: 0 };
    let snapshot = record.at::<Snapshot>(0);
    write_frame(snapshot, occasion, &task);
    // SAFETY: the record is at least as long as a snapshot; the verifier checks each store.
    unsafe {
        (*snapshot).flags = 0;
        (*snapshot).cgroup = cgroup;
        (*snapshot).uid = owner as u32;
        (*snapshot).gid = (owner >> 32) as u32;
        bpf_get_current_comm((&raw mut (*snapshot).thread_comm).cast(), COMM_LENGTH as u32);
    }
    record.submit();
    true
}

/// Fills the fields that are known without reading the kernel, and clears the others.
#[inline(always)]
fn write_frame(snapshot: *mut Snapshot, occasion: &impl Occasion, task: &Task) {
    // SAFETY: the pointer is to a reservation at least as long as a snapshot.
    unsafe {
        fill_with_zeroes(snapshot);
        (*snapshot).kind = kind_of(occasion);
        (*snapshot).time = bpf_ktime_get_boot_ns();
        (*snapshot).socket = occasion.socket();
        (*snapshot).task = *task;
        occasion.write_endpoints(&raw mut (*snapshot).ends);
    }
}

#[inline(always)]
fn kind_of<O: Occasion>(_: &O) -> u32 {
    O::KIND
}

#[inline(always)]
fn write_sized<const SIZE: usize>(
    occasion: &impl Occasion,
    current: Pointer,
    task: &Task,
    owner: &Owner,
    arguments: Arguments,
) -> bool {
    let Some(record) = Reservation::<SIZE>::new() else {
        return false;
    };
    let snapshot = record.at::<Snapshot>(0);
    write_frame(snapshot, occasion, task);
    // SAFETY: the record is longer than a snapshot; the verifier checks each store.
    unsafe {
        (*snapshot).arguments_start = arguments.start;
        (*snapshot).arguments_end = arguments.end;
        (*snapshot).cgroup = owner.cgroup;
        (*snapshot).uid = owner.uid;
        (*snapshot).gid = owner.gid;
        current.read_comm(&mut (*snapshot).thread_comm);
        let leader = current.follow(offset!(task_struct_group_leader));
        leader.read_comm(&mut (*snapshot).comm);
        (*snapshot).namespace_pid = read_namespace_pid(leader);
        find_executable(current).read_string(&mut (*snapshot).exe);
        let captured = read_arguments::<SIZE>(&record, arguments);
        (*snapshot).arguments_captured = captured;
        (*snapshot).flags = if captured == 0 {
            snapshot_flags::KERNEL
        } else {
            snapshot_flags::KERNEL | snapshot_flags::ARGUMENTS
        };
        write_ancestors(snapshot, current);
    }
    record.submit();
    true
}

/// Reads whose a task is.
#[inline(always)]
pub fn read_owner(task: Pointer) -> Owner {
    let credentials = task.follow(offset!(task_struct_cred));
    Owner {
        cgroup: task
            .follow(offset!(task_struct_cgroups))
            .follow(offset!(css_set_dfl_cgrp))
            .follow(offset!(cgroup_kn))
            .u64(offset!(kernfs_node_id)),
        // The id that stands for nobody if it cannot be read.
        uid: credentials.u32(offset!(cred_uid), u32::MAX),
        gid: credentials.u32(offset!(cred_gid), u32::MAX),
    }
}

/// The deepest nesting of pid namespaces (`MAX_PID_NS_LEVEL`).
const MAX_LEVEL: u32 = 32;

/// Reads the pid that the process has in the innermost pid namespace that it is in; 0 if that is
/// not possible.
#[inline(always)]
fn read_namespace_pid(leader: Pointer) -> u32 {
    let pid = leader.follow(offset!(task_struct_thread_pid));
    let level = pid.u32(offset!(pid_level), 0);
    let (size, first, number) = (offset!(upid_size), offset!(pid_numbers), offset!(upid_nr));
    if size == ABSENT || first == ABSENT || number == ABSENT || level > MAX_LEVEL {
        return 0;
    }
    let innermost = first.wrapping_add(level.wrapping_mul(size));
    pid.u32(innermost.wrapping_add(number), 0)
}

/// Finds the file name of the program that a task runs.
#[inline(always)]
pub fn find_executable(task: Pointer) -> Pointer {
    task.follow(offset!(task_struct_mm))
        .follow(offset!(mm_struct_exe_file))
        .follow(offset!(file_f_path_dentry))
        .follow(offset!(dentry_d_name_name))
}

/// Writes the parents, nearest first.
///
/// Nothing follows it that could be visited once for each number of parents.
///
/// # Safety
/// The pointer must be to a reservation at least as long as a snapshot, filled up to its ancestors.
#[inline(always)]
unsafe fn write_ancestors(snapshot: *mut Snapshot, current: Pointer) {
    let mut child = current;
    let mut index = 0;
    while index < MAX_ANCESTORS {
        // `real_parent` is the thread that forked; its process is what people know.
        let parent = child.follow(offset!(task_struct_real_parent));
        let leader = parent.follow(offset!(task_struct_group_leader));
        let pid = leader.u32(offset!(task_struct_tgid), 0);
        // Above init and kthreadd stands the idle task, which is its own parent.
        if pid == 0 {
            break;
        }
        // SAFETY: the index is below the array's length; the verifier checks the stores.
        unsafe {
            let place = (&raw mut (*snapshot).ancestors).cast::<Ancestor>().add(index);
            (*place).pid = pid;
            (*place).start_time = leader.u64(offset!(task_struct_start_boottime));
            (*place).exec_id = exec_id(leader);
            (*place).arguments_start =
                leader.follow(offset!(task_struct_mm)).u64(offset!(mm_struct_arg_start));
            leader.read_comm(&mut (*place).comm);
            (*snapshot).ancestor_count = index as u32 + 1;
        }
        child = leader;
        index += 1;
    }
}

/// Reads the argument bytes behind the snapshot and returns how many.
///
/// A page that is not in memory cannot be read here. Then the bytes before the first page
/// boundary are tried alone: the two are separate pages, and the first holds the program's name.
#[inline(always)]
fn read_arguments<const SIZE: usize>(record: &Reservation<SIZE>, arguments: Arguments) -> u32 {
    let capacity = SIZE - FIXED;
    let length = arguments.end.wrapping_sub(arguments.start);
    if !may_read_kernel() || arguments.start == 0 || length == 0 || length > 1 << 32 {
        return 0;
    }
    let wanted = if length > capacity as u64 { capacity as u64 } else { length };
    let whole = read_user::<SIZE>(record, arguments.start, wanted as u32);
    if whole != 0 {
        return whole;
    }
    let first_page = PAGE - (arguments.start & (PAGE - 1));
    if first_page < wanted {
        read_user::<SIZE>(record, arguments.start, first_page as u32)
    } else {
        0
    }
}

#[inline(always)]
fn read_user<const SIZE: usize>(record: &Reservation<SIZE>, start: u64, count: u32) -> u32 {
    let count = bound_for_verifier(count, (SIZE - FIXED) as u32);
    // SAFETY: the destination has SIZE - FIXED bytes, a power of two; the helper checks the
    // source.
    let result = unsafe {
        bpf_probe_read_user(record.at::<core::ffi::c_void>(FIXED), count, start as *const _)
    };
    if result == 0 { count } else { 0 }
}
