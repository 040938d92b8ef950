//! Redirection of connects to an endpoint.

use aya_ebpf::{
    EbpfContext, bindings::bpf_sock_addr, helpers::generated::bpf_get_netns_cookie,
    programs::SockAddrContext,
};
use imds_audit_ebpf::rehearsal::{Address, Connect, FrontKey, family};

use crate::maps::{COOKIE, DESTINATIONS, ENDPOINTS, FRONTS, count};

/// `IPPROTO_TCP`.
const TCP: u32 = 6;
/// `IPPROTO_MPTCP`: its subflows are TCP.
const MULTIPATH_TCP: u32 = 262;
/// The third word of an IPv4-mapped IPv6 address.
const MAPPED: u32 = 0xffff_u32.to_be();

/// Redirects a connect of an IPv4 socket.
#[inline(always)]
pub fn redirect4(context: &SockAddrContext) {
    let call = context.sock_addr;
    if !is_tcp(call) {
        return;
    }
    // SAFETY: the pointer is the program's context.
    let (ip, port) = unsafe { ((*call).user_ip4, (*call).user_port) };
    let called = Address { words: [ip, 0, 0, 0], port, family: family::IPV4 };
    let Some(front) = front(context, &called, called) else { return };
    // SAFETY: the pointer is the program's context.
    unsafe {
        (&raw mut (*call).user_ip4).write_volatile(front.words[0]);
        (&raw mut (*call).user_port).write_volatile(front.port);
    }
    count(Connect::Redirected);
}

/// Redirects a connect of an IPv6 socket, to an IPv6 or an IPv4-mapped address.
#[inline(always)]
pub fn redirect6(context: &SockAddrContext) {
    let call = context.sock_addr;
    if !is_tcp(call) {
        return;
    }
    // SAFETY: the pointer is the program's context.
    let port = unsafe { (*call).user_port };
    let words = [word(call, 0), word(call, 1), word(call, 2), word(call, 3)];
    let is_mapped = words[0] == 0 && words[1] == 0 && words[2] == MAPPED;
    let (endpoint, called) = if is_mapped {
        (
            Address { words: [words[3], 0, 0, 0], port, family: family::IPV4 },
            Address { words, port, family: family::MAPPED },
        )
    } else {
        let address = Address { words, port, family: family::IPV6 };
        (address, address)
    };
    let Some(front) = front(context, &endpoint, called) else { return };
    if is_mapped {
        set_word(call, 3, front.words[0]);
    } else {
        set_word(call, 0, front.words[0]);
        set_word(call, 1, front.words[1]);
        set_word(call, 2, front.words[2]);
        set_word(call, 3, front.words[3]);
    }
    // SAFETY: the pointer is the program's context.
    unsafe { (&raw mut (*call).user_port).write_volatile(front.port) };
    count(Connect::Redirected);
}

/// Stores the network namespace's cookie of a socket that is marked as the front's own.
#[inline(always)]
pub fn learn(context: &SockAddrContext) {
    if remembered_family(context) != family::OWN {
        return;
    }
    if let Some(cookie) = COOKIE.get_ptr_mut(0) {
        // SAFETY: the helper takes the program's context; the pointer is to a map value.
        unsafe { *cookie = bpf_get_netns_cookie(context.as_ptr()) };
    }
}

/// Returns the front that a connect is redirected to, and remembers where it was meant to go;
/// `None` where it passes.
#[inline(always)]
fn front(context: &SockAddrContext, endpoint: &Address, called: Address) -> Option<Address> {
    let remembered = remembered_family(context);
    if remembered == family::OWN {
        return None;
    }
    // SAFETY: nothing removes an endpoint while the programs run.
    let Some(&number) = (unsafe { ENDPOINTS.get(endpoint) }) else {
        if remembered != family::NONE {
            remember(context, Address { words: [0; 4], port: 0, family: family::NONE });
        }
        return None;
    };
    // SAFETY: the helper takes the program's context.
    let netns = unsafe { bpf_get_netns_cookie(context.as_ptr()) };
    let key = FrontKey { netns, endpoint: number, reserved: 0 };
    // SAFETY: a front that is removed at this moment is refused by its kernel as one that was
    // removed a moment later; the value is copied at once.
    let Some(&front) = (unsafe { FRONTS.get(&key) }) else {
        count(Connect::NoFront);
        return None;
    };
    if is_bound_to_device(context.sock_addr) {
        count(Connect::BoundToDevice);
        return None;
    }
    if !remember(context, called) {
        count(Connect::NoMemory);
        return None;
    }
    Some(front)
}

/// Returns the family of what is remembered of the socket.
#[inline(always)]
fn remembered_family(context: &SockAddrContext) -> u32 {
    // SAFETY: the helper takes the socket of the program's context.
    let value = unsafe { DESTINATIONS.get_ptr_mut(context) };
    // SAFETY: a pointer that is not null is to the socket's own value.
    if value.is_null() { family::NONE } else { unsafe { (*value).family } }
}

/// Remembers where the socket was meant to go. Returns whether there was room.
#[inline(always)]
fn remember(context: &SockAddrContext, mut called: Address) -> bool {
    // SAFETY: as above.
    let value = unsafe { DESTINATIONS.get_or_insert_ptr_mut(context, Some(&mut called)) };
    if value.is_null() {
        return false;
    }
    // SAFETY: as above. A value that was there before keeps its content when it is inserted again.
    unsafe { *value = called };
    true
}

#[inline(always)]
fn is_tcp(call: *const bpf_sock_addr) -> bool {
    // SAFETY: the pointer is the program's context.
    let protocol = unsafe { (*call).protocol };
    protocol == TCP || protocol == MULTIPATH_TCP
}

#[inline(always)]
fn is_bound_to_device(call: *const bpf_sock_addr) -> bool {
    // SAFETY: the pointer is the program's context, whose socket is never null in a connect.
    unsafe {
        let socket = (*call).__bindgen_anon_1.sk;
        !socket.is_null() && (*socket).bound_dev_if != 0
    }
}

/// Returns a word of the IPv6 address.
#[inline(always)]
fn word(call: *const bpf_sock_addr, index: usize) -> u32 {
    // SAFETY: the pointer is the program's context; every caller's index is below 4.
    unsafe { (&raw const (*call).user_ip6).cast::<u32>().add(index).read_volatile() }
}

/// Sets a word of the IPv6 address.
#[inline(always)]
fn set_word(call: *mut bpf_sock_addr, index: usize, word: u32) {
    // SAFETY: as above.
    unsafe { (&raw mut (*call).user_ip6).cast::<u32>().add(index).write_volatile(word) }
}
