//! Reads of kernel structures, by offsets that userspace took from the running kernel's BTF.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::{
    bpf_get_current_task, bpf_probe_read_kernel_buf, bpf_probe_read_kernel_str_bytes,
    generated::bpf_probe_read_kernel,
};
use imds_audit_ebpf::{ABSENT, Task};

use crate::config::{may_read_kernel, offset};

/// The address of a kernel object. Never dereferenced, only read through the helper, which
/// answers with an error for an address that is none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pointer(u64);

impl Pointer {
    /// Returns the current task, or `None` where kernel memory may not be read.
    #[inline(always)]
    pub fn current_task() -> Option<Self> {
        if !may_read_kernel() {
            return None;
        }
        // SAFETY: the helper has no arguments.
        Self::new(unsafe { bpf_get_current_task() })
    }

    /// Returns the address that a pointer of the verifier's has. Its own arithmetic on such a
    /// pointer is prohibited ("pointer arithmetic on sock_common prohibited"); read from the
    /// stack by the helper it is a number like any other.
    #[inline(always)]
    pub fn of_typed<T>(typed: *mut T) -> Option<Self> {
        if !may_read_kernel() {
            return None;
        }
        let spilled = core::hint::black_box(typed);
        let mut address = 0u64;
        // SAFETY: both pointers are to our own stack, eight bytes each.
        let result = unsafe {
            bpf_probe_read_kernel((&raw mut address).cast(), 8, (&raw const spilled).cast())
        };
        if result == 0 { Self::new(address) } else { None }
    }

    #[inline(always)]
    fn new(address: u64) -> Option<Self> {
        if address == 0 { None } else { Some(Self(address)) }
    }

    /// Reads the field at an offset; `None` where the kernel does not have it.
    #[inline(always)]
    pub fn read<T: Copy>(self, offset: u32) -> Option<T> {
        if offset == ABSENT {
            return None;
        }
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the destination is ours and of the size given; the helper checks the source.
        let result = unsafe {
            bpf_probe_read_kernel(
                value.as_mut_ptr().cast(),
                size_of::<T>() as u32,
                (self.0.wrapping_add(u64::from(offset))) as *const _,
            )
        };
        // SAFETY: on success the helper has written every byte; T is an integer or an array.
        if result == 0 { Some(unsafe { value.assume_init() }) } else { None }
    }

    /// Follows the pointer at an offset.
    #[inline(always)]
    pub fn follow(self, offset: u32) -> Option<Self> {
        Self::new(self.read::<u64>(offset)?)
    }

    /// Follows the pointer at an offset and reads the number at another; 0 where the kernel does
    /// not have them or they cannot be read.
    ///
    /// It asks for no result, as each question doubles the ways that the verifier goes: the helper
    /// fills what it cannot read with zeroes, and an address near zero it cannot read.
    #[inline(always)]
    pub fn follow_to_number(self, pointer: u32, number: u32) -> u64 {
        if pointer == ABSENT || number == ABSENT {
            return 0;
        }
        let mut value = 0u64;
        let place: *mut core::ffi::c_void = (&raw mut value).cast();
        let address = self.0.wrapping_add(u64::from(pointer));
        // SAFETY: the destination is ours, eight bytes; the helper checks the source.
        unsafe { bpf_probe_read_kernel(place, 8, address as *const _) };
        let address = value.wrapping_add(u64::from(number));
        // SAFETY: as above.
        unsafe { bpf_probe_read_kernel(place, 8, address as *const _) };
        value
    }

    /// Reads bytes into `destination`, or fills it with zeroes.
    #[inline(always)]
    pub fn read_into<const N: usize>(self, offset: u32, destination: &mut [u8; N]) {
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

/// Reads who a task is.
#[inline(always)]
pub fn identify(task: Pointer) -> Option<Task> {
    let leader = task.follow(offset!(task_struct_group_leader))?;
    Some(Task {
        pid: task.read(offset!(task_struct_tgid))?,
        tid: task.read(offset!(task_struct_pid))?,
        start_time: leader.read(offset!(task_struct_start_boottime))?,
        exec_id: exec_id(task),
    })
}

/// `PF_KTHREAD` (`include/linux/sched.h`): the task is a thread of the kernel, and no process.
///
/// A thread that io_uring made for a process is none of these since Linux 5.12, and 5.10.162 of the
/// 5.10 series (`PF_IO_WORKER`): it is one of the process's own.
const KERNEL_THREAD: u32 = 0x0020_0000;

/// Returns whether a task is a thread of the kernel, which acts for somebody else.
#[inline(always)]
pub fn is_kernel_thread(task: Pointer) -> bool {
    task.read::<u32>(offset!(task_struct_flags)).is_some_and(|flags| flags & KERNEL_THREAD != 0)
}

/// Reads how often a task called `exec`. The field is a `u32` before Linux 5.6 and a `u64`
/// since; its lower half serves for both.
#[inline(always)]
pub fn exec_id(task: Pointer) -> u64 {
    u64::from(task.read::<u32>(offset!(task_struct_self_exec_id)).unwrap_or(0))
}

/// Reads the inode number of a socket's network namespace; 0 where that is not possible.
#[inline(always)]
pub fn netns(socket: Pointer) -> u32 {
    read_netns(socket).unwrap_or(0)
}

#[inline(always)]
fn read_netns(socket: Pointer) -> Option<u32> {
    socket.follow(offset!(sock_common_skc_net))?.read(offset!(net_ns_inum))
}

/// Returns whether the current task holds the socket's lock as its user.
///
/// `sk_lock.owned` is 1 from `lock_sock` to `release_sock`, so while a packet leaves in the
/// context of the task that sends it, and 0 in softirq (checked on 5.10, 6.1, 6.12, 6.18).
#[inline(always)]
pub fn is_owned(socket: Pointer) -> bool {
    matches!(socket.read::<u32>(offset!(sock_sk_lock_owned)), Some(1))
}
