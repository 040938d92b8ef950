use etherparse::PacketBuilder;
use libc::{BPF_IND, BPF_JA, BPF_JSET, BPF_MEM, BPF_STX};

use super::*;

/// What the kernel knows of a packet beside its bytes.
#[derive(Clone, Copy)]
struct Beside {
    protocol: u32,
    packet_type: u32,
    link_type: u32,
}

const ARRIVING: Beside = Beside { protocol: IPV4, packet_type: 0, link_type: 1 };
const LEAVING: Beside = Beside { packet_type: OUTGOING, ..ARRIVING };

/// Runs a program as the kernel does: a load beyond the packet ends it with 0.
fn run(program: &[sock_filter], packet: &[u8], beside: Beside) -> u32 {
    let (mut a, mut x, mut memory, mut at) = (0u32, 0u32, [0u32; 16], 0usize);
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        at += 1;
        let code = u32::from(code);
        let source = if code & 0x08 == BPF_X { x } else { k };
        match code & 0x07 {
            BPF_LD | BPF_LDX => {
                let size = match code & 0x18 {
                    BPF_H => 2,
                    BPF_B => 1,
                    _ => 4,
                };
                let value = match code & 0xe0 {
                    BPF_IMM => k,
                    BPF_MEM => memory[k as usize],
                    BPF_LEN => packet.len() as u32,
                    BPF_ABS if k == PROTOCOL => beside.protocol,
                    BPF_ABS if k == PACKET_TYPE => beside.packet_type,
                    BPF_ABS if k == LINK_TYPE => beside.link_type,
                    mode => {
                        let base = if mode == BPF_IND { x } else { 0 };
                        let place = (base + k) as usize;
                        let Some(bytes) = packet.get(place..place + size) else { return 0 };
                        bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
                    }
                };
                if code & 0x07 == BPF_LD { a = value } else { x = value }
            }
            BPF_ST => memory[k as usize] = a,
            BPF_STX => memory[k as usize] = x,
            BPF_ALU => {
                a = match code & 0xf0 {
                    BPF_ADD => a.wrapping_add(source),
                    BPF_SUB => a.wrapping_sub(source),
                    BPF_AND => a & source,
                    BPF_LSH => a << source,
                    BPF_RSH => a >> source,
                    other => panic!("{other:x}"),
                }
            }
            BPF_JMP => {
                let taken = match code & 0xf0 {
                    BPF_JA => {
                        at += k as usize;
                        continue;
                    }
                    BPF_JEQ => a == source,
                    BPF_JGE => a >= source,
                    BPF_JSET => a & source != 0,
                    other => panic!("{other:x}"),
                };
                at += usize::from(if taken { jt } else { jf });
            }
            BPF_RET => return if code & 0x18 == BPF_A { a } else { k },
            _ => {
                if code & 0xf8 == BPF_TXA {
                    a = x
                } else {
                    x = a
                }
            }
        }
    }
}

const SERVICE: [u8; 4] = [169, 254, 169, 254];
const CALLER: [u8; 4] = [10, 0, 0, 7];

fn endpoints() -> Vec<SocketAddr> {
    ["169.254.169.254:80", "[fd00:ec2::254]:80"].map(|text| text.parse().unwrap()).to_vec()
}

fn ipv4(from: ([u8; 4], u16), to: ([u8; 4], u16), payload: &[u8]) -> Vec<u8> {
    let packet = PacketBuilder::ipv4(from.0, to.0, 64).tcp(from.1, to.1, 1, 2).ack(3);
    let mut bytes = Vec::new();
    packet.write(&mut bytes, payload).unwrap();
    bytes
}

fn ipv6(is_request: bool, payload: &[u8]) -> Vec<u8> {
    let service = "fd00:ec2::254".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let caller = [1; 16];
    let packet = if is_request {
        PacketBuilder::ipv6(caller, service, 64).tcp(4000, 80, 1, 2)
    } else {
        PacketBuilder::ipv6(service, caller, 64).tcp(80, 4000, 1, 2)
    };
    let mut bytes = Vec::new();
    packet.write(&mut bytes, payload).unwrap();
    bytes
}

fn request(payload: &[u8]) -> Vec<u8> {
    ipv4((CALLER, 4000), (SERVICE, 80), payload)
}

fn response(payload: &[u8]) -> Vec<u8> {
    ipv4((SERVICE, 80), (CALLER, 4000), payload)
}

fn best() -> Vec<sock_filter> {
    program(&endpoints(), HEAD_LIMITS[0])
}

#[test]
fn every_program_is_one_that_the_kernel_takes() {
    let all: Vec<SocketAddr> =
        (0..8).map(|n| SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, n], 80))).collect();
    for limit in HEAD_LIMITS {
        let program = program(&all, limit);
        assert!(program.len() <= libc::BPF_MAXINSNS as usize, "{}", program.len());
        for (place, op) in program.iter().enumerate() {
            if u32::from(op.code) & 0x07 == BPF_JMP {
                let far = usize::from(op.jt.max(op.jf))
                    .max(if u32::from(op.code) & 0xf0 == BPF_JA { op.k as usize } else { 0 });
                assert!(place + 1 + far < program.len());
            }
        }
    }
}

#[test]
fn a_caller_s_packets_are_copied_whole_and_other_traffic_is_not() {
    let program = best();
    for beside in [ARRIVING, LEAVING] {
        assert_eq!(run(&program, &request(b"GET / HTTP/1.1\r\n\r\n"), beside), WHOLE);
        assert_eq!(run(&program, &request(b""), beside), WHOLE);
        let v6 = Beside { protocol: IPV6, ..beside };
        assert_eq!(run(&program, &ipv6(true, b"GET"), v6), WHOLE);
    }
    let mut udp = request(b"");
    udp[9] = 17;
    let mut fragment = request(b"GET");
    fragment[7] = 1;
    for other in [
        ipv4((CALLER, 4000), (SERVICE, 81), b"GET"),
        ipv4((CALLER, 4000), ([169, 254, 169, 253], 80), b"GET"),
        ipv4((CALLER, 80), ([1, 1, 1, 1], 4000), b"HTTP/1.1 200 OK\r\n\r\n"),
        udp,
        fragment,
        request(b"")[..22].to_vec(),
        vec![0x45],
        Vec::new(),
    ] {
        assert_eq!(run(&program, &other, ARRIVING), 0, "{other:02x?}");
    }
    assert_eq!(run(&program, &request(b""), Beside { protocol: 0x0806, ..ARRIVING }), 0);
}

#[test]
fn of_two_copies_on_the_loopback_interface_one_counts() {
    let program = best();
    let (arriving, leaving) =
        (Beside { link_type: LOOPBACK, ..ARRIVING }, Beside { link_type: LOOPBACK, ..LEAVING });
    assert_eq!(run(&program, &request(b"GET"), leaving), WHOLE);
    assert_eq!(run(&program, &request(b"GET"), arriving), 0);
    assert_eq!(run(&program, &response(b""), leaving), 0);
    assert_eq!(run(&program, &response(b""), arriving), 40);
}

#[test]
fn of_a_response_the_header_block_alone_is_copied() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n";
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(700));
    let almost = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(500));
    for (payload, copied) in [
        (format!("{head}secret body"), head.len()),
        (head.to_owned(), head.len()),
        (format!("{head}s"), head.len()),
        (format!("{head}{head}"), head.len()),
        (format!("{almost}{}", "s".repeat(100)), almost.len()),
        // The end is not in reach, or not in this packet: the status line.
        (format!("{long}secret"), 17),
        ("HTTP/1.1 200 OK\r\nContent-Le".to_owned(), 17),
        ("HTTP/1.1 200 OK\nContent-Length: 28\n\nsecret body".to_owned(), 16),
        ("HTTP/1.1 200 OK\r\n".to_owned(), 17),
        ("HTTP/1.1 200 \n\n".to_owned(), 14),
        // No status line.
        (format!("HTTP/1.1 200 {}", "secret".repeat(20)), 0),
        ("HTTP/1.1 200".to_owned(), 0),
        ("HTTP/1.1".to_owned(), 0),
        ("secret body that goes on\r\n\r\n".to_owned(), 0),
        ("HTTP/2.0 200 OK\r\n\r\n".to_owned(), 0),
        (String::new(), 0),
    ] {
        let bytes = payload.as_bytes();
        let expected = 40 + copied as u32;
        assert_eq!(run(&best(), &response(bytes), ARRIVING), expected, "{payload:?}");
        let v6 = Beside { protocol: IPV6, ..ARRIVING };
        assert_eq!(run(&best(), &ipv6(false, bytes), v6), expected + 20, "{payload:?}");
        let short = run(&program(&endpoints(), HEAD_LIMITS[1]), &response(bytes), ARRIVING);
        assert!(short <= expected && (copied == 0 || short > 40), "{payload:?}: {short}");
    }
}

#[test]
fn tags_in_an_arriving_packet_are_stepped_over() {
    let tag = |bytes: &[u8]| [&[0x40, 7, 0x08, 0][..], bytes].concat();
    let twice = |bytes: &[u8]| [&[0x40, 7, 0x81, 0][..], &tag(bytes)].concat();
    for kind in VLAN_TAGS {
        let beside = Beside { protocol: kind, ..ARRIVING };
        assert_eq!(run(&best(), &tag(&request(b"GET")), beside), WHOLE);
        assert_eq!(run(&best(), &twice(&request(b"GET")), beside), WHOLE);
        assert_eq!(run(&best(), &tag(&response(b"secret")), beside), 44);
        // What leaves is read from its IP header on.
        let beside = Beside { protocol: kind, ..LEAVING };
        assert_eq!(run(&best(), &request(b"GET"), beside), WHOLE);
    }
}

#[test]
fn ipv6_extension_headers_are_followed_to_a_bound() {
    let beside = Beside { protocol: IPV6, ..ARRIVING };
    for (times, copied) in [(1, WHOLE), (4, WHOLE), (5, 0)] {
        let mut packet = ipv6(true, b"GET");
        let tcp = packet.split_off(40);
        packet[6] = 60;
        for place in 0..times {
            let next = if place + 1 == times { 6 } else { 60 };
            packet.extend_from_slice(&[next, 0, 1, 4, 0, 0, 0, 0]);
        }
        packet.extend_from_slice(&tcp);
        assert_eq!(run(&best(), &packet, beside), copied, "{times}");
    }
}

proptest::proptest! {
    #[test]
    fn no_packet_is_copied_beyond_its_header_block(payload: Vec<u8>, cut in 0usize..60, head in proptest::bool::ANY) {
        let front: &[u8] = if head { b"HTTP/1.1 200 OK\r\nA: b\r\n" } else { b"" };
        let payload = [front, &payload].concat();
        let packet = response(&payload);
        let copied = run(&best(), &packet, ARRIVING) as usize;
        let end = payload.windows(4).position(|w| w == b"\r\n\r\n").map_or(payload.len(), |at| at + 4);
        proptest::prop_assert!(copied <= 40 + end);
        proptest::prop_assert!(payload.starts_with(b"HTTP/1.") || copied == 40);
        let cut = &packet[..cut.min(packet.len())];
        run(&best(), cut, ARRIVING);
    }
}
