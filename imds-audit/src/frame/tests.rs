use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::*;

const REQUEST: &[u8] = b"GET /latest/meta-data/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n";
const LINKS: [LinkType; 7] = [
    LinkType::RawIp,
    LinkType::Tagged,
    LinkType::Ethernet,
    LinkType::Cooked,
    LinkType::Cooked2,
    LinkType::Null,
    LinkType::Loop,
];

fn ipv4() -> Vec<u8> {
    let packet = PacketBuilder::ipv4([10, 0, 0, 7], [169, 254, 169, 254], 64)
        .tcp(40_000, 80, 1_000, 500)
        .ack(7_777)
        .psh();
    build(packet)
}

fn ipv6() -> Vec<u8> {
    let service: Ipv6Addr = "fd00:ec2::254".parse().unwrap();
    let caller: Ipv6Addr = "fd00::7".parse().unwrap();
    let packet = PacketBuilder::ipv6(caller.octets(), service.octets(), 63)
        .tcp(40_000, 80, 1_000, 500)
        .ack(7_777);
    build(packet)
}

fn build(packet: etherparse::PacketBuilderStep<etherparse::TcpHeader>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.write(&mut bytes, REQUEST).unwrap();
    bytes
}

/// Puts a packet behind the header of a link.
fn on(link: LinkType, packet: &[u8], tags: &[u16]) -> Vec<u8> {
    let is_ipv4 = packet[0] >> 4 == 4;
    let kind: u16 = if is_ipv4 { 0x0800 } else { 0x86dd };
    let mut behind = Vec::new();
    let first = tags.first().copied().unwrap_or(kind);
    for place in 0..tags.len() {
        behind.extend_from_slice(&[0x40, 0x07]);
        behind.extend_from_slice(&tags.get(place + 1).copied().unwrap_or(kind).to_be_bytes());
    }
    behind.extend_from_slice(packet);
    let first = first.to_be_bytes();
    let front = match link {
        LinkType::RawIp => Vec::new(),
        LinkType::Tagged => [&[0x40, 0x07][..], &first].concat(),
        LinkType::Ethernet => [&[2; 12][..], &first].concat(),
        LinkType::Cooked => [&[0, 4, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0][..], &first].concat(),
        LinkType::Cooked2 => [&first[..], &[0; 18]].concat(),
        LinkType::Null => u32::from(if is_ipv4 { 2u8 } else { 30 }).to_le_bytes().to_vec(),
        LinkType::Loop => u32::from(if is_ipv4 { 2u8 } else { 24 }).to_be_bytes().to_vec(),
    };
    [front, behind].concat()
}

fn parse(link: LinkType, bytes: &[u8]) -> Result<Frame<'_>, Refusal> {
    Frame::parse(link, bytes, bytes.len())
}

#[test]
fn a_segment_is_read_on_every_link() {
    for link in LINKS {
        for packet in [ipv4(), ipv6()] {
            let bytes = on(link, &packet, &[]);
            let frame = parse(link, &bytes).unwrap();
            assert_eq!(frame.payload, REQUEST, "{link:?}");
            assert_eq!(frame.length as usize, REQUEST.len());
            assert_eq!((frame.source.port(), frame.destination.port()), (40_000, 80));
            assert_eq!((frame.sequence, frame.acknowledgment), (1_000, Some(7_777)));
            assert_eq!(bytes[frame.payload_start..], *REQUEST);
            assert_eq!(bytes[frame.ip_start..], packet);
            assert_eq!(bytes[frame.tcp_start..][..2], 40_000u16.to_be_bytes());
            assert!(!frame.syn && !frame.fin && !frame.rst && !frame.urgent);
        }
    }
}

#[test]
fn the_numbers_of_capture_files_are_known() {
    for (number, link) in [
        (0, Some(LinkType::Null)),
        (1, Some(LinkType::Ethernet)),
        (101, Some(LinkType::RawIp)),
        (108, Some(LinkType::Loop)),
        (113, Some(LinkType::Cooked)),
        (228, Some(LinkType::RawIp)),
        (229, Some(LinkType::RawIp)),
        (276, Some(LinkType::Cooked2)),
        (105, None),
    ] {
        assert_eq!(LinkType::from_number(number), link);
    }
}

#[test]
fn vlan_tags_are_followed_to_a_bound() {
    for link in [LinkType::Ethernet, LinkType::Cooked, LinkType::Cooked2] {
        for tags in [&[0x8100][..], &[0x88a8, 0x8100], &[0x9100, 0x8100, 0x8100, 0x8100]] {
            let bytes = on(link, &ipv6(), tags);
            assert_eq!(parse(link, &bytes).unwrap().payload, REQUEST, "{link:?} {tags:?}");
        }
        let bytes = on(link, &ipv4(), &[0x8100; 5]);
        assert_eq!(parse(link, &bytes), Err(Refusal::TooDeep));
    }
}

#[test]
fn a_null_link_has_either_byte_order() {
    let mut bytes = on(LinkType::Null, &ipv6(), &[]);
    bytes[..4].reverse();
    assert!(parse(LinkType::Null, &bytes).is_ok());
    bytes[3] = 99;
    assert_eq!(parse(LinkType::Null, &bytes), Err(Refusal::NotIp));
}

#[test]
fn what_is_no_segment_is_refused_with_its_reason() {
    let mut fragment = ipv4();
    fragment[6] = 0x20;
    let mut last = ipv4();
    last[7] = 1;
    let mut udp = ipv4();
    udp[9] = 17;
    let mut short_header = ipv4();
    short_header[20 + 12] = 0x40;
    let mut short_total = ipv4();
    (short_total[2], short_total[3]) = (0, 19);
    let mut too_short_for_tcp = ipv4();
    (too_short_for_tcp[2], too_short_for_tcp[3]) = (0, 30);
    let mut version = ipv4();
    version[0] = 0x75;
    for (bytes, reason) in [
        (fragment, Refusal::Fragment),
        (last, Refusal::Fragment),
        (udp, Refusal::NotTcp),
        (short_header, Refusal::Malformed),
        (short_total, Refusal::Malformed),
        (too_short_for_tcp, Refusal::Cut),
        (version, Refusal::NotIp),
        (Vec::new(), Refusal::Cut),
    ] {
        assert_eq!(parse(LinkType::RawIp, &bytes), Err(reason), "{bytes:02x?}");
    }
    let arp = [&[2; 12][..], &[0x08, 0x06], &[0; 40]].concat();
    assert_eq!(parse(LinkType::Ethernet, &arp), Err(Refusal::NotIp));
}

/// Puts IPv6 extension headers of one kind before the TCP header.
fn extended(kind: u8, header: &[u8], times: usize) -> Vec<u8> {
    let mut packet = ipv6();
    let tcp = packet.split_off(40);
    for place in 0..times {
        let mut header = header.to_vec();
        header[0] = if place + 1 == times { 6 } else { kind };
        packet.extend_from_slice(&header);
    }
    packet[6] = kind;
    packet.extend_from_slice(&tcp);
    let length = u16::try_from(packet.len() - 40).unwrap();
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    packet
}

#[test]
fn ipv6_extension_headers_are_walked_to_a_bound() {
    let options = [0, 0, 1, 4, 0, 0, 0, 0];
    for times in [1, 4] {
        let bytes = extended(60, &options, times);
        let frame = parse(LinkType::RawIp, &bytes).unwrap();
        assert_eq!((frame.payload, frame.tcp_start), (REQUEST, 40 + 8 * times));
    }
    let hop_by_hop = extended(0, &options, 1);
    assert_eq!(parse(LinkType::RawIp, &hop_by_hop).unwrap().payload, REQUEST);
    let many = extended(60, &options, 100);
    assert_eq!(parse(LinkType::RawIp, &many), Err(Refusal::TooDeep));
    // The first of several fragments; one that is alone is whole (RFC 8200, section 4.5).
    let first = extended(44, &[0, 0, 0, 1, 0, 0, 0, 9], 1);
    assert_eq!(parse(LinkType::RawIp, &first), Err(Refusal::Fragment));
    let whole = extended(44, &[0, 0, 0, 0, 0, 0, 0, 9], 1);
    assert_eq!(parse(LinkType::RawIp, &whole).unwrap().payload, REQUEST);
}

#[test]
fn a_frame_that_was_cut_keeps_its_length() {
    let bytes = ipv4();
    let cut = &bytes[..40 + 10];
    let frame = Frame::parse(LinkType::RawIp, cut, bytes.len()).unwrap();
    assert_eq!(frame.payload, &REQUEST[..10]);
    assert_eq!(frame.length as usize, REQUEST.len());
    for end in 0..40 {
        assert_eq!(parse(LinkType::RawIp, &bytes[..end]), Err(Refusal::Cut), "{end}");
    }
}

#[test]
fn the_padding_of_a_short_frame_is_no_payload() {
    let mut packet = Vec::new();
    PacketBuilder::ipv4([10, 0, 0, 7], [169, 254, 169, 254], 64)
        .tcp(40_000, 80, 1_000, 500)
        .write(&mut packet, &[])
        .unwrap();
    let mut bytes = on(LinkType::Ethernet, &packet, &[]);
    bytes.extend_from_slice(&[0xee; 6]);
    let frame = parse(LinkType::Ethernet, &bytes).unwrap();
    assert_eq!((frame.payload, frame.length), (&[][..], 0));
}

#[test]
fn a_packet_without_a_length_of_its_own_takes_the_captures() {
    // What the network card cuts up later, and a jumbogram.
    let (mut v4, mut v6) = (ipv4(), ipv6());
    (v4[2], v4[3]) = (0, 0);
    (v6[4], v6[5]) = (0, 0);
    for bytes in [v4, v6] {
        let frame = parse(LinkType::RawIp, &bytes).unwrap();
        assert_eq!((frame.payload, frame.length as usize), (REQUEST, REQUEST.len()));
        let frame = Frame::parse(LinkType::RawIp, &bytes, 100_000).unwrap();
        assert_eq!(frame.length as usize, 100_000 - frame.payload_start);
    }
}

#[test]
fn the_endpoint_tells_the_direction() {
    let bytes = ipv4();
    let frame = parse(LinkType::RawIp, &bytes).unwrap();
    let service = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(169, 254, 169, 254), 80));
    let caller = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 7), 40_000));
    let (direction, ends) = frame.direction(|address| address == service).unwrap();
    assert_eq!(
        (direction, ends.source, ends.endpoint),
        (Direction::Request, Some(caller), service)
    );
    let (direction, ends) = frame.direction(|address| address == caller).unwrap();
    assert_eq!((direction, ends.source), (Direction::Response, Some(service)));
    let other = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 0, 0));
    assert_eq!(frame.direction(|address| address == other), None);
}

fn link() -> impl Strategy<Value = LinkType> {
    proptest::sample::select(&LINKS[..])
}

/// What holds for every frame, whatever its bytes.
fn check(link: LinkType, bytes: &[u8], wire_length: usize) {
    let Ok(frame) = Frame::parse(link, bytes, wire_length) else { return };
    assert!(frame.payload.len() <= frame.length as usize);
    assert!(frame.ip_start < frame.tcp_start && frame.tcp_start < frame.payload_start);
    assert_eq!(
        bytes.get(frame.payload_start..).unwrap().get(..frame.payload.len()).unwrap(),
        frame.payload
    );
}

proptest! {
    #[test]
    fn no_bytes_panic(link in link(), bytes in prop::collection::vec(any::<u8>(), 0..200), wire in 0usize..70_000) {
        check(link, &bytes, wire);
    }

    #[test]
    fn a_damaged_frame_is_refused_or_read_within_its_bytes(
        link in link(),
        is_ipv4: bool,
        place in any::<prop::sample::Index>(),
        value: u8,
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = on(link, &if is_ipv4 { ipv4() } else { ipv6() }, &[]);
        let place = place.index(bytes.len());
        bytes[place] = value;
        check(link, &bytes, bytes.len());
        bytes.truncate(end.index(bytes.len() + 1));
        check(link, &bytes, bytes.len());
    }
}

/// Finds an endpoint's segment in a frame without the prefilter.
fn is_of_an_endpoint(link: LinkType, bytes: &[u8], endpoint: std::net::SocketAddr) -> bool {
    let Tunnel { link, offset, .. } = Tunnel::innermost(link, bytes);
    let frame = &bytes[offset..];
    match Frame::parse(link, frame, frame.len()) {
        Ok(frame) => frame.direction(|at| at == endpoint).is_some(),
        Err(_) => false,
    }
}

fn endpoints() -> [std::net::SocketAddr; 2] {
    [
        SocketAddrV4::new(Ipv4Addr::new(169, 254, 169, 254), 80).into(),
        SocketAddrV6::new("fd00:ec2::254".parse().unwrap(), 80, 0, 0).into(),
    ]
}

#[test]
fn the_prefilter_admits_an_endpoints_segments_on_every_link_and_no_other_traffic() {
    let prefilter = Prefilter::new(&endpoints());
    let [service, _] = endpoints();
    let other =
        Prefilter::new(&["192.0.2.1:80".parse().unwrap(), "[2001:db8::1]:80".parse().unwrap()]);
    for link in LINKS {
        for (packet, endpoint) in [ipv4(), ipv6()].iter().zip(endpoints()) {
            let tags: &[u16] = if link == LinkType::Ethernet { &[0x88a8, 0x8100] } else { &[] };
            let bytes = on(link, packet, tags);
            assert!(is_of_an_endpoint(link, &bytes, endpoint), "{link:?}");
            assert!(prefilter.admits(link, &bytes), "{link:?}");
            assert!(!other.admits(link, &bytes), "{link:?}");
        }
    }
    let vxlan = [&[8, 0, 0, 0, 0, 0, 7, 0][..], &on(LinkType::Ethernet, &ipv4(), &[])].concat();
    let mut mirrored = Vec::new();
    PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(50_000, 4_789)
        .write(&mut mirrored, &vxlan)
        .unwrap();
    assert!(is_of_an_endpoint(LinkType::RawIp, &mirrored, service));
    assert!(prefilter.admits(LinkType::RawIp, &mirrored));
}

proptest! {
    #[test]
    fn the_prefilter_never_leaves_out_an_endpoints_segment(
        link in 0..LINKS.len(),
        is_ipv6: bool,
        tags in prop::collection::vec(prop::sample::select(vec![0x8100_u16, 0x88a8, 0x9100]), 0..5),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        tunnel in 0..4_u8,
    ) {
        let link = LINKS[link];
        let inner = if is_ipv6 { ipv6() } else { ipv4() };
        let outer = |protocol: u8| {
            let mut header = ipv4()[..20].to_vec();
            header[9] = protocol;
            header[12..].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
            header
        };
        let packet = match tunnel {
            0 => inner,
            1 => [outer(if is_ipv6 { 41 } else { 4 }), inner].concat(),
            2 => [outer(47), vec![0, 0, if is_ipv6 { 0x86 } else { 8 }, if is_ipv6 { 0xdd } else { 0 }], inner].concat(),
            _ => {
                let vxlan = [0, 1, 0x12, 0xb5, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 7, 0];
                [outer(17), vxlan.to_vec(), on(LinkType::Ethernet, &inner, &[])].concat()
            }
        };
        let tags = if matches!(link, LinkType::Null | LinkType::Loop | LinkType::RawIp) { &[][..] } else { &tags };
        let mut bytes = on(link, &packet, tags);
        let length = bytes.len();
        for (place, value) in changes {
            bytes[place.index(length)] = value;
        }
        let admitted = Prefilter::new(&endpoints()).admits(link, &bytes);
        for endpoint in endpoints() {
            prop_assert!(admitted || !is_of_an_endpoint(link, &bytes, endpoint));
        }
    }
}
