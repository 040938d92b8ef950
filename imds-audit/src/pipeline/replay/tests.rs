use super::*;
use crate::event::{Outcome, RequestEvent};
use crate::frame::fixture::cut;

const REQUEST: &[u8] = b"GET /latest/meta-data/ami-id HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nami";
const CALLER: ([u8; 4], u16) = ([10, 0, 0, 7], 40_000);
const SERVICE: ([u8; 4], u16) = ([169, 254, 169, 254], 80);

fn tcp(from: ([u8; 4], u16), to: ([u8; 4], u16), numbers: (u32, u32), payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    etherparse::PacketBuilder::ipv4(from.0, to.0, 64)
        .tcp(from.1, to.1, numbers.0, 500)
        .ack(numbers.1)
        .write(&mut packet, payload)
        .unwrap();
    packet
}

/// A request, its response, and the caller's acknowledgement of that.
fn exchange() -> [Vec<u8>; 3] {
    let (asked, answered) = (1_000 + REQUEST.len() as u32, 9_000 + RESPONSE.len() as u32);
    [
        tcp(CALLER, SERVICE, (1_000, 9_000), REQUEST),
        tcp(SERVICE, CALLER, (9_000, asked), RESPONSE),
        tcp(CALLER, SERVICE, (asked, answered), b""),
    ]
}

/// A pcap file of packets without a link's header, a millisecond apart.
fn pcap(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file: Vec<u8> = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 101]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect();
    for (number, packet) in packets.iter().enumerate() {
        let (time, length) = (number as u32 * 1_000, packet.len() as u32);
        file.extend([1_795_305_600, time, length, length].into_iter().flat_map(u32::to_le_bytes));
        file.extend(packet);
    }
    file
}

/// Replays a file. Returns the requests, the reasons of losses, and what became of the packets.
fn replayed(file: &[u8]) -> (Vec<RequestEvent>, Vec<String>, PacketCounts) {
    let interrupt = Interrupt::new().unwrap();
    let endpoints = vec![SocketAddr::from(SERVICE)];
    let mut replay = Replay::new(endpoints, Origin::default(), Vec::new(), interrupt);
    let (mut requests, mut losses) = (Vec::new(), Vec::new());
    let mut observer = |event: &Event| match &event.body {
        Body::Request(event) => requests.push((**event).clone()),
        Body::Loss(event) => losses.push(event.loss.reason.to_string()),
        _ => {}
    };
    assert_eq!(replay.file(file, &mut observer).unwrap(), FileEnd::Whole);
    let counts = replay.counts();
    replay.finish(StopReason::EndOfInput, &mut observer);
    (requests, losses, counts)
}

fn assert_is_served(packets: &[Vec<u8>]) {
    let (requests, losses, counts) = replayed(&pcap(packets));
    assert_eq!(losses, [""; 0]);
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].imds.outcome, Outcome::Served);
    assert_eq!((counts.packets, counts.fragments), (packets.len() as u64, 0));
}

#[test]
fn a_request_and_a_response_in_fragments_are_read_in_any_order() {
    let [request, response, end] = exchange();
    assert_is_served(&[request.clone(), response.clone(), end.clone()]);
    let (mut asked, answered) = (cut(&request, 1, 24), cut(&response, 2, 16));
    asked.reverse();
    assert_is_served(&[asked, answered, vec![end]].concat());
}

#[test]
fn fragments_of_a_tunnel_lead_to_the_request_in_it() {
    let in_vxlan = |packet: &Vec<u8>, number: u16| {
        let frame =
            [&[8, 0, 0, 0, 0, 0, 7, 0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 8, 0][..], packet];
        let mut outer = Vec::new();
        etherparse::PacketBuilder::ipv4([10, 1, 0, 1], [10, 1, 0, 2], 64)
            .udp(50_000, 4_789)
            .write(&mut outer, &frame.concat())
            .unwrap();
        cut(&outer, number, 64)
    };
    let packets = exchange();
    let mut all = Vec::new();
    for (number, packet) in packets.iter().enumerate() {
        // Fragments within the tunnel, and those in fragments again.
        for (part, inner) in cut(packet, number as u16, 48).iter().enumerate() {
            all.extend(in_vxlan(inner, (number * 8 + part) as u16));
        }
    }
    assert_is_served(&all);
}

#[test]
fn a_fragment_that_never_came_is_a_loss_and_other_traffic_is_none() {
    let [request, ..] = exchange();
    let mut packets = cut(&request, 1, 24);
    packets.remove(1);
    let elsewhere = tcp(CALLER, ([192, 0, 2, 1], 80), (1, 1), &[b'x'; 300]);
    packets.extend(cut(&elsewhere, 9, 64).split_off(1));
    // Cut within its headers, on its way elsewhere.
    packets.push(elsewhere[..30].to_vec());
    let (requests, losses, counts) = replayed(&pcap(&packets));
    assert_eq!(requests, []);
    assert_eq!(losses, ["fragment"]);
    assert_eq!(counts.fragments, cut(&request, 1, 24).len() as u64 - 1);
}
