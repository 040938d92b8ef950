//! The few calls to the kernel's BPF that no library offers: programs of two instructions that
//! allow everything, and running a program on a packet.

use std::ffi::c_long;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_prog_type};
use imds_audit::internal::Program;

/// `r0 = 1; exit`, as `struct bpf_insn` lies in memory.
const ALLOW: [u64; 2] = [0x0000_0001_0000_00b7, 0x95];

/// Loads a program that allows everything, of the type of one of ours.
///
/// # Errors
/// Returns an error if the kernel refuses.
pub fn load_empty(like: Program) -> io::Result<OwnedFd> {
    // SAFETY: every field of the union may be zero.
    let mut attributes: bpf_attr = unsafe { zeroed() };
    // SAFETY: plain numbers; all are zero so far.
    let load = unsafe { &mut attributes.__bindgen_anon_3 };
    let (kind, place) = kind(like);
    load.prog_type = kind as u32;
    load.expected_attach_type = place as u32;
    load.insns = ALLOW.as_ptr() as u64;
    load.insn_cnt = 2;
    load.license = c"MIT".as_ptr() as u64;
    // SAFETY: the instructions and the license outlive the call, whose answer is a descriptor.
    unsafe { descriptor(call(bpf_cmd::BPF_PROG_LOAD, &mut attributes)?) }
}

/// Attaches a program where one of ours goes, until the link is dropped.
///
/// # Errors
/// Returns an error if the kernel refuses.
pub fn attach(like: Program, program: &OwnedFd, cgroup: impl AsFd) -> io::Result<OwnedFd> {
    // SAFETY: every field of the union may be zero.
    let mut attributes: bpf_attr = unsafe { zeroed() };
    if like == Program::Exec {
        attributes.raw_tracepoint.name = c"sched_process_exec".as_ptr() as u64;
        attributes.raw_tracepoint.prog_fd = unsigned(program.as_raw_fd());
        // SAFETY: the program's descriptor is open, and the answer is one.
        return unsafe { descriptor(call(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attributes)?) };
    }
    attributes.link_create.__bindgen_anon_1.prog_fd = unsigned(program.as_raw_fd());
    attributes.link_create.__bindgen_anon_2.target_fd = unsigned(cgroup.as_fd().as_raw_fd());
    attributes.link_create.attach_type = kind(like).1 as u32;
    // SAFETY: both descriptors are open, and the answer is one.
    unsafe { descriptor(call(bpf_cmd::BPF_LINK_CREATE, &mut attributes)?) }
}

/// Runs a program on a packet, over and over. Returns how long it took this thread.
///
/// # Errors
/// Returns an error if the kernel refuses, or the program does not allow the packet.
pub fn run(program: BorrowedFd<'_>, packet: &[u8], repeat: u32) -> io::Result<Duration> {
    // SAFETY: every field of the union may be zero.
    let mut attributes: bpf_attr = unsafe { zeroed() };
    // SAFETY: plain numbers; all are zero so far.
    let test = unsafe { &mut attributes.test };
    test.prog_fd = unsigned(program.as_raw_fd());
    test.data_in = packet.as_ptr() as u64;
    test.data_size_in = u32::try_from(packet.len()).map_err(io::Error::other)?;
    test.repeat = repeat;
    let start = thread_time();
    // SAFETY: the packet outlives the call.
    unsafe { call(bpf_cmd::BPF_PROG_TEST_RUN, &mut attributes)? };
    let time = thread_time().saturating_sub(start);
    // SAFETY: the kernel has written a plain number.
    match unsafe { attributes.test.retval } {
        1 => Ok(time),
        other => Err(io::Error::other(format!("the program answers {other} and not 1"))),
    }
}

fn kind(like: Program) -> (bpf_prog_type, bpf_attach_type) {
    use {bpf_attach_type as place, bpf_prog_type as kind};
    match like {
        Program::Connect4 => {
            (kind::BPF_PROG_TYPE_CGROUP_SOCK_ADDR, place::BPF_CGROUP_INET4_CONNECT)
        }
        Program::Connect6 => {
            (kind::BPF_PROG_TYPE_CGROUP_SOCK_ADDR, place::BPF_CGROUP_INET6_CONNECT)
        }
        Program::Egress => (kind::BPF_PROG_TYPE_CGROUP_SKB, place::BPF_CGROUP_INET_EGRESS),
        Program::Ingress => (kind::BPF_PROG_TYPE_CGROUP_SKB, place::BPF_CGROUP_INET_INGRESS),
        // It has no place of its own: zero stands for none.
        Program::Exec => (kind::BPF_PROG_TYPE_RAW_TRACEPOINT, place::BPF_CGROUP_INET_INGRESS),
    }
}

/// Returns the processor time that the calling thread has had.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Descriptors are never negative.
fn unsigned(descriptor: RawFd) -> u32 {
    descriptor.unsigned_abs()
}

/// # Safety
/// What the attributes point to is valid for the command.
unsafe fn call(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<c_long> {
    // SAFETY: the attributes are of the size given, and as the caller promises.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as c_long,
            std::ptr::from_mut(attributes),
            size_of::<bpf_attr>(),
        )
    };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// # Safety
/// The answer is a new descriptor.
unsafe fn descriptor(answer: c_long) -> io::Result<OwnedFd> {
    let descriptor = RawFd::try_from(answer).map_err(io::Error::other)?;
    // SAFETY: as the caller promises.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
