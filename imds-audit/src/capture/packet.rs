//! Packets rebuilt from segments, with checksums that hold.

use std::net::{IpAddr, SocketAddr};

/// The longest TCP payload of one IPv4 packet without options; IPv6 has room for more.
pub(super) const MAX_PAYLOAD: usize = 65_535 - IPV4_HEADER - TCP_HEADER;

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const TCP_HEADER: usize = 20;
const TCP: u8 = 6;
/// The window that packets announce: the segments do not carry theirs.
const WINDOW: u16 = 65_535;
const DONT_FRAGMENT: u16 = 0x4000;

/// The bits of a TCP header's flags (RFC 9293, section 3.1).
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const URG: u8 = 0x20;

/// What the headers of a packet say.
#[derive(Clone, Debug)]
pub(super) struct Headers {
    /// The sender.
    pub source: SocketAddr,
    /// The receiver.
    pub destination: SocketAddr,
    /// The time to live, or hop limit.
    pub ttl: u8,
    /// The sequence number.
    pub sequence: u32,
    /// The acknowledgement number.
    pub acknowledgment: Option<u32>,
    /// The SYN flag.
    pub syn: bool,
    /// The FIN flag.
    pub fin: bool,
    /// The RST flag.
    pub rst: bool,
    /// The URG flag.
    pub urgent: bool,
    /// The headers as they were, IP and TCP; empty where a source has none.
    pub original: Vec<u8>,
}

impl Headers {
    /// Returns the packet with the captured part of a payload of `length` bytes, and how many bytes the
    /// whole packet had. Bytes that are missing count as zeros in the checksum.
    pub(super) fn packet(&self, payload: &[u8], length: usize) -> (Vec<u8>, usize) {
        let payload = payload.get(..payload.len().min(MAX_PAYLOAD)).unwrap_or_default();
        let length = length.clamp(payload.len(), MAX_PAYLOAD);
        if let Some(whole) = self.of_original(payload, length) {
            return whole;
        }
        let segment_length = TCP_HEADER + length;
        let mut tcp = self.tcp();
        let pseudo = self.pseudo_header(segment_length);
        let sum = checksum(&[&pseudo, &tcp, payload]);
        if let Some(place) = tcp.get_mut(16..18) {
            place.copy_from_slice(&sum.to_be_bytes());
        }
        let ip = self.ip(segment_length);
        let wire_length = ip.len() + segment_length;
        ([&ip[..], &tcp, payload].concat(), wire_length)
    }

    /// Puts a payload behind the original headers, with lengths and checksums of its own; `None` if
    /// they are not known, or have IP options or IPv6 extensions.
    fn of_original(&self, payload: &[u8], length: usize) -> Option<(Vec<u8>, usize)> {
        let mut bytes = self.original.clone();
        let tcp = match *bytes.first()? {
            0x45 => IPV4_HEADER,
            first if first >> 4 == 6 && bytes.get(6) == Some(&TCP) => IPV6_HEADER,
            _ => return None,
        };
        let words = bytes.get(tcp + 12)? >> 4;
        if bytes.len() != tcp + usize::from(words) * 4 {
            return None;
        }
        let total = bytes.len() + length;
        let mut set = |place: usize, number: u16| {
            bytes.get_mut(place..place + 2)?.copy_from_slice(&number.to_be_bytes());
            Some(())
        };
        if tcp == IPV4_HEADER {
            set(2, u16::try_from(total).ok()?)?;
            set(10, 0)?;
        } else {
            set(4, u16::try_from(total - IPV6_HEADER).ok()?)?;
        }
        set(tcp + 16, 0)?;
        let (ip, segment) = bytes.split_at(tcp);
        let pseudo = self.pseudo_header(total - tcp);
        let (ip, sum) = (checksum(&[ip]), checksum(&[&pseudo, segment, payload]));
        if tcp == IPV4_HEADER {
            bytes.get_mut(10..12)?.copy_from_slice(&ip.to_be_bytes());
        }
        bytes.get_mut(tcp + 16..tcp + 18)?.copy_from_slice(&sum.to_be_bytes());
        bytes.extend_from_slice(payload);
        Some((bytes, total))
    }

    fn tcp(&self) -> Vec<u8> {
        let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let flags = flag(self.fin, FIN)
            | flag(self.syn, SYN)
            | flag(self.rst, RST)
            | flag(self.acknowledgment.is_some(), ACK)
            | flag(self.urgent, URG)
            | flag(!self.syn && !self.rst && !self.fin, PSH);
        let mut tcp = Vec::with_capacity(TCP_HEADER);
        tcp.extend(self.source.port().to_be_bytes());
        tcp.extend(self.destination.port().to_be_bytes());
        tcp.extend(self.sequence.to_be_bytes());
        tcp.extend(self.acknowledgment.unwrap_or(0).to_be_bytes());
        // Five words, and the flags.
        tcp.extend([5 << 4, flags]);
        tcp.extend(WINDOW.to_be_bytes());
        // The checksum, and where urgent bytes end, which the segments do not say.
        tcp.extend([0, 0, 0, u8::from(self.urgent)]);
        tcp
    }

    fn ip(&self, segment_length: usize) -> Vec<u8> {
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let total = u16::try_from(IPV4_HEADER + segment_length).unwrap_or(u16::MAX);
                let mut ip = vec![0x45, 0];
                ip.extend(total.to_be_bytes());
                ip.extend([0; 2]);
                ip.extend(DONT_FRAGMENT.to_be_bytes());
                ip.extend([self.ttl, TCP, 0, 0]);
                ip.extend(source.octets());
                ip.extend(destination.octets());
                let sum = checksum(&[&ip]);
                if let Some(place) = ip.get_mut(10..12) {
                    place.copy_from_slice(&sum.to_be_bytes());
                }
                ip
            }
            (source, destination) => {
                let length = u16::try_from(segment_length).unwrap_or(u16::MAX);
                let mut ip = Vec::with_capacity(IPV6_HEADER);
                ip.extend([0x60, 0, 0, 0]);
                ip.extend(length.to_be_bytes());
                ip.extend([TCP, self.ttl]);
                ip.extend(octets6(source));
                ip.extend(octets6(destination));
                ip
            }
        }
    }

    fn pseudo_header(&self, segment_length: usize) -> Vec<u8> {
        let length = u32::try_from(segment_length).unwrap_or(u32::MAX).to_be_bytes();
        let mut pseudo = match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                [source.octets(), destination.octets()].concat()
            }
            (source, destination) => [octets6(source), octets6(destination)].concat(),
        };
        pseudo.extend([0, 0, 0, TCP]);
        pseudo.extend(length);
        pseudo
    }
}

fn octets6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Returns the Internet checksum (RFC 1071) of parts; all but the last have an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    for part in parts {
        let (pairs, rest) = part.as_chunks::<2>();
        sum += pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum::<u64>();
        sum += rest.first().map_or(0, |last| u64::from(*last) << 8);
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, LinkType};

    fn headers(source: &str, destination: &str) -> Headers {
        Headers {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            ttl: 63,
            sequence: 7,
            acknowledgment: Some(9),
            syn: false,
            fin: false,
            rst: false,
            urgent: false,
            original: Vec::new(),
        }
    }

    #[test]
    fn original_headers_are_kept_with_lengths_and_checksums_that_hold() {
        let options = [etherparse::TcpOptionElement::WindowScale(7)];
        for (source, destination) in
            [("10.0.0.5:4000", "169.254.169.254:80"), ("[fd00::5]:4000", "[fd00:ec2::254]:80")]
        {
            let mut headers = headers(source, destination);
            let packet = match (headers.source.ip(), headers.destination.ip()) {
                (IpAddr::V4(from), IpAddr::V4(to)) => {
                    etherparse::PacketBuilder::ipv4(from.octets(), to.octets(), 61)
                }
                (from, to) => etherparse::PacketBuilder::ipv6(octets6(from), octets6(to), 61),
            };
            let mut original = Vec::new();
            let packet = packet.tcp(4_000, 80, 7, 1_234).ack(9).options(&options).unwrap();
            packet.write(&mut original, b"a secret").unwrap();
            let wire = original.len();
            original.truncate(wire - 8);
            headers.original.clone_from(&original);
            for (payload, length) in [(&b"xxxxxxxx"[..], 8), (b"", 0), (b"HTTP", 50_000)] {
                let (bytes, total) = headers.packet(payload, length);
                assert_eq!(total, original.len() + length);
                let frame = Frame::parse(LinkType::RawIp, &bytes, total).unwrap();
                assert_eq!((frame.ttl, frame.length as usize), (61, length));
                assert_eq!(frame.payload, payload);
                let tcp = &bytes[frame.tcp_start..];
                assert_eq!(tcp[14..16], 1_234_u16.to_be_bytes());
                assert_eq!(tcp[20..24], original[frame.tcp_start + 20..][..4]);
                let pseudo = headers.pseudo_header(total - frame.tcp_start);
                assert_eq!(checksum(&[&pseudo, tcp]), 0);
                if frame.tcp_start == IPV4_HEADER {
                    assert_eq!(bytes[4..6], original[4..6]);
                    assert_eq!(checksum(&[&bytes[..20]]), 0);
                }
            }
            // More than an IPv4 packet may have with options: the headers are made anew.
            let (_, total) = headers.packet(b"HTTP", MAX_PAYLOAD);
            assert_eq!(total, if headers.source.is_ipv4() { 65_535 } else { 65_559 });
        }
    }

    #[test]
    fn urgent_bytes_stay_urgent() {
        let headers = Headers { urgent: true, ..headers("10.0.0.5:4000", "169.254.169.254:80") };
        let (bytes, wire) = headers.packet(b"GET", 3);
        assert!(Frame::parse(LinkType::RawIp, &bytes, wire).unwrap().urgent);
    }

    #[test]
    fn a_packet_is_read_back_and_its_checksums_hold() {
        for headers in [
            headers("10.0.0.5:4000", "169.254.169.254:80"),
            headers("[fd00::5]:4000", "[fd00:ec2::254]:80"),
        ] {
            for payload in [&b""[..], b"GET", b"GET /"] {
                let (bytes, wire) = headers.packet(payload, payload.len());
                assert_eq!(bytes.len(), wire);
                let frame = Frame::parse(LinkType::RawIp, &bytes, wire).unwrap();
                assert_eq!((frame.payload, frame.ttl, frame.sequence), (payload, 63, 7));
                assert_eq!(frame.acknowledgment, Some(9));
                // A sum over everything, checksums included, is zero.
                let tcp = &bytes[frame.tcp_start..];
                assert_eq!(checksum(&[&headers.pseudo_header(tcp.len()), tcp]), 0);
                if headers.source.is_ipv4() {
                    assert_eq!(checksum(&[&bytes[..20]]), 0);
                }
            }
            let (bytes, wire) = headers.packet(b"HTTP", 1_000);
            let frame = Frame::parse(LinkType::RawIp, &bytes, wire).unwrap();
            assert_eq!((frame.payload, frame.length), (&b"HTTP"[..], 1_000));
            assert_eq!(wire - bytes.len(), 996);
        }
    }
}
