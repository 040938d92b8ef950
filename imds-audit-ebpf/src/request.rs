//! Egress: request bytes, and who sends them.

use aya_ebpf::{bindings::__sk_buff, programs::SkBuffContext};
use imds_audit_ebpf::{Loss, MAX_CHUNKS, MAX_PAYLOAD, kind};

use crate::{
    config::offset,
    emit::{Skip, count},
    kernel::{Pointer, is_owned},
    packet::{Packet, check, cookie, load, own_ends, own_socket, parse, write_part},
    snapshot::{identify_current, write_current},
    socket::{self, NO_BODY, REQUEST_ACKNOWLEDGMENT, Socket},
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
    if let Some(state) = socket::find_or_add(cookie(context)) {
        // SAFETY: the pointer is to a map value, which lives as long as the program runs; the
        // socket's lock keeps another sender out.
        let state = unsafe { &mut *state };
        state.request_acknowledgment = packet.acknowledgment;
        state.known |= REQUEST_ACKNOWLEDGMENT;
        let is_head =
            matches!(load::<4>(context, packet.payload), Ok(method) if method == *b"HEAD");
        state.known = if is_head { state.known | NO_BODY } else { state.known & !NO_BODY };
    }
    // The request bytes matter more than who sent them: go on where that is lost.
    let skb = context.skb.skb;
    if note_sender(skb) != 0 && write_sender(skb) == 0 {
        count(Loss::Writer);
    }
    write_chunks(context, &packet)
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
    let Some((current, task)) = identify_current() else { return false };
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
    let Some((current, task)) = identify_current() else { return 1 };
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
    let full = MAX_PAYLOAD as u32;
    let mut chunk = 0;
    while chunk < MAX_CHUNKS as u32 {
        let from = chunk * full;
        let left = packet.length.wrapping_sub(from);
        if left <= full {
            write_part(context.skb.skb, kind::REQUEST, from, left).or_lost(Loss::Request)?;
            return Ok(packet.length);
        }
        write_part(context.skb.skb, kind::REQUEST, from, full).or_lost(Loss::Request)?;
        chunk += 1;
    }
    Err(Skip::Lost(Loss::Request))
}
