//! A fault in a thread of another process.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::ptr::null_mut;

use super::wait::until;

/// `NT_PRSTATUS` of `linux/elf.h`: the general registers.
const REGISTERS: usize = 1;

/// Has a thread that waits for events get EBADF from the kernel, which the runtime takes for
/// impossible: the thread panics.
///
/// It is stopped as by a debugger, its system call ends as interrupted, and another result is put in
/// the place of that one.
pub fn fail_wait(pid: u32, thread: &str) {
    let is_done = || {
        let id = threads(pid).into_iter().find(|(_, name)| name == thread)?.0;
        fail(id).unwrap().then_some(())
    };
    assert!(until(is_done).is_some(), "no thread {thread} of {pid} waits for events");
}

/// Gives the numbers and names of a process's threads.
pub fn threads(pid: u32) -> Vec<(i32, String)> {
    let found = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let name = |id: &str| fs::read_to_string(format!("/proc/{pid}/task/{id}/comm")).ok();
    found
        .filter_map(|thread| {
            let id = thread.file_name().into_string().ok()?;
            Some((id.parse().ok()?, name(&id)?.trim().to_owned()))
        })
        .collect()
}

/// Makes the wait of a thread fail. Gives `false` where it does not wait.
fn fail(id: i32) -> io::Result<bool> {
    trace(libc::PTRACE_SEIZE, id, 0, null_mut())?;
    trace(libc::PTRACE_INTERRUPT, id, 0, null_mut())?;
    let mut status = 0;
    // SAFETY: the pointer is to a number of ours. The thread is one that this one traces.
    if unsafe { libc::waitpid(id, &raw mut status, libc::__WALL) } != id {
        return Err(io::Error::last_os_error());
    }
    let mut registers = MaybeUninit::<libc::user_regs_struct>::zeroed();
    let mut part = libc::iovec {
        iov_base: registers.as_mut_ptr().cast(),
        iov_len: size_of::<libc::user_regs_struct>(),
    };
    trace(libc::PTRACE_GETREGSET, id, REGISTERS, (&raw mut part).cast())?;
    // SAFETY: they are numbers, for which zeros are valid too.
    let mut registers = unsafe { registers.assume_init() };
    let waits = result_of_wait(&mut registers).is_some_and(|result| {
        let is_interrupted = *result == code(libc::EINTR);
        if is_interrupted {
            *result = code(libc::EBADF);
        }
        is_interrupted
    });
    if waits {
        part.iov_base = (&raw mut registers).cast();
        trace(libc::PTRACE_SETREGSET, id, REGISTERS, (&raw mut part).cast())?;
    }
    trace(libc::PTRACE_DETACH, id, 0, null_mut())?;
    Ok(waits)
}

/// Gives the register with the result of a wait for events; `None` where the thread is in another
/// system call.
#[cfg(target_arch = "x86_64")]
fn result_of_wait(registers: &mut libc::user_regs_struct) -> Option<&mut u64> {
    let calls = [libc::SYS_epoll_wait, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2];
    calls.contains(&registers.orig_rax.cast_signed()).then_some(&mut registers.rax)
}

/// As above.
#[cfg(target_arch = "aarch64")]
fn result_of_wait(registers: &mut libc::user_regs_struct) -> Option<&mut u64> {
    let calls = [libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2];
    let [result, .., call] = registers.regs.first_chunk_mut::<9>()?;
    calls.contains(&call.cast_signed()).then_some(result)
}

/// Gives an error as a system call returns it.
fn code(error: i32) -> u64 {
    i64::from(-error).cast_unsigned()
}

fn trace(
    request: libc::c_uint,
    id: i32,
    address: usize,
    data: *mut libc::c_void,
) -> io::Result<()> {
    // SAFETY: the data is as the request wants it: nothing, or a part of memory of ours.
    let result = unsafe { libc::ptrace(request, id, address, data) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
