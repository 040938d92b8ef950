//! The two ends of a packet's connection.

use aya_ebpf::programs::SkBuffContext;
use imds_audit_ebpf::Ends;

use crate::{
    bits::opaque,
    config::Peer,
    emit::Skip,
    kernel::{Pointer, netns},
    packet::{IPV6_FAMILY, SocketPeer, check, own_socket},
};

/// Returns the connection's ends, as its socket has them.
#[inline(always)]
pub fn own_ends(context: &SkBuffContext) -> Result<Ends, Skip> {
    let ip_version = check(context)?;
    let socket = Pointer::of_typed(own_socket(context));
    Ok(ends(context, ip_version, socket.map_or(0, netns)))
}

#[inline(always)]
fn ends(context: &SkBuffContext, ip_version: u8, netns: u32) -> Ends {
    let skb = context.skb.skb;
    // SAFETY: the pointers are to fields of the program's context.
    let (local4, peer4, local6, peer6, local_port, is_ipv6) = unsafe {
        (
            [field(&raw const (*skb).local_ip4), 0, 0, 0],
            [field(&raw const (*skb).remote_ip4), 0, 0, 0],
            fields((&raw const (*skb).local_ip6).cast()),
            fields((&raw const (*skb).remote_ip6).cast()),
            field(&raw const (*skb).local_port) as u16,
            field(&raw const (*skb).family) == IPV6_FAMILY,
        )
    };
    let (local, peer) = if ip_version == 4 { (local4, peer4) } else { (local6, peer6) };
    // SAFETY: each pair of types has sixteen bytes without padding.
    let (local, peer) = unsafe {
        (
            core::mem::transmute::<[u32; 4], [u8; 16]>(local),
            core::mem::transmute::<[u32; 4], [u8; 16]>(peer),
        )
    };
    Ends {
        local,
        peer,
        local_port,
        peer_port: SocketPeer(skb).port() as u16,
        ip_version,
        socket_version: if is_ipv6 { 6 } else { 4 },
        reserved: 0,
        netns,
        reserved2: 0,
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
    opaque(u64::from(unsafe { place.read_volatile() })) as u32
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
