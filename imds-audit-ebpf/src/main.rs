//! The entry points of the eBPF programs, and nothing else.
//!
//! Every program only observes. Whatever happens inside, those at a control group return "allow".

#![allow(
    clippy::collapsible_if,
    clippy::needless_borrows_for_generic_args,
    reason = "the form decides what the verifier visits, and what is put on the stack"
)]
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(unstable_features, reason = "inline assembly for the bpf target is unstable")]

mod begun_programs;
mod config;
mod connect;
mod endpoints;
mod head_scan;
mod kernel;
mod lost_requests;
mod packet;
mod request;
mod response;
mod ring;
mod ring_share;
mod segment;
mod sent_snapshots;
mod skip;
mod snapshot;
mod socket;
mod verifier;

use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock_addr},
    macros::{cgroup_skb, cgroup_sock_addr, raw_tracepoint},
    programs::{RawTracePointContext, SkBuffContext, SockAddrContext},
};
use aya_log_ebpf::debug;

use crate::{
    config::audited,
    connect::{Destination4, Destination6},
    ring::count,
    skip::Skip,
};

/// The result of every program of a cgroup: go on as if we were not there.
const ALLOW: i32 = 1;
/// The result of a program at a tracepoint, which nobody looks at.
const OBSERVED: i32 = 0;

#[cgroup_sock_addr(connect4)]
fn connect4(context: SockAddrContext) -> i32 {
    if audited(&Destination4(context.sock_addr)) != 0 {
        audit_connect4(context.sock_addr);
    }
    ALLOW
}

#[cgroup_sock_addr(connect6)]
fn connect6(context: SockAddrContext) -> i32 {
    let ip_version = audited(&Destination6(context.sock_addr));
    if ip_version != 0 {
        audit_connect6(context.sock_addr, ip_version.into());
    }
    ALLOW
}

#[cgroup_skb(egress)]
fn egress(context: SkBuffContext) -> i32 {
    if packet::is_of_audited_socket(&context) || packet::is_sent_to_audited_address(&context) {
        audit_egress(context.skb.skb);
    }
    ALLOW
}

#[cgroup_skb(ingress)]
fn ingress(context: SkBuffContext) -> i32 {
    if packet::is_of_audited_socket(&context) {
        audit_ingress(context.skb.skb);
    }
    ALLOW
}

/// Runs when a process has begun a program, in its own context.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
fn exec(_: RawTracePointContext) -> i32 {
    begun_programs::keep_current();
    OBSERVED
}

// What follows are global functions in the object: the verifier visits each once, and not for each
// endpoint that leads there. See `segment::write_part`.

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn audit_connect4(address: *mut bpf_sock_addr) -> u32 {
    let context = SockAddrContext::new(address);
    match connect::try_connect(&context, &Destination4(address), 4, 4) {
        Ok(()) => debug!(&context, "connect4: reported"),
        Err(skip) => account(skip),
    }
    0
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn audit_connect6(address: *mut bpf_sock_addr, ip_version: u32) -> u32 {
    let context = SockAddrContext::new(address);
    match connect::try_connect(&context, &Destination6(address), ip_version as u8, 6) {
        Ok(()) => debug!(&context, "connect6: reported"),
        Err(skip) => account(skip),
    }
    0
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn audit_egress(skb: *mut __sk_buff) -> u32 {
    let context = SkBuffContext::new(skb);
    match request::try_egress(&context) {
        Ok(length) => debug!(&context, "egress: {} request bytes", length),
        Err(skip) => account_packet(skb, skip),
    }
    0
}

#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn audit_ingress(skb: *mut __sk_buff) -> u32 {
    let context = SkBuffContext::new(skb);
    match response::try_ingress(&context) {
        Ok(length) => debug!(&context, "ingress: {} header bytes", length),
        Err(skip) => account_packet(skb, skip),
    }
    0
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
        // Already counted by the callee, which knows how much was lost.
        Skip::Counted => {}
    }
}

/// As [`account`], of a packet: for the process behind its socket.
#[inline(always)]
fn account_packet(skb: *mut __sk_buff, skip: Skip) {
    if let Skip::Lost(loss) = skip {
        segment::count_loss_for_sender(skb, loss as u32, 1);
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
