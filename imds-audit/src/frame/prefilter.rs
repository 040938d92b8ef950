//! Prefilter: a cheap answer to whether a frame can be part of an endpoint's connection.
//!
//! A capture of other traffic has millions of packets that are nobody's here. This looks at a few
//! bytes of each, and never says no where the full parser would find an endpoint's segment.

use std::net::{IpAddr, SocketAddr};

use super::Refusal;
use super::link::LinkType;
use super::tunnel::{GRE, IPV4_IN_IP, IPV6_IN_IP, UDP, UDP_HEADER, is_tunnel_port};

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
/// Flag and offset of an IPv4 fragment (RFC 791, section 3.1).
const FRAGMENT: u16 = 0x3fff;
/// The number of the IPv6 fragment header (RFC 8200, section 4.5).
const IPV6_FRAGMENT: u8 = 44;

/// The addresses whose segments are looked for.
#[derive(Clone, Debug)]
pub(crate) struct Prefilter {
    ipv4: Vec<[u8; 4]>,
    ipv6: Vec<[u8; 16]>,
}

impl Prefilter {
    /// Makes a prefilter of these endpoints.
    pub(crate) fn new(endpoints: &[SocketAddr]) -> Self {
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        for endpoint in endpoints {
            match endpoint.ip() {
                IpAddr::V4(address) => ipv4.push(address.octets()),
                IpAddr::V6(address) => ipv6.push(address.octets()),
            }
        }
        Self { ipv4, ipv6 }
    }

    /// Returns whether a frame is worth a closer look: it may have a segment of an endpoint, is
    /// perhaps a tunnel's or a fragment, or cannot be read.
    #[inline]
    pub(crate) fn admits(&self, link: LinkType, frame: &[u8]) -> bool {
        let start = match link.ip_start(frame) {
            Ok(start) => start,
            Err(refusal) => return refusal != Refusal::NotIp,
        };
        let Some(packet) = frame.get(start..) else { return true };
        match packet.first().map(|byte| byte >> 4) {
            Some(4) => self.admits_ipv4(packet),
            Some(6) => self.admits_ipv6(packet),
            Some(_) => false,
            None => true,
        }
    }

    fn admits_ipv4(&self, packet: &[u8]) -> bool {
        let Some(header) = packet.first_chunk::<IPV4_HEADER>() else { return true };
        let [first, _, _, _, _, _, flags, offset, _, protocol, _, _, a, b, c, d, e, f, g, h] =
            *header;
        if self.ipv4.contains(&[e, f, g, h]) || self.ipv4.contains(&[a, b, c, d]) {
            return true;
        }
        match protocol {
            UDP => {
                let is_fragment = u16::from_be_bytes([flags, offset]) & FRAGMENT != 0;
                is_fragment || is_tunnel(packet, usize::from(first & 0xf) * 4)
            }
            IPV4_IN_IP | IPV6_IN_IP | GRE => true,
            _ => false,
        }
    }

    fn admits_ipv6(&self, packet: &[u8]) -> bool {
        let Some(header) = packet.first_chunk::<IPV6_HEADER>() else { return true };
        let (addresses, _) = header.split_at(8).1.as_chunks::<16>();
        if addresses.iter().any(|address| self.ipv6.contains(address)) {
            return true;
        }
        match header.get(6).copied().unwrap_or(0) {
            UDP => is_tunnel(packet, IPV6_HEADER),
            IPV4_IN_IP | IPV6_IN_IP | GRE | IPV6_FRAGMENT => true,
            _ => false,
        }
    }
}

/// Returns whether a datagram that begins at this place is of a tunnel.
fn is_tunnel(packet: &[u8], start: usize) -> bool {
    let port = packet.get(start + 2..).and_then(|rest| rest.first_chunk::<2>());
    let has_body = packet.len() > start + UDP_HEADER;
    has_body && port.is_some_and(|port| is_tunnel_port(u16::from_be_bytes(*port)))
}
