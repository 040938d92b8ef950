//! Tunnels: frames that packets carry, as VPC Traffic Mirroring, switches and overlay networks send
//! them.

use super::link::LinkType;

/// The tunnels that are followed, one within the other.
const MAX_DEPTH: usize = 4;

/// The ports of VXLAN (RFC 7348), of Linux's before that, and of Geneve (RFC 8926).
const VXLAN: [u16; 2] = [4789, 8472];
const GENEVE: u16 = 6081;
pub(super) const UDP_HEADER: usize = 8;

/// The protocols within IP.
pub(super) const IPV4_IN_IP: u8 = 4;
pub(super) const UDP: u8 = 17;
pub(super) const IPV6_IN_IP: u8 = 41;
pub(super) const GRE: u8 = 47;

/// The EtherTypes within GRE and Geneve.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const BRIDGED_ETHERNET: u16 = 0x6558;
const ERSPAN_2: u16 = 0x88be;
const ERSPAN_3: u16 = 0x22eb;

/// A frame within a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tunnel {
    /// The kind of link of the innermost frame.
    pub(crate) link: LinkType,
    /// Where that begins.
    pub(crate) offset: usize,
    /// The number of the network or session of the innermost tunnel; 0 without one.
    pub(crate) number: u32,
}

impl Tunnel {
    /// Finds the innermost frame of one; itself if it is no tunnel's.
    pub(crate) fn innermost(link: LinkType, bytes: &[u8]) -> Self {
        let mut found = Self { link, offset: 0, number: 0 };
        for _ in 0..MAX_DEPTH {
            let Some(inner) = found.next(bytes) else { break };
            found = inner;
        }
        found
    }

    fn next(self, bytes: &[u8]) -> Option<Self> {
        let frame = bytes.get(self.offset..)?;
        let start = self.link.ip_start(frame).ok()?;
        let (protocol, header) = protocol(frame.get(start..)?)?;
        let place = start + header;
        let body = frame.get(place..)?;
        let (link, skipped, number) = match protocol {
            UDP => within_udp(body)?,
            GRE => within_gre(body)?,
            IPV4_IN_IP | IPV6_IN_IP => (LinkType::RawIp, 0, 0),
            _ => return None,
        };
        Some(Self { link, offset: self.offset + place + skipped, number })
    }
}

/// Returns the protocol within an IP packet, and the length of its header. Packets of fragments and
/// with extension headers are no tunnels here.
fn protocol(packet: &[u8]) -> Option<(u8, usize)> {
    match packet.first()? >> 4 {
        4 => {
            let length = usize::from(packet.first()? & 0xf) * 4;
            let is_fragment = word(packet, 6)? & 0x3fff != 0;
            (length >= 20 && !is_fragment).then_some((*packet.get(9)?, length))
        }
        6 => Some((*packet.get(6)?, 40)),
        _ => None,
    }
}

/// Returns whether datagrams to this port are a tunnel's.
pub(super) fn is_tunnel_port(port: u16) -> bool {
    port == GENEVE || VXLAN.contains(&port)
}

fn within_udp(datagram: &[u8]) -> Option<(LinkType, usize, u32)> {
    let port = word(datagram, 2)?;
    let body = datagram.get(UDP_HEADER..)?;
    if VXLAN.contains(&port) {
        // The flag says that the network has a number.
        let is_vxlan = body.first()? & 0x08 != 0;
        return is_vxlan.then_some((LinkType::Ethernet, UDP_HEADER + 8, network(body)?));
    }
    if port != GENEVE {
        return None;
    }
    let first = *body.first()?;
    let header = 8 + usize::from(first & 0x3f) * 4;
    let link = link_of(word(body, 2)?)?;
    (first >> 6 == 0).then_some((link, UDP_HEADER + header, network(body)?))
}

/// Reads the 24 bits of a network's number, of VXLAN and of Geneve.
fn network(body: &[u8]) -> Option<u32> {
    let bytes = body.get(4..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*bytes) >> 8)
}

fn within_gre(packet: &[u8]) -> Option<(LinkType, usize, u32)> {
    let (flags, kind) = (word(packet, 0)?, word(packet, 2)?);
    if flags & 7 != 0 {
        return None;
    }
    let has_sequence = flags & 0x1000 != 0;
    let optional = [0x8000, 0x2000, 0x1000].iter().filter(|flag| flags & **flag != 0).count();
    let header = 4 + 4 * optional;
    let key = if flags & 0x2000 != 0 { header - if has_sequence { 8 } else { 4 } } else { 0 };
    let number = if key > 0 {
        u32::from(word(packet, key)?) << 16 | u32::from(word(packet, key + 2)?)
    } else {
        0
    };
    let session = || word(packet, header + 2).map(|word| u32::from(word & 0x3ff));
    match kind {
        // Without a sequence number it is the first type, which has no header.
        ERSPAN_2 if has_sequence => Some((LinkType::Ethernet, header + 8, session()?)),
        ERSPAN_2 => Some((LinkType::Ethernet, header, 0)),
        ERSPAN_3 => {
            let has_more = word(packet, header + 10)? & 1 != 0;
            Some((LinkType::Ethernet, header + if has_more { 20 } else { 12 }, session()?))
        }
        kind => Some((link_of(kind)?, header, number)),
    }
}

fn link_of(kind: u16) -> Option<LinkType> {
    match kind {
        IPV4 | IPV6 => Some(LinkType::RawIp),
        BRIDGED_ETHERNET => Some(LinkType::Ethernet),
        _ => None,
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk::<2>().map(|word| u16::from_be_bytes(*word))
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    /// Puts a body behind the headers of an IPv4 packet of this protocol.
    fn ip(protocol: u8, body: &[u8]) -> Vec<u8> {
        let mut packet =
            vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend_from_slice(body);
        let length = u16::try_from(packet.len()).unwrap();
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        packet
    }

    fn udp(port: u16, body: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .udp(50_000, port)
            .write(&mut packet, body)
            .unwrap();
        packet
    }

    fn ethernet(packet: &[u8]) -> Vec<u8> {
        [&[2; 12][..], &[0x08, 0], packet].concat()
    }

    #[test]
    fn every_tunnel_leads_to_the_frame_in_it() {
        let inner = ip(6, b"the segment");
        let frame = ethernet(&inner);
        let vxlan = [&[8, 0, 0, 0, 0, 0, 7, 0][..], &frame].concat();
        let geneve = [&[1, 0, 0x65, 0x58, 0, 0, 7, 0, 1, 2, 3, 4][..], &frame].concat();
        let gre_key = [&[0x20, 0, 8, 0, 0, 0, 0, 7][..], &inner].concat();
        let erspan_1 = [&[0, 0, 0x88, 0xbe][..], &frame].concat();
        let erspan_2 =
            [&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0, 7, 0, 0, 0, 0][..], &frame].concat();
        let erspan_3 =
            [&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0][..], &frame]
                .concat();
        for (outer, link, number) in [
            (udp(4789, &vxlan), LinkType::Ethernet, 7),
            (udp(8472, &vxlan), LinkType::Ethernet, 7),
            (udp(6081, &geneve), LinkType::Ethernet, 7),
            (ip(GRE, &gre_key), LinkType::RawIp, 7),
            (ip(GRE, &erspan_1), LinkType::Ethernet, 0),
            (ip(GRE, &erspan_2), LinkType::Ethernet, 7),
            (ip(GRE, &erspan_3), LinkType::Ethernet, 7),
            (ip(IPV4_IN_IP, &inner), LinkType::RawIp, 0),
        ] {
            let whole = ethernet(&outer);
            let found = Tunnel::innermost(LinkType::Ethernet, &whole);
            assert_eq!((found.link, found.number), (link, number), "{outer:02x?}");
            let expected = if link == LinkType::RawIp { &inner } else { &frame };
            assert_eq!(whole[found.offset..], expected[..]);
        }
    }

    #[test]
    fn what_is_no_tunnel_is_itself_and_a_nest_has_an_end() {
        for packet in [ip(6, b"x"), udp(53, b"x"), udp(4789, &[0; 30]), Vec::new(), vec![0x45]] {
            let whole = ethernet(&packet);
            assert_eq!(Tunnel::innermost(LinkType::Ethernet, &whole).offset, 0);
        }
        let nest = (0..50).fold(ip(6, b"x"), |packet, _| ip(IPV4_IN_IP, &packet));
        assert_eq!(Tunnel::innermost(LinkType::RawIp, &nest).offset, MAX_DEPTH * 20);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = Tunnel::innermost(LinkType::RawIp, &bytes);
            let _ = Tunnel::innermost(LinkType::RawIp, &ip(GRE, &bytes));
            let _ = Tunnel::innermost(LinkType::RawIp, &udp(6081, &bytes));
        }
    }
}
