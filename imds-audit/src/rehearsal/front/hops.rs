//! Distance between a network namespace and the service in IP hops, by which it is known whether a
//! token response with a hop limit would arrive.

use std::{cell::RefCell, collections::HashMap, io, net::SocketAddr, time::Duration};

use rustix::net::sockopt;
use tokio::net::TcpSocket;

use super::{Shared, owner::as_user};

/// The longest distance that is measured; a container of a container is three away.
const MAX_HOPS: u8 = 8;
/// How long an attempt may take. A router on the way answers at once, where it answers at all.
const ATTEMPT: Duration = Duration::from_millis(300);

/// Distances by endpoint, measured once.
#[derive(Debug, Default)]
pub(super) struct Hops(RefCell<HashMap<SocketAddr, Option<u8>>>);

impl Hops {
    /// Returns the number of routers between this network namespace and the service; `None` where
    /// they are more than are measured.
    ///
    /// A connect with a time to live of N comes through fewer than N routers, as a response with it
    /// does on the way back. The connects carry no request.
    pub(super) async fn to(&self, endpoint: SocketAddr, uid: u32, shared: &Shared) -> Option<u8> {
        if let Some(&known) = self.0.borrow().get(&endpoint) {
            return known;
        }
        let mut found = None;
        for ttl in 1..=MAX_HOPS {
            if arrives(endpoint, ttl, uid, shared).await {
                found = Some(ttl - 1);
                break;
            }
        }
        self.0.borrow_mut().insert(endpoint, found);
        found
    }
}

async fn arrives(endpoint: SocketAddr, ttl: u8, uid: u32, shared: &Shared) -> bool {
    let connect = async {
        let socket = own_socket(endpoint, uid, shared)?;
        set_ttl(&socket, endpoint, ttl)?;
        socket.connect(endpoint).await
    };
    matches!(tokio::time::timeout(ATTEMPT, connect).await, Ok(Ok(_)))
}

/// Makes a socket of a user's whose connect is not redirected.
pub(super) fn own_socket(endpoint: SocketAddr, uid: u32, shared: &Shared) -> io::Result<TcpSocket> {
    let socket =
        as_user(
            uid,
            || {
                if endpoint.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
            },
        )?;
    shared.marker.borrow_mut().mark(&socket).map_err(io::Error::other)?;
    Ok(socket)
}

/// Sets the IP time to live of what a socket sends from here on.
pub(super) fn set_ttl(
    socket: &impl std::os::fd::AsFd,
    address: SocketAddr,
    ttl: u8,
) -> io::Result<()> {
    if address.is_ipv4() {
        sockopt::set_ip_ttl(socket, ttl.into())?;
    } else {
        sockopt::set_ipv6_unicast_hops(socket, Some(ttl))?;
    }
    Ok(())
}
