//! The endpoints of a connection.

#[cfg(feature = "zerocopy")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The two endpoints of a connection, as the socket has them (before any address translation).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct EndpointPair {
    /// The caller's address; an IPv4 address stands in the first four bytes.
    pub local: [u8; 16],
    /// The service's address, in the same form.
    pub peer: [u8; 16],
    /// The caller's port, in host order; 0 before it is bound.
    pub local_port: u16,
    /// The service's port, in host order.
    pub peer_port: u16,
    /// 4 or 6: the family of the packets, so 4 for an IPv4-mapped socket.
    pub ip_version: u8,
    /// 4 or 6: the family of the socket, so 6 for an IPv4-mapped one.
    pub socket_version: u8,
    /// Zero.
    pub reserved: u16,
    /// The inode number of the socket's network namespace; 0 where it could not be read.
    pub netns: u32,
    /// Zero.
    pub reserved2: u32,
}
