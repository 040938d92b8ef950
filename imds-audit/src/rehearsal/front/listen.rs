//! Listeners of a front, in its network namespace.

use std::{
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    time::Duration,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{FrontError, Ready, Route, Settings};
use crate::rehearsal::programs::netns_cookie;

/// The length of the kernel's queue of connections; it allows `net.core.somaxconn`.
const BACKLOG: i32 = 1024;
/// How long the front may take to reach itself.
const SELF_CONNECT: Duration = Duration::from_millis(500);

/// The listeners of a front.
pub(super) struct Opened {
    pub(super) listeners: Vec<(Route, TcpListener)>,
    pub(super) ready: Ready,
}

/// Enters the namespace and listens there, on the loopback address of each endpoint's family.
///
/// # Errors
/// Returns an error if it cannot be entered, or a front cannot listen in it or be reached.
pub(super) fn open(namespace: Option<&File>, settings: &Settings) -> Result<Opened, FrontError> {
    if let Some(namespace) = namespace {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| FrontError::Enter(error.into()))?;
    }
    let mut listeners = Vec::new();
    let mut served = Vec::new();
    for (route, number) in settings.routes.iter().zip(0u32..) {
        let address = route.front;
        let listener = match listen(address) {
            Ok(listener) => listener,
            // Without IPv6 in a namespace nothing there connects to an IPv6 endpoint either.
            Err(error) if address.is_ipv6() && is_without_family(&error) => continue,
            Err(error) => return Err(FrontError::Listen { address, error }),
        };
        reach(address, &listener).map_err(|error| FrontError::Unreachable { address, error })?;
        listeners.push((*route, listener));
        served.push(number);
    }
    if listeners.is_empty() {
        return Err(FrontError::NoFamily);
    }
    let probe = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let cookie = netns_cookie(&probe)?;
    Ok(Opened { listeners, ready: Ready { cookie, probe, served } })
}

fn is_without_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// Connects to a listener of one's own, and takes the connection off it.
fn reach(address: SocketAddr, listener: &TcpListener) -> io::Result<()> {
    let connection = TcpStream::connect_timeout(&address, SELF_CONNECT)?;
    let own = connection.local_addr()?;
    let (_, peer) = listener.accept()?;
    // Somebody else may have been quicker: its connection is closed, as it is to no service.
    if peer == own { Ok(()) } else { Err(io::ErrorKind::AddrInUse.into()) }
}

/// Chooses where the fronts of a rehearsal listen: an IPv4 loopback address that nothing uses by
/// habit, and ports below those that the kernel hands out (`net.ipv4.ip_local_port_range`).
///
/// The same in every network namespace, so that one audit knows them all.
///
/// # Errors
/// Returns an error if the system has no random numbers.
pub(crate) fn routes(endpoints: &[SocketAddr]) -> io::Result<Vec<Route>> {
    const FIRST_PORT: u16 = 20_000;
    const PORTS: u16 = 12_000;
    let mut random = [0u8; 5];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    let [a, b, c, low, high] = random;
    // Not 127.0.x.y, where resolvers and others listen, and no host's number of 0 or 255.
    let ipv4 = Ipv4Addr::new(127, a.clamp(1, 254), b, c.clamp(1, 254));
    let start = FIRST_PORT + u16::from_le_bytes([low, high]) % PORTS;
    Ok(endpoints
        .iter()
        .zip(start..)
        .map(|(&endpoint, port)| {
            let ip = match endpoint.ip().to_canonical() {
                IpAddr::V4(_) => IpAddr::V4(ipv4),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            };
            let endpoint = SocketAddr::new(endpoint.ip().to_canonical(), endpoint.port());
            Route { endpoint, front: SocketAddr::new(ip, port) }
        })
        .collect())
}
