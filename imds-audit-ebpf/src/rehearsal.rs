//! Keys and values of the rehearsal's maps, which its programs and userspace share.
//!
//! All integers are in the host's byte order except addresses and ports, which are in network
//! order as they lie in memory. No structure has padding.

#[cfg(feature = "zerocopy")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The number of endpoints that one rehearsal redirects.
pub const MAX_ENDPOINTS: usize = 4;
/// The number of network namespaces that have a front at once.
pub const MAX_NETWORKS: usize = 64;

/// The address of an endpoint, or of a front.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct Address {
    /// The address; an IPv4 one lies in the first word and the others are zero.
    pub words: [u32; 4],
    /// The port, in network order in the lower half, as `bpf_sock_addr` has it.
    pub port: u32,
    /// One of [`family`].
    pub family: u32,
}

/// What an [`Address`] is.
pub mod family {
    /// Nothing: the socket is connected elsewhere by now.
    pub const NONE: u32 = 0;
    /// The mark of a socket of the front's own, whose connects pass.
    pub const OWN: u32 = 1;
    /// An IPv4 address.
    pub const IPV4: u32 = 4;
    /// An IPv6 address.
    pub const IPV6: u32 = 6;
    /// An IPv4-mapped IPv6 address, in all four words. Only sockets remember one.
    pub const MAPPED: u32 = 46;
}

/// Where a front is looked for.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct FrontKey {
    /// The cookie of the network namespace (`SO_NETNS_COOKIE`).
    pub netns: u64,
    /// The number of the endpoint.
    pub endpoint: u32,
    /// Zero.
    pub reserved: u32,
}

/// What became of connects to an endpoint; an index of the map `CONNECTS`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Connect {
    /// It was redirected to the front.
    Redirected = 0,
    /// It passed: its network namespace has no front, or had none yet.
    NoFront = 1,
    /// It passed: its socket is bound to a network device, from which a loopback address cannot be
    /// reached.
    BoundToDevice = 2,
    /// It passed: the kernel had no memory to remember its destination.
    NoMemory = 3,
}

impl Connect {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Redirected, Self::NoFront, Self::BoundToDevice, Self::NoMemory];
}

const _: () = assert!(core::mem::size_of::<Address>() == 24);
const _: () = assert!(core::mem::size_of::<FrontKey>() == 16);
