use proptest::prelude::*;

use super::*;
use crate::frame::fixture::cut;
use crate::frame::{Frame, LinkType, Refusal};

const REQUEST: &[u8] = b"GET /latest/meta-data/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n";

fn ipv4() -> Vec<u8> {
    let mut packet = Vec::new();
    etherparse::PacketBuilder::ipv4([10, 0, 0, 7], [169, 254, 169, 254], 64)
        .tcp(40_000, 80, 1_000, 500)
        .write(&mut packet, REQUEST)
        .unwrap();
    packet
}

fn ipv6() -> Vec<u8> {
    let (caller, service) = ([0xfd; 16], [0xfe; 16]);
    let mut packet = Vec::new();
    etherparse::PacketBuilder::ipv6(caller, service, 64)
        .tcp(40_000, 80, 1_000, 500)
        .write(&mut packet, REQUEST)
        .unwrap();
    packet
}

fn payload(packet: &[u8]) -> Vec<u8> {
    Frame::parse(LinkType::RawIp, packet, packet.len()).unwrap().payload.to_vec()
}

#[test]
fn fragments_in_any_order_and_repeated_are_one_packet() {
    for packet in [ipv4(), ipv6()] {
        let mut fragments = cut(&packet, 7, 16);
        let is_fragment = |bytes: &Vec<u8>| {
            Frame::parse(LinkType::RawIp, bytes, bytes.len()) == Err(Refusal::Fragment)
        };
        assert!(fragments.iter().all(is_fragment));
        fragments.reverse();
        fragments.insert(2, fragments[1].clone());
        let mut table = Defragmenter::default();
        let whole: Vec<_> =
            fragments.iter().filter_map(|part| table.push(part, Timestamp(0))).collect();
        assert_eq!(whole.len(), 1);
        assert_eq!(payload(&whole[0]), REQUEST);
        assert_eq!((table.lost(), table.bytes), (0, 0));
    }
}

#[test]
fn a_missing_an_overlapping_and_a_late_fragment_are_lost_and_counted() {
    let fragments = cut(&ipv4(), 7, 16);
    let count = fragments.len() as u64;
    let mut table = Defragmenter::default();
    for part in &fragments[1..] {
        assert_eq!(table.push(part, Timestamp(0)), None);
    }
    assert_eq!(table.lost(), count - 1);
    assert_eq!(table.push(&fragments[0], Timestamp(MAX_AGE + 1)), None);
    assert_eq!(table.lost(), count);

    let mut table = Defragmenter::default();
    let mut forged = fragments[1].clone();
    *forged.last_mut().unwrap() ^= 1;
    let all = fragments[..2].iter().chain([&forged]).chain(&fragments[2..]);
    assert!(all.into_iter().all(|part| table.push(part, Timestamp(0)).is_none()));
    assert_eq!((table.lost(), table.bytes), (count + 1, 0));
    // Cut by the capture.
    assert_eq!(table.push(&fragments[0][..30], Timestamp(0)), None);
    assert_eq!(table.lost(), count + 2);
}

#[test]
fn datagrams_of_no_tunnel_are_passed_over_and_a_flood_has_a_bound() {
    let mut packet = Vec::new();
    etherparse::PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(2_049, 700)
        .write(&mut packet, &[1; 4_000])
        .unwrap();
    let mut table = Defragmenter::default();
    for number in 0..300 {
        for part in cut(&packet, number, 1_480) {
            assert_eq!(table.push(&part, Timestamp(0)), None);
        }
    }
    assert_eq!((table.lost(), table.bytes), (0, 0));
    let large = [&ipv4()[..40], &[b'x'; 60_000]].concat();
    for number in 0..300 {
        for part in &cut(&large, number, 1_480)[1..] {
            table.push(part, Timestamp(0));
        }
        assert!(table.bytes <= MAX_BYTES && table.packets.len() <= MAX_PACKETS);
    }
    assert_eq!(table.lost(), 300 * 40);
}

proptest! {
    #[test]
    fn no_bytes_break_the_bounds(packets: Vec<Vec<u8>>, kinds: Vec<bool>) {
        let mut table = Defragmenter::default();
        for (mut packet, is_ipv4) in packets.into_iter().zip(kinds) {
            if let Some(first) = packet.first_mut() {
                *first = if is_ipv4 { 0x45 } else { 0x60 };
            }
            let whole = table.push(&packet, Timestamp(0));
            prop_assert!(whole.is_none_or(|whole| whole.len() <= MAX_PACKET));
        }
        let kept: usize = table.packets.iter().map(|(_, packet)| packet.parts.values().map(Vec::len).sum::<usize>()).sum();
        prop_assert_eq!(kept, table.bytes);
    }

    #[test]
    fn every_cut_of_a_packet_is_put_together(size in 1..12_usize, order in any::<u64>()) {
        let packet = ipv4();
        let mut fragments = cut(&packet, 1, size * 8);
        if fragments.len() > 1 {
            let length = fragments.len();
            for place in 0..length {
                fragments.swap(place, (order >> (place % 60)) as usize % length);
            }
            let mut table = Defragmenter::default();
            let whole: Vec<_> = fragments.iter().filter_map(|part| table.push(part, Timestamp(0))).collect();
            prop_assert_eq!(payload(&whole[0]), REQUEST);
        }
    }
}
