//! The rehearsal's programs: entry points and the policy, which is "allow" in every case.
//!
//! They are attached to one cgroup, and change only where a connect to an endpoint leads.

#![allow(
    clippy::collapsible_if,
    clippy::needless_borrows_for_generic_args,
    reason = "the form decides what the verifier visits, and what is put on the stack"
)]
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(unstable_features, reason = "inline assembly for the bpf target is unstable")]

mod connect;
mod maps;
mod peer_name;

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};

/// The result of every program: the call goes on. No failure of the rehearsal fails a connect.
const ALLOW: i32 = 1;

#[cgroup_sock_addr(connect4)]
fn rehearse4(context: SockAddrContext) -> i32 {
    connect::redirect4(&context);
    ALLOW
}

#[cgroup_sock_addr(connect6)]
fn rehearse6(context: SockAddrContext) -> i32 {
    connect::redirect6(&context);
    ALLOW
}

#[cgroup_sock_addr(getpeername4)]
fn peer_name4(context: SockAddrContext) -> i32 {
    peer_name::restore4(&context);
    ALLOW
}

#[cgroup_sock_addr(getpeername6)]
fn peer_name6(context: SockAddrContext) -> i32 {
    peer_name::restore6(&context);
    ALLOW
}

/// Learns a network namespace's cookie where the kernel has no `SO_NETNS_COOKIE` (before 5.14).
///
/// It is attached to the rehearsal's own cgroup for a moment, and acts on marked sockets only.
#[cgroup_sock_addr(connect4)]
fn learn_cookie(context: SockAddrContext) -> i32 {
    connect::learn(&context);
    ALLOW
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // No path leads here: a test on the object asserts that no panic symbol is left.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
