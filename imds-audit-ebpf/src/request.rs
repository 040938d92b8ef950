//! Egress: request bytes, and who sends them.

use aya_ebpf::programs::SkBuffContext;
use imds_audit_ebpf::{Loss, MAX_CHUNKS, MAX_PAYLOAD, Segment, Task, kind, tcp_flags};

use crate::{
    config::offset,
    emit::Skip,
    kernel::{Pointer, is_owned},
    packet::{
        Packet, Written, check, parse, socket as packet_socket, write_control, write_payload,
    },
    snapshot::{identify_current, lost, write_current},
    socket::{self, REQUEST_ACKNOWLEDGMENT, Socket},
};

/// Reports a packet to the service. Returns how many request bytes it had.
#[inline(always)]
pub fn try_egress(context: &SkBuffContext) -> Result<u32, Skip> {
    let ip_version = check(context)?;
    let packet = parse(context, ip_version)?;
    if packet.length == 0 && !packet.is_control() {
        return Err(Skip::Nothing);
    }
    let mut record = packet.record(context, kind::REQUEST)?;
    if packet.length == 0 {
        return write_control(&record).map(|()| 0);
    }
    let state = socket::find_or_add(record.socket);
    if let Some(state) = state {
        remember_acknowledgment(state, packet.acknowledgment);
    }
    let writer = if is_sent_by_current(context) { identify_current() } else { None };
    if let Some((current, task)) = writer {
        name_writer(&mut record, current, &task);
        // The request bytes matter more than who sent them: go on where that is lost.
        if let Err(Skip::Lost(loss)) = write_new_writer(&record, state, current, &task) {
            crate::emit::count(loss);
        }
    }
    write_chunks(context, &packet, &mut record)
}

/// Returns whether the packet leaves in the context of the task that sends it.
#[inline(always)]
fn is_sent_by_current(context: &SkBuffContext) -> bool {
    match Pointer::of_typed(packet_socket(context)) {
        Some(socket) => is_owned(socket),
        None => false,
    }
}

#[inline(always)]
fn remember_acknowledgment(state: *mut Socket, acknowledgment: u32) {
    // SAFETY: the pointer is to a map value, which lives as long as the program runs.
    unsafe {
        (*state).request_acknowledgment = acknowledgment;
        (*state).known |= REQUEST_ACKNOWLEDGMENT;
    }
}

#[inline(always)]
fn name_writer(record: &mut Segment, current: Pointer, task: &Task) {
    record.by_writer = 1;
    record.task = *task;
    current.read_into(offset!(task_struct_comm), &mut record.comm);
}

/// Writes a snapshot of the writing process, unless the last one written for this socket was of
/// the same process since the same `exec`.
#[inline(always)]
fn write_new_writer(
    record: &Segment,
    state: Option<*mut Socket>,
    current: Pointer,
    task: &Task,
) -> Result<(), Skip> {
    if let Some(state) = state {
        // SAFETY: the pointer is to a map value, which lives as long as the program runs.
        let known = unsafe { (*state).writer };
        if known == task.process() {
            return Ok(());
        }
    }
    if !write_current(kind::WRITER, record.socket, &record.ends, current, task) {
        return Err(lost(kind::WRITER));
    }
    if let Some(state) = state {
        socket::set_writer(state, task);
    }
    Ok(())
}

/// Writes a packet's payload as records of up to [`MAX_PAYLOAD`] bytes.
///
/// Only the first of them carries the packet's SYN and only the last its FIN.
#[inline(always)]
fn write_chunks(
    context: &SkBuffContext,
    packet: &Packet,
    record: &mut Segment,
) -> Result<u32, Skip> {
    let mut written = 0u32;
    let mut chunk = 0;
    while chunk < MAX_CHUNKS && written < packet.length {
        let left = packet.length.wrapping_sub(written);
        let is_last = left <= MAX_PAYLOAD as u32;
        let count = if is_last { left } else { MAX_PAYLOAD as u32 };
        record.tcp_flags = packet.tcp_flags;
        if !is_last {
            record.tcp_flags &= !tcp_flags::FIN;
        }
        if written != 0 {
            record.tcp_flags &= !tcp_flags::SYN;
        }
        record.length = count;
        let offset = packet.payload.wrapping_add(written);
        match write_payload(context, record, offset, count) {
            Written::Yes => {}
            Written::Full => return Err(Skip::Lost(Loss::Request)),
            Written::Unreadable => return Err(Skip::Lost(Loss::Unreadable)),
        }
        record.sequence = record.sequence.wrapping_add(count);
        if record.tcp_flags & tcp_flags::SYN != 0 {
            // The SYN has a sequence number of its own.
            record.sequence = record.sequence.wrapping_add(1);
        }
        written = written.wrapping_add(count);
        chunk += 1;
    }
    if written < packet.length {
        return Err(Skip::Lost(Loss::Request));
    }
    Ok(written)
}
