//! `getpeername`: a redirected socket reports the endpoint that it was meant for.

use aya_ebpf::programs::SockAddrContext;
use imds_audit_ebpf::rehearsal::{Address, family};

use crate::maps::DESTINATIONS;

/// Restores the address of an IPv4 socket.
#[inline(always)]
pub fn restore4(context: &SockAddrContext) {
    let Some(meant) = remembered(context) else { return };
    if meant.family != family::IPV4 {
        return;
    }
    let call = context.sock_addr;
    // SAFETY: the pointer is the program's context.
    unsafe {
        (&raw mut (*call).user_ip4).write_volatile(meant.words[0]);
        (&raw mut (*call).user_port).write_volatile(meant.port);
    }
}

/// Restores the address of an IPv6 socket.
#[inline(always)]
pub fn restore6(context: &SockAddrContext) {
    let Some(meant) = remembered(context) else { return };
    if meant.family != family::IPV6 && meant.family != family::MAPPED {
        return;
    }
    let call = context.sock_addr;
    // SAFETY: the pointer is the program's context; the places are the four words of the address.
    unsafe {
        let words = (&raw mut (*call).user_ip6).cast::<u32>();
        words.write_volatile(meant.words[0]);
        words.add(1).write_volatile(meant.words[1]);
        words.add(2).write_volatile(meant.words[2]);
        words.add(3).write_volatile(meant.words[3]);
        (&raw mut (*call).user_port).write_volatile(meant.port);
    }
}

/// Returns where the socket was meant to go; `None` for one that was not redirected.
#[inline(always)]
fn remembered(context: &SockAddrContext) -> Option<Address> {
    // SAFETY: the helper takes the socket of the program's context.
    let value = unsafe { DESTINATIONS.get_ptr_mut(context) };
    // SAFETY: a pointer that is not null is to the socket's own value.
    if value.is_null() { None } else { Some(unsafe { *value }) }
}
