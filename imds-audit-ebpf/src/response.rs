//! Ingress: response headers. Bodies stay in the kernel.
//!
//! A body is where the credentials are, so only bytes that are known to be a header's leave. A
//! header begins
//!
//! - where the caller's acknowledgement stood when it sent its last request bytes: all that came
//!   before was an earlier answer; or
//! - where the last header's Content-Length says that its body ends, which is how the answers to
//!   pipelined requests are found, even in one packet;
//!
//! and there only if the bytes `HTTP/1.` stand there. It ends at its blank line. What lies
//! between is skipped without a record.

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext, helpers::generated::bpf_skb_load_bytes, programs::SkBuffContext,
};
use imds_audit_ebpf::{Loss, kind, tcp_flags};

use crate::{
    bits::{clamp, is_zero, less},
    emit::Skip,
    packet::{Packet, Written, check, cookie, parse, write_control, write_payload},
    socket::{self, CONTINUATION, NEXT_HEAD, REQUEST_ACKNOWLEDGMENT, Scan, Socket},
};

/// How many bytes are scanned at a time, on the stack.
const STEP: usize = 64;
/// How many steps one packet may take: 1.5 KiB of headers. IMDS's are about 300 bytes each.
const MAX_STEPS: u32 = 24;

/// `HTTP/1.` as the first seven of eight bytes in memory.
const PROTOCOL: u64 = u64::from_ne_bytes(*b"HTTP/1.\0");
/// `\ncontent-length:` in the lower case that [`lower`] makes, in two words.
const NAME_OLDER: u64 = u64::from_be_bytes([0x2a, b'c', b'o', b'n', b't', b'e', b'n', b't']);
const NAME_NEWER: u64 = u64::from_be_bytes(*b"-length:");

/// Reports a packet from the service. Returns how many header bytes it had.
#[inline(always)]
pub fn try_ingress(context: &SkBuffContext) -> Result<u32, Skip> {
    let ip_version = check(context)?;
    let packet = parse(context, ip_version)?;
    let heads = if packet.length == 0 { Ok(0) } else { write_heads(context, &packet) };
    // Opening and end have a record of their own, behind the header bytes.
    if packet.is_control() {
        let mut record = packet.record(context, kind::RESPONSE)?;
        if record.tcp_flags & tcp_flags::SYN == 0 {
            record.sequence = record.sequence.wrapping_add(record.length);
        }
        record.length = 0;
        write_control(&record)?;
    }
    heads
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
    if !find_start(context, packet, state) {
        return Err(Skip::Nothing);
    }
    state.known &= !(NEXT_HEAD | CONTINUATION);
    let mut step = 0;
    while step < MAX_STEPS {
        step += 1;
        if state.scan.position >= packet.length {
            break;
        }
        match scan_step(context, &mut state.scan, packet.payload, packet.length) {
            Scanned::Inside => continue,
            Scanned::End => {}
            Scanned::Unreadable => return Err(Skip::Lost(Loss::Unreadable)),
        }
        write_head(context, packet, &mut state.scan)?;
        if state.scan.seen == 0 {
            return Ok(state.scan.written);
        }
        // Go on behind the body: in this packet, or in a later one.
        let next = state.scan.position.wrapping_add(state.scan.length as u32);
        state.scan = Scan { written: state.scan.written, ..Scan::new(next) };
        state.next_head = packet.sequence.wrapping_add(next);
        state.known |= NEXT_HEAD;
    }
    if state.scan.is_new == 0 && state.scan.position > state.scan.head {
        // The packet ended inside a header.
        state.continuation = packet.sequence.wrapping_add(state.scan.position);
        state.known |= CONTINUATION;
        write_head(context, packet, &mut state.scan)?;
    }
    Ok(state.scan.written)
}

/// Finds where in the packet a header goes on, or begins, and sets the scan to it.
#[inline(always)]
fn find_start(context: &SkBuffContext, packet: &Packet, state: &mut Socket) -> bool {
    let sequence = packet.sequence;
    let total = packet.length;
    let distance = |to: u32| to.wrapping_sub(sequence);
    if state.known & CONTINUATION != 0 && distance(state.continuation) < total {
        state.scan.position = distance(state.continuation);
        state.scan.head = state.scan.position;
        state.scan.written = 0;
        return true;
    }
    if state.known & REQUEST_ACKNOWLEDGMENT != 0 {
        let offset = distance(state.request_acknowledgment);
        if offset < total && is_head_at(context, packet, offset) {
            state.scan = Scan::new(offset);
            return true;
        }
    }
    if state.known & NEXT_HEAD != 0 && distance(state.next_head) < total {
        state.scan = Scan::new(distance(state.next_head));
        return true;
    }
    false
}

#[inline(always)]
fn is_head_at(context: &SkBuffContext, packet: &Packet, offset: u32) -> bool {
    let left = packet.length.wrapping_sub(offset);
    let count = clamp(if left > 8 { 8 } else { left }, 8);
    let mut bytes = MaybeUninit::<[u8; 8]>::zeroed();
    // SAFETY: the destination has eight bytes; `count` is at most that.
    let result = unsafe {
        bpf_skb_load_bytes(
            context.as_ptr(),
            packet.payload.wrapping_add(offset),
            bytes.as_mut_ptr().cast(),
            count,
        )
    };
    // SAFETY: all bytes were set to zero at least.
    result == 0 && is_protocol(u64::from_ne_bytes(unsafe { bytes.assume_init() }), count)
}

#[inline(always)]
fn begins_head(bytes: &[u8; STEP], count: u32) -> bool {
    // SAFETY: eight of the STEP bytes; the read needs no alignment.
    is_protocol(unsafe { bytes.as_ptr().cast::<u64>().read_unaligned() }, count)
}

/// Returns whether the first `count` bytes of a word are `HTTP/1.`, as far as they go.
#[inline(always)]
fn is_protocol(word: u64, count: u32) -> bool {
    let compared = if count < 7 { count } else { 7 };
    // The first byte in memory is the lowest on every host that we run on (bpfel).
    let mask = (1u64 << (compared * 8)) - 1;
    (word ^ PROTOCOL) & mask == 0
}

/// What a step of the scan met.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scanned {
    /// The header goes on.
    Inside = 0,
    /// The header ends with the last byte scanned.
    End = 1,
    /// The packet's bytes could not be read.
    Unreadable = 2,
}

/// Scans the next bytes of a payload that begins at `payload` in the packet and has `length`
/// bytes. Where no header begins although one should, the scan is set to the payload's end.
///
/// A function of its own in the object, for the verifier's sake: see
/// [`crate::snapshot::write_current`].
#[inline(never)]
fn scan_step(context: &SkBuffContext, scan: &mut Scan, payload: u32, length: u32) -> Scanned {
    let left = length.wrapping_sub(scan.position);
    // The smaller of the two, without a branch.
    let is_last = less(u64::from(left), STEP as u64);
    let count = STEP as u64 ^ ((STEP as u64 ^ u64::from(left)) & is_last.wrapping_neg());
    let count = clamp(count as u32, STEP as u32);
    let mut bytes = MaybeUninit::<[u8; STEP]>::zeroed();
    // SAFETY: the destination has STEP bytes; `count` is at most that.
    let result = unsafe {
        bpf_skb_load_bytes(
            context.as_ptr(),
            payload.wrapping_add(scan.position),
            bytes.as_mut_ptr().cast(),
            count,
        )
    };
    if result != 0 {
        return Scanned::Unreadable;
    }
    // SAFETY: all bytes were set to zero at least.
    let bytes = unsafe { bytes.assume_init() };
    if scan.is_new != 0 && !begins_head(&bytes, count) {
        scan.position = length;
        return Scanned::Inside;
    }
    scan.is_new = 0;
    let mut state = *scan;
    let mut inside_head = 1u64;
    let mut scanned = 0u64;
    let mut index = 0;
    while index < STEP {
        // SAFETY: the index is below STEP.
        let byte = u64::from(unsafe { *bytes.as_ptr().add(index) });
        // 1 while the byte is one of the packet's and the header has not ended before it.
        let live = inside_head & less(index as u64, u64::from(count));
        advance(&mut state, byte, live);
        scanned += live;
        inside_head &= ends(state.window) ^ 1;
        index += 1;
    }
    state.position = state.position.wrapping_add(scanned as u32);
    *scan = state;
    if inside_head == 0 { Scanned::End } else { Scanned::Inside }
}

/// Takes one byte into the scan's state if `live` is 1.
#[inline(always)]
fn advance(scan: &mut Scan, byte: u64, live: u64) {
    // All ones where live, else zero: the state stays as it is.
    let mask = live.wrapping_neg();
    let merge = |old: u64, new: u64| old ^ ((old ^ new) & mask);
    let low = lower(byte);
    let older = (scan.older << 8) | (scan.newer >> 56);
    let newer = (scan.newer << 8) | low;
    // In the lowest byte alone, so that what is below '0' becomes large and not negative.
    let digit = byte.wrapping_sub(u64::from(b'0')) & 0xff;
    let is_digit = less(digit, 10);
    // Ten times the value plus the digit, or the value as it is.
    let grown = scan.length.wrapping_mul(1 + 9 * is_digit).wrapping_add(digit & is_digit.wrapping_neg());
    let length = scan.length ^ ((scan.length ^ grown) & scan.inside.wrapping_neg());
    let is_line_end = is_zero(byte ^ u64::from(b'\n'));
    let is_name = is_zero((older ^ NAME_OLDER) | (newer ^ NAME_NEWER));
    let inside = (scan.inside & (is_line_end ^ 1)) | is_name;
    scan.window = merge(scan.window, (scan.window << 8) | byte);
    scan.older = merge(scan.older, older);
    scan.newer = merge(scan.newer, newer);
    scan.length = merge(scan.length, length & is_name.wrapping_sub(1));
    scan.inside = merge(scan.inside, inside);
    scan.seen = merge(scan.seen, scan.seen | is_name);
}

/// Returns 1 if the window ends with a blank line: `\n\r\n`, or `\n\n`.
#[inline(always)]
fn ends(window: u64) -> u64 {
    is_zero((window & 0xff_ffff) ^ 0x0a_0d_0a) | is_zero((window & 0xffff) ^ 0x0a0a)
}

/// Makes ASCII letters lower case, by a bit that `-` and `:` have anyway.
#[inline(always)]
fn lower(byte: u64) -> u64 {
    byte | 0x20
}

/// Writes the header bytes between the head's place and the scan's.
#[inline(always)]
fn write_head(context: &SkBuffContext, packet: &Packet, scan: &mut Scan) -> Result<(), Skip> {
    let from = scan.head;
    let count = scan.position.wrapping_sub(from);
    scan.written = scan.written.wrapping_add(count);
    let mut record = packet.record(context, kind::RESPONSE)?;
    record.sequence = record.sequence.wrapping_add(from);
    // The header alone: a body in the same packet is passed over like one in a later packet.
    record.length = count;
    // The packet's flags have a record of their own.
    record.tcp_flags &= tcp_flags::ACK;
    match write_payload(context, &record, packet.payload.wrapping_add(from), count) {
        Written::Yes => Ok(()),
        Written::Full => Err(Skip::Lost(Loss::Response)),
        Written::Unreadable => Err(Skip::Lost(Loss::Unreadable)),
    }
}
