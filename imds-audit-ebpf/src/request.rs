//! Egress: request bytes, and who sends them.

use aya_ebpf::{
    EbpfContext, bindings::__sk_buff, helpers::generated::bpf_skb_load_bytes,
    programs::SkBuffContext,
};
use imds_audit_ebpf::{Loss, MAX_CHUNKS, MAX_PAYLOAD, begins, kind, tcp_flags};

use crate::{
    config::offset,
    emit::{Skip, count},
    ends::own_ends,
    kernel::{Pointer, is_owned},
    packet::{Packet, blame_sender, check, cookie, own_socket, parse, write_part},
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
    // Of a socket without a memory every packet counts as a request of its own.
    let mut begins = begins::ALONE;
    if let Some(state) = state {
        // SAFETY: the pointer is to a map value, which lives as long as the program runs; the
        // socket's lock keeps another sender out.
        let state = unsafe { &mut *state };
        let method = first_bytes(context, &packet);
        begins = begins_request(&packet, state, method);
        if begins == begins::AHEAD {
            state.known |= SENT_AHEAD;
        } else if begins == begins::ALONE && state.known & SENT_AHEAD != 0 {
            begins = begins::AHEAD;
        }
        state.begins = u16::from(begins);
        // What is sent again is as old as the first time, whatever it acknowledges now.
        if begins != begins::AGAIN {
            state.asked = end_of(&packet);
            state.known |= ASKED;
            note_acknowledgment(&packet, state);
        }
        if is_first(begins) {
            let is_head = method == *b"HEAD";
            state.known = if is_head { state.known | NO_BODY } else { state.known & !NO_BODY };
        }
    }
    // The request bytes matter more than who sent them: go on where that is lost.
    let skb = context.skb.skb;
    if note_sender(skb) != 0 && write_sender(skb) == 0 {
        count(Loss::Writer);
        blame_sender(skb, Loss::Writer as u32);
    }
    let lost = if is_first(begins) { Loss::Request } else { Loss::RequestRest };
    let written = write_chunks(context, &packet, lost);
    if let (Err(Skip::Lost(Loss::Request)), Some(state)) = (&written, state) {
        // SAFETY: as above.
        let state = unsafe { &mut *state };
        state.lost_requests = state.lost_requests.wrapping_add(1);
    }
    written
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

/// Returns whether a packet has a request's first bytes and is sent for the first time.
#[inline(always)]
fn is_first(begins: u8) -> bool {
    begins == begins::ALONE || begins == begins::AHEAD
}

/// Returns the sequence number behind a packet's payload.
#[inline(always)]
fn end_of(packet: &Packet) -> u32 {
    let opening = u32::from(packet.tcp_flags & tcp_flags::SYN != 0);
    packet.sequence.wrapping_add(opening).wrapping_add(packet.length)
}

/// Returns whether a sequence number comes after another, across the wrap.
#[inline(always)]
fn is_after(number: u32, other: u32) -> bool {
    number.wrapping_sub(other).wrapping_sub(1) < 1 << 31
}

/// Returns whether a packet has the first bytes of a request: one of [`begins`].
#[inline(always)]
fn begins_request(packet: &Packet, state: &Socket, method: [u8; 4]) -> u8 {
    if state.known & ASKED == 0 {
        return begins::ALONE;
    }
    if !is_after(end_of(packet), state.asked) {
        return begins::AGAIN;
    }
    if state.known & REQUEST_ACKNOWLEDGMENT != 0
        && is_after(packet.acknowledgment, state.request_acknowledgment)
    {
        return begins::ALONE;
    }
    if METHODS.contains(&method) { begins::AHEAD } else { begins::NO }
}

/// How the methods of requests begin that a metadata service is asked with, and a few more.
const METHODS: [[u8; 4]; 6] = [*b"GET ", *b"PUT ", *b"HEAD", *b"POST", *b"DELE", *b"OPTI"];

/// Returns the first four bytes of the payload, or zeroes where there are fewer.
#[inline(always)]
fn first_bytes(context: &SkBuffContext, packet: &Packet) -> [u8; 4] {
    let mut bytes = [0; 4];
    // SAFETY: the destination is ours and four bytes long; on failure the helper clears it.
    unsafe {
        bpf_skb_load_bytes(context.as_ptr(), packet.payload, (&raw mut bytes).cast(), 4);
    }
    bytes
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
/// Each but the last is full, so that the verifier knows where each one begins. `lost` is the loss
/// that it is where the first has no room.
#[inline(always)]
fn write_chunks(context: &SkBuffContext, packet: &Packet, lost: Loss) -> Result<u32, Skip> {
    let full = MAX_PAYLOAD as u32;
    let mut chunk = 0;
    while chunk < MAX_CHUNKS as u32 {
        let from = chunk * full;
        let left = packet.length.wrapping_sub(from);
        let loss = if chunk == 0 { lost } else { Loss::RequestRest };
        if left <= full {
            write_part(context.skb.skb, kind::REQUEST, from, left).or_lost(loss)?;
            return Ok(packet.length);
        }
        write_part(context.skb.skb, kind::REQUEST, from, full).or_lost(loss)?;
        chunk += 1;
    }
    Err(Skip::Lost(Loss::RequestRest))
}
