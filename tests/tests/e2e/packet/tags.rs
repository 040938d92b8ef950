//! Virtual LANs: an interface of one, and frames that pass with one tag or two.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use etherparse::{PacketBuilder, TcpHeader};
use imds_audit::simulator::{SERVICE_V6, Topology};
use imds_audit_tests::vlan::{Wire, add_vlan};
use imds_audit_tests::{Listener, own_port, skip, skip_on_this_kernel};

use super::*;

/// A number that nobody else uses, and the types of tags (IEEE 802.1Q).
const NUMBER: u16 = 7;
const CUSTOMER: u16 = 0x8100;
const SERVICE_TAG: u16 = 0x88a8;

#[test]
fn a_request_over_an_interface_of_a_virtual_lan_is_reported_once() {
    let [own, other] = [Ipv4Addr::new(10, 7, 0, 5), Ipv4Addr::new(10, 7, 0, 1)];
    let endpoint = SocketAddr::from((other, own_port()));
    let Some(scene) = TestBed::by_packets(&["--endpoint", &endpoint.to_string()]) else { return };
    let network = &scene.network;
    if network.topology() == Topology::Loopback {
        return skip("this kernel has no virtual Ethernet pairs");
    }
    // It comes later than the audit.
    if let Err(error) = add_vlan(network.client(), "eth0", "eth0.7", NUMBER, own.into()) {
        return skip_on_this_kernel(&format!("it has no virtual LANs: {error}"));
    }
    add_vlan(network.service_namespace(), "imds0", "imds0.7", NUMBER, other.into()).unwrap();
    Listener::open_at(network, endpoint).exchange(GET, SERVED);
    assert_eq!(verdicts(scene.audit.stop().requests()), [["v1", "served"]]);
}

const GET: &[u8] = b"GET /latest/user-data HTTP/1.1\r\nHost: a\r\n\r\n";
const SERVED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A packet of a connection.
struct Part<'a> {
    from_caller: bool,
    syn: bool,
    sequence: u32,
    acknowledgment: Option<u32>,
    payload: &'a [u8],
}

impl Part<'_> {
    /// Writes it as a frame with these tags, the outer one first.
    fn frame(&self, tags: &[u16], caller: SocketAddr) -> Vec<u8> {
        let service = SocketAddr::new(
            if caller.is_ipv4() { SERVICE_V4.into() } else { SERVICE_V6.into() },
            80,
        );
        let (from, to) = if self.from_caller { (caller, service) } else { (service, caller) };
        let tcp = TcpHeader {
            syn: self.syn,
            ack: self.acknowledgment.is_some(),
            acknowledgment_number: self.acknowledgment.unwrap_or(0),
            ..TcpHeader::new(from.port(), to.port(), self.sequence, 64_000)
        };
        let mut packet = Vec::new();
        match (from, to) {
            (SocketAddr::V4(from), SocketAddr::V4(to)) => {
                let ip = PacketBuilder::ipv4(from.ip().octets(), to.ip().octets(), 64);
                ip.tcp_header(tcp).write(&mut packet, self.payload).unwrap();
            }
            (SocketAddr::V6(from), SocketAddr::V6(to)) => {
                let ip = PacketBuilder::ipv6(from.ip().octets(), to.ip().octets(), 64);
                ip.tcp_header(tcp).write(&mut packet, self.payload).unwrap();
            }
            _ => unreachable!(),
        }
        let kind: u16 = if caller.is_ipv4() { 0x0800 } else { 0x86dd };
        let tags: Vec<u8> = tags
            .iter()
            .flat_map(|tag| [tag.to_be_bytes(), NUMBER.to_be_bytes()].concat())
            .collect();
        // To nobody's address: no kernel takes it for its own, and every packet socket sees it.
        [&[2; 6][..], &[4; 6], &tags, &kind.to_be_bytes(), &packet].concat()
    }
}

/// A request that passes with tags, and its response, one packet after the other.
fn connection() -> [Part<'static>; 5] {
    let part = |from_caller, syn, sequence, acknowledgment, payload| Part {
        from_caller,
        syn,
        sequence,
        acknowledgment,
        payload,
    };
    let (asked, answered) = (1_001 + GET.len() as u32, 5_001 + SERVED.len() as u32);
    [
        part(true, true, 1_000, None, &[]),
        part(false, true, 5_000, Some(1_001), &[]),
        part(true, false, 1_001, Some(5_001), GET),
        part(false, false, 5_001, Some(asked), SERVED),
        part(true, false, asked, Some(answered), &[]),
    ]
}

#[test]
fn requests_that_are_forwarded_with_one_tag_or_two_are_reported() {
    let Some(scene) = TestBed::by_packets(&[]) else { return };
    let network = &scene.network;
    if network.topology() == Topology::Loopback {
        return skip("this kernel has no virtual Ethernet pairs");
    }
    // What the caller sends comes in by the one interface, and the response goes out by it, as on
    // a bridge that knows nothing of tags.
    let inwards = Wire::open(network.service_namespace(), "imds0").unwrap();
    let outwards = Wire::open(network.client(), "eth0").unwrap();
    let mut port = 40_000;
    let mut callers = Vec::new();
    for tags in [&[CUSTOMER][..], &[SERVICE_TAG, CUSTOMER], &[CUSTOMER, CUSTOMER]] {
        for ip in [Ipv4Addr::new(10, 9, 9, 9).into(), Ipv6Addr::LOCALHOST.into()] {
            port += 1;
            let caller = SocketAddr::new(ip, port);
            for part in connection() {
                let wire = if part.from_caller { &inwards } else { &outwards };
                wire.send(&part.frame(tags, caller)).unwrap();
            }
            callers.push(caller.to_string());
        }
    }
    scene.wait_for_events(callers.len());
    let requests = scene.audit.stop().requests();
    let mut found: Vec<_> =
        requests.iter().map(|request| request.network.source.clone().unwrap()).collect();
    assert_eq!(verdicts(requests), vec![["v1", "served"]; callers.len()]);
    found.sort_unstable();
    callers.sort_unstable();
    assert_eq!(found, callers);
}
