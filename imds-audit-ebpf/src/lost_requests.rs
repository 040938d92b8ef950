//! The requests in a packet for which the ring had no room.

use aya_ebpf::{bindings::__sk_buff, programs::SkBuffContext};
use imds_audit_ebpf::{
    Loss,
    request_start::{self, ByteWindow, HISTORY},
};

use crate::{
    packet::{Packet, cookie, load_words},
    ring::count,
    segment::count_loss_for_sender,
    socket::{self, SENT_AHEAD, Socket},
    verifier::{black_box, branchless_min},
};

/// How many bytes a step looks at, with those before them that it needs.
const STEP: u32 = 64;
/// How many steps a block has, and a packet blocks: enough for 64 KiB, the most that there is.
const BLOCK: u32 = 34;
const _: () = assert!(BLOCK * BLOCK * (STEP - HISTORY) >= 64 << 10);

/// Returns whether a packet has a request's first bytes and is sent for the first time.
#[inline(always)]
pub fn is_first(begins: u8) -> bool {
    begins == request_start::IN_TURN || begins == request_start::PIPELINED
}

/// Counts what was lost of a packet whose bytes from `from` on were not written: each request
/// whose first byte is among them, and the rest of one that began before.
///
/// It reads the bytes that were lost, which no packet pays that is written.
#[inline(always)]
pub fn count_lost(skb: *mut __sk_buff, from: u32) {
    let others = count_request_starts(skb, from);
    record_loss(skb, from, others);
}

/// Returns whether a packet's first byte is a request's, sent for the first time, and among those
/// that were lost.
#[inline(always)]
fn begins_here(state: &Socket, from: u32) -> bool {
    from == 0 && is_first(state.begins as u8)
}

/// Returns how many requests begin in a packet's payload from `from` on, but for one that the
/// packet begins with.
///
/// A global function in the object: see [`crate::segment::write_part`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn count_request_starts(skb: *mut __sk_buff, from: u32) -> u32 {
    let context = &SkBuffContext::new(skb);
    let Ok(packet) = Packet::parse(context) else { return 0 };
    let Some(state) = socket::find(cookie(context)) else { return 0 };
    // SAFETY: the pointer is to a map value, which lives as long as the program runs; the socket's
    // lock keeps another sender out.
    let state = unsafe { &*state };
    // Bytes that were sent before are reported or counted already.
    let old = if state.retransmitted_len > from { state.retransmitted_len } else { from };
    let (before, place) = if old != 0 {
        // The fourth byte of a request whose first byte is the next.
        (ByteWindow::UNKNOWN, old.wrapping_add(3))
    } else if begins_here(state, from) {
        (ByteWindow::UNKNOWN, 0)
    } else {
        (ByteWindow::after(state.prev4_before_packet), 0)
    };
    let whole = count_from(skb, packet.payload, place, packet.length, before.into());
    let cut = partial_method_len(skb, packet.payload, packet.length, before.into());
    whole.wrapping_add(u32::from(cut != 0 && packet.length.wrapping_sub(cut) >= old))
}

/// Notes that a packet's bytes from `from` on were lost, and with them `others` requests beside
/// one that the packet begins with. Returns nothing of meaning.
///
/// A global function in the object: see [`crate::segment::write_part`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn record_loss(skb: *mut __sk_buff, from: u32, others: u32) -> u32 {
    let context = &SkBuffContext::new(skb);
    let Some(state) = socket::find(cookie(context)) else {
        // Of a socket without a memory every packet counts as a request of its own.
        count(if from == 0 { Loss::Request } else { Loss::RequestRest }, 1);
        return 0;
    };
    // SAFETY: as in `count_request_starts`.
    let state = unsafe { &mut *state };
    if others != 0 {
        // Their responses come one behind the other, whatever their caller acknowledges next.
        state.valid_bits |= SENT_AHEAD;
    }
    let begins_here = begins_here(state, from);
    if !begins_here {
        count(Loss::RequestRest, 1);
        count_loss_for_sender(skb, Loss::RequestRest as u32, 1);
    }
    let requests = others.wrapping_add(u32::from(begins_here));
    if requests != 0 {
        state.lost_requests = state.lost_requests.wrapping_add(requests);
        count(Loss::Request, requests.into());
        count_loss_for_sender(skb, Loss::Request as u32, requests);
    }
    0
}

/// Defines a global function that counts the requests behind a blank line whose fourth byte lies at
/// `place` or behind it in a payload that begins at `payload` in the packet and has `length` bytes.
/// `before` is the [`ByteWindow`] before it. It calls `$count` up to [`BLOCK`] times, `$advance`
/// bytes apart.
///
/// Two such loops, one inside the other, because the verifier follows each turn of a loop, once for
/// each thing that it knows about the packet: in one loop of a thousand turns it visited 33 000
/// instructions more on 6.12, and inside of [`count_request_starts`] 5.10 and 6.1 refused it.
macro_rules! counting_loop {
    ($name:ident, $count:ident, $advance:expr) => {
        #[inline(never)]
        #[unsafe(no_mangle)]
        extern "C" fn $name(
            skb: *mut __sk_buff,
            payload: u32,
            place: u32,
            length: u32,
            before: u64,
        ) -> u32 {
            let mut place = place;
            let mut found = 0u32;
            let mut turn = 0;
            while turn < BLOCK {
                if place >= length {
                    break;
                }
                found = found.wrapping_add($count(skb, payload, place, length, before));
                place = place.wrapping_add($advance - history(place));
                turn += 1;
            }
            found
        }
    };
}

// A step looks at the bytes from a place on less those before it that it needs: all steps but a
// packet's first need [`HISTORY`] of them.
counting_loop!(count_block, count_step, STEP);
counting_loop!(count_from, count_block, STEP + (BLOCK - 1) * (STEP - HISTORY));

/// Returns how many of the bytes before a place in a packet's payload a step needs.
#[inline(always)]
fn history(place: u32) -> u32 {
    branchless_min(place.into(), HISTORY.into()) as u32
}

/// Counts the requests behind a blank line whose fourth byte is one of the next bytes from `place`
/// on of a payload that begins at `payload` in the packet and has `length` bytes; `before` is the
/// [`ByteWindow`] before it.
///
/// A global function in the object: see [`crate::segment::write_part`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn count_step(
    skb: *mut __sk_buff,
    payload: u32,
    place: u32,
    length: u32,
    before: u64,
) -> u32 {
    let context = &SkBuffContext::new(skb);
    let history = history(place);
    let at = place.wrapping_sub(history);
    let available = branchless_min(length.wrapping_sub(at).into(), STEP.into()) as u32;
    let mut words = [0u64; STEP as usize / 8];
    if !load_words(context, payload.wrapping_add(at), &mut words, available) {
        return 0;
    }
    // A byte behind the last is one of the array's zeroes, which no method has.
    let before = if at == 0 { before } else { ByteWindow::UNKNOWN.into() };
    let mut found = count_word(before, words[0], history);
    let mut index = 1;
    while index < words.len() {
        found = found.wrapping_add(count_word(words[index - 1].swap_bytes(), words[index], 0));
        index += 1;
    }
    found
}

/// Counts the requests behind a blank line whose fourth byte is in a word, but for its first
/// `skipped` bytes, where `before` is the [`ByteWindow`] before it.
///
/// A global function in the object, without a branch for a byte: in a loop over bytes the verifier
/// follows each branch once for all that it knows from the bytes before.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn count_word(before: u64, word: u64, skipped: u32) -> u32 {
    let mut window = before;
    let mut rest = word;
    let mut found = 0u32;
    let mut index = 0u64;
    while index < 8 {
        window = window << 8 | rest & 0xff;
        rest >>= 8;
        // 1 unless the index is less.
        let is_counted = 1 ^ black_box(index.wrapping_sub(skipped.into()) >> 63) as u32;
        found = found.wrapping_add(starts_request(window) & is_counted);
        index += 1;
    }
    found
}

/// Returns 1 if the newest byte of a [`ByteWindow`] is the fourth of a request that begins behind a
/// blank line.
///
/// A global function in the object: see [`crate::segment::write_part`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn starts_request(window: u64) -> u32 {
    u32::from(ByteWindow::from(window).starts_request())
}

/// Returns how many bytes a payload has of a method that it ends in the middle of: see
/// [`ByteWindow::partial_method_len`].
///
/// A global function in the object: see [`crate::segment::write_part`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn partial_method_len(
    skb: *mut __sk_buff,
    payload: u32,
    length: u32,
    before: u64,
) -> u32 {
    let context = &SkBuffContext::new(skb);
    let count = branchless_min(length.into(), 8) as u32;
    let mut last = [0u64; 1];
    let place = payload.wrapping_add(length).wrapping_sub(count);
    if !load_words(context, place, &mut last, count) {
        return 0;
    }
    let bytes = last[0].swap_bytes();
    // The first byte of fewer than eight is the highest one all the same.
    let missing = (8 - count) * 8;
    let window = if missing == 0 { bytes } else { bytes >> missing | before << (64 - missing) };
    ByteWindow::from(window).partial_method_len()
}
