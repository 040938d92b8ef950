//! The snapshot of the current process, taken in its own context.

use core::mem::size_of;

use aya_ebpf::helpers::generated::{
    bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid,
    bpf_get_current_uid_gid, bpf_ktime_get_boot_ns, bpf_probe_read_user,
};
use imds_audit_ebpf::{
    ABSENT, Ancestor, COMM_LENGTH, Ends, Loss, MAX_ANCESTORS, MAX_ARGUMENTS, Snapshot, Task, kind,
    snapshot_flags,
};

use crate::{
    bits::clamp,
    config::offset,
    emit::{Reservation, Skip},
    kernel::{Pointer, exec_id, identify, is_kernel_thread},
};

const FIXED: usize = size_of::<Snapshot>();
/// Holds the argument bytes of most processes.
const SMALL: usize = 256;
/// Holds those of nearly all others.
const MEDIUM: usize = 1024;
const PAGE: u64 = 4096;

/// Where a snapshot is taken.
#[derive(Clone, Copy)]
struct Moment<'a> {
    kind: u32,
    socket: u64,
    ends: &'a Ends,
}

/// The argument bytes' place in the process's memory.
struct Arguments {
    start: u64,
    end: u64,
}

/// Takes the current process's snapshot by reading the kernel and writes it to the ring.
/// Returns whether there was room.
///
/// `kind` is [`kind::CONNECT`] or [`kind::WRITER`], `socket` the socket's cookie.
#[inline(always)]
pub fn write_current(kind: u32, socket: u64, ends: &Ends, current: Pointer, task: &Task) -> bool {
    let moment = Moment { kind, socket, ends };
    let memory = current.follow(offset!(task_struct_mm));
    let arguments = memory.and_then(find_arguments).unwrap_or(Arguments { start: 0, end: 0 });
    let length = arguments.end.wrapping_sub(arguments.start);
    if length <= SMALL as u64 {
        write_sized::<{ FIXED + SMALL }>(moment, current, task, memory, &arguments)
    } else if length <= MEDIUM as u64 {
        write_sized::<{ FIXED + MEDIUM }>(moment, current, task, memory, &arguments)
    } else {
        write_sized::<{ FIXED + MAX_ARGUMENTS }>(moment, current, task, memory, &arguments)
    }
}

/// Returns the counter for a snapshot that did not fit.
#[inline(always)]
pub fn lost(kind: u32) -> Skip {
    Skip::Lost(if kind == kind::CONNECT { Loss::Connect } else { Loss::Writer })
}

/// Writes what the helpers tell of the current process, where kernel memory may not be read.
#[inline(always)]
pub fn write_helpers_only(kind: u32, socket: u64, ends: &Ends) -> Result<(), Skip> {
    let Some(record) = Reservation::<FIXED>::new() else {
        return Err(lost(kind));
    };
    // SAFETY: the helpers have no arguments.
    let (ids, owner, cgroup) = unsafe {
        (bpf_get_current_pid_tgid(), bpf_get_current_uid_gid(), bpf_get_current_cgroup_id())
    };
    let task = Task { pid: (ids >> 32) as u32, tid: ids as u32, start_time: 0, exec_id: 0 };
    let snapshot = record.at::<Snapshot>(0);
    write_frame(snapshot, Moment { kind, socket, ends }, &task);
    // SAFETY: the record is at least as long as a snapshot; the verifier checks each store.
    unsafe {
        (*snapshot).flags = 0;
        (*snapshot).cgroup = cgroup;
        (*snapshot).uid = owner as u32;
        (*snapshot).gid = (owner >> 32) as u32;
        bpf_get_current_comm((&raw mut (*snapshot).thread_comm).cast(), COMM_LENGTH as u32);
    }
    record.submit();
    Ok(())
}

#[inline(always)]
fn find_arguments(memory: Pointer) -> Option<Arguments> {
    Some(Arguments {
        start: memory.read(offset!(mm_struct_arg_start))?,
        end: memory.read(offset!(mm_struct_arg_end))?,
    })
}

/// Fills the fields that are known without looking, and clears the others.
#[inline(always)]
fn write_frame(snapshot: *mut Snapshot, moment: Moment<'_>, task: &Task) {
    // SAFETY: the pointer is to a reservation at least as long as a snapshot.
    unsafe {
        clear(snapshot);
        (*snapshot).kind = moment.kind;
        (*snapshot).time = bpf_ktime_get_boot_ns();
        (*snapshot).socket = moment.socket;
        (*snapshot).task = *task;
        (*snapshot).ends = *moment.ends;
    }
}

/// Fills a snapshot with zeroes, eight bytes at a time: LLVM would call a function that does it
/// byte by byte, which the verifier follows byte by byte.
///
/// # Safety
/// The pointer must be to a reservation at least as long as a snapshot.
#[inline(always)]
unsafe fn clear(snapshot: *mut Snapshot) {
    let words = snapshot.cast::<u64>();
    let mut index = 0;
    while index < FIXED / size_of::<u64>() {
        // SAFETY: the index is inside the snapshot, which is a multiple of eight bytes long.
        unsafe { words.add(index).write_volatile(0) };
        index += 1;
    }
}

const _: () = assert!(FIXED.is_multiple_of(size_of::<u64>()));

#[inline(always)]
fn write_sized<const SIZE: usize>(
    moment: Moment<'_>,
    current: Pointer,
    task: &Task,
    memory: Option<Pointer>,
    arguments: &Arguments,
) -> bool {
    let Some(record) = Reservation::<SIZE>::new() else {
        return false;
    };
    let snapshot = record.at::<Snapshot>(0);
    write_frame(snapshot, moment, task);
    // SAFETY: the record is longer than a snapshot; the verifier checks each store.
    unsafe {
        (*snapshot).arguments_start = arguments.start;
        (*snapshot).arguments_end = arguments.end;
        (*snapshot).cgroup = read_cgroup(current).unwrap_or(0);
        (*snapshot).namespace_pid = 0;
        let credentials = current.follow(offset!(task_struct_cred));
        (*snapshot).uid = read_id(credentials, offset!(cred_uid));
        (*snapshot).gid = read_id(credentials, offset!(cred_gid));
        current.read_into(offset!(task_struct_comm), &mut (*snapshot).thread_comm);
        if let Some(leader) = current.follow(offset!(task_struct_group_leader)) {
            leader.read_into(offset!(task_struct_comm), &mut (*snapshot).comm);
            (*snapshot).namespace_pid = read_namespace_pid(leader).unwrap_or(0);
        }
        if let Some(name) = memory.and_then(find_executable) {
            name.read_string(&mut (*snapshot).exe);
        }
        (*snapshot).ancestor_count = write_ancestors(snapshot, current);
        let captured = read_arguments::<SIZE>(&record, arguments);
        (*snapshot).arguments_captured = captured;
        (*snapshot).flags = if captured == 0 {
            snapshot_flags::KERNEL
        } else {
            snapshot_flags::KERNEL | snapshot_flags::ARGUMENTS
        };
    }
    record.submit();
    true
}

/// Reads a user or group id; the id that stands for nobody (`(u32) -1`) where that fails.
#[inline(always)]
fn read_id(credentials: Option<Pointer>, offset: u32) -> u32 {
    credentials.and_then(|credentials| credentials.read(offset)).unwrap_or(u32::MAX)
}

#[inline(always)]
fn read_cgroup(task: Pointer) -> Option<u64> {
    task.follow(offset!(task_struct_cgroups))?
        .follow(offset!(css_set_dfl_cgrp))?
        .follow(offset!(cgroup_kn))?
        .read(offset!(kernfs_node_id))
}

/// Reads the pid that the process has in the innermost pid namespace that it is in.
#[inline(always)]
fn read_namespace_pid(leader: Pointer) -> Option<u32> {
    let pid = leader.follow(offset!(task_struct_thread_pid))?;
    let level = pid.read::<u32>(offset!(pid_level))?;
    let (size, first, number) = (offset!(upid_size), offset!(pid_numbers), offset!(upid_nr));
    // 32 is the deepest nesting that the kernel allows (MAX_PID_NS_LEVEL).
    if size == ABSENT || first == ABSENT || number == ABSENT || level > 32 {
        return None;
    }
    let innermost = first.wrapping_add(level.wrapping_mul(size));
    pid.read(innermost.wrapping_add(number))
}

#[inline(always)]
fn find_executable(memory: Pointer) -> Option<Pointer> {
    memory
        .follow(offset!(mm_struct_exe_file))?
        .follow(offset!(file_f_path_dentry))?
        .follow(offset!(dentry_d_name_name))
}

/// Writes the parents, nearest first, and returns how many.
#[inline(always)]
fn write_ancestors(snapshot: *mut Snapshot, current: Pointer) -> u32 {
    let mut count = 0;
    let mut child = current;
    let mut index = 0;
    while index < MAX_ANCESTORS {
        let Some(parent) = child.follow(offset!(task_struct_real_parent)) else { break };
        // `real_parent` is the thread that forked; its process is what people know.
        let Some(leader) = parent.follow(offset!(task_struct_group_leader)) else { break };
        let Some(pid) = leader.read::<u32>(offset!(task_struct_tgid)) else { break };
        // Above init and kthreadd stands the idle task, which is its own parent.
        if pid == 0 {
            break;
        }
        // SAFETY: the index is below the array's length; the verifier checks the store.
        unsafe {
            let place = (&raw mut (*snapshot).ancestors).cast::<Ancestor>().add(index);
            (*place).pid = pid;
            (*place).start_time = leader.read(offset!(task_struct_start_boottime)).unwrap_or(0);
            (*place).exec_id = exec_id(leader);
            (*place).arguments_start =
                leader.follow_to_number(offset!(task_struct_mm), offset!(mm_struct_arg_start));
            leader.read_into(offset!(task_struct_comm), &mut (*place).comm);
        }
        count += 1;
        child = leader;
        index += 1;
    }
    count
}

/// Reads the argument bytes behind the snapshot and returns how many.
///
/// A page that is not in memory cannot be read here. Then the bytes before the first page
/// boundary are tried alone: the two are separate pages, and the first holds the program's name.
#[inline(always)]
fn read_arguments<const SIZE: usize>(record: &Reservation<SIZE>, arguments: &Arguments) -> u32 {
    let capacity = SIZE - FIXED;
    let length = arguments.end.wrapping_sub(arguments.start);
    if arguments.start == 0 || length == 0 || length > 1 << 32 {
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
    let count = clamp(count, (SIZE - FIXED) as u32);
    // SAFETY: the destination has SIZE - FIXED bytes, a power of two; the helper checks the
    // source.
    let result = unsafe {
        bpf_probe_read_user(record.at::<core::ffi::c_void>(FIXED), count, start as *const _)
    };
    if result == 0 { count } else { 0 }
}

/// Who acts.
pub enum Actor {
    /// A process: its acting task.
    Process(Pointer, Task),
    /// A thread of the kernel, on behalf of a process that it does not tell: a redirection between
    /// sockets, Multipath TCP's worker, io_uring's threads before Linux 5.12.
    Kernel,
    /// Kernel memory may not be read.
    Unknown,
}

/// Returns who the current task is.
#[inline(always)]
pub fn identify_current() -> Actor {
    let Some(current) = Pointer::current_task() else { return Actor::Unknown };
    if is_kernel_thread(current) {
        return Actor::Kernel;
    }
    match identify(current) {
        Some(task) => Actor::Process(current, task),
        None => Actor::Unknown,
    }
}
