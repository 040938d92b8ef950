//! A process connects: who it is, and where to.

use aya_ebpf::{
    EbpfContext, bindings::bpf_sock_addr, helpers::generated::bpf_get_socket_cookie,
    programs::SockAddrContext,
};
use imds_audit_ebpf::{COMM_LENGTH, Ends, Loss, kind};

use crate::{
    config::{Peer, audited, offset},
    emit::{Skip, blame},
    kernel::{Pointer, netns},
    snapshot::{Actor, identify_current, lost, write_current, write_helpers_only},
    socket,
};

/// `IPPROTO_TCP`.
const TCP: u32 = 6;
/// `IPPROTO_MPTCP`: its subflows are TCP.
const MULTIPATH_TCP: u32 = 262;

/// The address that an IPv4 `connect` names.
struct Destination4(*const bpf_sock_addr);

impl Peer for Destination4 {
    #[inline(always)]
    fn ipv4(&self) -> u32 {
        // SAFETY: the pointer is the program's context.
        unsafe { (*self.0).user_ip4 }
    }
    #[inline(always)]
    fn ipv6<const N: usize>(&self) -> u32 {
        0
    }
    #[inline(always)]
    fn is_ipv6(&self) -> bool {
        false
    }
    #[inline(always)]
    fn port(&self) -> u32 {
        port(self.0)
    }
}

/// The address that an IPv6 `connect` names.
struct Destination6(*const bpf_sock_addr);

impl Destination6 {
    /// Returns whether the address is `::ffff:a.b.c.d`, which Java's sockets use by default.
    #[inline(always)]
    fn is_mapped(&self) -> bool {
        self.ipv6::<0>() == 0 && self.ipv6::<1>() == 0 && self.ipv6::<2>() == 0xffff_u32.to_be()
    }
}

impl Peer for Destination6 {
    #[inline(always)]
    fn ipv4(&self) -> u32 {
        if self.is_mapped() { self.ipv6::<3>() } else { 0 }
    }
    #[inline(always)]
    fn ipv6<const N: usize>(&self) -> u32 {
        // SAFETY: the pointer is the program's context; N is below 4.
        unsafe { (&raw const (*self.0).user_ip6).cast::<u32>().add(N).read_volatile() }
    }
    #[inline(always)]
    fn is_ipv6(&self) -> bool {
        true
    }
    #[inline(always)]
    fn port(&self) -> u32 {
        port(self.0)
    }
}

/// The context has the port in network order in the lower half.
#[inline(always)]
fn port(address: *const bpf_sock_addr) -> u32 {
    // SAFETY: the pointer is the program's context.
    u32::from(u16::from_be(unsafe { (*address).user_port } as u16))
}

/// Handles `connect` on an IPv4 socket.
#[inline(always)]
pub fn try_connect4(context: &SockAddrContext) -> Result<(), Skip> {
    report(context, &Destination4(context.sock_addr), 4)
}

/// Handles `connect` on an IPv6 socket.
#[inline(always)]
pub fn try_connect6(context: &SockAddrContext) -> Result<(), Skip> {
    report(context, &Destination6(context.sock_addr), 6)
}

#[inline(always)]
fn report(context: &SockAddrContext, peer: &impl Peer, socket_version: u8) -> Result<(), Skip> {
    let ip_version = audited(peer);
    if ip_version == 0 {
        return Err(Skip::NotAudited);
    }
    let address = context.sock_addr;
    // SAFETY: the pointer is the program's context.
    let protocol = unsafe { (*address).protocol };
    if protocol != TCP && protocol != MULTIPATH_TCP {
        return Err(Skip::NotTcp);
    }
    // SAFETY: the helper takes the program's context.
    let cookie = unsafe { bpf_get_socket_cookie(context.as_ptr()) };
    // SAFETY: the pointer is the program's context; the field is one of its union's.
    let kernel_socket = Pointer::of_typed(unsafe { (*address).__bindgen_anon_1.sk });
    let ends = Ends {
        local: [0; 16],
        peer: peer_bytes(peer, ip_version),
        local_port: 0,
        peer_port: peer.port() as u16,
        ip_version,
        socket_version,
        reserved: 0,
        netns: kernel_socket.map_or(0, netns),
        reserved2: 0,
    };
    let (current, task) = match identify_current() {
        Actor::Process(current, task) => (current, task),
        // Who it opens the connection for is not known; the opening packet tells of it.
        Actor::Kernel => return Err(Skip::Nothing),
        Actor::Unknown => return write_helpers_only(kind::CONNECT, cookie, &ends),
    };
    if let Some(state) = socket::find(cookie) {
        // The socket was connected before; what is remembered is of that connection.
        // SAFETY: the pointer is to a map value, which lives as long as the program runs.
        unsafe {
            (*state).known = 0;
            (*state).lost_requests = 0;
            (*state).lost_records = 0;
        }
    }
    let mut comm = [0; COMM_LENGTH];
    current.read_into(offset!(task_struct_comm), &mut comm);
    if !write_current(kind::CONNECT, cookie, &ends, current, &task) {
        blame(Loss::Connect as u32, &task.process(), &comm, 1);
        return Err(lost(kind::CONNECT));
    }
    if let Some(state) = socket::find_or_add(cookie) {
        socket::set_writer(state, &task);
        // SAFETY: the pointer is to a map value, which lives as long as the program runs.
        unsafe { (*state).comm = comm };
    }
    Ok(())
}

/// Returns the peer's address as records carry it.
#[inline(always)]
fn peer_bytes(peer: &impl Peer, ip_version: u8) -> [u8; 16] {
    let words = if ip_version == 4 {
        [peer.ipv4(), 0, 0, 0]
    } else {
        [peer.ipv6::<0>(), peer.ipv6::<1>(), peer.ipv6::<2>(), peer.ipv6::<3>()]
    };
    // SAFETY: both are sixteen bytes without padding.
    unsafe { core::mem::transmute::<[u32; 4], [u8; 16]>(words) }
}
