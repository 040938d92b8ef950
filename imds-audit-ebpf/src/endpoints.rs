//! Addresses with ports: those of sockets and of packets.

use aya_ebpf::bindings::__sk_buff;
use imds_audit_ebpf::EndpointPair;

use crate::{config::Peer, verifier::black_box};

/// `AF_INET6`.
const IPV6_FAMILY: u32 = 10;

/// The peer of a packet's socket, which address translation does not change.
pub struct SocketPeer(pub *const __sk_buff);

impl Peer for SocketPeer {
    #[inline(always)]
    fn ipv4(&self) -> u32 {
        // SAFETY: the pointer is the program's context. For an IPv4-mapped socket the kernel
        // keeps the IPv4 address here too.
        unsafe { (*self.0).remote_ip4 }
    }
    #[inline(always)]
    fn ipv6<const N: usize>(&self) -> u32 {
        // SAFETY: the pointer is the program's context; N is below 4.
        unsafe { *(&raw const (*self.0).remote_ip6).cast::<u32>().add(N) }
    }
    #[inline(always)]
    fn is_ipv6(&self) -> bool {
        // SAFETY: the pointer is the program's context.
        unsafe { (*self.0).family == IPV6_FAMILY }
    }
    #[inline(always)]
    fn has_port(&self, port: u32) -> bool {
        self.port() == port
    }
}

impl SocketPeer {
    #[inline(always)]
    fn port(&self) -> u32 {
        // SAFETY: the pointer is the program's context, which has the port in network order.
        u32::from_be(unsafe { (*self.0).remote_port })
    }
}

/// The destination address in an IP header that lies in the packet's linear part, with any port.
pub struct Destination<const IS_IPV6: bool>(pub *const u8);

impl<const IS_IPV6: bool> Peer for Destination<IS_IPV6> {
    #[inline(always)]
    fn has_ipv4(&self) -> bool {
        !IS_IPV6
    }
    #[inline(always)]
    fn ipv4(&self) -> u32 {
        // SAFETY: whoever made this has compared the header's end with the packet's.
        unsafe { self.0.add(16).cast::<u32>().read_unaligned() }
    }
    #[inline(always)]
    fn ipv6<const N: usize>(&self) -> u32 {
        // SAFETY: as above; N is below 4.
        unsafe { self.0.add(24 + 4 * N).cast::<u32>().read_unaligned() }
    }
    #[inline(always)]
    fn is_ipv6(&self) -> bool {
        IS_IPV6
    }
    #[inline(always)]
    fn has_port(&self, _: u32) -> bool {
        true
    }
}

/// An address with its port.
pub struct Address {
    /// 4 or 6.
    pub version: u8,
    /// The address in memory order; an IPv4 address is the first word.
    pub words: [u32; 4],
    /// In host order.
    pub port: u32,
}

impl Peer for Address {
    #[inline(always)]
    fn has_ipv4(&self) -> bool {
        self.version == 4
    }
    #[inline(always)]
    fn ipv4(&self) -> u32 {
        self.words[0]
    }
    #[inline(always)]
    fn ipv6<const N: usize>(&self) -> u32 {
        self.words[N]
    }
    #[inline(always)]
    fn is_ipv6(&self) -> bool {
        self.version == 6
    }
    #[inline(always)]
    fn has_port(&self, port: u32) -> bool {
        self.port == port
    }
}

/// Writes the endpoints of a packet's socket.
///
/// # Safety
/// `place` must be valid for writes.
#[inline(always)]
pub unsafe fn write_socket_endpoints(
    skb: *const __sk_buff,
    ip_version: u8,
    netns: u32,
    place: *mut EndpointPair,
) {
    // SAFETY: the first pointer is the program's context, the second valid by the caller's promise.
    // Each of the addresses has room for four words.
    unsafe {
        let local = (&raw mut (*place).local).cast::<[u32; 4]>();
        let peer = (&raw mut (*place).peer).cast::<[u32; 4]>();
        if ip_version == 4 {
            local.write([field(&raw const (*skb).local_ip4), 0, 0, 0]);
            peer.write([field(&raw const (*skb).remote_ip4), 0, 0, 0]);
        } else {
            local.write(fields((&raw const (*skb).local_ip6).cast()));
            peer.write(fields((&raw const (*skb).remote_ip6).cast()));
        }
        let is_ipv6 = field(&raw const (*skb).family) == IPV6_FAMILY;
        (*place).local_port = field(&raw const (*skb).local_port) as u16;
        (*place).peer_port = SocketPeer(skb).port() as u16;
        (*place).ip_version = ip_version;
        (*place).socket_version = if is_ipv6 { 6 } else { 4 };
        (*place).reserved = 0;
        (*place).netns = netns;
        (*place).reserved2 = 0;
    }
}

/// Reads a field of the program's context, here and not later: LLVM would otherwise join the
/// reads of two branches into one through a computed pointer, which the verifier prohibits
/// ("dereference of modified ctx ptr").
///
/// # Safety
/// The pointer must be to a field of the context.
#[inline(always)]
unsafe fn field(place: *const u32) -> u32 {
    // SAFETY: the caller's promise.
    black_box(u64::from(unsafe { place.read_volatile() })) as u32
}

/// Reads four fields that follow each other.
///
/// # Safety
/// As for [`field`].
#[inline(always)]
unsafe fn fields(place: *const u32) -> [u32; 4] {
    // SAFETY: the caller's promise.
    unsafe { [field(place), field(place.add(1)), field(place.add(2)), field(place.add(3))] }
}
