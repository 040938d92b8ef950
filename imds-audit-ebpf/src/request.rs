//! Egress: request bytes, and who sends them.

use aya_ebpf::{bindings::__sk_buff, programs::SkBuffContext};
use imds_audit_ebpf::{Loss, MAX_CHUNKS, MAX_PAYLOAD, kind};

use crate::{
    config::offset,
    emit::{Skip, count},
    kernel::{Pointer, is_owned},
    packet::{Packet, check, cookie, own_ends, own_socket, parse, write_part},
    snapshot::{identify_current, write_current},
    socket::{self, REQUEST_ACKNOWLEDGMENT, Socket},
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
    }
    // The request bytes matter more than who sent them: go on where that is lost.
    if note_sender(context.skb.skb) == 0 {
        count(Loss::Writer);
    }
    write_chunks(context, &packet)
}

/// Notes the task that sends the packet, if it leaves in that task's context, and writes a
/// snapshot of its process, unless the last one written for this socket was of the same process
/// since the same `exec`. Returns 1, or 0 where there was no room.
///
/// A global function in the object: see [`write_part`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn note_sender(skb: *mut __sk_buff) -> u32 {
    let context = &SkBuffContext::new(skb);
    let Some(state) = socket::find(cookie(context)) else { return 1 };
    // SAFETY: as in `try_egress`.
    u32::from(note_current(context, unsafe { &mut *state }))
}

#[inline(always)]
fn note_current(context: &SkBuffContext, state: &mut Socket) -> bool {
    state.is_sent_by_task = 0;
    let Some(socket) = Pointer::of_typed(own_socket(context)) else { return true };
    if !is_owned(socket) {
        return true;
    }
    let Some((current, task)) = identify_current() else { return true };
    state.task = task;
    current.read_into(offset!(task_struct_comm), &mut state.comm);
    state.is_sent_by_task = 1;
    if state.writer == task.process() {
        return true;
    }
    let Ok(ends) = own_ends(context) else { return true };
    if !write_current(kind::WRITER, cookie(context), &ends, current, &task) {
        return false;
    }
    state.writer = task.process();
    true
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
