//! Connections to the endpoints that were open before the rehearsal, which it leaves alone.

use std::{
    collections::HashSet,
    fs,
    io::{BufRead, BufReader},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    os::unix::fs::MetadataExt,
    path::Path,
};

/// The number of processes and of their descriptors that are looked at.
const MAX_PROCESSES: usize = 4096;
const MAX_DESCRIPTORS: usize = 65_536;
/// `TCP_ESTABLISHED` and `TCP_CLOSE_WAIT` of `net/tcp_states.h`, as procfs writes them.
const OPEN: [&str; 2] = ["01", "08"];

/// Counts the connections of processes to the endpoints.
pub(crate) fn count(processes: &[u32], endpoints: &[SocketAddr], procfs: &Path) -> u64 {
    let wanted: Vec<String> = endpoints.iter().flat_map(|&endpoint| forms(endpoint)).collect();
    let mut networks = HashSet::new();
    let mut sockets = HashSet::new();
    for pid in processes.iter().take(MAX_PROCESSES) {
        let folder = procfs.join(pid.to_string());
        let Ok(network) = fs::metadata(folder.join("ns/net")) else { continue };
        if networks.insert(network.ino()) {
            for table in ["net/tcp", "net/tcp6"] {
                if let Ok(file) = fs::File::open(folder.join(table)) {
                    sockets.extend(sockets_in(BufReader::new(file), &wanted));
                }
            }
        }
    }
    if sockets.is_empty() {
        return 0;
    }
    // Of the sockets of a namespace only those count that a process of the cgroup holds.
    let mut held = HashSet::new();
    for pid in processes.iter().take(MAX_PROCESSES) {
        let entries = fs::read_dir(procfs.join(pid.to_string()).join("fd"));
        for entry in entries.into_iter().flatten().flatten().take(MAX_DESCRIPTORS) {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            let number = target.to_str().and_then(|text| text.strip_prefix("socket:["));
            let number = number.and_then(|rest| rest.strip_suffix(']')?.parse::<u64>().ok());
            held.extend(number.filter(|number| sockets.contains(number)));
        }
    }
    held.len() as u64
}

/// Returns the inode numbers of the open sockets whose peer is one of those wanted
/// (proc_pid_net(5): the third column is the peer, the fourth the state, the tenth the inode).
fn sockets_in(table: impl BufRead, wanted: &[String]) -> Vec<u64> {
    table
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| {
            let mut columns = line.split_ascii_whitespace().skip(2);
            let peer = columns.next()?;
            let is_open = OPEN.contains(&columns.next()?);
            if !is_open || !wanted.iter().any(|form| form == peer) {
                return None;
            }
            columns.nth(5)?.parse().ok()
        })
        .collect()
}

/// Returns an endpoint as procfs writes peers: words in the host's order, in hexadecimal; of IPv4
/// also as an IPv4-mapped address.
fn forms(endpoint: SocketAddr) -> Vec<String> {
    let port = endpoint.port();
    let ipv6 = |ip: Ipv6Addr| {
        let octets = ip.octets();
        let words = octets.chunks_exact(4).filter_map(|word| <[u8; 4]>::try_from(word).ok());
        let words: String = words.map(|word| format!("{:08X}", u32::from_ne_bytes(word))).collect();
        format!("{words}:{port:04X}")
    };
    match endpoint.ip().to_canonical() {
        IpAddr::V4(ip) => {
            let own = format!("{:08X}:{port:04X}", u32::from_ne_bytes(ip.octets()));
            vec![own, ipv6(ip.to_ipv6_mapped())]
        }
        IpAddr::V6(ip) => vec![ipv6(ip)],
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn open_connections_of_a_process_are_counted_by_their_peer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = listener.local_addr().unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let own = [std::process::id()];
        let now = |endpoint| count(&own, &[endpoint], Path::new("/proc"));
        assert_eq!(now(endpoint), 0);
        let first = TcpStream::connect(endpoint).unwrap();
        let second = TcpStream::connect(endpoint).unwrap();
        assert_eq!((now(endpoint), now(other)), (2, 0));
        drop((first, second));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn the_default_endpoints_have_the_forms_of_procfs() {
        assert_eq!(
            forms("169.254.169.254:80".parse().unwrap()),
            ["FEA9FEA9:0050", "0000000000000000FFFF0000FEA9FEA9:0050"]
        );
        assert_eq!(
            forms("[fd00:ec2::254]:80".parse().unwrap()),
            ["C20E00FD000000000000000054020000:0050"]
        );
    }
}
