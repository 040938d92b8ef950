//! A packet of an audited connection: its headers, and where its payload lies.

use core::mem::{MaybeUninit, offset_of, size_of};

use aya_ebpf::{
    EbpfContext,
    bindings::__sk_buff,
    helpers::generated::{bpf_get_socket_cookie, bpf_ktime_get_boot_ns, bpf_skb_load_bytes},
    programs::SkBuffContext,
};
use imds_audit_ebpf::{COMM_LENGTH, Loss, MAX_PAYLOAD, Segment, Task, begins, kind, tcp_flags};

use crate::{
    bits::clamp,
    config::{Peer, audited},
    emit::{Reservation, Skip, blame},
    ends::own_ends,
    socket::{self, Socket},
};

/// `IPPROTO_TCP`.
const TCP: u8 = 6;
/// IPv6 extension headers that may stand before TCP, and that a process can ask for: hop-by-hop
/// options, routing, destination options.
const EXTENSIONS: [u8; 3] = [0, 43, 60];
/// The most extension headers followed; a process can set at most these three, one of them twice.
const MAX_EXTENSIONS: u32 = 4;
/// `AF_INET6`.
pub const IPV6_FAMILY: u32 = 10;

/// The size of a record's fixed part.
const FIXED: usize = size_of::<Segment>();

/// The peer of a packet's socket, which address translation does not change.
pub struct SocketPeer(pub *const __sk_buff);

impl Peer for SocketPeer {
    #[inline(always)]
    fn ipv4(&self) -> u32 {
        // SAFETY: the pointer is the program's context. For an IPv4-mapped socket the kernel
        // keeps the IPv4 address here too.
        unsafe { (*self.0).remote_ip4 }
    }
    #[inline(always)]
    fn ipv6<const N: usize>(&self) -> u32 {
        // SAFETY: the pointer is the program's context; N is below 4.
        unsafe { *(&raw const (*self.0).remote_ip6).cast::<u32>().add(N) }
    }
    #[inline(always)]
    fn is_ipv6(&self) -> bool {
        // SAFETY: the pointer is the program's context.
        unsafe { (*self.0).family == IPV6_FAMILY }
    }
    #[inline(always)]
    fn port(&self) -> u32 {
        // SAFETY: the pointer is the program's context, which has the port in network order.
        u32::from_be(unsafe { (*self.0).remote_port })
    }
}

/// A packet of an audited connection.
///
/// The record that stands for it is made when it is written, and not kept: the verifier visits
/// what follows once for each different record that it knows of (IPv4 or IPv6, with a network
/// namespace or without), and in front of the response's scan that is too often.
pub struct Packet {
    /// Where in the packet its payload begins.
    pub payload: u32,
    /// How long the payload is.
    pub length: u32,
    /// The sequence number of the packet.
    pub sequence: u32,
    /// The acknowledgement number.
    pub acknowledgment: u32,
    /// The TCP flags.
    pub tcp_flags: u8,
    /// The IP time to live or hop limit.
    pub ttl: u8,
}

/// Returns the IP version of the audited endpoint that a packet's socket talks to.
#[inline(always)]
pub fn check(context: &SkBuffContext) -> Result<u8, Skip> {
    match audited(&SocketPeer(context.skb.skb)) {
        0 => Err(Skip::NotAudited),
        version => Ok(version),
    }
}

/// Reads a packet's headers.
#[inline(always)]
pub fn parse(context: &SkBuffContext, ip_version: u8) -> Result<Packet, Skip> {
    let network = if ip_version == 4 { read_ipv4(context)? } else { read_ipv6(context)? };
    // Twenty bytes: a TCP header without its options.
    let tcp: [u8; 20] = load(context, network.transport)?;
    let header = u32::from(tcp[12] >> 4) * 4;
    let payload = network.transport.wrapping_add(header);
    if header < 20 || payload > network.end {
        return Err(Skip::Lost(Loss::Unreadable));
    }
    Ok(Packet {
        payload,
        length: network.end.wrapping_sub(payload),
        sequence: u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]),
        acknowledgment: u32::from_be_bytes([tcp[8], tcp[9], tcp[10], tcp[11]]),
        tcp_flags: tcp[13],
        ttl: network.ttl,
    })
}

impl Packet {
    /// Returns whether the packet tells something even without payload: the connection opens or
    /// ends.
    #[inline(always)]
    pub fn is_control(&self) -> bool {
        self.tcp_flags & (tcp_flags::SYN | tcp_flags::FIN | tcp_flags::RST) != 0
    }
}

/// Returns the socket's cookie.
#[inline(always)]
pub fn cookie(context: &SkBuffContext) -> u64 {
    // SAFETY: the helper takes the program's context.
    unsafe { bpf_get_socket_cookie(context.as_ptr()) }
}

/// Returns the packet's socket, as the verifier knows it.
#[inline(always)]
pub fn own_socket(context: &SkBuffContext) -> *mut aya_ebpf::bindings::bpf_sock {
    // SAFETY: the pointer is the program's context; the field is one of its union's.
    unsafe { (*context.skb.skb).__bindgen_anon_2.sk }
}

/// Where the transport header lies, and where the packet ends.
struct Network {
    transport: u32,
    end: u32,
    ttl: u8,
}

#[inline(always)]
fn read_ipv4(context: &SkBuffContext) -> Result<Network, Skip> {
    let ip: [u8; 20] = load(context, 0)?;
    if ip[9] != TCP {
        return Err(Skip::NotTcp);
    }
    let transport = u32::from(ip[0] & 0x0f) * 4;
    Ok(Network { transport, end: length(context), ttl: ip[8] })
}

#[inline(always)]
fn read_ipv6(context: &SkBuffContext) -> Result<Network, Skip> {
    let ip: [u8; 8] = load(context, 0)?;
    let mut next = ip[6];
    let mut transport = 40u32;
    let mut followed = 0;
    while next != TCP {
        if followed == MAX_EXTENSIONS {
            return Err(Skip::Lost(Loss::Unreadable));
        }
        if next != EXTENSIONS[0] && next != EXTENSIONS[1] && next != EXTENSIONS[2] {
            return Err(Skip::NotTcp);
        }
        let extension: [u8; 2] = load(context, transport)?;
        next = extension[0];
        transport = transport.wrapping_add((u32::from(extension[1]) + 1) * 8);
        followed += 1;
    }
    Ok(Network { transport, end: length(context), ttl: ip[7] })
}

/// Returns the packet's length. The length fields of the IP header do not serve: both are zero
/// in a packet of more than 64 KiB, which the network card or the receiver's stack cuts or joins.
#[inline(always)]
fn length(context: &SkBuffContext) -> u32 {
    // SAFETY: the pointer is the program's context.
    unsafe { (*context.skb.skb).len }
}

/// Reads bytes of the packet.
#[inline(always)]
pub fn load<const N: usize>(context: &SkBuffContext, offset: u32) -> Result<[u8; N], Skip> {
    let mut bytes = MaybeUninit::<[u8; N]>::uninit();
    // SAFETY: the destination is ours and N bytes long.
    let result = unsafe {
        bpf_skb_load_bytes(context.as_ptr(), offset, bytes.as_mut_ptr().cast(), N as u32)
    };
    if result == 0 {
        // SAFETY: on success the helper has written every byte.
        Ok(unsafe { bytes.assume_init() })
    } else {
        Err(Skip::Lost(Loss::Unreadable))
    }
}

/// Loads up to `8 * N` bytes of the packet; the words keep zeroes behind them.
#[inline(always)]
pub fn load_words<const N: usize>(
    context: &SkBuffContext,
    offset: u32,
    words: &mut [u64; N],
    count: u32,
) -> bool {
    // The verifier wants to see the bound itself.
    let count = clamp(count, 64);
    if count as usize > 8 * N {
        return false;
    }
    // SAFETY: the destination has 8 * N bytes, and `count` is at most that.
    let result =
        unsafe { bpf_skb_load_bytes(context.as_ptr(), offset, words.as_mut_ptr().cast(), count) };
    result == 0
}

/// What came of writing a record.
#[must_use]
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is in the ring.
    Yes = 0,
    /// The ring is full.
    Full = 1,
    /// The packet's bytes could not be read.
    Unreadable = 2,
}

impl Written {
    /// Returns 0, or the loss: `full` where the ring is full.
    #[inline(always)]
    pub fn or_lost(self, full: Loss) -> Result<u32, Skip> {
        match self {
            Self::Yes => Ok(0),
            Self::Full => Err(Skip::Lost(full)),
            Self::Unreadable => Err(Skip::Lost(Loss::Unreadable)),
        }
    }
}

/// Holds a request without a token, and most response headers.
const SMALL: usize = FIXED + 256;
/// Holds a request with a token.
const MEDIUM: usize = FIXED + 512;
/// Holds a request with many headers.
const LARGE: usize = FIXED + 2048;
const LARGEST: usize = FIXED + MAX_PAYLOAD;

/// Writes a record of `count` payload bytes from `from` on, at most [`MAX_PAYLOAD`]; of none for
/// what the packet's flags tell.
///
/// A global function in the object: the verifier looks at it once, for any arguments, and not at
/// each call. Before Linux 5.13 such a function takes the context and numbers only, so it reads
/// the packet's headers again.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn write_part(skb: *mut __sk_buff, kind: u32, from: u32, count: u32) -> Written {
    let context = &SkBuffContext::new(skb);
    let Ok(ip_version) = check(context) else { return Written::Unreadable };
    let Ok(packet) = parse(context, ip_version) else { return Written::Unreadable };
    let Ok(ends) = own_ends(context) else { return Written::Unreadable };
    let mut record = Segment {
        kind,
        tcp_flags: packet.tcp_flags,
        ttl: packet.ttl,
        by_writer: 0,
        begins: begins::NO,
        // SAFETY: the helper has no arguments.
        time: unsafe { bpf_ktime_get_boot_ns() },
        socket: cookie(context),
        sequence: packet.sequence.wrapping_add(from),
        acknowledgment: packet.acknowledgment,
        // Of a response the header alone: a body in the same packet is passed over like one in a
        // later packet.
        length: count,
        captured: 0,
        task: Task { pid: 0, tid: 0, start_time: 0, exec_id: 0 },
        comm: [0; COMM_LENGTH],
        ends,
        lost_requests: 0,
        lost_records: 0,
    };
    if let Some(state) = socket::find(record.socket) {
        // Both counts at once: the stack has no room for one more value on the way (512 bytes for
        // all functions that call each other, counted by 32 each).
        // SAFETY: the first pointer is to a map value, which lives as long as the program runs;
        // in either place the two counts follow each other, aligned as one (asserted below).
        unsafe {
            let counts = (&raw const (*state).lost_requests).cast::<u64>().read_volatile();
            (&raw mut record.lost_requests).cast::<u64>().write(counts);
        }
    }
    if count == 0 {
        return write_sized::<FIXED>(context, &record, 0, 0);
    }
    if kind == kind::REQUEST {
        // Only the first record of a packet carries its SYN, and only the last its FIN.
        if from != 0 {
            if record.tcp_flags & tcp_flags::SYN != 0 {
                // The SYN has a sequence number of its own.
                record.sequence = record.sequence.wrapping_add(1);
            }
            record.tcp_flags &= !tcp_flags::SYN;
        }
        if from.wrapping_add(count) != packet.length {
            record.tcp_flags &= !tcp_flags::FIN;
        }
        if from == 0 {
            record.begins = begins::ALONE;
        }
        name_sender(&mut record);
    } else {
        // A response's flags have a record of their own.
        record.tcp_flags &= tcp_flags::ACK;
    }
    let offset = packet.payload.wrapping_add(from);
    if count <= (SMALL - FIXED) as u32 {
        write_sized::<SMALL>(context, &record, offset, count)
    } else if count <= (MEDIUM - FIXED) as u32 {
        write_sized::<MEDIUM>(context, &record, offset, count)
    } else if count <= (LARGE - FIXED) as u32 {
        write_sized::<LARGE>(context, &record, offset, count)
    } else {
        write_sized::<LARGEST>(context, &record, offset, count)
    }
}

/// Counts a lost record for the packet's socket, and as `number` losses for the process that sent
/// over it last; for the one that opened it, where none was seen to send. Returns nothing of
/// meaning: it is a global function in the object, see [`write_part`], and those return a number.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn blame_sender(skb: *mut __sk_buff, loss: u32, number: u32) -> u32 {
    let context = &SkBuffContext::new(skb);
    let Some(state) = socket::find(cookie(context)) else { return 0 };
    // SAFETY: the pointer is to a map value, which lives as long as the program runs.
    let state = unsafe { &mut *state };
    state.lost_records = state.lost_records.wrapping_add(1);
    let process = if state.task.pid == 0 { state.writer } else { state.task.process() };
    blame(loss, &process, &state.comm, number.into());
    0
}

const _: () = {
    assert!(offset_of!(Segment, lost_requests) % 8 == 0);
    assert!(offset_of!(Segment, lost_records) == offset_of!(Segment, lost_requests) + 4);
    assert!(offset_of!(Socket, lost_requests) % 8 == 0);
    assert!(offset_of!(Socket, lost_records) == offset_of!(Socket, lost_requests) + 4);
};

#[inline(always)]
fn name_sender(record: &mut Segment) {
    let Some(state) = socket::find(record.socket) else { return };
    // SAFETY: the pointer is to a map value, which lives as long as the program runs.
    let state = unsafe { &*state };
    if record.begins != begins::NO {
        record.begins = state.begins as u8;
    }
    if state.is_sent_by_task != 0 {
        record.by_writer = 1;
        record.task = state.task;
        record.comm = state.comm;
    }
}

/// `SIZE - FIXED` is a power of two, or nothing is captured.
#[inline(always)]
fn write_sized<const SIZE: usize>(
    context: &SkBuffContext,
    record: &Segment,
    offset: u32,
    captured: u32,
) -> Written {
    let Some(reservation) = Reservation::<SIZE>::new() else {
        return Written::Full;
    };
    if SIZE == FIXED {
        // SAFETY: the reservation has the record's size and, as all in the ring, its alignment.
        unsafe { reservation.at::<Segment>(0).write(*record) };
        reservation.submit();
        return Written::Yes;
    }
    let captured = clamp(captured, (SIZE - FIXED) as u32);
    // SAFETY: the reservation is longer than the record; the payload's place has SIZE - FIXED
    // bytes, and `captured` is at most that.
    let result = unsafe {
        reservation.at::<Segment>(0).write(*record);
        (*reservation.at::<Segment>(0)).captured = captured;
        bpf_skb_load_bytes(context.as_ptr(), offset, reservation.at(FIXED), captured)
    };
    if result != 0 {
        reservation.discard();
        return Written::Unreadable;
    }
    reservation.submit();
    Written::Yes
}
