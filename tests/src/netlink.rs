//! Requests to the kernel's network configuration, in this thread's network namespace.

use std::io;

use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::net::{AddressFamily, SocketType, netdevice, socket};

/// Returns the number of an interface.
///
/// # Errors
/// Returns an error if there is no such interface.
pub(crate) fn index(interface: &str) -> io::Result<u32> {
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    Ok(netdevice::name_to_index(&any, interface)?)
}

/// Asks the kernel of this thread's namespace for something new.
///
/// # Errors
/// Returns the kernel's error.
pub(crate) fn create(message: RouteNetlinkMessage) -> io::Result<()> {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    let mut kernel = Socket::new(NETLINK_ROUTE)?;
    kernel.bind_auto()?;
    kernel.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
    let (answer, _) = kernel.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer);
    match answer.map_err(io::Error::other)?.payload {
        NetlinkPayload::Error(message) if message.code.is_some() => Err(message.to_io()),
        _ => Ok(()),
    }
}
