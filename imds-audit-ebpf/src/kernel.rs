//! Reads of kernel structures, by offsets that userspace took from the running kernel's BTF.
//!
//! A read that fails yields a default, and reading on from address zero fails too, so a chain of
//! pointers needs no branch on the way. Each read is a call of a global function: the verifier
//! visits its branches once, and takes its result for an unknown number.

use aya_ebpf::helpers::{
    bpf_get_current_task, bpf_probe_read_kernel_buf, bpf_probe_read_kernel_str_bytes,
    generated::bpf_probe_read_kernel,
};
use imds_audit_ebpf::{ABSENT, COMM_LENGTH, Task};

use crate::config::{may_read_kernel, offset};

/// The address of a kernel object, or zero. Never dereferenced, only read through the helper,
/// which reports an error for an invalid address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pointer(u64);

impl Pointer {
    /// Returns the current task, or zero if kernel memory may not be read.
    #[inline(always)]
    pub fn current_task() -> Self {
        if !may_read_kernel() {
            return Self(0);
        }
        // SAFETY: the helper has no arguments.
        Self(unsafe { bpf_get_current_task() })
    }

    /// Returns the address that a pointer of the verifier's has, or zero if kernel memory may not
    /// be read. Arithmetic on such a pointer is prohibited ("pointer arithmetic on sock_common
    /// prohibited"); read from the stack by the helper it is a number like any other.
    #[inline(always)]
    pub fn of_typed<T>(typed: *mut T) -> Self {
        let mut address = 0u64;
        if may_read_kernel() {
            let spilled = core::hint::black_box(typed);
            // SAFETY: both pointers are to our own stack, eight bytes each. On failure the helper
            // leaves zeroes.
            let _ = unsafe {
                bpf_probe_read_kernel((&raw mut address).cast(), 8, (&raw const spilled).cast())
            };
        }
        Self(address)
    }

    /// Follows the pointer at an offset; zero if it cannot be read.
    #[inline(always)]
    pub fn follow(self, offset: u32) -> Self {
        Self(self.u64(offset))
    }

    /// Returns the address that lies further on by a number of bytes.
    #[inline(always)]
    pub fn add(self, bytes: u32) -> Self {
        Self(self.0.wrapping_add(u64::from(bytes)))
    }

    /// Reads the number at an offset; 0 if it cannot be read.
    #[inline(always)]
    pub fn u64(self, offset: u32) -> u64 {
        read_u64(self.0, offset)
    }

    /// Reads the number at an offset; `otherwise` if it cannot be read.
    #[inline(always)]
    pub fn u32(self, offset: u32, otherwise: u32) -> u32 {
        read_u32(self.0, offset, otherwise)
    }

    /// Reads a task's name, or fills it with zeroes.
    #[inline(always)]
    pub fn read_comm(self, destination: &mut [u8; COMM_LENGTH]) {
        let offset = offset!(task_struct_comm);
        if offset != ABSENT {
            // SAFETY: the helper checks the source; on failure it fills the destination with
            // zeroes.
            let _ = unsafe {
                bpf_probe_read_kernel_buf(
                    (self.0.wrapping_add(u64::from(offset))) as *const u8,
                    destination,
                )
            };
        }
    }

    /// Reads a string that a NUL ends, cut to the destination.
    #[inline(always)]
    pub fn read_string<const N: usize>(self, destination: &mut [u8; N]) {
        // SAFETY: the helper checks the source and ends the destination with a NUL.
        let _ = unsafe { bpf_probe_read_kernel_str_bytes(self.0 as *const u8, destination) };
    }
}

/// Reads eight bytes of kernel memory; 0 if they cannot be read.
///
/// A global function in the object: see [`crate::segment::write_part`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn read_u64(address: u64, offset: u32) -> u64 {
    let mut value = 0u64;
    // Under lockdown the kernel refuses a program for the mere call.
    if may_read_kernel() && offset != ABSENT {
        let place: *mut core::ffi::c_void = (&raw mut value).cast();
        // SAFETY: the destination is ours, eight bytes; the helper checks the source, and leaves
        // zeroes on failure.
        unsafe { bpf_probe_read_kernel(place, 8, address.wrapping_add(offset.into()) as *const _) };
    }
    value
}

/// Reads four bytes of kernel memory; `otherwise` if they cannot be read.
///
/// A global function in the object: see [`crate::segment::write_part`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn read_u32(address: u64, offset: u32, otherwise: u32) -> u32 {
    if !may_read_kernel() || offset == ABSENT {
        return otherwise;
    }
    let mut value = 0u32;
    let place: *mut core::ffi::c_void = (&raw mut value).cast();
    let address = address.wrapping_add(offset.into()) as *const _;
    // SAFETY: the destination is ours, four bytes; the helper checks the source.
    let result = unsafe { bpf_probe_read_kernel(place, 4, address) };
    if result == 0 { value } else { otherwise }
}

/// The current task.
pub enum CurrentTask {
    /// A thread of a process.
    User(Pointer, Task),
    /// A thread of the kernel, on behalf of a process that it does not name: a redirection between
    /// sockets, Multipath TCP's worker, io_uring's threads before Linux 5.12.
    Kthread,
    /// Kernel memory may not be read.
    Unreadable,
}

impl CurrentTask {
    /// Identifies the current task.
    #[inline(always)]
    pub fn get() -> Self {
        if !may_read_kernel() {
            return Self::Unreadable;
        }
        let current = Pointer::current_task();
        if current.u32(offset!(task_struct_flags), 0) & KERNEL_THREAD != 0 {
            return Self::Kthread;
        }
        let task = Task {
            pid: current.u32(offset!(task_struct_tgid), 0),
            tid: current.u32(offset!(task_struct_pid), 0),
            start_time: current
                .follow(offset!(task_struct_group_leader))
                .u64(offset!(task_struct_start_boottime)),
            exec_id: exec_id(current),
        };
        if task.pid == 0 { Self::Unreadable } else { Self::User(current, task) }
    }
}

/// `PF_KTHREAD` (`include/linux/sched.h`): the task is a thread of the kernel, not of a process.
///
/// A thread that io_uring made for a process is a thread of that process since Linux 5.12, and
/// since 5.10.162 in the 5.10 series (`PF_IO_WORKER`).
const KERNEL_THREAD: u32 = 0x0020_0000;

/// Reads how often a task called `exec`. The field is a `u32` before Linux 5.6 and a `u64`
/// since; its lower half serves for both.
#[inline(always)]
pub fn exec_id(task: Pointer) -> u64 {
    u64::from(task.u32(offset!(task_struct_self_exec_id), 0))
}

/// Reads the inode number of a socket's network namespace; 0 if that is not possible.
#[inline(always)]
pub fn netns(socket: Pointer) -> u32 {
    socket.follow(offset!(sock_common_skc_net)).u32(offset!(net_ns_inum), 0)
}

/// Returns whether the current task holds the socket's lock as its user.
///
/// `sk_lock.owned` is 1 from `lock_sock` to `release_sock`, so while a packet leaves in the
/// context of the task that sends it, and 0 in softirq (checked on 5.10, 6.1, 6.12, 6.18).
#[inline(always)]
pub fn is_owned(socket: Pointer) -> bool {
    socket.u32(offset!(sock_sk_lock_owned), 0) == 1
}
