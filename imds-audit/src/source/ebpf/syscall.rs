//! The calls of bpf(2) that [`Object`](super::object::Object) makes itself.

use std::{
    ffi::{CStr, c_char, c_long},
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_prog_info, bpf_prog_type};
use rustix::process::{Resource, Rlimit, setrlimit};

/// The verifier tells what it visits (`BPF_LOG_LEVEL1`), and its statistics (`BPF_LOG_STATS`).
const LOG_LEVEL: u32 = 1 | 4;
/// The first size of the verifier's log in bytes, and the last: as much as every kernel takes
/// (`bpf_check` in Linux 5.10).
const LOG_SIZES: (usize, usize) = (64 << 10, (u32::MAX >> 8) as usize);

/// A program as `BPF_PROG_LOAD` wants it.
pub(crate) struct ProgLoad<'a> {
    /// Its name; the kernel keeps fifteen bytes.
    pub name: &'a str,
    /// Its type.
    pub kind: bpf_prog_type,
    /// What it may be attached to.
    pub attach: bpf_attach_type,
    /// Its licence.
    pub license: &'a CStr,
    /// Its instructions, eight bytes each.
    pub instructions: &'a [aya_obj::generated::bpf_insn],
    /// The object's BTF, with the places of functions and of source lines in the program.
    pub btf: Option<Info<'a>>,
}

/// What BTF tells about a program.
#[derive(Clone, Copy)]
pub(crate) struct Info<'a> {
    /// The loaded BTF.
    pub btf: BorrowedFd<'a>,
    /// `struct bpf_func_info` by `struct bpf_func_info`: without it there are no global functions.
    pub functions: Table<'a>,
    /// `struct bpf_line_info` by `struct bpf_line_info`: for the reader of the verifier's log.
    pub lines: Table<'a>,
}

/// Structures of one size.
#[derive(Clone, Copy)]
pub(crate) struct Table<'a> {
    /// Their bytes.
    pub bytes: &'a [u8],
    /// The size of one.
    pub size: usize,
}

impl Table<'_> {
    fn count(&self) -> u32 {
        self.bytes.len().checked_div(self.size).unwrap_or(0) as u32
    }
}

/// The kernel refuses a program.
#[derive(Debug, thiserror::Error)]
#[error("{error}{}{log}", if log.is_empty() { "" } else { "; the verifier says:\n" })]
pub struct Refused {
    /// The system's error.
    pub error: io::Error,
    /// The verifier's output; empty where it did not get that far.
    pub log: String,
}

/// Loads a BTF.
///
/// # Errors
/// Returns the system's error.
pub(crate) fn load_btf(btf: &[u8]) -> io::Result<OwnedFd> {
    let mut attributes = empty();
    // SAFETY: every byte pattern is a valid value of the union's members.
    let load = unsafe { &mut attributes.__bindgen_anon_7 };
    load.btf = btf.as_ptr() as u64;
    load.btf_size = btf.len() as u32;
    // SAFETY: the attributes name the BTF's bytes; the call returns a new descriptor.
    unsafe { descriptor(bpf_cmd::BPF_BTF_LOAD, &mut attributes) }
}

/// Sets the only element of an array, and freezes the array: the verifier then takes what it
/// holds for constants.
///
/// # Errors
/// Returns the system's error.
pub(crate) fn fill_and_freeze(map: BorrowedFd<'_>, value: &[u8]) -> io::Result<()> {
    let key = 0u32;
    let mut attributes = empty();
    // SAFETY: every byte pattern is a valid value of the union's members.
    let update = unsafe { &mut attributes.__bindgen_anon_2 };
    update.map_fd = map.as_raw_fd() as u32;
    update.key = &raw const key as u64;
    update.__bindgen_anon_1.value = value.as_ptr() as u64;
    // SAFETY: the map's keys are four bytes and its value is as long as the caller's.
    unsafe { call(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attributes) }?;
    let mut attributes = empty();
    // SAFETY: as above.
    unsafe { &mut attributes.__bindgen_anon_2 }.map_fd = map.as_raw_fd() as u32;
    // SAFETY: the attributes name no memory.
    unsafe { call(bpf_cmd::BPF_MAP_FREEZE, &mut attributes) }.map(drop)
}

/// Loads a program. A refused one is tried again, now with the source's lines and the verifier's
/// log: both cost time that only a refusal is worth.
///
/// # Errors
/// Returns the system's error, with the verifier's output.
pub(crate) fn load(image: &ProgLoad<'_>) -> Result<OwnedFd, Refused> {
    let refused = match load_once(image, &mut []) {
        Ok(program) => return Ok(program),
        Err(error) => error,
    };
    let mut size = LOG_SIZES.0;
    loop {
        let mut log = vec![0u8; size];
        match load_once(image, &mut log) {
            Ok(program) => return Ok(program),
            // Before Linux 6.4 a log that is too short is an error of its own.
            Err(full) if full.raw_os_error() == Some(libc::ENOSPC) && size < LOG_SIZES.1 => {
                size = size.saturating_mul(8).min(LOG_SIZES.1);
            }
            Err(_) => {
                let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
                log.truncate(end);
                let log = String::from_utf8_lossy(&log).into_owned();
                return Err(Refused { error: refused, log });
            }
        }
    }
}

fn load_once(image: &ProgLoad<'_>, log: &mut [u8]) -> io::Result<OwnedFd> {
    let mut attributes = empty();
    // SAFETY: every byte pattern is a valid value of the union's members.
    let load = unsafe { &mut attributes.__bindgen_anon_3 };
    load.prog_type = image.kind as u32;
    load.expected_attach_type = image.attach as u32;
    load.insns = image.instructions.as_ptr() as u64;
    load.insn_cnt = image.instructions.len() as u32;
    load.license = image.license.as_ptr() as u64;
    // The last place stays zero.
    for (place, byte) in load.prog_name.iter_mut().take(15).zip(image.name.bytes()) {
        *place = byte as c_char;
    }
    if let Some(info) = image.btf {
        load.prog_btf_fd = info.btf.as_raw_fd() as u32;
        load.func_info = info.functions.bytes.as_ptr() as u64;
        load.func_info_cnt = info.functions.count();
        load.func_info_rec_size = info.functions.size as u32;
        if !log.is_empty() {
            load.line_info = info.lines.bytes.as_ptr() as u64;
            load.line_info_cnt = info.lines.count();
            load.line_info_rec_size = info.lines.size as u32;
        }
    }
    if !log.is_empty() {
        load.log_level = LOG_LEVEL;
        load.log_buf = log.as_mut_ptr() as u64;
        load.log_size = log.len() as u32;
    }
    // SAFETY: the attributes name the image's slices, which outlive the call, and a log that is
    // ours alone; the call returns a new descriptor.
    match unsafe { descriptor(bpf_cmd::BPF_PROG_LOAD, &mut attributes) } {
        // Before Linux 5.11 programs count as locked memory.
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None })?;
            // SAFETY: as above.
            unsafe { descriptor(bpf_cmd::BPF_PROG_LOAD, &mut attributes) }
        }
        result => result,
    }
}

/// Attaches a program to a cgroup through a link, which goes when its descriptor is closed.
///
/// No flag is given: links always coexist, and the kernel refuses any (`cgroup_bpf_link_attach`
/// in `kernel/bpf/cgroup.c`, since Linux 5.7).
///
/// # Errors
/// Returns the system's error.
pub(crate) fn link(
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    attach: bpf_attach_type,
) -> io::Result<OwnedFd> {
    let mut attributes = empty();
    // SAFETY: every byte pattern is a valid value of the union's members.
    let create = unsafe { &mut attributes.link_create };
    create.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    create.__bindgen_anon_2.target_fd = cgroup.as_raw_fd() as u32;
    create.attach_type = attach as u32;
    // SAFETY: the attributes name no memory; the call returns a new descriptor.
    unsafe { descriptor(bpf_cmd::BPF_LINK_CREATE, &mut attributes) }
}

/// Attaches a program to a raw tracepoint, until the descriptor is closed.
///
/// # Errors
/// Returns the system's error.
pub(crate) fn raw_tracepoint(program: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let mut attributes = empty();
    // SAFETY: every byte pattern is a valid value of the union's members.
    let open = unsafe { &mut attributes.raw_tracepoint };
    open.name = name.as_ptr() as u64;
    open.prog_fd = program.as_raw_fd() as u32;
    // SAFETY: the attributes name a string, which outlives the call; it returns a new descriptor.
    unsafe { descriptor(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attributes) }
}

/// Returns the kernel's numbers of the programs in effect at a cgroup: its own and its ancestors'.
///
/// # Errors
/// Returns the system's error.
pub(crate) fn effective_programs(
    cgroup: BorrowedFd<'_>,
    attach: bpf_attach_type,
) -> io::Result<Vec<u32>> {
    /// `BPF_F_QUERY_EFFECTIVE`.
    const EFFECTIVE: u32 = 1;
    // The kernel lets at most 64 be attached to one cgroup (`BPF_CGROUP_MAX_PROGS`).
    let mut numbers = vec![0u32; 1024];
    let mut attributes = empty();
    // SAFETY: every byte pattern is a valid value of the union's members.
    let query = unsafe { &mut attributes.query };
    query.__bindgen_anon_1.target_fd = cgroup.as_raw_fd() as u32;
    query.attach_type = attach as u32;
    query.query_flags = EFFECTIVE;
    query.prog_ids = numbers.as_mut_ptr() as u64;
    query.__bindgen_anon_2.prog_cnt = numbers.len() as u32;
    // SAFETY: the attributes name the vector, with its length.
    unsafe { call(bpf_cmd::BPF_PROG_QUERY, &mut attributes) }?;
    // SAFETY: the kernel has written the count.
    let count = unsafe { attributes.query.__bindgen_anon_2.prog_cnt };
    numbers.truncate(count as usize);
    Ok(numbers)
}

/// Opens a program by its number.
///
/// # Errors
/// Returns the system's error; a program that is gone is `NotFound`.
pub(crate) fn program_by_number(number: u32) -> io::Result<OwnedFd> {
    let mut attributes = empty();
    // SAFETY: every byte pattern is a valid value of the union's members.
    let get = unsafe { &mut attributes.__bindgen_anon_6 };
    get.__bindgen_anon_1.prog_id = number;
    // SAFETY: the attributes name no memory; the call returns a new descriptor.
    unsafe { descriptor(bpf_cmd::BPF_PROG_GET_FD_BY_ID, &mut attributes) }
}

/// Asks what the kernel knows of a program.
///
/// # Errors
/// Returns the system's error.
pub(crate) fn program_info(program: BorrowedFd<'_>) -> io::Result<bpf_prog_info> {
    // SAFETY: every byte pattern is a valid value of the structure.
    let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
    let mut attributes = empty();
    // SAFETY: every byte pattern is a valid value of the union's members.
    let ask = unsafe { &mut attributes.info };
    ask.bpf_fd = program.as_raw_fd() as u32;
    ask.info_len = size_of::<bpf_prog_info>() as u32;
    ask.info = &raw mut info as u64;
    // SAFETY: the attributes name the structure, with its size.
    unsafe { call(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    Ok(info)
}

fn empty() -> bpf_attr {
    // SAFETY: every byte pattern is a valid value of the union's members.
    unsafe { std::mem::zeroed() }
}

/// Calls bpf(2) with a command that returns a new descriptor.
///
/// # Safety
/// As for [`call`], and the command must be such a one.
unsafe fn descriptor(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    let number = unsafe { call(command, attributes) }?;
    // SAFETY: the kernel has just given it to us alone. The kernel sets O_CLOEXEC on all of BPF's.
    Ok(unsafe { OwnedFd::from_raw_fd(number as i32) })
}

/// Calls bpf(2).
///
/// # Safety
/// Every pointer in the attributes must be one to as much memory as the command reads or writes.
unsafe fn call(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<c_long> {
    // SAFETY: the caller's promise; the size is the union's own.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<bpf_attr>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
