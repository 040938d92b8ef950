//! Frames of a link, read down to the TCP segment in them.
//!
//! The packet source and whoever reads captures share this. It is pure, keeps nothing, and takes
//! every byte for a hostile one: a frame is a segment, or is refused with a reason.

#[cfg(test)]
pub(crate) mod fixture;
mod fragments;
mod link;
mod prefilter;
mod tunnel;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use etherparse::err::tcp::HeaderSliceError;
use etherparse::{LaxIpSlice, TcpSlice, ip_number};

use crate::segment::{ConnectionId, Direction, EndpointPair, RequestStart, Segment, Timestamp};

pub(crate) use fragments::Defragmenter;
pub(crate) use link::LinkType;
pub(crate) use prefilter::Prefilter;
pub(crate) use tunnel::Tunnel;

/// The bytes of IPv6 extension headers before which a packet is refused. Linux itself sends a
/// few dozen at most.
const MAX_EXTENSION_BYTES: usize = 512;

/// A TCP segment, as a frame has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// The sender.
    pub(crate) source: SocketAddr,
    /// The receiver.
    pub(crate) destination: SocketAddr,
    /// The IP time to live or hop limit.
    pub(crate) ttl: u8,
    /// The sequence number.
    pub(crate) sequence: u32,
    /// The acknowledgement number, where it has one.
    pub(crate) acknowledgment: Option<u32>,
    /// The SYN flag.
    pub(crate) syn: bool,
    /// The FIN flag.
    pub(crate) fin: bool,
    /// The RST flag.
    pub(crate) rst: bool,
    /// The URG flag.
    pub(crate) urgent: bool,
    /// How many payload bytes it had on the wire.
    pub(crate) length: u32,
    /// The first of them, as many as were captured: never more than `length`.
    pub(crate) payload: &'a [u8],
    /// Where the IP header begins in the frame.
    pub(crate) ip_start: usize,
    /// Where the TCP header begins in the frame.
    pub(crate) tcp_start: usize,
    /// Where the payload begins in the frame.
    pub(crate) payload_start: usize,
}

/// Why a frame has no segment that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub(crate) enum Refusal {
    /// It ends before its headers do.
    #[error("it is cut within its headers")]
    Cut,
    /// It carries neither IPv4 nor IPv6.
    #[error("it is not IP")]
    NotIp,
    /// It carries IP and not TCP.
    #[error("it is not TCP")]
    NotTcp,
    /// It is a part of a fragmented packet.
    #[error("it is a fragment")]
    Fragment,
    /// Its headers contradict themselves.
    #[error("its headers contradict themselves")]
    Malformed,
    /// It has more VLAN tags or IPv6 extension headers than are followed.
    #[error("it has too many headers")]
    TooDeep,
}

impl<'a> Frame<'a> {
    /// Reads a frame whose first bytes, `bytes`, were captured, and that had `wire_length` on the wire.
    ///
    /// The checksums are not looked at: a packet that leaves its own host has none yet.
    pub(crate) fn parse(
        link: LinkType,
        bytes: &'a [u8],
        wire_length: usize,
    ) -> Result<Self, Refusal> {
        let ip_start = link.ip_start(bytes)?;
        let packet = bytes.get(ip_start..).ok_or(Refusal::Cut)?;
        // What the frame does not say of its own length, the capture does.
        let rest = wire_length.max(bytes.len()) - ip_start;
        Self::parse_ip(packet, rest, ip_start)
    }

    fn parse_ip(packet: &'a [u8], wire_length: usize, ip_start: usize) -> Result<Self, Refusal> {
        use etherparse::err::ip::{HeaderError, LaxHeaderSliceError};
        let (ip, stopped) = LaxIpSlice::from_slice(packet).map_err(|error| match error {
            LaxHeaderSliceError::Len(_) => Refusal::Cut,
            LaxHeaderSliceError::Content(HeaderError::UnsupportedIpVersion { .. }) => {
                Refusal::NotIp
            }
            LaxHeaderSliceError::Content(_) => Refusal::Malformed,
        })?;
        let (source, destination, ttl, declared) = match &ip {
            LaxIpSlice::Ipv4(slice) => {
                let header = slice.header();
                let total = usize::from(header.total_len());
                if total != 0 && total < header.slice().len() {
                    return Err(Refusal::Malformed);
                }
                let (source, destination) = (header.source_addr(), header.destination_addr());
                (IpAddr::V4(source), IpAddr::V4(destination), header.ttl(), total)
            }
            LaxIpSlice::Ipv6(slice) => {
                if slice.extensions().slice().len() > MAX_EXTENSION_BYTES {
                    return Err(Refusal::TooDeep);
                }
                let header = slice.header();
                // 0 also says "larger than the field" (RFC 2675): so does IPv4's total length of a
                // packet that its network card cuts up later.
                let total = match usize::from(header.payload_length()) {
                    0 => 0,
                    length => header.slice().len() + length,
                };
                let (source, destination) = (header.source_addr(), header.destination_addr());
                (IpAddr::V6(source), IpAddr::V6(destination), header.hop_limit(), total)
            }
        };
        let payload = ip.payload();
        if payload.fragmented {
            return Err(Refusal::Fragment);
        }
        if payload.ip_number != ip_number::TCP {
            // An extension header that is cut, say.
            return Err(if stopped.is_some() { Refusal::Cut } else { Refusal::NotTcp });
        }
        let tcp = TcpSlice::from_slice(payload.payload).map_err(|error| match error {
            HeaderSliceError::Len(_) => Refusal::Cut,
            HeaderSliceError::Content(_) => Refusal::Malformed,
        })?;

        let tcp_offset = offset_within(packet, payload.payload).ok_or(Refusal::Malformed)?;
        let payload_offset = tcp_offset + tcp.header_slice().len();
        let total = if declared == 0 { wire_length } else { declared };
        let length = total.checked_sub(payload_offset).ok_or(Refusal::Malformed)?;
        let captured = tcp.payload();
        Ok(Self {
            source: SocketAddr::new(source, tcp.source_port()),
            destination: SocketAddr::new(destination, tcp.destination_port()),
            ttl,
            sequence: tcp.sequence_number(),
            acknowledgment: tcp.ack().then(|| tcp.acknowledgment_number()),
            syn: tcp.syn(),
            fin: tcp.fin(),
            rst: tcp.rst(),
            urgent: tcp.urg(),
            length: u32::try_from(length).map_err(|_| Refusal::Malformed)?,
            payload: captured.get(..length).unwrap_or(captured),
            ip_start,
            tcp_start: ip_start + tcp_offset,
            payload_start: ip_start + payload_offset,
        })
    }

    /// Returns which way it goes, and the connection's ends, if one of them is an endpoint.
    ///
    /// Where both are, it is a request: the service connects to nobody.
    pub(crate) fn direction(
        &self,
        is_endpoint: impl Fn(SocketAddr) -> bool,
    ) -> Option<(Direction, EndpointPair)> {
        let ends = |source, endpoint| EndpointPair {
            source: Some(source),
            endpoint,
            mapped: false,
            netns: None,
        };
        if is_endpoint(self.destination) {
            Some((Direction::Request, ends(self.source, self.destination)))
        } else if is_endpoint(self.source) {
            Some((Direction::Response, ends(self.destination, self.source)))
        } else {
            None
        }
    }

    /// Makes a segment of it. Nobody counts losses, and nobody knows the writer.
    pub(crate) fn segment(
        &self,
        connection: ConnectionId,
        ends: EndpointPair,
        direction: Direction,
        time: Timestamp,
        has_bodies: bool,
    ) -> Segment<'a> {
        Segment {
            connection,
            ends,
            direction,
            time,
            sequence: self.sequence,
            acknowledgment: self.acknowledgment,
            syn: self.syn,
            fin: self.fin,
            rst: self.rst,
            urgent: self.urgent,
            length: self.length,
            payload: self.payload,
            has_bodies,
            ttl: Some(self.ttl),
            writer: None,
            begins: RequestStart::No,
            lost_requests: 0,
            lost_records: 0,
            shared: false,
            translated: false,
        }
    }
}

/// Returns where a part of some bytes begins in them.
fn offset_within(whole: &[u8], part: &[u8]) -> Option<usize> {
    let offset = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    (offset <= whole.len()).then_some(offset)
}
