//! The records of packets.

use core::mem::{offset_of, size_of};

use aya_ebpf::{
    EbpfContext,
    bindings::__sk_buff,
    helpers::generated::{bpf_ktime_get_boot_ns, bpf_skb_load_bytes},
    programs::SkBuffContext,
};
use imds_audit_ebpf::{
    ABSENT, EndpointPair, Loss, MAX_PAYLOAD, Segment, kind, request_start, segment_flags, tcp_flags,
};

use crate::{
    config::offset,
    endpoints::write_socket_endpoints,
    kernel::{Pointer, netns},
    packet::{Packet, cookie, own_socket, read_destination},
    ring::{Reservation, count_for_process},
    ring_share::is_within_share,
    skip::Skip,
    socket::{self, Socket},
    verifier::bound_for_verifier,
};

/// The size of a record's fixed part.
const FIXED: usize = size_of::<Segment>();
/// Holds a request without a token, and most response headers.
const SMALL: usize = FIXED + 256;
/// Holds a request with a token.
const MEDIUM: usize = FIXED + 512;
/// Holds a request with many headers.
const LARGE: usize = FIXED + 2048;
const LARGEST: usize = FIXED + MAX_PAYLOAD;

/// The result of writing a record.
#[must_use]
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is in the ring.
    Yes = 0,
    /// The ring is full, or its caller's share of it.
    Full = 1,
    /// The packet's bytes could not be read.
    Unreadable = 2,
}

impl Written {
    /// Returns 0, or the loss: `full` if the ring is full.
    #[inline(always)]
    pub fn or_lost(self, full: Loss) -> Result<u32, Skip> {
        match self {
            Self::Yes => Ok(0),
            Self::Full => Err(Skip::Lost(full)),
            Self::Unreadable => Err(Skip::Lost(Loss::Unreadable)),
        }
    }
}

/// What a record has that the packet's headers do not say.
struct Part {
    kind: u32,
    /// Where in the payload it begins.
    from: u32,
    count: u32,
    has_shared_pages: bool,
}

/// Writes a record of `count` payload bytes from `from` on, at most [`MAX_PAYLOAD`]; of none for
/// what the packet's flags say.
///
/// A global function in the object: the verifier looks at it once, for any arguments, and not at
/// each call. Before Linux 5.13 such a function takes the context and numbers only, so it reads
/// the packet's headers again.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn write_part(skb: *mut __sk_buff, kind: u32, from: u32, count: u32) -> Written {
    let context = &SkBuffContext::new(skb);
    let Ok(packet) = Packet::parse(context) else { return Written::Unreadable };
    let has_shared_pages = count != 0 && kind == kind::REQUEST && are_pages_shared(skb) != 0;
    let part = Part { kind, from, count, has_shared_pages };
    if count == 0 {
        write_sized::<FIXED>(context, &packet, &part)
    } else if count <= (SMALL - FIXED) as u32 {
        write_sized::<SMALL>(context, &packet, &part)
    } else if count <= (MEDIUM - FIXED) as u32 {
        write_sized::<MEDIUM>(context, &packet, &part)
    } else if count <= (LARGE - FIXED) as u32 {
        write_sized::<LARGE>(context, &packet, &part)
    } else {
        write_sized::<LARGEST>(context, &packet, &part)
    }
}

/// Writes a record of a response's first `count` payload bytes, without any of them.
///
/// A global function in the object: see [`write_part`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn write_uncaptured(skb: *mut __sk_buff, count: u32) -> Written {
    let context = &SkBuffContext::new(skb);
    let Ok(packet) = Packet::parse(context) else { return Written::Unreadable };
    let part = Part { kind: kind::RESPONSE, from: 0, count, has_shared_pages: false };
    write_sized::<FIXED>(context, &packet, &part)
}

/// `SIZE - FIXED` is a power of two, or nothing is captured.
#[inline(always)]
fn write_sized<const SIZE: usize>(
    context: &SkBuffContext,
    packet: &Packet,
    part: &Part,
) -> Written {
    if is_within_share(context.skb.skb, SIZE as u32) == 0 {
        return Written::Full;
    }
    let Some(reservation) = Reservation::<SIZE>::new() else {
        return Written::Full;
    };
    let captured = if SIZE == FIXED {
        0
    } else {
        let captured = bound_for_verifier(part.count, (SIZE - FIXED) as u32);
        let offset = packet.payload.wrapping_add(part.from);
        // SAFETY: the payload's place has SIZE - FIXED bytes, and `captured` is at most that.
        let result = unsafe {
            bpf_skb_load_bytes(context.as_ptr(), offset, reservation.at(FIXED), captured)
        };
        if result != 0 {
            reservation.discard();
            return Written::Unreadable;
        }
        captured
    };
    // SAFETY: the reservation is at least as long as the record and, as all in the ring, aligned to
    // eight bytes.
    unsafe { fill(reservation.at::<Segment>(0), context, packet, part, captured) };
    reservation.submit();
    Written::Yes
}

/// Fills a record's fixed part in place: on the stack it would not leave enough of the 512 bytes
/// that all functions have that call each other.
///
/// # Safety
/// `record` must be valid for writes.
#[inline(always)]
unsafe fn fill(
    record: *mut Segment,
    context: &SkBuffContext,
    packet: &Packet,
    part: &Part,
    captured: u32,
) {
    let socket = cookie(context);
    // SAFETY: the caller's promise; the helper has no arguments.
    unsafe {
        (*record).kind = part.kind;
        (*record).tcp_flags = tcp_flags_of(packet, part);
        (*record).ttl = packet.ttl;
        (*record).time = bpf_ktime_get_boot_ns();
        (*record).socket = socket;
        (*record).sequence = sequence_of(packet, part);
        (*record).acknowledgment = packet.acknowledgment;
        // Of a response the header alone: a body in the same packet is passed over like one in a
        // later packet.
        (*record).length = part.count;
        (*record).captured = captured;
        write_endpoints(context, packet, &raw mut (*record).ends);
    }
    let mut flags = if part.has_shared_pages { segment_flags::SHARED_PAGES } else { 0 };
    if packet.is_translated {
        flags |= segment_flags::TRANSLATED;
    }
    let is_request = part.kind == kind::REQUEST && part.count != 0;
    let state = socket::find(socket);
    // SAFETY: the caller's promise; the pointer in `state` is to a map value, which lives as long as
    // the program runs. In either place the two counts follow each other, aligned as one.
    unsafe {
        clear_sender(record);
        if is_request && part.from == 0 {
            (*record).begins = request_start::IN_TURN;
        }
        if let Some(state) = state {
            let counts = (&raw const (*state).lost_requests).cast::<u64>().read_volatile();
            (&raw mut (*record).lost_requests).cast::<u64>().write(counts);
            if is_request {
                if part.from == 0 {
                    (*record).begins = (*state).begins as u8;
                }
                if (*state).is_sent_by_task != 0 {
                    flags |= segment_flags::SENDER;
                    (*record).task = (*state).task;
                    (*record).comm = (*state).comm;
                }
            }
        }
        (*record).flags = flags;
    }
}

const _: () = {
    assert!(offset_of!(Segment, lost_requests) % 8 == 0);
    assert!(offset_of!(Segment, lost_records) == offset_of!(Segment, lost_requests) + 4);
    assert!(offset_of!(Socket, lost_requests) % 8 == 0);
    assert!(offset_of!(Socket, lost_records) == offset_of!(Socket, lost_requests) + 4);
};

/// Fills what a record without a known socket and sender has.
///
/// # Safety
/// `record` must be valid for writes.
#[inline(always)]
unsafe fn clear_sender(record: *mut Segment) {
    // SAFETY: the caller's promise; the task is three words long and the name two.
    unsafe {
        (*record).begins = request_start::NO;
        let task = (&raw mut (*record).task).cast::<u64>();
        let comm = (&raw mut (*record).comm).cast::<u64>();
        task.write_volatile(0);
        task.add(1).write_volatile(0);
        task.add(2).write_volatile(0);
        comm.write_volatile(0);
        comm.add(1).write_volatile(0);
        (&raw mut (*record).lost_requests).cast::<u64>().write_volatile(0);
    }
}

/// Returns the flags of a part's record: only the first of a packet carries its SYN, and only the
/// last its FIN.
#[inline(always)]
fn tcp_flags_of(packet: &Packet, part: &Part) -> u8 {
    if part.count == 0 {
        return packet.tcp_flags;
    }
    if part.kind != kind::REQUEST {
        // A response's flags have a record of their own.
        return packet.tcp_flags & tcp_flags::ACK;
    }
    let mut flags = packet.tcp_flags;
    if part.from != 0 {
        flags &= !tcp_flags::SYN;
    }
    if part.from.wrapping_add(part.count) != packet.length {
        flags &= !tcp_flags::FIN;
    }
    flags
}

/// Returns the sequence number of a part's first byte, or of the SYN that it carries.
#[inline(always)]
fn sequence_of(packet: &Packet, part: &Part) -> u32 {
    let is_behind_syn = part.kind == kind::REQUEST
        && part.from != 0
        && part.count != 0
        && packet.tcp_flags & tcp_flags::SYN != 0;
    packet.sequence.wrapping_add(part.from).wrapping_add(u32::from(is_behind_syn))
}

/// Writes the endpoints of a packet's connection: those of its socket, with the packet's own
/// destination as the service where address translation leads to it.
///
/// # Safety
/// `place` must be valid for writes.
#[inline(always)]
pub unsafe fn write_endpoints(context: &SkBuffContext, packet: &Packet, place: *mut EndpointPair) {
    let netns = netns(Pointer::of_typed(own_socket(context)));
    // SAFETY: the caller's promise.
    unsafe {
        write_socket_endpoints(context.skb.skb, packet.ip_version, netns, place);
        if packet.is_translated {
            (*place).peer_port = read_destination(context, packet, &raw mut (*place).peer);
        }
    }
}

/// Bits of `skb_shared_info.flags` (Linux 5.13 and newer, `include/linux/skbuff.h`):
/// `SKBFL_ZEROCOPY_ENABLE`, `SKBFL_SHARED_FRAG`, `SKBFL_MANAGED_FRAG_REFS`.
const SHARED_FLAGS: u32 = 1 | 2 | 16;
/// Bits of `skb_shared_info.tx_flags` in older kernels: `SKBTX_DEV_ZEROCOPY`, `SKBTX_SHARED_FRAG`.
const SHARED_TX_FLAGS: u32 = 8 | 32;

/// Returns 1 if the packet has bytes in pages that its sender may still change: those of sendfile,
/// splice, MSG_ZEROCOPY. What is read here and what the service receives may then differ.
///
/// A global function in the object: see [`write_part`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn are_pages_shared(skb: *mut __sk_buff) -> u32 {
    let buffer = Pointer::of_typed(skb);
    let (flags, tx_flags) = (offset!(skb_shared_info_flags), offset!(skb_shared_info_tx_flags));
    let (head, end) = (offset!(sk_buff_head), offset!(sk_buff_end));
    if head == ABSENT || end == ABSENT {
        return 0;
    }
    // The fields are single bytes, and the first of a number as every host has it (bpfel).
    let info = buffer.follow(head).add(buffer.u32(end, 0));
    let is_shared = if flags != ABSENT {
        info.u32(flags, 0) & SHARED_FLAGS != 0
    } else {
        info.u32(tx_flags, 0) & SHARED_TX_FLAGS != 0
    };
    u32::from(is_shared)
}

/// Counts a lost record for the packet's socket, and as `number` losses for the process that sent
/// over it last, or opened it if none was seen to send. Returns nothing of meaning: it is a global
/// function in the object, see [`write_part`], and those return a number.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn count_loss_for_sender(skb: *mut __sk_buff, loss: u32, number: u32) -> u32 {
    let context = &SkBuffContext::new(skb);
    let Some(state) = socket::find(cookie(context)) else { return 0 };
    // SAFETY: the pointer is to a map value, which lives as long as the program runs.
    let state = unsafe { &mut *state };
    state.lost_records = state.lost_records.wrapping_add(1);
    let process = if state.task.pid == 0 { state.writer } else { state.task.process() };
    count_for_process(loss, &process, &state.comm, number.into());
    0
}
