//! Private networks with a metadata address of their own.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::link::{LinkError, Step, apply};
use super::namespace::{Namespace, NamespaceError};

/// The metadata service's IPv4 address.
pub const SERVICE_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// The metadata service's IPv6 address.
pub const SERVICE_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

const PORT: u16 = 80;

/// The instance's network: where a direct client, or the router, and the service's end are.
const HOST_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));
const HOST_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 5));
/// The service's end of the wire in [`Topology::Direct`], for what is no metadata service.
pub const GATEWAY_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const GATEWAY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, 1));

/// The network of containers: where a routed client and the router's other end are.
const CONTAINER_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 17, 0, 2));
const CONTAINER_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x78, 0, 0, 0, 0, 0, 2));
const BRIDGE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 17, 0, 1));
const BRIDGE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x78, 0, 0, 0, 0, 0, 1));

/// How long a new network may take until its addresses answer, and each attempt.
const READY_WITHIN: Duration = Duration::from_secs(5);
const ATTEMPT: Duration = Duration::from_millis(100);
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(10);

/// How the client and the service are wired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// Two namespaces, wired to each other, as an instance and its service.
    Direct,
    /// Three, a router in between, as a container on an instance: one IP hop.
    Routed,
    /// A single one, with the service's addresses on its loopback interface: for kernels without
    /// virtual Ethernet pairs.
    Loopback,
}

/// Why a network could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A namespace could not be made or entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The right to configure interfaces is missing.
    #[error("configuring a network namespace needs CAP_NET_ADMIN: run as root")]
    MissingRight,
    /// The kernel has no virtual Ethernet pairs; [`Topology::Loopback`] does without.
    #[error("this kernel has no veth interfaces (CONFIG_VETH)")]
    NoVeth,
    /// A step of the set-up failed.
    #[error("cannot set the private network up at {step}: {reason}")]
    Step {
        /// The step.
        step: String,
        /// What the kernel said.
        reason: String,
    },
    /// A kernel setting of the namespace could not be made.
    #[error("cannot set {setting} in the private network")]
    Setting {
        /// The setting's file.
        setting: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The service's address does not answer from the client's namespace.
    #[error("{address} cannot be reached within the private network")]
    Unreachable {
        /// The address.
        address: SocketAddr,
        /// The last attempt's error.
        #[source]
        source: io::Error,
    },
    /// The kernel has no IPv6, or it is switched off.
    #[error("this kernel has no IPv6")]
    NoIpv6,
    /// The service's address could not be bound.
    #[error("cannot listen on {address} in the private network")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

impl NetworkError {
    /// Says whether it is for want of a right.
    pub fn is_missing_right(&self) -> bool {
        matches!(self, Self::MissingRight | Self::Namespace(NamespaceError::MissingRight))
    }
}

/// A private network. Gone when it is dropped and everything inside has ended.
#[derive(Debug)]
pub struct Network {
    topology: Topology,
    client: Namespace,
    /// The service's namespace and the router's; the loopback topology has neither.
    service: Option<Namespace>,
    _router: Option<Namespace>,
    ipv6: bool,
}

impl Network {
    /// Makes a network, and waits until the service's addresses can be reached in it.
    pub fn new(topology: Topology) -> Result<Self, NetworkError> {
        let ipv6 = Path::new("/proc/sys/net/ipv6").exists();
        let client = furnished(ipv6)?;
        let network = match topology {
            Topology::Loopback => Self { topology, client, service: None, _router: None, ipv6 },
            Topology::Direct => {
                let service = furnished(ipv6)?;
                wire_direct(&client, &service, ipv6)?;
                Self { topology, client, service: Some(service), _router: None, ipv6 }
            }
            Topology::Routed => {
                let (service, router) = (furnished(ipv6)?, furnished(ipv6)?);
                wire_routed(&client, &router, &service, ipv6)?;
                Self { topology, client, service: Some(service), _router: Some(router), ipv6 }
            }
        };
        furnish(
            network.service_namespace(),
            ipv6,
            &[
                Step::Address("lo", SERVICE_V4.into(), 32),
                Step::Address("lo", SERVICE_V6.into(), 128),
            ],
        )?;
        network.wait_until_ready()?;
        Ok(network)
    }

    /// Makes a network of the wanted topology, or a loopback one where the kernel has no virtual
    /// Ethernet pairs: [`Network::topology`] tells which it became.
    pub fn new_or_loopback(wanted: Topology) -> Result<Self, NetworkError> {
        match Self::new(wanted) {
            Err(NetworkError::NoVeth) => Self::new(Topology::Loopback),
            made => made,
        }
    }

    /// Gives the topology.
    pub fn topology(&self) -> Topology {
        self.topology
    }

    /// Says whether it carries IPv6: whether the kernel does.
    pub fn ipv6(&self) -> bool {
        self.ipv6
    }

    /// Gives the client's namespace.
    pub fn client(&self) -> &Namespace {
        &self.client
    }

    /// Gives the descriptor of the client's namespace, to enter it.
    pub fn client_namespace(&self) -> BorrowedFd<'_> {
        self.client.as_fd()
    }

    /// Gives the inode number of the client's namespace, as `/proc/PID/ns/net` shows it.
    pub fn client_inode(&self) -> u64 {
        self.client.inode()
    }

    /// Gives the service's namespace: the client's own in the loopback topology.
    pub fn service_namespace(&self) -> &Namespace {
        self.service.as_ref().unwrap_or(&self.client)
    }

    /// Prepares a command that runs as a client: in its namespace, or not at all.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command, NetworkError> {
        Ok(self.client.command(program)?)
    }

    /// Runs a closure as a client, on a thread of its own, and waits for it.
    pub fn in_client<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> Result<T, NetworkError> {
        Ok(self.client.run(inside)?)
    }

    /// Listens on the service's IPv4 address.
    pub fn listen_v4(&self) -> Result<TcpListener, NetworkError> {
        self.listen((SERVICE_V4, PORT).into())
    }

    /// Listens on the service's IPv6 address.
    pub fn listen_v6(&self) -> Result<TcpListener, NetworkError> {
        if !self.ipv6 {
            return Err(NetworkError::NoIpv6);
        }
        self.listen((SERVICE_V6, PORT).into())
    }

    /// Listens on every address of the service that the kernel allows.
    pub fn listeners(&self) -> Result<Vec<TcpListener>, NetworkError> {
        let mut listeners = vec![self.listen_v4()?];
        if self.ipv6 {
            listeners.push(self.listen_v6()?);
        }
        Ok(listeners)
    }

    /// Listens on an address inside the service's namespace.
    pub fn listen(&self, address: SocketAddr) -> Result<TcpListener, NetworkError> {
        self.service_namespace()
            .run(|| TcpListener::bind(address))?
            .map_err(|source| NetworkError::Listen { address, source })
    }

    /// Waits until the service's addresses refuse connections: nobody listens yet, and the
    /// refusal proves that packets go there and back.
    fn wait_until_ready(&self) -> Result<(), NetworkError> {
        let addresses = [IpAddr::from(SERVICE_V4), IpAddr::from(SERVICE_V6)];
        for ip in addresses.into_iter().filter(|ip| ip.is_ipv4() || self.ipv6) {
            let address = SocketAddr::new(ip, PORT);
            self.in_client(|| refused(address))?
                .map_err(|source| NetworkError::Unreachable { address, source })?;
        }
        Ok(())
    }
}

/// Waits until an address refuses a connection.
fn refused(address: SocketAddr) -> io::Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        match TcpStream::connect_timeout(&address, ATTEMPT) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Ok(_) | Err(_) => sleep(BETWEEN_ATTEMPTS),
        }
    }
}

/// Makes a namespace with its loopback interface up and IPv6 switched on.
fn furnished(ipv6: bool) -> Result<Namespace, NetworkError> {
    let namespace = Namespace::new()?;
    if ipv6 {
        // A namespace may inherit the host's choice.
        set(&namespace, "/proc/sys/net/ipv6/conf/all/disable_ipv6", "0")?;
        set(&namespace, "/proc/sys/net/ipv6/conf/default/disable_ipv6", "0")?;
    }
    furnish(&namespace, ipv6, &[Step::Up("lo")])?;
    Ok(namespace)
}

fn wire_direct(client: &Namespace, service: &Namespace, ipv6: bool) -> Result<(), NetworkError> {
    furnish(client, ipv6, &[Step::Pair("eth0", "imds0"), Step::Move("imds0", service)])?;
    raise(service, ipv6, "imds0", [GATEWAY_V4, GATEWAY_V6])?;
    raise(client, ipv6, "eth0", [HOST_V4, HOST_V6])?;
    route_to_service(client, ipv6, [GATEWAY_V4, GATEWAY_V6])
}

fn wire_routed(
    client: &Namespace,
    router: &Namespace,
    service: &Namespace,
    ipv6: bool,
) -> Result<(), NetworkError> {
    furnish(
        router,
        ipv6,
        &[
            Step::Pair("bridge0", "eth0"),
            Step::Move("eth0", client),
            Step::Pair("eth0", "imds0"),
            Step::Move("imds0", service),
        ],
    )?;
    set(router, "/proc/sys/net/ipv4/ip_forward", "1")?;
    if ipv6 {
        set(router, "/proc/sys/net/ipv6/conf/all/forwarding", "1")?;
    }
    raise(service, ipv6, "imds0", [GATEWAY_V4, GATEWAY_V6])?;
    raise(router, ipv6, "eth0", [HOST_V4, HOST_V6])?;
    raise(router, ipv6, "bridge0", [BRIDGE_V4, BRIDGE_V6])?;
    raise(client, ipv6, "eth0", [CONTAINER_V4, CONTAINER_V6])?;
    route_to_service(router, ipv6, [GATEWAY_V4, GATEWAY_V6])?;
    route_to_service(client, ipv6, [BRIDGE_V4, BRIDGE_V6])?;
    furnish(
        service,
        ipv6,
        &[Step::Route(CONTAINER_V4, HOST_V4), Step::Route(CONTAINER_V6, HOST_V6)],
    )
}

/// Brings an interface up and gives it its two addresses.
///
/// A question for a neighbour that is asked before both ends are up gets lost, and is repeated
/// after a second by default: a routed network took 2.2 s to be usable.
fn raise(
    namespace: &Namespace,
    ipv6: bool,
    interface: &str,
    [v4, v6]: [IpAddr; 2],
) -> Result<(), NetworkError> {
    for family in if ipv6 { &["ipv4", "ipv6"][..] } else { &["ipv4"] } {
        let setting = format!("/proc/sys/net/{family}/neigh/{interface}/retrans_time_ms");
        set(namespace, &setting, "50")?;
    }
    furnish(
        namespace,
        ipv6,
        &[Step::Up(interface), Step::Address(interface, v4, 24), Step::Address(interface, v6, 64)],
    )
}

fn route_to_service(
    namespace: &Namespace,
    ipv6: bool,
    [v4, v6]: [IpAddr; 2],
) -> Result<(), NetworkError> {
    let steps = [Step::Route(SERVICE_V4.into(), v4), Step::Route(SERVICE_V6.into(), v6)];
    furnish(namespace, ipv6, &steps)
}

/// Takes steps inside a namespace, without those about IPv6 where the kernel has none.
fn furnish(namespace: &Namespace, ipv6: bool, steps: &[Step<'_>]) -> Result<(), NetworkError> {
    let steps: Vec<_> = steps.iter().copied().filter(|step| ipv6 || !step.is_ipv6()).collect();
    apply(namespace, &steps).map_err(|(step, error)| match (step, error.errno(), error) {
        (_, _, LinkError::Namespace(error)) => error.into(),
        (_, Some(Errno::PERM | Errno::ACCESS), _) => NetworkError::MissingRight,
        (Some(Step::Pair(..)), Some(Errno::OPNOTSUPP), _) => NetworkError::NoVeth,
        (step, _, error) => NetworkError::Step {
            step: step.map_or_else(|| "the start".to_owned(), |step| format!("{step:?}")),
            reason: match std::error::Error::source(&error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            },
        },
    })
}

/// Makes a kernel setting inside a namespace, unless it has the value already: a container may
/// see the settings and be forbidden to write them.
fn set(namespace: &Namespace, setting: &str, value: &str) -> Result<(), NetworkError> {
    namespace
        .run(|| {
            if fs::read_to_string(setting)?.trim() == value {
                return Ok(());
            }
            fs::write(setting, value)
        })?
        .map_err(|source| NetworkError::Setting { setting: setting.to_owned(), source })
}
