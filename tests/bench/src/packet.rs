//! Cost of a packet of other traffic, by `BPF_PROG_TEST_RUN`.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use imds_audit::internal::{Loaded, Options, Program, default_endpoints};

use super::bpf;
use super::rows::Rows;
use super::shuffle::orders;

/// How often a program is run for a sample: 50 ms.
const REPEAT: u32 = 1_000_000;
const ROUNDS: usize = 15;
/// Runs before the first sample.
const WARM_UP: u32 = 200_000;

/// The variants, which are also the columns.
const VARIANTS: [&str; 3] = ["empty", "with one endpoint", "with eight"];

/// Measures.
pub fn measure() -> Result<Rows> {
    let v4: SocketAddr = "169.254.169.254:80".parse()?;
    let v6: SocketAddr = "[fd00:ec2::254]:80".parse()?;
    let eight = default_endpoints().into_iter().chain((1..=6).map(|number| {
        // Others of the same networks, half of each family.
        let ip: IpAddr = if number % 2 == 0 {
            [169, 254, 170, number].into()
        } else {
            [0xfd00, 0xec2, 0, 0, 0, 0, 1, u16::from(number)].into()
        };
        SocketAddr::new(ip, 80)
    }));
    let load =
        |endpoints: Vec<SocketAddr>| Loaded::load(&Options { endpoints, ..Options::default() });
    let eight = load(eight.collect())?;
    let mut rows = Rows::default();
    for program in [Program::Egress, Program::Ingress] {
        let empty = bpf::load_empty(program).context("the kernel refuses an empty program")?;
        for (family, endpoint) in [("IPv4", v4), ("IPv6", v6)] {
            let one = load(vec![endpoint])?;
            let ours =
                |loaded: &'_ Loaded| loaded.descriptor(program).map(|fd| fd.try_clone_to_owned());
            let programs = [
                empty.try_clone()?,
                ours(&one).context("not loaded")??,
                ours(&eight).context("not loaded")??,
            ];
            for transport in [Transport::Tcp, Transport::Udp] {
                let packet = packet(endpoint.is_ipv6(), transport);
                let name = format!("{}, {} over {family}", program.name(), transport.name());
                for program in &programs {
                    bpf::run(program.as_fd(), &packet, WARM_UP)?;
                }
                for order in orders(VARIANTS.len(), ROUNDS) {
                    for variant in order {
                        let time = bpf::run(programs[variant].as_fd(), &packet, REPEAT)?;
                        let nanoseconds = time.as_secs_f64() * 1e9 / f64::from(REPEAT);
                        rows.add(&name, "ns", VARIANTS[variant], nanoseconds);
                    }
                }
            }
        }
    }
    Ok(rows)
}

/// What a packet carries.
#[derive(Clone, Copy)]
enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// Makes a packet of a hundred bytes of payload between two hosts that are nobody's endpoint:
/// 10.0.0.2 and 10.0.0.1, or fd00::2 and fd00::1, from port 40000 to port 443.
///
/// The kernel wants an Ethernet header, which it takes away, and looks at no checksum.
fn packet(ipv6: bool, transport: Transport) -> Vec<u8> {
    const PAYLOAD: usize = 100;
    let (protocol, header): (u8, Vec<u8>) = match transport {
        // Ports, sequence, acknowledgment, header length and flags (ACK), window, checksum.
        Transport::Tcp => (6, [&PORTS[..], &[0; 8], &[0x50, 0x10, 1, 0, 0, 0, 0, 0]].concat()),
        // Ports, length, checksum.
        Transport::Udp => (17, [&PORTS[..], &[0, 108, 0, 0]].concat()),
    };
    let length = u8::try_from(header.len() + PAYLOAD).unwrap_or(u8::MAX);
    let (ether_type, ip) = if ipv6 {
        let mut from = [0; 16];
        (from[0], from[15]) = (0xfd, 2);
        let mut to = from;
        to[15] = 1;
        (0x86dd_u16, [&[0x60, 0, 0, 0, 0, length, protocol, 64][..], &from, &to].concat())
    } else {
        let head = [0x45, 0, 0, 20 + length, 0, 0, 0x40, 0, 64, protocol, 0, 0];
        (0x0800, [&head[..], &[10, 0, 0, 2], &[10, 0, 0, 1]].concat())
    };
    [&[0; 12][..], &ether_type.to_be_bytes(), &ip, &header, &[0; PAYLOAD]].concat()
}

/// 40000 and 443.
const PORTS: [u8; 4] = [0x9c, 0x40, 0x01, 0xbb];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_as_long_as_its_headers_say() {
        for transport in [Transport::Tcp, Transport::Udp] {
            let v4 = packet(false, transport);
            assert_eq!(usize::from(u16::from_be_bytes([v4[16], v4[17]])) + 14, v4.len());
            let v6 = packet(true, transport);
            assert_eq!(usize::from(u16::from_be_bytes([v6[18], v6[19]])) + 14 + 40, v6.len());
        }
    }
}
