//! Has a thread of the kernel send: what is written to one socket is redirected to another, as
//! service meshes do it that shorten the way between a program and its proxy.
//!
//! The kernel sends redirected bytes from a work queue (`sk_psock_backlog`, `net/core/skmsg.c`).

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Commands of `bpf(2)`.
const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE: libc::c_long = 2;
const PROGRAM_LOAD: libc::c_long = 5;
const PROGRAM_ATTACH: libc::c_long = 8;
/// `BPF_MAP_TYPE_SOCKMAP`.
const SOCKMAP: u32 = 15;
/// `BPF_PROG_TYPE_SK_SKB`.
const SK_SKB: u32 = 14;
/// `BPF_SK_SKB_STREAM_VERDICT`.
const STREAM_VERDICT: u32 = 5;

/// A redirection; in force until it is dropped.
pub(super) struct Redirection {
    entrance: TcpStream,
    _exit: TcpStream,
    _descriptors: [OwnedFd; 3],
}

impl Redirection {
    /// Has whatever is written to the entrance sent on the stream.
    pub(super) fn to(stream: &TcpStream) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let entrance = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (exit, _) = listener.accept().unwrap();
        // Two maps: a program is attached to a map, and sees what every socket in it receives.
        let (sources, targets) = (create_map(), create_map());
        let program = load(&targets);
        let descriptor = |file: &OwnedFd| u32::try_from(file.as_raw_fd()).unwrap();
        call(PROGRAM_ATTACH, &[descriptor(&sources), descriptor(&program), STREAM_VERDICT, 0]);
        put(&targets, stream);
        put(&sources, &exit);
        Self { entrance, _exit: exit, _descriptors: [sources, targets, program] }
    }

    /// Gives the socket to write to.
    pub(super) fn entrance(&self) -> &TcpStream {
        &self.entrance
    }
}

fn create_map() -> OwnedFd {
    let (key, value, entries) = (4, 4, 1);
    descriptor(call(MAP_CREATE, &[SOCKMAP, key, value, entries]))
}

fn put(map: &OwnedFd, socket: &TcpStream) {
    let (key, value) = (0u32, u32::try_from(socket.as_raw_fd()).unwrap());
    let mut attributes = [0u32; 8];
    attributes[0] = u32::try_from(map.as_raw_fd()).unwrap();
    attributes[2..4].copy_from_slice(&words((&raw const key).addr()));
    attributes[4..6].copy_from_slice(&words((&raw const value).addr()));
    call(MAP_UPDATE, &attributes);
}

/// Loads a program that redirects all bytes to the first socket of a map.
fn load(targets: &OwnedFd) -> OwnedFd {
    let map = u64::try_from(targets.as_raw_fd()).unwrap();
    let instructions: [u64; 6] = [
        // r2 = map (two places), r3 = 0, r4 = 0
        map << 32 | 0x1218,
        0,
        0x03b7,
        0x04b7,
        // r0 = bpf_sk_redirect_map(r1, r2, r3, r4)
        52 << 32 | 0x85,
        // return r0
        0x95,
    ];
    let licence = c"GPL";
    let mut attributes = [0u32; 8];
    attributes[0] = SK_SKB;
    attributes[1] = u32::try_from(instructions.len()).unwrap();
    attributes[2..4].copy_from_slice(&words(instructions.as_ptr().addr()));
    attributes[4..6].copy_from_slice(&words(licence.as_ptr().addr()));
    descriptor(call(PROGRAM_LOAD, &attributes))
}

/// Gives an address as two words of the attributes.
fn words(address: usize) -> [u32; 2] {
    let bytes = u64::try_from(address).unwrap().to_ne_bytes();
    let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    [word(0), word(4)]
}

fn call(command: libc::c_long, attributes: &[u32]) -> libc::c_long {
    let size = size_of_val(attributes);
    // SAFETY: the attributes are ours and as long as said; the addresses in them are of values
    // that live until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size) };
    assert!(result >= 0, "bpf({command}): {}", io::Error::last_os_error());
    result
}

fn descriptor(number: libc::c_long) -> OwnedFd {
    // SAFETY: the kernel just gave it to us, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(i32::try_from(number).unwrap()) }
}
