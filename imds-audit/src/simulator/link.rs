//! The steps that furnish a network namespace, over netlink.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags};
use rtnetlink::{Handle, LinkUnspec, LinkVeth, RouteMessageBuilder};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, netdevice, socket};

use super::namespace::{Namespace, NamespaceError};

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
    Exchange(#[source] rtnetlink::Error),
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

impl From<rtnetlink::Error> for LinkError {
    fn from(error: rtnetlink::Error) -> Self {
        match error {
            rtnetlink::Error::NetlinkError(message) => Self::Refused(message.to_io()),
            error => Self::Exchange(error),
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
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| (None, LinkError::Socket(error)))?;
            runtime.block_on(async {
                let (connection, handle, _) = rtnetlink::new_connection()
                    .map_err(|error| (None, LinkError::Socket(error)))?;
                tokio::spawn(connection);
                for step in steps {
                    take(&handle, step).await.map_err(|error| (Some(*step), error))?;
                }
                Ok(())
            })
        })
        .map_err(|error| (None, error.into()))?
}

async fn take(handle: &Handle, step: &Step<'_>) -> Result<(), LinkError> {
    match *step {
        Step::Pair(name, peer) => {
            handle.link().add(LinkVeth::new(name, peer).build()).execute().await?;
        }
        Step::Move(name, namespace) => {
            let descriptor = namespace.as_fd().as_raw_fd();
            let message = LinkUnspec::new_with_index(index(name)?).setns_by_fd(descriptor).build();
            handle.link().set(message).execute().await?;
        }
        Step::Up(name) => {
            let message = LinkUnspec::new_with_index(index(name)?).up().build();
            handle.link().set(message).execute().await?;
        }
        Step::Address(name, address, prefix) => {
            let mut request = handle.address().add(index(name)?, address, prefix);
            if address.is_ipv6() {
                let message = request.message_mut();
                message.header.flags |= AddressHeaderFlags::Nodad;
                message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
            }
            request.execute().await?;
        }
        Step::Route(address, gateway) => route(handle, address, gateway).await?,
    }
    Ok(())
}

async fn route(handle: &Handle, address: IpAddr, gateway: IpAddr) -> Result<(), LinkError> {
    let message = match (address, gateway) {
        (IpAddr::V4(address), IpAddr::V4(gateway)) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(address, 32)
            .gateway(gateway)
            .build(),
        (IpAddr::V6(address), IpAddr::V6(gateway)) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(address, 128)
            .gateway(gateway)
            .build(),
        _ => return Err(LinkError::Refused(Errno::AFNOSUPPORT.into())),
    };
    Ok(handle.route().add(message).execute().await?)
}

/// Looks up an interface of the calling thread's namespace.
fn index(name: &str) -> Result<u32, LinkError> {
    socket(AddressFamily::INET, SocketType::DGRAM, None)
        .and_then(|socket| netdevice::name_to_index(&socket, name))
        .map_err(|error| LinkError::NoInterface(error.into()))
}
