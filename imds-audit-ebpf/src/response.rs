//! Ingress: response headers. Bodies never leave the kernel.
//!
//! A body is where the credentials are, so only bytes that are known to be a header's leave. A
//! header begins
//!
//! - where the caller's acknowledgement stood when it sent its last request bytes: all that came
//!   before was an earlier answer, unless it lies inside a body whose length is known; or
//! - where the last header's Content-Length says that its body ends, which is how the answers to
//!   pipelined requests are found, even in one packet;
//!
//! and there only if the bytes `HTTP/1.` stand there. It ends at its blank line. What lies
//! between is skipped without a record.
//!
//! Whatever the packet is, the caller's kernel has not judged it yet. Where bytes come that are no
//! header's and stand in the place of a header that is not acknowledged, a record says so, without
//! them.
//!
//! One body could pass for a header, up to its first blank line: one in chunks or without a
//! length, if the caller sends its next request in the middle of it, and `HTTP/1.` stands exactly
//! where its acknowledgement did. The metadata service tells the length of every body.

use aya_ebpf::{bindings::__sk_buff, programs::SkBuffContext};
use imds_audit_ebpf::{Loss, kind, tcp_flags};

use crate::{
    head_scan::{Scanned, is_protocol, scan_block},
    packet::{Packet, cookie, load_words},
    segment::{Written, write_part, write_uncaptured},
    skip::Skip,
    socket::{
        self, ANSWERED, CONTINUATION, NEXT_HEAD, REQUEST_ACKNOWLEDGMENT, Scan, Socket,
        UNACKNOWLEDGED, UNKNOWN,
    },
    verifier::branchless_min,
};

/// How many blocks one packet may take; each header has at least one. IMDS's are about 300 bytes
/// each, and a packet has 64 KiB at most.
const MAX_BLOCKS: u32 = 64;

/// Reports a packet from the service. Returns how many header bytes it had.
#[inline(always)]
pub fn try_ingress(context: &SkBuffContext) -> Result<u32, Skip> {
    let packet = Packet::parse(context)?;
    let heads = if packet.length == 0 { Ok(0) } else { write_heads(context, &packet) };
    // Opening and end have a record of their own, behind the header bytes.
    if packet.is_control() {
        let opens = packet.tcp_flags & tcp_flags::SYN != 0;
        if opens {
            note_opening(context, &packet);
        }
        let end = if opens { 0 } else { packet.length };
        if packet.tcp_flags & tcp_flags::FIN != 0 {
            note_end(context, packet.sequence.wrapping_add(packet.length).wrapping_add(1));
        }
        write_part(context.skb.skb, kind::RESPONSE, end, 0).or_lost(Loss::Control)?;
    }
    heads
}

/// Notes where the responses begin, for a request that went out before anything had come.
#[inline(always)]
fn note_opening(context: &SkBuffContext, packet: &Packet) {
    let Some(state) = socket::find(cookie(context)) else { return };
    // SAFETY: as in `write_heads`.
    let state = unsafe { &mut *state };
    if state.valid_bits & REQUEST_ACKNOWLEDGMENT == 0 {
        state.request_acknowledgment = packet.sequence.wrapping_add(1);
        state.valid_bits |= REQUEST_ACKNOWLEDGMENT;
    }
}

/// Has the caller's acknowledgement of the service's end reported, if no header came for its last
/// request.
#[inline(always)]
fn note_end(context: &SkBuffContext, end: u32) {
    let Some(state) = socket::find(cookie(context)) else { return };
    // SAFETY: as in `write_heads`.
    let state = unsafe { &mut *state };
    if state.valid_bits & ANSWERED == 0 {
        state.head_end = end;
        state.valid_bits |= UNACKNOWLEDGED;
    }
}

#[inline(always)]
fn write_heads(context: &SkBuffContext, packet: &Packet) -> Result<u32, Skip> {
    let Some(socket) = socket::find(cookie(context)) else {
        // No request bytes were seen on this socket, so none to answer.
        return Err(Skip::Nothing);
    };
    // SAFETY: the pointer is to a map value, which lives as long as the program runs. Packets of
    // one connection come one after the other; where two CPUs race all the same, a header is
    // found too late or not at all, and the request's outcome is unobserved.
    let state = unsafe { &mut *socket };
    let found = find_start(context.skb.skb, packet.sequence, packet.payload, packet.length) != 0;
    let passed_over = if found { state.scan.position } else { packet.length };
    if contradicts_head(packet, state, passed_over) {
        write_uncaptured(context.skb.skb, passed_over).or_lost(Loss::Response)?;
    }
    if !found {
        return Err(Skip::Nothing);
    }
    state.valid_bits &= !(NEXT_HEAD | CONTINUATION);
    let mut block = 0;
    while block < MAX_BLOCKS {
        match write_block(context.skb.skb, packet.sequence, packet.payload, packet.length) {
            Block::Written => {}
            Block::Last => break,
            Block::Full => return Err(Skip::Lost(Loss::Response)),
            Block::Unreadable => return Err(Skip::Lost(Loss::Unreadable)),
        }
        block += 1;
    }
    Ok(state.scan.written)
}

/// Returns whether the first bytes of a packet, in which no header begins, stand where header bytes
/// were written that the caller has not acknowledged: one of the two packets is forged, or the true
/// one is sent again. What they are is not read, as they may be a body's; that they are there says
/// that the header may be none.
#[inline(always)]
fn contradicts_head(packet: &Packet, state: &Socket, length: u32) -> bool {
    let is_before = |one: u32, other: u32| (one.wrapping_sub(other) as i32) < 0;
    let end = packet.sequence.wrapping_add(length);
    length != 0
        && state.valid_bits & UNACKNOWLEDGED != 0
        && is_before(packet.sequence, state.head_end)
        && (state.valid_bits & REQUEST_ACKNOWLEDGMENT == 0
            || is_before(state.request_acknowledgment, end))
}

/// The result of scanning a block.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    /// Its header bytes were written, and the packet may have more.
    Written = 0,
    /// The packet has no more header bytes.
    Last = 1,
    /// The ring is full.
    Full = 2,
    /// The packet's bytes could not be read.
    Unreadable = 3,
}

/// Scans the next block of a packet and writes its header bytes.
///
/// A global function in the object: see [`write_part`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn write_block(skb: *mut __sk_buff, sequence: u32, payload: u32, length: u32) -> Block {
    let Some(state) = socket::find(cookie(&SkBuffContext::new(skb))) else {
        return Block::Unreadable;
    };
    // SAFETY: as in `write_heads`.
    let state = unsafe { &mut *state };
    let scanned = scan_block(skb, payload, length);
    if scanned == Scanned::Unreadable {
        return Block::Unreadable;
    }
    let scan = &mut state.scan;
    let (from, count) = (scan.head, scan.position.wrapping_sub(scan.head));
    if scan.is_new == 0 && count != 0 {
        scan.head = scan.position;
        scan.written = scan.written.wrapping_add(count);
        state.head_end = sequence.wrapping_add(scan.position);
        state.valid_bits |= UNACKNOWLEDGED | ANSWERED;
        match write_part(skb, kind::RESPONSE, from, count) {
            Written::Yes => {}
            Written::Full => return Block::Full,
            Written::Unreadable => return Block::Unreadable,
        }
    }
    if scanned == Scanned::Inside {
        if scan.is_new == 0 {
            // The next block goes on there, or the next packet.
            state.continuation = sequence.wrapping_add(scan.position);
            state.valid_bits |= CONTINUATION;
        }
    } else {
        state.valid_bits &= !CONTINUATION;
        if scan.length == UNKNOWN {
            return Block::Last;
        }
        // Go on behind the body: in this packet, or in a later one.
        let next = scan.position.wrapping_add(scan.length as u32);
        *scan = Scan { written: scan.written, ..Scan::new(next) };
        state.next_head = sequence.wrapping_add(next);
        state.head_start = sequence.wrapping_add(from);
        state.valid_bits |= NEXT_HEAD;
    }
    if state.scan.position >= length { Block::Last } else { Block::Written }
}

/// Finds where in the packet a header goes on, or begins, and sets the scan to it. Returns 1, or
/// 0 where there is none.
///
/// The payload begins at `payload` in the packet and has `total` bytes; the first has
/// the number `sequence`.
///
/// A global function in the object: see [`write_part`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn find_start(skb: *mut __sk_buff, sequence: u32, payload: u32, total: u32) -> u32 {
    let context = &SkBuffContext::new(skb);
    let Some(state) = socket::find(cookie(context)) else { return 0 };
    // SAFETY: as in `write_heads`.
    let state = unsafe { &mut *state };
    let distance = |to: u32| to.wrapping_sub(sequence);
    // First: what another packet claimed must not keep the header that stands there from being seen.
    if state.valid_bits & REQUEST_ACKNOWLEDGMENT != 0 && !state.is_acknowledgment_in_body() {
        let offset = distance(state.request_acknowledgment);
        if offset < total && is_head_at(context, payload.wrapping_add(offset), total - offset) {
            state.scan = Scan::new(offset);
            return 1;
        }
    }
    if state.valid_bits & CONTINUATION != 0 && distance(state.continuation) < total {
        state.scan.position = distance(state.continuation);
        state.scan.head = state.scan.position;
        state.scan.written = 0;
        return 1;
    }
    if state.valid_bits & NEXT_HEAD != 0 && distance(state.next_head) < total {
        state.scan = Scan::new(distance(state.next_head));
        return 1;
    }
    0
}

#[inline(always)]
fn is_head_at(context: &SkBuffContext, place: u32, left: u32) -> bool {
    let count = branchless_min(u64::from(left), 8) as u32;
    let mut word = [0u64; 1];
    load_words(context, place, &mut word, count) && is_protocol(word[0], count)
}
