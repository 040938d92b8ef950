//! Read-only globals, which userspace sets before it loads the programs.
//!
//! The map behind them is frozen, so that the verifier knows each value as a constant and
//! removes the code that it switches off.

use core::ptr::{addr_of, read_volatile};

use imds_audit_ebpf::{Endpoint, MAX_ENDPOINTS, Offsets};

/// The audited endpoints: those of IPv4 from the first place on, those of IPv6 from the last place
/// back.
#[unsafe(no_mangle)]
static ENDPOINTS: [Endpoint; MAX_ENDPOINTS] =
    [Endpoint { address: [0; 4], port: 0 }; MAX_ENDPOINTS];

/// How many of them are IPv4 ones.
#[unsafe(no_mangle)]
static IPV4_ENDPOINTS: u32 = 0;

/// How many of them are IPv6 ones.
#[unsafe(no_mangle)]
static IPV6_ENDPOINTS: u32 = 0;

/// 1 where the programs may read kernel memory (CAP_PERFMON, no lockdown).
#[unsafe(no_mangle)]
static READ_KERNEL: u32 = 0;

/// Where the kernel's fields lie.
#[unsafe(no_mangle)]
static OFFSETS: Offsets = Offsets::NONE;

/// Returns one of the [`OFFSETS`].
macro_rules! offset {
    ($field:ident) => {
        $crate::config::load(core::mem::offset_of!(imds_audit_ebpf::Offsets, $field))
    };
}
pub(crate) use offset;

/// Reads the field of [`OFFSETS`] at a byte position. The read is volatile, because LLVM would
/// otherwise take the object's own value for the final one.
#[inline(always)]
pub fn load(position: usize) -> u32 {
    // SAFETY: `offset!` gives a field's position in the static, and every field is a u32.
    unsafe { read_volatile(addr_of!(OFFSETS).cast::<u8>().add(position).cast::<u32>()) }
}

/// Returns whether kernel memory may be read.
#[inline(always)]
pub fn may_read_kernel() -> bool {
    // SAFETY: the pointer is to a static.
    unsafe { read_volatile(addr_of!(READ_KERNEL)) != 0 }
}

/// Returns whether there are audited endpoints of IPv6.
#[inline(always)]
pub fn has_ipv6_endpoints() -> bool {
    // SAFETY: the pointer is to a static.
    unsafe { read_volatile(addr_of!(IPV6_ENDPOINTS)) != 0 }
}

/// An address with a port, as a socket, a packet or a `connect` call has it.
pub trait Peer {
    /// Whether the address may be an IPv4 one.
    #[inline(always)]
    fn has_ipv4(&self) -> bool {
        true
    }
    /// The IPv4 address in memory order.
    fn ipv4(&self) -> u32;
    /// Word `N` of the IPv6 address in memory order.
    fn ipv6<const N: usize>(&self) -> u32;
    /// Whether the address is an IPv6 one.
    fn is_ipv6(&self) -> bool;
    /// Whether the port, in host order, is this one.
    fn has_port(&self, port: u32) -> bool;
}

/// Returns the IP version of the audited endpoint that the peer is: 4, 6, or 0 for none.
///
/// This is what other traffic pays for: one comparison for each endpoint in use, and of a socket
/// of IPv4 none with those of IPv6. The places are written out, not looped over, so that the
/// verifier removes the unused ones. It removes no read, so the numbers are read once each, and
/// not something of every place.
#[inline(always)]
pub fn audited(peer: &impl Peer) -> u8 {
    // SAFETY: the pointers are to statics.
    let (ipv4, ipv6) = unsafe {
        (read_volatile(addr_of!(IPV4_ENDPOINTS)), read_volatile(addr_of!(IPV6_ENDPOINTS)))
    };
    macro_rules! any {
        ($count:ident $is:ident: $($number:literal $place:expr),*) => {
            $(($count > $number && $is::<{ $place }>(peer)))||*
        };
    }
    // IPv4-mapped addresses make an IPv6 socket one of IPv4 too.
    if peer.has_ipv4() && any!(ipv4 is_ipv4: 0 0, 1 1, 2 2, 3 3, 4 4, 5 5, 6 6, 7 7) {
        return 4;
    }
    if ipv6 > 0 && peer.is_ipv6() && any!(ipv6 is_ipv6: 0 7, 1 6, 2 5, 3 4, 4 3, 5 2, 6 1, 7 0) {
        return 6;
    }
    0
}

#[inline(always)]
fn is_ipv4<const PLACE: usize>(peer: &impl Peer) -> bool {
    peer.ipv4() == endpoint_word(PLACE, Word::Address(0))
        && peer.has_port(endpoint_word(PLACE, Word::Port))
}

#[inline(always)]
fn is_ipv6<const PLACE: usize>(peer: &impl Peer) -> bool {
    // The last word first: it differs most between addresses.
    peer.ipv6::<3>() == endpoint_word(PLACE, Word::Address(3))
        && peer.ipv6::<0>() == endpoint_word(PLACE, Word::Address(0))
        && peer.ipv6::<1>() == endpoint_word(PLACE, Word::Address(1))
        && peer.ipv6::<2>() == endpoint_word(PLACE, Word::Address(2))
        && peer.has_port(endpoint_word(PLACE, Word::Port))
}

/// A word of an endpoint.
enum Word {
    Port,
    Address(usize),
}

#[inline(always)]
fn endpoint_word(place: usize, word: Word) -> u32 {
    // SAFETY: `place` is a literal below MAX_ENDPOINTS, the word's index one below 4.
    unsafe {
        let endpoint = addr_of!(ENDPOINTS).cast::<Endpoint>().add(place);
        match word {
            Word::Port => read_volatile(addr_of!((*endpoint).port)),
            Word::Address(index) => {
                read_volatile(addr_of!((*endpoint).address).cast::<u32>().add(index))
            }
        }
    }
}
