//! Has a thread of the kernel send: what is written to one socket is redirected to another, as
//! service meshes do it that shorten the way between a program and its proxy.
//!
//! The kernel sends redirected bytes from a work queue (`sk_psock_backlog`, `net/core/skmsg.c`).

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use imds_audit_tests::bpf::{call, descriptor, load, words};

/// Commands of `bpf(2)`.
const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE: libc::c_long = 2;
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
        let program = redirect(&targets);
        let number = |file: &OwnedFd| u32::try_from(file.as_raw_fd()).unwrap();
        call(PROGRAM_ATTACH, &[number(&sources), number(&program), STREAM_VERDICT, 0]).unwrap();
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
    descriptor(call(MAP_CREATE, &[SOCKMAP, key, value, entries]).unwrap())
}

fn put(map: &OwnedFd, socket: &TcpStream) {
    let (key, value) = (0u32, u32::try_from(socket.as_raw_fd()).unwrap());
    let mut attributes = [0u32; 8];
    attributes[0] = u32::try_from(map.as_raw_fd()).unwrap();
    attributes[2..4].copy_from_slice(&words((&raw const key).addr()));
    attributes[4..6].copy_from_slice(&words((&raw const value).addr()));
    call(MAP_UPDATE, &attributes).unwrap();
}

/// Loads a program that redirects all bytes to the first socket of a map.
fn redirect(targets: &OwnedFd) -> OwnedFd {
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
    load(SK_SKB, &instructions)
}
