//! Owner of a redirected connection, as which the front connects to the service.
//!
//! A packet filter may keep some users from the service (`iptables -m owner`). The front must not
//! lend them its own rights, so its sockets are made with the user of the caller's.

use std::{io, net::SocketAddr};

use crate::process::SocketDiag;

/// The user without rights (`/proc/sys/kernel/overflowuid`), for a socket that its owner has closed.
pub(super) const NOBODY: u32 = 65_534;

/// The owners of connections of one network namespace.
pub(super) struct Owners(SocketDiag);

impl Owners {
    /// Opens what asks the kernel, in the calling thread's network namespace.
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self(SocketDiag::open()?))
    }

    /// Returns the user who made the socket that is connected from `caller` to `front`; `None`
    /// where there is no such socket any more.
    pub(super) fn of(&self, caller: SocketAddr, front: SocketAddr) -> Option<u32> {
        let socket = self.0.find(caller, front)?;
        // One that its owner has closed is still there, without an inode and with user 0.
        Some(if socket.inode == 0 { NOBODY } else { socket.uid })
    }
}

/// Runs a closure with the file system identity of a user, which the sockets that it makes carry
/// (setfsuid(2)), and returns to the thread's own.
pub(super) fn as_user<T>(uid: u32, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if uid == effective() {
        return act();
    }
    let own = set(uid);
    if set(uid) != uid {
        set(own);
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let done = act();
    set(own);
    done
}

fn effective() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Sets the thread's file system user. Returns the one before, whether it could be set or not.
fn set(uid: u32) -> u32 {
    // SAFETY: the call takes a number and changes the calling thread only. The C library's own
    // function is a bare system call too.
    unsafe { libc::setfsuid(uid) }.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_owner_of_a_connection_is_found_from_its_two_ends() {
        let owners = Owners::open().unwrap();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            // A machine without IPv6 has no such address.
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let front = listener.local_addr().unwrap();
            let caller = TcpStream::connect(front).unwrap();
            let own = caller.local_addr().unwrap();
            assert_eq!(owners.of(own, front).unwrap(), effective());
            let unused = SocketAddr::new(own.ip(), 1);
            assert!(owners.of(unused, front).is_none());
            drop(caller);
            assert!(matches!(owners.of(own, front), Some(NOBODY) | None));
        }
    }

    #[test]
    fn an_ipv4_mapped_caller_is_found_as_the_ipv4_one() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let front = listener.local_addr().unwrap();
        let mapped =
            SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), front.port());
        let Ok(_caller) = TcpStream::connect(mapped) else { return };
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(Owners::open().unwrap().of(peer, front).unwrap(), effective());
    }
}
