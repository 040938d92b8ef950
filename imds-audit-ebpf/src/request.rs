//! Egress: request bytes, and who sends them.

use aya_ebpf::{bindings::__sk_buff, programs::SkBuffContext};
use imds_audit_ebpf::{
    Loss, MAX_CHUNKS, MAX_PAYLOAD,
    beginnings::{METHODS, is_blank_line},
    begins, kind, tcp_flags,
};

use crate::{
    bits::minimum,
    config::offset,
    emit::{Skip, count},
    ends::own_ends,
    kernel::{Pointer, is_owned},
    lost::{count_lost, is_first, length_cut},
    packet::{
        Packet, Written, blame_sender, check, cookie, load, load_words, own_socket, parse,
        write_part,
    },
    snapshot::{Actor, identify_current, write_current},
    socket::{self, ASKED, NO_BODY, REQUEST_ACKNOWLEDGMENT, SENT_AHEAD, Socket},
};

/// Reports a packet to the service. Returns how many request bytes it had.
#[inline(always)]
pub fn try_egress(context: &SkBuffContext) -> Result<u32, Skip> {
    let ip_version = check(context)?;
    let packet = parse(context, ip_version)?;
    if packet.length == 0 {
        if !packet.is_control() {
            return Err(Skip::Nothing);
        }
        return write_part(context.skb.skb, kind::REQUEST, 0, 0).or_lost(Loss::Control);
    }
    let state = socket::find_or_add(cookie(context));
    if let Some(state) = state {
        // SAFETY: the pointer is to a map value, which lives as long as the program runs; the
        // socket's lock keeps another sender out.
        note_request(context, &packet, unsafe { &mut *state });
    }
    // The request bytes matter more than who sent them: go on where that is lost.
    let skb = context.skb.skb;
    if note_sender(skb) != 0 && write_sender(skb) == 0 {
        count(Loss::Writer, 1);
        blame_sender(skb, Loss::Writer as u32, 1);
    }
    write_chunks(context, &packet)
}

/// Notes what a packet with request bytes tells of its socket, and whether it begins a request.
#[inline(always)]
fn note_request(context: &SkBuffContext, packet: &Packet, state: &mut Socket) {
    let method = first_bytes(context, packet);
    let mut begins = begins_request(context.skb.skb, packet, state, method);
    if begins == begins::AHEAD {
        state.known |= SENT_AHEAD;
    } else if begins == begins::ALONE && state.known & SENT_AHEAD != 0 {
        begins = begins::AHEAD;
    }
    state.begins = u16::from(begins);
    state.stale =
        if begins == begins::AGAIN { state.asked.wrapping_sub(start_of(packet)) } else { 0 };
    if state.stale >= packet.length {
        // What is sent again is as old as the first time, whatever it acknowledges now.
        return;
    }
    state.asked = start_of(packet).wrapping_add(packet.length);
    state.known |= ASKED;
    note_acknowledgment(packet, state);
    state.before = state.tail;
    state.tail = tail(context, packet, method, state);
    if is_first(begins) {
        let is_head = method == *b"HEAD";
        state.known = if is_head { state.known | NO_BODY } else { state.known & !NO_BODY };
    }
}

/// Returns the last four bytes that were sent, with the packet at hand.
#[inline(always)]
fn tail(context: &SkBuffContext, packet: &Packet, method: [u8; 4], state: &Socket) -> u32 {
    if packet.length < 4 {
        let fresh = 8 * packet.length.wrapping_sub(state.stale);
        let bytes = u32::from_be_bytes(method) >> (32 - 8 * packet.length);
        return state.before << fresh | bytes & ((1 << fresh) - 1);
    }
    let end = packet.payload.wrapping_add(packet.length);
    load(context, end.wrapping_sub(4)).map_or(0, u32::from_be_bytes)
}

/// Notes what the caller had received when it sent a packet with request bytes.
#[inline(always)]
fn note_acknowledgment(packet: &Packet, state: &mut Socket) {
    if packet.tcp_flags & tcp_flags::ACK == 0 {
        // A first packet with bytes (TCP Fast Open): the service's answer to the opening will
        // tell where its responses begin.
        state.known &= !REQUEST_ACKNOWLEDGMENT;
    } else {
        state.request_acknowledgment = packet.acknowledgment;
        state.known |= REQUEST_ACKNOWLEDGMENT;
    }
}

/// Returns the sequence number of a packet's first payload byte.
#[inline(always)]
fn start_of(packet: &Packet) -> u32 {
    packet.sequence.wrapping_add(u32::from(packet.tcp_flags & tcp_flags::SYN != 0))
}

/// Returns whether a sequence number comes after another, across the wrap.
#[inline(always)]
fn is_after(number: u32, other: u32) -> bool {
    number.wrapping_sub(other).wrapping_sub(1) < 1 << 31
}

/// Returns whether a packet has the first bytes of a request: one of [`begins`].
#[inline(always)]
fn begins_request(skb: *mut __sk_buff, packet: &Packet, state: &Socket, method: [u8; 4]) -> u8 {
    if state.known & ASKED == 0 {
        return begins::ALONE;
    }
    if is_after(state.asked, start_of(packet)) {
        return begins::AGAIN;
    }
    let is_newer = state.known & REQUEST_ACKNOWLEDGMENT != 0
        && is_after(packet.acknowledgment, state.request_acknowledgment);
    let is_method = METHODS.contains(&method)
        || packet.length < 4
            && length_cut(skb, packet.payload, packet.length, state.tail.into()) == packet.length;
    // A caller may receive something while it is in the middle of a request.
    let may_begin = method[0].is_ascii_uppercase() && is_blank_line(state.tail.into());
    if is_newer && (is_method || may_begin) {
        return begins::ALONE;
    }
    if is_method { begins::AHEAD } else { begins::NO }
}

/// Returns the first four bytes of the payload, with zeroes for those that it does not have.
#[inline(always)]
fn first_bytes(context: &SkBuffContext, packet: &Packet) -> [u8; 4] {
    let mut word = [0; 1];
    let count = minimum(packet.length.into(), 4) as u32;
    load_words(context, packet.payload, &mut word, count);
    let [first, second, third, fourth, ..] = word[0].to_ne_bytes();
    [first, second, third, fourth]
}

/// Notes the task that sends the packet, if it leaves in that task's context. Returns 1 where a
/// snapshot of its process is to be written, and 0 where the last one written for this socket was
/// of the same process since the same `exec`.
///
/// A global function in the object: see [`write_part`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn note_sender(skb: *mut __sk_buff) -> u32 {
    let context = &SkBuffContext::new(skb);
    let Some(state) = socket::find(cookie(context)) else { return 0 };
    // SAFETY: as in `try_egress`.
    u32::from(note_current(context, unsafe { &mut *state }))
}

#[inline(always)]
fn note_current(context: &SkBuffContext, state: &mut Socket) -> bool {
    state.is_sent_by_task = 0;
    let Some(socket) = Pointer::of_typed(own_socket(context)) else { return false };
    if !is_owned(socket) {
        return false;
    }
    let Actor::Process(current, task) = identify_current() else { return false };
    state.task = task;
    current.read_into(offset!(task_struct_comm), &mut state.comm);
    state.is_sent_by_task = 1;
    state.writer != task.process()
}

/// Writes a snapshot of the process that sends the packet. Returns 1, or 0 where there was no
/// room.
///
/// A global function in the object: see [`write_part`]. Apart from [`note_sender`], because the
/// frames of functions that call each other have 512 bytes of stack in all.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn write_sender(skb: *mut __sk_buff) -> u32 {
    let context = &SkBuffContext::new(skb);
    let cookie = cookie(context);
    let Actor::Process(current, task) = identify_current() else { return 1 };
    let Ok(ends) = own_ends(context) else { return 1 };
    if !write_current(kind::WRITER, cookie, &ends, current, &task) {
        return 0;
    }
    if let Some(state) = socket::find(cookie) {
        socket::set_writer(state, &task);
    }
    1
}

/// Writes a packet's payload as records of up to [`MAX_PAYLOAD`] bytes.
///
/// Each but the last is full, so that the verifier knows where each one begins.
#[inline(always)]
fn write_chunks(context: &SkBuffContext, packet: &Packet) -> Result<u32, Skip> {
    let skb = context.skb.skb;
    let full = MAX_PAYLOAD as u32;
    let mut chunk = 0;
    while chunk < MAX_CHUNKS as u32 {
        let from = chunk * full;
        let left = packet.length.wrapping_sub(from);
        let is_last = left <= full;
        match write_part(skb, kind::REQUEST, from, if is_last { left } else { full }) {
            Written::Yes if is_last => return Ok(packet.length),
            Written::Yes => {}
            Written::Full => {
                count_lost(skb, from);
                return Err(Skip::Counted);
            }
            Written::Unreadable => return Err(Skip::Lost(Loss::Unreadable)),
        }
        chunk += 1;
    }
    count_lost(skb, MAX_CHUNKS as u32 * full);
    Err(Skip::Counted)
}
