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
use imds_audit_ebpf::{
    Loss, kind,
    swar::{decimal, matches, trailing_zeros},
    tcp_flags,
};

use crate::{
    packet::{Packet, cookie, load_words},
    segment::{Written, write_part, write_uncaptured},
    skip::Skip,
    socket::{
        self, ANSWERED, CONTINUATION, NEXT_HEAD, NO_BODY, REQUEST_ACKNOWLEDGMENT, Scan, Socket,
        UNACKNOWLEDGED, UNKNOWN,
    },
    verifier::branchless_min,
};

/// How many bytes are scanned at a time. With the sixteen before them they are the 64 bits of a
/// word.
const STEP: usize = 48;
/// The bytes before them that a decision may need: a line feed and `content-length:`.
const HISTORY: u32 = 16;
/// How many steps make a block, 1.5 KiB of a header, and how many blocks one packet may take; each
/// header has at least one. IMDS's are about 300 bytes each, and a packet has 64 KiB at most.
const BLOCK_STEPS: u32 = 32;
const MAX_BLOCKS: u32 = 64;

/// `HTTP/1.` as the first seven of eight bytes in memory.
const PROTOCOL: u64 = u64::from_ne_bytes(*b"HTTP/1.\0");
/// The statuses of responses without a body (RFC 9112, section 6.3), as they stand in a word.
const NO_CONTENT: u64 = u64::from_ne_bytes(*b"204\0\0\0\0\0");
const NOT_MODIFIED: u64 = u64::from_ne_bytes(*b"304\0\0\0\0\0");
/// `content-length:` behind a line feed, as two words with the bit of lower case set.
const NAME: [u64; 2] = [u64::from_ne_bytes(*b"\x2acontent"), u64::from_ne_bytes(*b"-length:")];
/// The bit that makes an ASCII letter lower case. A hyphen and a colon have it.
const LOWER: u64 = 0x2020_2020_2020_2020;

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

/// Scans the next [`BLOCK_STEPS`] steps of a payload: see [`scan_step`].
///
/// A global function in the object: see [`write_part`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn scan_block(skb: *mut __sk_buff, payload: u32, length: u32) -> Scanned {
    let Some(state) = socket::find(cookie(&SkBuffContext::new(skb))) else {
        return Scanned::Unreadable;
    };
    let mut step = 0;
    while step < BLOCK_STEPS {
        // SAFETY: as in `write_heads`.
        if unsafe { (*state).scan.position } >= length {
            break;
        }
        let scanned = scan_step(skb, payload, length);
        if scanned != Scanned::Inside {
            return scanned;
        }
        step += 1;
    }
    Scanned::Inside
}

/// Scans the next bytes of a payload that begins at `payload` in the packet and has `length`
/// bytes. Where no header begins although one should, the scan is set to the payload's end.
///
/// A global function in the object: see [`write_part`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn scan_step(skb: *mut __sk_buff, payload: u32, length: u32) -> Scanned {
    let context = &SkBuffContext::new(skb);
    // Forgotten since the step before: other sockets needed the place.
    let Some(state) = socket::find(cookie(context)) else { return Scanned::Unreadable };
    // SAFETY: as in `write_heads`.
    let (scan, valid_bits) = unsafe { (&mut (*state).scan, &mut (*state).valid_bits) };
    let left = length.wrapping_sub(scan.position);
    let count = branchless_min(u64::from(left), STEP as u64) as u32;
    let mut bytes = [0u64; STEP / 8];
    if !load_words(context, payload.wrapping_add(scan.position), &mut bytes, count) {
        return Scanned::Unreadable;
    }
    if scan.is_new != 0 {
        if !is_protocol(bytes[0], count) {
            scan.position = length;
            return Scanned::Inside;
        }
        let status = (bytes[1] >> 8) & 0xff_ff_ff;
        // An interim response (1xx) has no body: the next header follows at once.
        if status & 0xff == u64::from(b'1') {
            scan.length = 0;
        }
        if status == NO_CONTENT || status == NOT_MODIFIED {
            *valid_bits |= NO_BODY;
        }
    }
    scan.is_new = 0;
    let line_feeds = find(&bytes, b'\n', scan.line_feeds);
    let carriage_returns = find(&bytes, b'\r', scan.carriage_returns);
    let hyphens = find(&bytes, b'-', scan.hyphens);
    // A line feed, and before it another, with or without a carriage return between.
    let blank = line_feeds & ((line_feeds << 1) | ((carriage_returns << 1) & (line_feeds << 2)));
    // Behind the header's end nothing counts.
    let head = blank ^ blank.wrapping_sub(1);
    // A name of fourteen letters with a hyphen as the eighth.
    let names = find(&bytes, b':', 0) & (line_feeds << 15) & (hyphens << 7) & head;
    if names != 0 {
        let colon = trailing_zeros(names) as u32;
        // The place of the line feed before the name, which an earlier packet may have had.
        let place = scan.position.wrapping_add(colon).wrapping_sub(HISTORY + 15);
        if place <= length {
            read_length(context, scan, payload.wrapping_add(place), length.wrapping_sub(place));
        }
    }
    if blank != 0 {
        let end = trailing_zeros(blank) as u32;
        scan.position = scan.position.wrapping_add(end).wrapping_sub(HISTORY - 1);
        drop_body(scan, valid_bits);
        return Scanned::End;
    }
    scan.position = scan.position.wrapping_add(count);
    scan.line_feeds = recent(line_feeds, count);
    scan.carriage_returns = recent(carriage_returns, count);
    scan.hyphens = recent(hyphens, count);
    Scanned::Inside
}

/// Forgets the length of a body that does not come. An interim response, of length zero, leaves
/// that to the one behind it.
#[inline(always)]
fn drop_body(scan: &mut Scan, valid_bits: &mut u32) {
    if *valid_bits & NO_BODY != 0 && scan.length != 0 && scan.length != UNKNOWN {
        *valid_bits &= !NO_BODY;
        scan.length = 0;
    }
}

/// Returns a bit for each byte of a kind: the sixteen before the step's, then the step's.
#[inline(always)]
fn find(bytes: &[u64; STEP / 8], byte: u8, history: u64) -> u64 {
    history & 0xffff
        | matches(bytes[0], byte) << 16
        | matches(bytes[1], byte) << 24
        | matches(bytes[2], byte) << 32
        | matches(bytes[3], byte) << 40
        | matches(bytes[4], byte) << 48
        | matches(bytes[5], byte) << 56
}

/// Returns the bits of the last sixteen bytes, after a step of `count`.
#[inline(always)]
fn recent(bits: u64, count: u32) -> u64 {
    (bits >> (count & 63)) & 0xffff
}

/// Reads the value of a Content-Length whose line feed stands at `place` in the packet, with
/// `left` bytes of the packet from there on. Another header's, one of more than seven digits or
/// in another form, and one that lies in two packets leave the length unknown.
#[inline(always)]
fn read_length(context: &SkBuffContext, scan: &mut Scan, place: u32, left: u32) {
    // The name, and a word of value: a space, digits, the line's end.
    let mut line = [0u64; 4];
    let count = branchless_min(u64::from(left), 26) as u32;
    if !load_words(context, place, &mut line, count) {
        return;
    }
    if line[0] | LOWER != NAME[0] || line[1] | LOWER != NAME[1] {
        return;
    }
    let value =
        if line[2] & 0xff == u64::from(b' ') { line[2] >> 8 | line[3] << 56 } else { line[2] };
    let (number, digits) = decimal(value);
    let end = (value >> (8 * digits)) & 0xff;
    if digits != 0 && digits < 8 && (end == u64::from(b'\r') || end == u64::from(b'\n')) {
        scan.length = number;
    }
}
