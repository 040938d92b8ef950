//! The steps that furnish a network namespace, over netlink.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, netdevice, socket};

use super::namespace::{Namespace, NamespaceError};
use super::netlink::{Request, route_socket};

/// The attribute of a veth's peer (`include/uapi/linux/veth.h`).
const VETH_INFO_PEER: u16 = 1;
/// `IFF_UP`.
const UP: u32 = 1;
/// `IFA_F_NODAD`: usable at once, without duplicate address detection.
const NO_DETECTION: u8 = 2;
/// `AF_INET` and `AF_INET6`, as the messages have them.
const INET: u8 = 2;
const INET6: u8 = 10;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    #[error("cannot open a netlink socket")]
    Socket(#[source] io::Error),
    #[error("interface not found")]
    NoInterface(#[source] io::Error),
    #[error("refused by the kernel")]
    Refused(#[source] io::Error),
    #[error("the netlink exchange failed")]
    Exchange(#[source] io::Error),
}

impl LinkError {
    /// Gives the error number, where the kernel gave one.
    pub(super) fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused(error) => Errno::from_io_error(error),
            Self::Namespace(_) | Self::Socket(_) | Self::NoInterface(_) | Self::Exchange(_) => None,
        }
    }
}

/// A step inside a namespace.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    /// Makes a pair of interfaces that are wired to each other.
    Pair(&'a str, &'a str),
    /// Moves an interface into another namespace.
    Move(&'a str, &'a Namespace),
    /// Brings an interface up.
    Up(&'a str),
    /// Gives an interface an address, at once usable: without duplicate address detection.
    Address(&'a str, IpAddr, u8),
    /// Adds a route to a single address through a gateway.
    Route(IpAddr, IpAddr),
}

impl Step<'_> {
    /// Says whether it is about IPv6.
    pub(super) fn is_ipv6(&self) -> bool {
        match self {
            Self::Pair(..) | Self::Move(..) | Self::Up(_) => false,
            Self::Address(_, address, _) | Self::Route(address, _) => address.is_ipv6(),
        }
    }
}

/// Takes steps inside a namespace, in order. On failure says which one failed.
pub(super) fn apply<'a>(
    namespace: &Namespace,
    steps: &[Step<'a>],
) -> Result<(), (Option<Step<'a>>, LinkError)> {
    namespace
        .run(|| {
            let socket = route_socket().map_err(|error| (None, LinkError::Socket(error)))?;
            for step in steps {
                take(&socket, step).map_err(|error| (Some(*step), error))?;
            }
            Ok(())
        })
        .map_err(|error| (None, error.into()))?
}

fn take(socket: &OwnedFd, step: &Step<'_>) -> Result<(), LinkError> {
    match request(step)?.send(socket) {
        Ok(0) => Ok(()),
        Ok(errno) => Err(LinkError::Refused(io::Error::from_raw_os_error(errno))),
        Err(error) => Err(LinkError::Exchange(error)),
    }
}

/// Returns the request of a step.
fn request(step: &Step<'_>) -> Result<Request, LinkError> {
    Ok(match *step {
        Step::Pair(name, peer) => {
            let mut request = Request::new(libc::RTM_NEWLINK, true);
            request.put(&interface_header(0, 0));
            request.attribute(libc::IFLA_IFNAME, &terminated(name));
            request.nest(libc::IFLA_LINKINFO, |request| {
                request.attribute(libc::IFLA_INFO_KIND, b"veth");
                request.nest(libc::IFLA_INFO_DATA, |request| {
                    request.nest(VETH_INFO_PEER, |request| {
                        request.put(&interface_header(0, 0));
                        request.attribute(libc::IFLA_IFNAME, &terminated(peer));
                    });
                });
            });
            request
        }
        Step::Move(name, namespace) => {
            let mut request = Request::new(libc::RTM_NEWLINK, false);
            request.put(&interface_header(index(name)?, 0));
            let descriptor = namespace.as_fd().as_raw_fd();
            request.attribute(libc::IFLA_NET_NS_FD, &descriptor.to_ne_bytes());
            request
        }
        Step::Up(name) => {
            let mut request = Request::new(libc::RTM_NEWLINK, false);
            request.put(&interface_header(index(name)?, UP));
            request
        }
        Step::Address(name, address, prefix) => {
            let mut request = Request::new(libc::RTM_NEWADDR, true);
            let (family, bytes) = parts(address);
            let flags = if address.is_ipv6() { NO_DETECTION } else { 0 };
            // struct ifaddrmsg: family, prefix length, flags, scope, index.
            request.put(&[family, prefix, flags, 0]);
            request.put(&index(name)?.to_ne_bytes());
            request.attribute(libc::IFA_LOCAL, &bytes);
            request.attribute(libc::IFA_ADDRESS, &bytes);
            request
        }
        Step::Route(address, gateway) => {
            let ((family, to), (of_gateway, through)) = (parts(address), parts(gateway));
            if family != of_gateway {
                return Err(LinkError::Refused(Errno::AFNOSUPPORT.into()));
            }
            let bits = if address.is_ipv6() { 128 } else { 32 };
            let mut request = Request::new(libc::RTM_NEWROUTE, true);
            // struct rtmsg: family, lengths of both prefixes, tos, table, protocol, scope, type, flags.
            let (table, protocol) = (libc::RT_TABLE_MAIN, libc::RTPROT_STATIC);
            request.put(&[family, bits, 0, 0, table, protocol, 0, libc::RTN_UNICAST]);
            request.put(&0_u32.to_ne_bytes());
            request.attribute(libc::RTA_DST, &to);
            request.attribute(libc::RTA_GATEWAY, &through);
            request
        }
    })
}

/// Returns a `struct ifinfomsg` that sets flags: family, type, index, flags, mask of flags.
fn interface_header(index: u32, flags: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&flags.to_ne_bytes());
    header
}

/// Returns an address's family and bytes.
fn parts(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (INET, address.octets().to_vec()),
        IpAddr::V6(address) => (INET6, address.octets().to_vec()),
    }
}

/// Returns a name with a zero behind it.
fn terminated(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

/// Looks up an interface of the calling thread's namespace.
fn index(name: &str) -> Result<u32, LinkError> {
    socket(AddressFamily::INET, SocketType::DGRAM, None)
        .and_then(|socket| netdevice::name_to_index(&socket, name))
        .map_err(|error| LinkError::NoInterface(error.into()))
}
