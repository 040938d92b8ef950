//! The verifier's statistics on every kernel.
//!
//! A loaded program's count of verified instructions can be asked for since Linux 5.16. Before, it
//! stands in the verifier's log alone, and aya asks for a log only after a refusal. So this file
//! takes the place of the C library's `syscall`, through which aya loads programs, and asks for
//! the log's last lines (`BPF_LOG_STATS`) at the first try already.

use std::arch::asm;
use std::ffi::c_long;
use std::mem;
use std::sync::{Mutex, PoisonError};

/// The command of `bpf(2)` that loads a program.
const PROG_LOAD: u64 = 5;
/// The verifier writes its statistics and, after a refusal, the reason.
const LOG_STATS: u32 = 4;
/// Where the fields of `union bpf_attr` lie for `BPF_PROG_LOAD` (`include/uapi/linux/bpf.h`).
const LOG_LEVEL: usize = 24;
const LOG_SIZE: usize = 28;
const LOG_BUFFER: usize = 32;
const NAME: usize = 48;
/// The end of the name.
const NAME_END: usize = 64;
/// The program of this name, and those without one, are aya's, to find out what the kernel can do.
const PROBE: &str = "aya_name_check";
/// The most of `union bpf_attr` that is passed on; Linux 7.2 knows 168 bytes.
const MAX_ATTRIBUTES: usize = 256;
/// The size of the log; the statistics of one program take less than 1 KiB.
const LOG: usize = 64 << 10;

/// The verifier's figures for a program.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    /// The program's name.
    pub name: String,
    /// The instructions that the verifier looked at; none where it refused the program.
    pub verified: Option<u32>,
    /// The stack of each function in bytes, joined by plus signs.
    pub stack: Option<String>,
}

static PROGRAMS: Mutex<Vec<Program>> = Mutex::new(Vec::new());

/// Returns what was loaded since the last call.
pub fn take() -> Vec<Program> {
    mem::take(&mut *PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Takes the place of the C library's function.
///
/// # Safety
/// The arguments must be what the call of that number wants.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    first: u64,
    second: u64,
    third: u64,
    fourth: u64,
    fifth: u64,
    sixth: u64,
) -> c_long {
    let arguments = [first, second, third, fourth, fifth, sixth];
    // SAFETY: the caller's promise.
    let result = unsafe {
        if number == libc::SYS_bpf && first == PROG_LOAD {
            load(arguments)
        } else {
            call(number, arguments)
        }
    };
    if (-4095..0).contains(&result) {
        // SAFETY: the pointer is to this thread's own error number.
        unsafe { *libc::__errno_location() = i32::try_from(-result).unwrap_or(libc::EINVAL) };
        return -1;
    }
    result
}

/// Loads a program with the statistics asked for, unless the caller asks for a log itself.
///
/// # Safety
/// The arguments must be those of `bpf(BPF_PROG_LOAD, …)`.
unsafe fn load(mut arguments: [u64; 6]) -> c_long {
    let mut attributes = [0u8; MAX_ATTRIBUTES];
    let length = usize::try_from(arguments[2]).unwrap_or(MAX_ATTRIBUTES).min(MAX_ATTRIBUTES);
    // SAFETY: the caller's structure has as many bytes as its third argument says.
    unsafe {
        std::ptr::copy_nonoverlapping(arguments[1] as *const u8, attributes.as_mut_ptr(), length);
    }
    let word = |at: usize| u32::from_ne_bytes(std::array::from_fn(|index| attributes[at + index]));
    let text = |bytes: &[u8]| {
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    };
    let name = text(&attributes[NAME..NAME_END]);
    if name.is_empty() || name == PROBE || word(LOG_LEVEL) != 0 {
        // SAFETY: the caller's arguments as they are.
        return unsafe { call(libc::SYS_bpf, arguments) };
    }
    let mut log = vec![0u8; LOG];
    attributes[LOG_LEVEL..LOG_LEVEL + 4].copy_from_slice(&LOG_STATS.to_ne_bytes());
    attributes[LOG_SIZE..LOG_SIZE + 4].copy_from_slice(&(LOG as u32).to_ne_bytes());
    attributes[LOG_BUFFER..LOG_BUFFER + 8]
        .copy_from_slice(&(log.as_mut_ptr() as u64).to_ne_bytes());
    arguments[1] = attributes.as_ptr() as u64;
    // SAFETY: the caller's arguments, but for a copy of the structure with a log of our own.
    let result = unsafe { call(libc::SYS_bpf, arguments) };
    let program = parse(name, &text(&log), result >= 0);
    PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner).push(program);
    result
}

/// Reads the verifier's statistics.
fn parse(name: String, log: &str, is_loaded: bool) -> Program {
    let after = |start: &str| log.lines().find_map(|line| line.strip_prefix(start));
    let count = after("processed ").and_then(|rest| rest.split(' ').next()?.parse().ok());
    let stack = after("stack depth ").map(str::to_owned);
    Program { name, verified: count.filter(|_| is_loaded), stack }
}

/// Calls the kernel.
///
/// # Safety
/// The arguments must be what the call of that number wants.
#[cfg(target_arch = "x86_64")]
unsafe fn call(number: c_long, arguments: [u64; 6]) -> c_long {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    let result;
    // SAFETY: the caller's promise; the kernel changes rcx and r11 beside the result.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") first, in("rsi") second, in("rdx") third,
            in("r10") fourth, in("r8") fifth, in("r9") sixth,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Calls the kernel.
///
/// # Safety
/// The arguments must be what the call of that number wants.
#[cfg(target_arch = "aarch64")]
unsafe fn call(number: c_long, arguments: [u64; 6]) -> c_long {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    let result;
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") first => result,
            in("x1") second, in("x2") third, in("x3") fourth, in("x4") fifth, in("x5") sixth,
            options(nostack),
        );
    }
    result
}
