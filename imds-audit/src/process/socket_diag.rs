//! Questions to the kernel about one TCP socket of this network namespace (sock_diag(7)).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// `SOCK_DIAG_BY_FAMILY`, the type of question and answer.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST` of netlink(7).
const REQUEST: u16 = 1;
/// `INET_DIAG_CGROUP_ID`, an attribute of the answer since Linux 5.8.
const CGROUP_ID: u16 = 21;
/// `TCP_LISTEN`: where there is no such connection the kernel names who listens on its port.
const LISTEN: u8 = 10;
/// How long an answer may take; the kernel answers before the question has returned.
const TIMEOUT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// A connection to the kernel's socket diagnosis.
#[derive(Debug)]
pub(crate) struct SocketDiag {
    socket: OwnedFd,
    /// The number of the last question, which its answer repeats.
    sequence: AtomicU32,
}

/// What the kernel says of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketInfo {
    /// The number that `/proc/PID/fd` shows; 0 once no process holds it.
    pub(crate) inode: u32,
    /// The user who made it; 0 too once no process holds it.
    pub(crate) uid: u32,
    /// Whether it is an IPv6 socket.
    pub(crate) is_ipv6: bool,
    /// The cgroup that it was made in, where the kernel says.
    pub(crate) cgroup: Option<u64>,
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
#[derive(FromZeros, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Question {
    length: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
    family: u8,
    protocol: u8,
    extensions: u8,
    pad: u8,
    states: u32,
    id: SocketId,
}

/// `struct inet_diag_sockid`; ports and addresses in network byte order.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct SocketId {
    source_port: [u8; 2],
    destination_port: [u8; 2],
    source: [u8; 16],
    destination: [u8; 16],
    interface: u32,
    cookie: [u32; 2],
}

/// `struct nlmsghdr` and `struct inet_diag_msg`; attributes follow.
#[derive(FromBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Answer {
    length: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
    family: u8,
    state: u8,
    timer: u8,
    retransmissions: u8,
    id: SocketId,
    expires: u32,
    receive_queue: u32,
    write_queue: u32,
    uid: u32,
    inode: u32,
}

impl SocketDiag {
    /// Opens a connection to the kernel of this network namespace. It takes no right.
    pub(crate) fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let protocol = Some(netlink::SOCK_DIAG);
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        Ok(Self { socket, sequence: AtomicU32::new(0) })
    }

    /// Asks for the socket of a caller; `None` where there is none.
    ///
    /// An IPv4-mapped address of an IPv6 socket is found as the IPv4 one: the kernel looks both up
    /// in one table.
    pub(crate) fn find(&self, source: SocketAddr, endpoint: SocketAddr) -> Option<SocketInfo> {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let question = Question {
            length: u32::try_from(size_of::<Question>()).unwrap_or(0),
            kind: BY_FAMILY,
            flags: REQUEST,
            sequence,
            port: 0,
            family: if source.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 } as u8,
            protocol: libc::IPPROTO_TCP as u8,
            extensions: 0,
            pad: 0,
            states: u32::MAX,
            id: SocketId {
                source_port: source.port().to_be_bytes(),
                destination_port: endpoint.port().to_be_bytes(),
                source: bytes_of(source.ip()),
                destination: bytes_of(endpoint.ip()),
                interface: 0,
                // Whatever cookie it has (`INET_DIAG_NOCOOKIE`).
                cookie: [u32::MAX; 2],
            },
        };
        send(&self.socket, question.as_bytes(), SendFlags::empty()).ok()?;
        // An answer that came too late for an earlier question is passed over.
        for _ in 0..8 {
            let mut ready = [PollFd::new(&self.socket, PollFlags::IN)];
            if poll(&mut ready, Some(&TIMEOUT)).ok()? == 0 {
                return None;
            }
            let mut room = [0u64; 128];
            let buffer = room.as_mut_bytes();
            let (count, _) = recv(&self.socket, &mut *buffer, RecvFlags::empty()).ok()?;
            let bytes = buffer.get(..count)?;
            match parse(bytes, sequence, &question.id) {
                Parsed::Other => {}
                Parsed::Absent => return None,
                Parsed::Found(info) => return Some(info),
            }
        }
        None
    }
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    /// It answers another question.
    Other,
    /// There is no such socket.
    Absent,
    Found(SocketInfo),
}

fn parse(bytes: &[u8], sequence: u32, asked: &SocketId) -> Parsed {
    let word =
        |at: usize| bytes.get(at..)?.first_chunk::<4>().map(|word| u32::from_ne_bytes(*word));
    if word(8) != Some(sequence) {
        return Parsed::Other;
    }
    // An error comes with a header that is an answer's in its beginning.
    let Ok((answer, attributes)) = Answer::ref_from_prefix(bytes) else { return Parsed::Absent };
    let is_same = answer.kind == BY_FAMILY
        && answer.state != LISTEN
        && answer.id.destination_port == asked.destination_port
        && answer.id.source_port == asked.source_port;
    if !is_same {
        return Parsed::Absent;
    }
    let attributes = attributes
        .get(..(answer.length as usize).saturating_sub(size_of::<Answer>()))
        .unwrap_or(attributes);
    Parsed::Found(SocketInfo {
        inode: answer.inode,
        uid: answer.uid,
        is_ipv6: i32::from(answer.family) == libc::AF_INET6,
        cgroup: attribute(attributes, CGROUP_ID),
    })
}

/// Finds an attribute of eight bytes among those of an answer (`struct rtattr`, each at a multiple
/// of four bytes).
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<u64> {
    loop {
        let (length, kind) = (bytes.first_chunk::<2>()?, bytes.get(2..)?.first_chunk::<2>()?);
        let length = usize::from(u16::from_ne_bytes(*length));
        if u16::from_ne_bytes(*kind) == wanted {
            let value = bytes.get(4..length)?.first_chunk::<8>()?;
            return Some(u64::from_ne_bytes(*value));
        }
        if length < 4 {
            return None;
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

fn bytes_of(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            bytes
        }
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_socket_is_found_by_its_ends_and_another_is_not() {
        let diag = SocketDiag::open().unwrap();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let endpoint = listener.local_addr().unwrap();
            let caller = TcpStream::connect(endpoint).unwrap();
            let source = caller.local_addr().unwrap();
            let found = diag.find(source, endpoint).unwrap();
            let link = fs::read_link(format!("/proc/self/fd/{}", caller.as_raw_fd())).unwrap();
            assert_eq!(link.to_str().unwrap(), format!("socket:[{}]", found.inode));
            assert_eq!(found.is_ipv6, endpoint.is_ipv6());
            let elsewhere = SocketAddr::new(endpoint.ip(), 1);
            assert_eq!(diag.find(source, elsewhere), None);
            // Who listens on the caller's port is not the caller.
            assert_eq!(diag.find(endpoint, elsewhere), None);
            assert_eq!(diag.find(source, endpoint), Some(found));
        }
    }

    #[test]
    fn attributes_are_read_to_their_end() {
        let id = [12u16.to_ne_bytes(), CGROUP_ID.to_ne_bytes()].concat();
        let other = [5u16.to_ne_bytes(), 3u16.to_ne_bytes()].concat();
        let all = [&other[..], &[1, 0, 0, 0], &id, &9u64.to_ne_bytes()].concat();
        assert_eq!(attribute(&all, CGROUP_ID), Some(9));
        for end in 0..all.len() {
            assert_eq!(attribute(&all[..end], CGROUP_ID), None, "{end}");
        }
        assert_eq!(attribute(&[0; 64], CGROUP_ID), None);
    }

    proptest::proptest! {
        #[test]
        fn no_answer_panics(bytes: Vec<u8>) {
            let asked = SocketId::new_zeroed();
            parse(&bytes, 0, &asked);
            attribute(&bytes, CGROUP_ID);
        }
    }
}
