//! A packet of an audited connection: its headers, and where its payload lies.

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext,
    bindings::__sk_buff,
    helpers::generated::{bpf_get_socket_cookie, bpf_sk_fullsock, bpf_skb_load_bytes},
    programs::SkBuffContext,
};
use imds_audit_ebpf::{Loss, tcp_flags};

use crate::{
    config::{audited, has_ipv6_endpoints},
    endpoints::{Address, Destination, SocketPeer},
    skip::Skip,
    verifier::bound_for_verifier,
};

/// `IPPROTO_TCP`.
const TCP: u8 = 6;
/// IPv6 extension headers that may stand before TCP, and that a process can ask for: hop-by-hop
/// options, routing, destination options.
const EXTENSIONS: [u8; 3] = [0, 43, 60];
/// The most extension headers followed; a process can set at most these three, one of them twice.
const MAX_EXTENSIONS: u32 = 4;

/// `ETH_P_IP` and `ETH_P_IPV6` in network order, as a packet's `protocol` is.
const IPV4: u32 = 0x0800_u16.to_be() as u32;
const IPV6: u32 = 0x86dd_u16.to_be() as u32;

/// Returns whether a packet's socket is connected to an audited endpoint.
#[inline(always)]
pub fn is_of_audited_socket(context: &SkBuffContext) -> bool {
    audited(&SocketPeer(context.skb.skb)) != 0
}

/// Returns whether an outgoing packet is addressed to an audited endpoint, whatever port: address
/// translation may have changed what the socket is connected to.
///
/// With [`is_of_audited_socket`] it is all that other traffic pays.
#[inline(always)]
pub fn is_sent_to_audited_address(context: &SkBuffContext) -> bool {
    let skb = context.skb.skb;
    // SAFETY: the pointer is the program's context.
    let (data, end, protocol) =
        unsafe { ((*skb).data as usize, (*skb).data_end as usize, (*skb).protocol) };
    if protocol == IPV4 {
        // The IP header lies in the packet's linear part.
        return data + IPV4_HEADER <= end && audited(&Destination::<false>(data as *const u8)) != 0;
    }
    protocol == IPV6
        && has_ipv6_endpoints()
        && data + IPV6_HEADER <= end
        && audited(&Destination::<true>(data as *const u8)) != 0
}

/// The length of an IPv4 header without options.
const IPV4_HEADER: usize = 20;
/// The length of an IPv6 header without extensions.
const IPV6_HEADER: usize = 40;

/// A packet of an audited connection.
pub struct Packet {
    /// Where in the packet its TCP header begins.
    pub transport: u32,
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
    /// 4 or 6: the IP version of the packet.
    pub ip_version: u8,
    /// Whether the packet's own destination is the audited endpoint, and its socket's peer is not.
    pub is_translated: bool,
}

impl Packet {
    /// Reads a packet's headers.
    #[inline(always)]
    pub fn parse(context: &SkBuffContext) -> Result<Self, Skip> {
        let header = IpHeader::unpack(read_ip_header(context.skb.skb))?;
        // Twenty bytes: a TCP header without its options.
        let tcp: [u8; 20] = load(context, header.length)?;
        let tcp_length = u32::from(tcp[12] >> 4) * 4;
        let payload = header.length.wrapping_add(tcp_length);
        let end = length(context);
        if tcp_length < 20 || payload > end {
            return Err(Skip::Lost(Loss::Unreadable));
        }
        Ok(Self {
            transport: header.length,
            payload,
            length: end.wrapping_sub(payload),
            sequence: u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]),
            acknowledgment: u32::from_be_bytes([tcp[8], tcp[9], tcp[10], tcp[11]]),
            tcp_flags: tcp[13],
            ttl: header.ttl,
            ip_version: header.version,
            is_translated: header.is_translated,
        })
    }

    /// Returns whether the packet says something even without payload: the connection opens or
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

/// The IP header of a packet of an audited connection, with its extensions.
struct IpHeader {
    /// Its length in bytes.
    length: u32,
    ttl: u8,
    /// 4 or 6.
    version: u8,
    /// See [`Packet::is_translated`].
    is_translated: bool,
}

/// What stands in a packed [`IpHeader`]'s place where there is none.
const NOT_AUDITED: u64 = 1 << 32;
const NOT_TCP: u64 = 2 << 32;
const UNREADABLE: u64 = 3 << 32;

/// The bit of a packed header for [`Packet::is_translated`].
const TRANSLATED: u64 = 0x80;

impl IpHeader {
    #[inline(always)]
    fn pack(&self) -> u64 {
        let translated = if self.is_translated { TRANSLATED } else { 0 };
        u64::from(self.length) << 16
            | u64::from(self.ttl) << 8
            | u64::from(self.version)
            | translated
    }

    #[inline(always)]
    fn unpack(packed: u64) -> Result<Self, Skip> {
        match packed {
            NOT_AUDITED => Err(Skip::NotAudited),
            NOT_TCP => Err(Skip::NotTcp),
            UNREADABLE => Err(Skip::Lost(Loss::Unreadable)),
            _ => Ok(Self {
                length: (packed >> 16) as u32 & 0xffff,
                ttl: (packed >> 8) as u8,
                version: packed as u8 & 0xf,
                is_translated: packed & TRANSLATED != 0,
            }),
        }
    }
}

/// Returns the packed [`IpHeader`] of a packet, if its socket is audited.
///
/// A global function in the object: see [`crate::segment::write_part`]. What follows it is visited
/// once, and not for each endpoint, IP version and number of extensions.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn read_ip_header(skb: *mut __sk_buff) -> u64 {
    match find_ip_header(&SkBuffContext::new(skb)) {
        Ok(header) => header.pack(),
        Err(Skip::NotTcp) => NOT_TCP,
        Err(Skip::NotAudited) => NOT_AUDITED,
        Err(_) => UNREADABLE,
    }
}

#[inline(always)]
fn find_ip_header(context: &SkBuffContext) -> Result<IpHeader, Skip> {
    if !is_tcp_stream(context) {
        return Err(Skip::NotTcp);
    }
    match audited(&SocketPeer(context.skb.skb)) {
        4 => read_ipv4(context).map(|(header, _)| header),
        6 => read_ipv6(context),
        _ => read_translated(context),
    }
}

/// Reads the header of a packet whose own destination is an audited endpoint.
#[inline(always)]
fn read_translated(context: &SkBuffContext) -> Result<IpHeader, Skip> {
    // SAFETY: the pointer is the program's context.
    let (header, address) = if unsafe { (*context.skb.skb).protocol } == IPV4 {
        let (header, address) = read_ipv4(context)?;
        (header, [address, 0, 0, 0])
    } else {
        (read_ipv6(context)?, load_words32(context, 24)?)
    };
    let [_, _, high, low] = load(context, header.length)?;
    let port = u32::from(u16::from_be_bytes([high, low]));
    let destination = Address { version: header.version, words: address, port };
    if audited(&destination) == 0 {
        return Err(Skip::NotAudited);
    }
    Ok(IpHeader { is_translated: true, ..header })
}

/// `SOCK_STREAM`.
const STREAM: u32 = 1;

/// Returns whether a packet's socket is a TCP stream. A raw socket that is connected to an endpoint
/// sends whatever it likes as TCP, and the caller's kernel takes no part in it.
#[inline(always)]
fn is_tcp_stream(context: &SkBuffContext) -> bool {
    let socket = own_socket(context);
    if socket.is_null() {
        return false;
    }
    // SAFETY: the helper takes the context's socket.
    let socket = unsafe { bpf_sk_fullsock(socket) };
    if socket.is_null() {
        return false;
    }
    // SAFETY: the helper's result is a socket.
    unsafe { (*socket).type_ == STREAM && (*socket).protocol == u32::from(TCP) }
}

/// Returns the header, and the destination address in memory order.
#[inline(always)]
fn read_ipv4(context: &SkBuffContext) -> Result<(IpHeader, u32), Skip> {
    let ip: [u8; IPV4_HEADER] = load(context, 0)?;
    if ip[9] != TCP {
        return Err(Skip::NotTcp);
    }
    let length = u32::from(ip[0] & 0x0f) * 4;
    let destination = u32::from_ne_bytes([ip[16], ip[17], ip[18], ip[19]]);
    Ok((IpHeader { length, ttl: ip[8], version: 4, is_translated: false }, destination))
}

#[inline(always)]
fn read_ipv6(context: &SkBuffContext) -> Result<IpHeader, Skip> {
    let ip: [u8; 8] = load(context, 0)?;
    let mut next = ip[6];
    let mut length = IPV6_HEADER as u32;
    let mut followed = 0;
    while next != TCP {
        if followed == MAX_EXTENSIONS {
            return Err(Skip::Lost(Loss::Unreadable));
        }
        if next != EXTENSIONS[0] && next != EXTENSIONS[1] && next != EXTENSIONS[2] {
            return Err(Skip::NotTcp);
        }
        let extension: [u8; 2] = load(context, length)?;
        next = extension[0];
        length = length.wrapping_add((u32::from(extension[1]) + 1) * 8);
        followed += 1;
    }
    Ok(IpHeader { length, ttl: ip[7], version: 6, is_translated: false })
}

/// Returns the packet's length. The length fields of the IP header do not serve: both are zero
/// in a packet of more than 64 KiB, which the network card or the receiver's stack cuts or joins.
#[inline(always)]
fn length(context: &SkBuffContext) -> u32 {
    // SAFETY: the pointer is the program's context.
    unsafe { (*context.skb.skb).len }
}

/// Reads four words of the packet in memory order.
#[inline(always)]
fn load_words32(context: &SkBuffContext, offset: u32) -> Result<[u32; 4], Skip> {
    let bytes: [u8; 16] = load(context, offset)?;
    // SAFETY: both are sixteen bytes without padding.
    Ok(unsafe { core::mem::transmute::<[u8; 16], [u32; 4]>(bytes) })
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
    let count = bound_for_verifier(count, 64);
    if count as usize > 8 * N {
        return false;
    }
    // SAFETY: the destination has 8 * N bytes, and `count` is at most that.
    let result =
        unsafe { bpf_skb_load_bytes(context.as_ptr(), offset, words.as_mut_ptr().cast(), count) };
    result == 0
}

/// Reads where the packet itself goes: writes the destination's address, and returns its port.
///
/// # Safety
/// `address` must be valid for writes.
#[inline(always)]
pub unsafe fn read_destination(
    context: &SkBuffContext,
    packet: &Packet,
    address: *mut [u8; 16],
) -> u16 {
    let (offset, length) = if packet.ip_version == 4 { (16, 4) } else { (24, 16) };
    // SAFETY: the destination is the caller's, and the length at most its own.
    let _ = unsafe { bpf_skb_load_bytes(context.as_ptr(), offset, address.cast(), length) };
    load(context, packet.transport.wrapping_add(2)).map_or(0, u16::from_be_bytes)
}
