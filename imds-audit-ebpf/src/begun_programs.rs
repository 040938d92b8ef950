//! The programs that processes began to run, kept beyond their end.
//!
//! A snapshot names a process's ancestors, but not what they run: their memory cannot be read from here.
//! Userspace reads that from procfs, and a script whose last command asked the service may be gone by
//! then. So an `exec` leaves its arguments here, for as long as newer ones leave room.

use aya_ebpf::{
    helpers::generated::bpf_probe_read_user,
    macros::map,
    maps::{LruHashMap, PerCpuArray},
};
use imds_audit_ebpf::{BegunProgram, MAX_BEGUN_ARGUMENTS, SnapshotKey};

use crate::{
    config::{may_read_kernel, offset},
    kernel::CurrentTask,
    snapshot::{find_executable, read_owner},
    verifier::{bound_for_verifier, fill_with_zeroes},
};

/// The most programs kept. The one unused the longest goes.
const MAX_PROGRAMS: u32 = 2048;

#[map]
static BEGUN: LruHashMap<SnapshotKey, BegunProgram> = LruHashMap::with_max_entries(MAX_PROGRAMS, 0);

/// Where a value is put together, which is longer than the stack.
#[map]
static BEGUN_DRAFT: PerCpuArray<BegunProgram> = PerCpuArray::with_max_entries(1, 0);

/// Keeps the program that the current process has just begun.
#[inline(always)]
pub fn keep_current() {
    let CurrentTask::User(current, task) = CurrentTask::get() else { return };
    let Some(draft) = BEGUN_DRAFT.get_ptr_mut(0) else { return };
    let memory = current.follow(offset!(task_struct_mm));
    let start = memory.u64(offset!(mm_struct_arg_start));
    let length = memory.u64(offset!(mm_struct_arg_end)).wrapping_sub(start);
    if !may_read_kernel() || start == 0 || length == 0 || length > 1 << 32 {
        return;
    }
    // SAFETY: the pointer is to a map value of this processor, on which no other `exec` runs meanwhile.
    // What is shorter than the one before it must not keep the end of that.
    let draft = unsafe {
        fill_with_zeroes(draft);
        &mut *draft
    };
    let wanted = if length > MAX_BEGUN_ARGUMENTS as u64 {
        MAX_BEGUN_ARGUMENTS as u32
    } else {
        length as u32
    };
    let count = bound_for_verifier(wanted, MAX_BEGUN_ARGUMENTS as u32);
    // SAFETY: the destination has that many bytes; the helper checks the source.
    let result = unsafe {
        bpf_probe_read_user(draft.arguments.as_mut_ptr().cast(), count, start as *const _)
    };
    if result != 0 {
        return;
    }
    draft.cgroup = read_owner(current).cgroup;
    draft.arguments_length = length as u32;
    draft.arguments_captured = count;
    find_executable(current).read_string(&mut draft.exe);
    // On failure the script's name is what procfs says of it, if it still runs.
    let _ = BEGUN.insert(SnapshotKey::from(task.process()), &*draft, 0);
}
