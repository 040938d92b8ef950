//! Egress: request bytes, and who sends them.

use aya_ebpf::{
    bindings::__sk_buff, helpers::generated::bpf_ktime_get_boot_ns, programs::SkBuffContext,
};
use imds_audit_ebpf::{
    EndpointPair, Loss, MAX_CHUNKS, MAX_PAYLOAD, kind,
    request_start::{self, METHODS, is_blank_line},
    tcp_flags,
};

use crate::{
    kernel::{CurrentTask, Pointer, is_owned},
    lost_requests::{count_lost, is_first, partial_method_len},
    packet::{Packet, cookie, load, load_words, own_socket},
    ring::{count, is_fuller_than},
    segment::{Written, count_loss_for_sender, write_endpoints, write_part},
    sent_snapshots,
    skip::Skip,
    snapshot::{Occasion, read_owner, write_current},
    socket::{
        self, ANSWERED, NO_BODY, REQUEST_ACKNOWLEDGMENT, REQUEST_END, SENT_AHEAD, Socket,
        UNACKNOWLEDGED,
    },
    verifier::branchless_min,
};

/// How many quarters of the ring may be full for a snapshot to be written; the rest is kept for the
/// requests themselves.
const SNAPSHOT_QUARTERS: u64 = 3;

/// Reports a packet to the service. Returns how many request bytes it had.
#[inline(always)]
pub fn try_egress(context: &SkBuffContext) -> Result<u32, Skip> {
    let packet = Packet::parse(context)?;
    if packet.length == 0 {
        if !packet.is_control() && !acknowledges_head(context, &packet) {
            return Err(Skip::Nothing);
        }
        return write_part(context.skb.skb, kind::REQUEST, 0, 0).or_lost(Loss::Control);
    }
    let skb = context.skb.skb;
    note_request(skb);
    // The request bytes matter more than who sent them: go on where that is lost.
    if remember_sender(skb) != 0 {
        if is_fuller_than(SNAPSHOT_QUARTERS) {
            lose_sender(skb, Loss::Snapshot);
        } else if write_sender(skb) == 0 {
            lose_sender(skb, Loss::Writer);
        }
    }
    write_chunks(context, &packet)
}

/// Returns whether a packet without payload acknowledges more than the last request bytes did while
/// a response header waits for that. A header passes the ingress hook before the caller's kernel has
/// judged its packet: what the caller acknowledges shows which bytes it accepted.
///
/// One such packet is enough for an honest header. While a forged one waits without end, all are
/// reported, at the expense of the socket that it was sent to.
#[inline(always)]
fn acknowledges_head(context: &SkBuffContext, packet: &Packet) -> bool {
    let Some(state) = socket::find(cookie(context)) else { return false };
    // SAFETY: as in `note_request`.
    let state = unsafe { &mut *state };
    if state.valid_bits & UNACKNOWLEDGED == 0
        || !is_after(packet.acknowledgment, state.request_acknowledgment)
    {
        return false;
    }
    if !is_after(state.head_end, packet.acknowledgment) {
        state.valid_bits &= !UNACKNOWLEDGED;
    }
    true
}

/// Notes what a packet with request bytes says of its socket, and whether it begins a request.
///
/// A global function in the object: see [`write_part`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn note_request(skb: *mut __sk_buff) -> u32 {
    let context = &SkBuffContext::new(skb);
    let Ok(packet) = Packet::parse(context) else { return 0 };
    let Some(state) = socket::find_or_add(cookie(context)) else { return 0 };
    // SAFETY: the pointer is to a map value, which lives as long as the program runs; the
    // socket's lock keeps another sender out.
    note(context, &packet, unsafe { &mut *state });
    0
}

#[inline(always)]
fn note(context: &SkBuffContext, packet: &Packet, state: &mut Socket) {
    let method = first_bytes(context, packet);
    let mut begins = begins_request(context.skb.skb, packet, state, method);
    if begins == request_start::PIPELINED {
        state.valid_bits |= SENT_AHEAD;
    } else if begins == request_start::IN_TURN && state.valid_bits & SENT_AHEAD != 0 {
        begins = request_start::PIPELINED;
    }
    state.begins = u16::from(begins);
    state.retransmitted_len = if begins == request_start::RETRANSMITTED {
        state.request_end_seq.wrapping_sub(start_of(packet))
    } else {
        0
    };
    if state.retransmitted_len >= packet.length {
        // What is sent again is as old as the first time, whatever it acknowledges now.
        return;
    }
    state.request_end_seq = start_of(packet).wrapping_add(packet.length);
    state.valid_bits = state.valid_bits & !ANSWERED | REQUEST_END;
    note_acknowledgment(packet, state);
    state.prev4_before_packet = state.prev4;
    state.prev4 = tail(context, packet, method, state);
    if is_first(begins) {
        let is_head = method == *b"HEAD";
        state.valid_bits =
            if is_head { state.valid_bits | NO_BODY } else { state.valid_bits & !NO_BODY };
    }
}

/// Returns the last four bytes that were sent, with the packet at hand.
#[inline(always)]
fn tail(context: &SkBuffContext, packet: &Packet, method: [u8; 4], state: &Socket) -> u32 {
    if packet.length < 4 {
        let fresh = 8 * packet.length.wrapping_sub(state.retransmitted_len);
        let bytes = u32::from_be_bytes(method) >> (32 - 8 * packet.length);
        return state.prev4_before_packet << fresh | bytes & ((1 << fresh) - 1);
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
        state.valid_bits &= !REQUEST_ACKNOWLEDGMENT;
    } else {
        state.request_acknowledgment = packet.acknowledgment;
        state.valid_bits |= REQUEST_ACKNOWLEDGMENT;
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

/// Returns whether a packet has the first bytes of a request: one of [`request_start`].
#[inline(always)]
fn begins_request(skb: *mut __sk_buff, packet: &Packet, state: &Socket, method: [u8; 4]) -> u8 {
    if state.valid_bits & REQUEST_END == 0 {
        return request_start::IN_TURN;
    }
    if is_after(state.request_end_seq, start_of(packet)) {
        return request_start::RETRANSMITTED;
    }
    let is_newer = state.valid_bits & REQUEST_ACKNOWLEDGMENT != 0
        && is_after(packet.acknowledgment, state.request_acknowledgment);
    let is_method = METHODS.contains(&method)
        || packet.length < 4
            && partial_method_len(skb, packet.payload, packet.length, state.prev4.into())
                == packet.length;
    // A caller may receive something while it is in the middle of a request.
    let may_begin = method[0].is_ascii_uppercase() && is_blank_line(state.prev4.into());
    if is_newer && (is_method || may_begin) {
        return request_start::IN_TURN;
    }
    if is_method { request_start::PIPELINED } else { request_start::NO }
}

/// Returns the first four bytes of the payload, with zeroes for those that it does not have.
#[inline(always)]
fn first_bytes(context: &SkBuffContext, packet: &Packet) -> [u8; 4] {
    let mut word = [0; 1];
    let count = branchless_min(packet.length.into(), 4) as u32;
    load_words(context, packet.payload, &mut word, count);
    let [first, second, third, fourth, ..] = word[0].to_ne_bytes();
    [first, second, third, fourth]
}

/// Counts a snapshot of the packet's sender that was not written.
#[inline(always)]
fn lose_sender(skb: *mut __sk_buff, loss: Loss) {
    count(loss, 1);
    count_loss_for_sender(skb, loss as u32, 1);
}

/// Remembers the task that sends the packet, if it leaves in that task's context. Returns 1 if a
/// snapshot of its process is to be written: none was since the same `exec`, its credentials or its
/// cgroup have changed, or userspace has forgotten it.
///
/// A global function in the object: see [`write_part`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn remember_sender(skb: *mut __sk_buff) -> u32 {
    let context = &SkBuffContext::new(skb);
    let Some(state) = socket::find(cookie(context)) else { return 0 };
    // SAFETY: as in `note_request`.
    u32::from(note_current(context, unsafe { &mut *state }))
}

#[inline(always)]
fn note_current(context: &SkBuffContext, state: &mut Socket) -> bool {
    state.is_sent_by_task = 0;
    if !is_owned(Pointer::of_typed(own_socket(context))) {
        return false;
    }
    let CurrentTask::User(current, task) = CurrentTask::get() else { return false };
    state.task = task;
    current.read_comm(&mut state.comm);
    state.is_sent_by_task = 1;
    sent_snapshots::last_sent(task.process(), read_owner(current)).is_none()
}

/// A packet that a process sends.
struct Sending<'a> {
    context: &'a SkBuffContext,
    packet: &'a Packet,
    socket: u64,
}

impl Occasion for Sending<'_> {
    const KIND: u32 = kind::WRITER;

    #[inline(always)]
    fn socket(&self) -> u64 {
        self.socket
    }

    #[inline(always)]
    unsafe fn write_endpoints(&self, place: *mut EndpointPair) {
        // SAFETY: the caller's promise.
        unsafe { write_endpoints(self.context, self.packet, place) };
    }
}

/// Writes a snapshot of the process that sends the packet. Returns 1, or 0 if there was no room.
///
/// A global function in the object: see [`write_part`]. Apart from [`remember_sender`], because the
/// frames of functions that call each other have 512 bytes of stack in all.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn write_sender(skb: *mut __sk_buff) -> u32 {
    let context = &SkBuffContext::new(skb);
    let CurrentTask::User(current, task) = CurrentTask::get() else { return 1 };
    let Ok(packet) = Packet::parse(context) else { return 1 };
    let socket = cookie(context);
    let owner = read_owner(current);
    if !write_current(&Sending { context, packet: &packet, socket }, current, &task, &owner) {
        return 0;
    }
    // SAFETY: the helper has no arguments.
    let time = unsafe { bpf_ktime_get_boot_ns() };
    sent_snapshots::remember(task.process(), time, owner);
    if let Some(state) = socket::find(socket) {
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
