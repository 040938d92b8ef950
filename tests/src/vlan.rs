//! Virtual LANs: interfaces, and frames that carry their tags.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use imds_audit::simulator::Namespace;
use rtnetlink::packet_route::AddressFamily as Family;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};

use super::netlink::{self, index};

/// Adds an interface of a virtual LAN to another one, with an address of IPv4, and brings it up.
///
/// # Errors
/// Returns an error if the kernel has no virtual LANs (`8021q`), or there is no such interface.
pub fn add_vlan(
    namespace: &Namespace,
    parent: &str,
    name: &str,
    number: u16,
    address: IpAddr,
) -> io::Result<()> {
    let add = || {
        let parent = index(parent)?;
        let mut message = LinkMessage::default();
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Link(parent),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Vlan),
                LinkInfo::Data(InfoData::Vlan(vec![InfoVlan::Id(number)])),
            ]),
        ];
        netlink::create(RouteNetlinkMessage::NewLink(message))?;
        let mut message = AddressMessage::default();
        message.header.family = Family::Inet;
        message.header.prefix_len = 24;
        message.header.index = index(name)?;
        message.attributes =
            vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
        netlink::create(RouteNetlinkMessage::NewAddress(message))
    };
    namespace.run(add).map_err(io::Error::other)?
}

/// An interface that takes whole frames, as they are.
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
    address: libc::sockaddr_ll,
}

impl Wire {
    /// Opens an interface of a namespace.
    ///
    /// # Errors
    /// Returns an error if there is no such interface, or the right is missing.
    pub fn open(namespace: &Namespace, interface: &str) -> io::Result<Self> {
        let open = || {
            let index = index(interface)?;
            // SAFETY: the call has no pointers.
            let number = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0) };
            if number < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the kernel has just given out this descriptor, and nobody else has it.
            let socket = unsafe { OwnedFd::from_raw_fd(number) };
            let address = libc::sockaddr_ll {
                sll_family: libc::AF_PACKET as u16,
                sll_protocol: 0,
                sll_ifindex: index as i32,
                sll_hatype: 0,
                sll_pkttype: 0,
                sll_halen: 6,
                sll_addr: [0; 8],
            };
            Ok(Self { socket, address })
        };
        namespace.run(open).map_err(io::Error::other)?
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// Returns an error if the kernel refuses it.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let address = (&raw const self.address).cast();
        let length = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: both pointers lead to memory of the length beside them, which outlives the call.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                address,
                length,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
