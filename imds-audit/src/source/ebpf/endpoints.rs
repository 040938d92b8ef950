//! The audited endpoints in the form of the eBPF programs.

use std::net::{IpAddr, SocketAddr};

use imds_audit_ebpf::{Endpoint, MAX_ENDPOINTS};
use zerocopy::IntoBytes;

use super::error::EbpfError;

/// The endpoints as the eBPF programs have them: those of IPv4 from the first place on, those of
/// IPv6 from the last place back.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct EncodedEndpoints {
    /// One place each.
    pub places: [Endpoint; MAX_ENDPOINTS],
    /// How many of them are IPv4 ones.
    pub ipv4: u32,
    /// How many of them are IPv6 ones.
    pub ipv6: u32,
}

/// Encodes endpoints.
///
/// # Errors
/// Returns an error if there are more than places.
pub(super) fn encode_endpoints(given: &[SocketAddr]) -> Result<EncodedEndpoints, EbpfError> {
    if given.len() > MAX_ENDPOINTS {
        return Err(EbpfError::TooManyEndpoints(given.len()));
    }
    // An IPv4-mapped one is the IPv4 one, as on the wire.
    let of = |is_ipv4: bool| {
        given
            .iter()
            .map(|address| (address.ip().to_canonical(), u32::from(address.port())))
            .filter(move |(ip, _)| ip.is_ipv4() == is_ipv4)
            .map(|(ip, port)| Endpoint { address: words(ip), port })
    };
    let mut endpoints = EncodedEndpoints::default();
    for (place, endpoint) in endpoints.places.iter_mut().zip(of(true)) {
        *place = endpoint;
        endpoints.ipv4 += 1;
    }
    for (place, endpoint) in endpoints.places.iter_mut().rev().zip(of(false)) {
        *place = endpoint;
        endpoints.ipv6 += 1;
    }
    Ok(endpoints)
}

/// Returns an address as four words in memory order.
fn words(ip: IpAddr) -> [u32; 4] {
    let mut words = [0; 4];
    match ip {
        IpAddr::V4(ip) => words[0] = u32::from_ne_bytes(ip.octets()),
        IpAddr::V6(ip) => words.as_mut_bytes().copy_from_slice(&ip.octets()),
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_mapped_endpoint_is_the_ipv4_one() {
        let plain = encode_endpoints(&["169.254.169.254:80".parse().unwrap()]).unwrap();
        let mapped = encode_endpoints(&["[::ffff:169.254.169.254]:80".parse().unwrap()]).unwrap();
        assert_eq!(plain, mapped);
        assert_eq!(plain.places[0].address[0].to_ne_bytes(), [169, 254, 169, 254]);
    }

    #[test]
    fn endpoints_of_ipv6_stand_at_the_end() {
        let given = ["[fd00:ec2::254]:80", "10.0.0.1:80", "[fd00::1]:81", "10.0.0.2:82"]
            .map(|address| address.parse().unwrap());
        let EncodedEndpoints { places, ipv4, ipv6 } = encode_endpoints(&given).unwrap();
        assert_eq!((ipv4, ipv6), (2, 2));
        let ports = places.map(|endpoint| endpoint.port);
        assert_eq!(ports, [80, 82, 0, 0, 0, 0, 81, 80]);
        assert_eq!(places[7].address.as_bytes()[..4], [0xfd, 0, 0x0e, 0xc2]);
    }

    #[test]
    fn a_ninth_endpoint_is_refused() {
        let address: SocketAddr = "10.0.0.1:80".parse().unwrap();
        assert!(encode_endpoints(&[address; 8]).is_ok());
        assert!(matches!(encode_endpoints(&[address; 9]), Err(EbpfError::TooManyEndpoints(9))));
    }
}
