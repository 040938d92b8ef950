//! Other programs in the kernel, by the system call itself.

use std::ffi::c_long;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

/// Commands of `bpf(2)`.
const PROGRAM_LOAD: c_long = 5;
const PROGRAM_ATTACH: c_long = 8;
const PROGRAM_DETACH: c_long = 9;
/// `BPF_PROG_TYPE_CGROUP_SKB`.
const CGROUP_SKB: u32 = 8;
/// `BPF_CGROUP_INET_EGRESS`.
const EGRESS: u32 = 1;
/// `BPF_F_ALLOW_MULTI`.
const ALLOW_MULTI: u32 = 2;

/// Calls the kernel; gives what it answers.
pub fn call(command: c_long, attributes: &[u32]) -> io::Result<c_long> {
    let size = size_of_val(attributes);
    // SAFETY: the attributes are ours and as long as said; the addresses in them are of values
    // that live until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Takes a descriptor that the kernel just gave.
pub fn descriptor(number: c_long) -> OwnedFd {
    // SAFETY: the kernel just gave it to us, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(i32::try_from(number).unwrap()) }
}

/// Gives an address as two words of the attributes.
pub fn words(address: usize) -> [u32; 2] {
    let bytes = u64::try_from(address).unwrap().to_ne_bytes();
    let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    [word(0), word(4)]
}

/// Loads a program of a type.
pub fn load(kind: u32, instructions: &[u64]) -> OwnedFd {
    let licence = c"GPL";
    let mut attributes = [0u32; 8];
    attributes[0] = kind;
    attributes[1] = u32::try_from(instructions.len()).unwrap();
    attributes[2..4].copy_from_slice(&words(instructions.as_ptr().addr()));
    attributes[4..6].copy_from_slice(&words(licence.as_ptr().addr()));
    descriptor(call(PROGRAM_LOAD, &attributes).unwrap())
}

/// What the kernel knows by an id, and its command to open it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `BPF_PROG_GET_FD_BY_ID`.
    Program = 13,
    /// `BPF_MAP_GET_FD_BY_ID`.
    Map = 14,
    /// `BPF_LINK_GET_FD_BY_ID`.
    Link = 30,
}

/// Says whether something is in the kernel; what it opens for that it closes.
///
/// # Errors
/// The kernel says neither that it is there nor that there is no such id.
pub fn is_there(kind: Kind, id: u32) -> io::Result<bool> {
    match call(kind as c_long, &[id, 0, 0]) {
        Ok(number) => Ok(descriptor(number).as_raw_fd() >= 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// How another program is attached to a control group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Others may be attached beside it.
    Multi,
    /// It stands alone, and no other may be attached beside it or below.
    Exclusive,
}

/// A program of somebody else that lets every packet pass, attached to a control group as those
/// before Linux 5.7 are. Detached when dropped.
#[derive(Debug)]
pub struct Neighbour {
    folder: File,
    program: OwnedFd,
}

impl Neighbour {
    /// Attaches it.
    pub fn attach(folder: &Path, sharing: Sharing) -> io::Result<Self> {
        // return 1
        let program = load(CGROUP_SKB, &[1 << 32 | 0xb7, 0x95]);
        let neighbour = Self { folder: File::open(folder)?, program };
        let flags = if sharing == Sharing::Multi { ALLOW_MULTI } else { 0 };
        call(PROGRAM_ATTACH, &neighbour.attributes(flags))?;
        Ok(neighbour)
    }

    fn attributes(&self, flags: u32) -> [u32; 5] {
        let number = |descriptor: i32| u32::try_from(descriptor).unwrap();
        let (folder, program) = (self.folder.as_raw_fd(), self.program.as_raw_fd());
        [number(folder), number(program), EGRESS, flags, 0]
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        if let Err(error) = call(PROGRAM_DETACH, &self.attributes(0)) {
            eprintln!("cannot detach a program: {error}");
        }
    }
}
