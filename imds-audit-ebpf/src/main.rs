//! The kernel half: the programs' entry points, and nothing else.
//!
//! Every program only looks. Whatever happens inside, it answers "allow".

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(unstable_features, reason = "inline assembly for the bpf target is unstable")]

mod bits;
mod config;
mod connect;
mod emit;
mod ends;
mod kernel;
mod lost;
mod packet;
mod request;
mod response;
mod snapshot;
mod socket;

use aya_ebpf::{
    macros::{cgroup_skb, cgroup_sock_addr},
    programs::{SkBuffContext, SockAddrContext},
};
use aya_log_ebpf::debug;

use crate::emit::{Skip, count};

/// The answer of every program: go on as if we were not there.
const ALLOW: i32 = 1;

#[cgroup_sock_addr(connect4)]
fn connect4(context: SockAddrContext) -> i32 {
    match connect::try_connect4(&context) {
        Ok(()) => debug!(&context, "connect4: snapshot written"),
        Err(skip) => account(skip),
    }
    ALLOW
}

#[cgroup_sock_addr(connect6)]
fn connect6(context: SockAddrContext) -> i32 {
    match connect::try_connect6(&context) {
        Ok(()) => debug!(&context, "connect6: snapshot written"),
        Err(skip) => account(skip),
    }
    ALLOW
}

#[cgroup_skb(egress)]
fn egress(context: SkBuffContext) -> i32 {
    match request::try_egress(&context) {
        Ok(length) => debug!(&context, "egress: {} request bytes", length),
        Err(skip) => account_packet(&context, skip),
    }
    ALLOW
}

#[cgroup_skb(ingress)]
fn ingress(context: SkBuffContext) -> i32 {
    match response::try_ingress(&context) {
        Ok(length) => debug!(&context, "ingress: {} header bytes", length),
        Err(skip) => account_packet(&context, skip),
    }
    ALLOW
}

/// The policy for everything that is not reported, in one place: a new reason does not compile
/// until somebody decides its fate.
#[inline(always)]
fn account(skip: Skip) {
    match skip {
        // Other traffic, and packets that carry nothing we look for.
        Skip::NotAudited | Skip::NotTcp | Skip::Nothing => {}
        // Something that should have been reported and was not.
        Skip::Lost(loss) => count(loss, 1),
        // The same, by who could tell how much it was.
        Skip::Counted => {}
    }
}

/// As [`account`], of a packet: for the process behind its socket.
#[inline(always)]
fn account_packet(context: &SkBuffContext, skip: Skip) {
    if let Skip::Lost(loss) = skip {
        packet::blame_sender(context.skb.skb, loss as u32, 1);
    }
    account(skip);
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
