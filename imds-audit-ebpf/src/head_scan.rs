//! Scan of the bytes of response headers: for their end, and for the length of the body behind it.

use aya_ebpf::{bindings::__sk_buff, programs::SkBuffContext};
use imds_audit_ebpf::swar::{decimal, matches, trailing_zeros};

use crate::{
    packet::{cookie, load_words},
    socket::{self, NO_BODY, Scan, UNKNOWN},
    verifier::branchless_min,
};

/// How many bytes are scanned at a time. With the sixteen before them they are the 64 bits of a
/// word.
const STEP: usize = 48;
/// The bytes before them that a decision may need: a line feed and `content-length:`.
const HISTORY: u32 = 16;
/// How many steps make a block, 1.5 KiB of a header.
const BLOCK_STEPS: u32 = 32;

/// `HTTP/1.` as the first seven of eight bytes in memory.
const PROTOCOL: u64 = u64::from_ne_bytes(*b"HTTP/1.\0");
/// The statuses of responses without a body (RFC 9112, section 6.3), as they stand in a word.
const NO_CONTENT: u64 = u64::from_ne_bytes(*b"204\0\0\0\0\0");
const NOT_MODIFIED: u64 = u64::from_ne_bytes(*b"304\0\0\0\0\0");
/// `content-length:` behind a line feed, as two words with the bit of lower case set.
const NAME: [u64; 2] = [u64::from_ne_bytes(*b"\x2acontent"), u64::from_ne_bytes(*b"-length:")];
/// The bit that makes an ASCII letter lower case. A hyphen and a colon have it.
const LOWER: u64 = 0x2020_2020_2020_2020;

/// Returns whether the first `count` bytes of a word are `HTTP/1.`, as far as they go.
#[inline(always)]
pub fn is_protocol(word: u64, count: u32) -> bool {
    let compared = if count < 7 { count } else { 7 };
    // The first byte in memory is the lowest on every host that we run on (bpfel).
    let mask = (1u64 << (compared * 8)) - 1;
    (word ^ PROTOCOL) & mask == 0
}

/// What a step of the scan met.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scanned {
    /// The header goes on.
    Inside = 0,
    /// The header ends with the last byte scanned.
    End = 1,
    /// The packet's bytes could not be read.
    Unreadable = 2,
}

/// Scans the next [`BLOCK_STEPS`] steps of a payload: see [`scan_step`].
///
/// A global function in the object: see [`crate::segment::write_part`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn scan_block(skb: *mut __sk_buff, payload: u32, length: u32) -> Scanned {
    let Some(state) = socket::find(cookie(&SkBuffContext::new(skb))) else {
        return Scanned::Unreadable;
    };
    let mut step = 0;
    while step < BLOCK_STEPS {
        // SAFETY: as in `response::write_heads`.
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
/// A global function in the object: see [`crate::segment::write_part`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn scan_step(skb: *mut __sk_buff, payload: u32, length: u32) -> Scanned {
    let context = &SkBuffContext::new(skb);
    // Forgotten since the step before: other sockets needed the place.
    let Some(state) = socket::find(cookie(context)) else { return Scanned::Unreadable };
    // SAFETY: as in `response::write_heads`.
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
