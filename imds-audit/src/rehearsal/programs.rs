//! The rehearsal's eBPF programs: loaded once, attached to one cgroup through links that end with
//! this process.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use aya::maps::{Array, Map, MapData, MapError, SkStorage};
use aya_obj::generated::{bpf_attach_type, bpf_prog_type};
use imds_audit_ebpf::rehearsal::{Address, Connect, FrontKey, MAX_ENDPOINTS, family};
use zerocopy::IntoBytes;

pub(crate) use super::error::ProgramError;
use crate::source::ebpf::{
    object::{Object, ProgramOf},
    rehearsal_object, syscall,
};

/// `SO_NETNS_COOKIE` (Linux 5.14 and newer).
const SO_NETNS_COOKIE: libc::c_int = 71;

/// The rehearsal's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// `connect` on IPv4 sockets.
    Connect4,
    /// `connect` on IPv6 sockets, which includes IPv4-mapped addresses.
    Connect6,
    /// `getpeername` on IPv4 sockets.
    PeerName4,
    /// `getpeername` on IPv6 sockets.
    PeerName6,
    /// The one that learns a network namespace's cookie; never attached to the rehearsed cgroup.
    Learn,
}

/// Those that are attached to the rehearsed cgroup. The connects come last, so that whatever is
/// redirected reports its endpoint.
const ATTACHED: [Program; 4] =
    [Program::PeerName6, Program::PeerName4, Program::Connect6, Program::Connect4];

impl ProgramOf for Program {
    const ALL: &'static [Self] =
        &[Self::Connect4, Self::Connect6, Self::PeerName4, Self::PeerName6, Self::Learn];

    fn name(self) -> &'static str {
        match self {
            Self::Connect4 => "rehearse4",
            Self::Connect6 => "rehearse6",
            Self::PeerName4 => "peer_name4",
            Self::PeerName6 => "peer_name6",
            Self::Learn => "learn_cookie",
        }
    }

    fn kernel_types(self) -> (bpf_prog_type, bpf_attach_type) {
        use bpf_attach_type::*;
        let attach = match self {
            Self::Connect4 | Self::Learn => BPF_CGROUP_INET4_CONNECT,
            Self::Connect6 => BPF_CGROUP_INET6_CONNECT,
            Self::PeerName4 => BPF_CGROUP_INET4_GETPEERNAME,
            Self::PeerName6 => BPF_CGROUP_INET6_GETPEERNAME,
        };
        (bpf_prog_type::BPF_PROG_TYPE_CGROUP_SOCK_ADDR, attach)
    }
}

/// The loaded programs. What is attached is detached when this is dropped, or when the process
/// ends in any other way.
pub(crate) struct Programs {
    programs: HashMap<&'static str, OwnedFd>,
    links: Vec<OwnedFd>,
    fronts: aya::maps::HashMap<MapData, [u8; 16], [u8; 24]>,
    connects: Array<MapData, u64>,
    cookie: Array<MapData, u64>,
    destinations: OwnedFd,
}

impl Programs {
    /// Loads the programs for these endpoints; the place of each is its number.
    ///
    /// # Errors
    /// Returns an error if there are too many endpoints, or the kernel refuses a map or a program.
    pub(crate) fn load(endpoints: &[SocketAddr]) -> Result<Self, ProgramError> {
        let object = rehearsal_object();
        if object.is_empty() {
            return Err(ProgramError::NotBuilt);
        }
        if endpoints.len() > MAX_ENDPOINTS {
            return Err(ProgramError::TooManyEndpoints(endpoints.len()));
        }
        let object = Object::<Program>::prepare(&object, &[], &[])
            .map_err(|error| ProgramError::Object(Box::new(error)))?;
        let mut programs = HashMap::new();
        for (program, loaded) in object.load_each() {
            let name = program.name();
            let loaded = loaded.map_err(|error| ProgramError::Load { name, error })?;
            programs.insert(name, loaded);
        }
        let mut maps = object.into_maps();
        let mut numbers: aya::maps::HashMap<MapData, [u8; 24], u32> =
            typed(&mut maps, "ENDPOINTS")?;
        for (endpoint, number) in endpoints.iter().zip(0u32..) {
            let name = "ENDPOINTS";
            numbers
                .insert(bytes(&address(*endpoint)), number, 0)
                .map_err(|error| ProgramError::Map { name, error: Box::new(error) })?;
        }
        Ok(Self {
            fronts: typed(&mut maps, "FRONTS")?,
            connects: typed(&mut maps, "CONNECTS")?,
            cookie: typed(&mut maps, "COOKIE")?,
            destinations: destinations(&mut maps)?,
            programs,
            links: Vec::new(),
        })
    }

    /// Makes sure that a cgroup is not being rehearsed.
    ///
    /// # Errors
    /// Returns [`ProgramError::Busy`] if it is, or one above it.
    pub(crate) fn ensure_free(cgroup: BorrowedFd<'_>) -> Result<(), ProgramError> {
        if is_rehearsed(cgroup).map_err(ProgramError::Query)? {
            return Err(ProgramError::Busy);
        }
        Ok(())
    }

    /// Redirects the connects of a cgroup and of those below it from now on.
    ///
    /// # Errors
    /// Returns an error if the cgroup is being rehearsed already, or the kernel refuses.
    pub(crate) fn attach(&mut self, cgroup: BorrowedFd<'_>) -> Result<(), ProgramError> {
        Self::ensure_free(cgroup)?;
        for program in ATTACHED {
            let link = self.link(program, cgroup)?;
            self.links.push(link);
        }
        Ok(())
    }

    /// Redirects nothing any more.
    pub(crate) fn detach(&mut self) {
        self.links.clear();
    }

    fn link(&self, program: Program, cgroup: BorrowedFd<'_>) -> Result<OwnedFd, ProgramError> {
        let name = program.name();
        let attach = |error| ProgramError::Attach { name, error };
        let loaded =
            self.programs.get(name).ok_or_else(|| attach(io::ErrorKind::NotFound.into()))?;
        let (_, kind) = program.kernel_types();
        syscall::link(loaded.as_fd(), cgroup, kind).map_err(attach)
    }

    /// Sends connects to the numbered endpoint, in the network namespace with this cookie, to a
    /// front.
    ///
    /// # Errors
    /// Returns an error if the map is full.
    pub(crate) fn set_front(
        &mut self,
        netns: u64,
        endpoint: u32,
        front: SocketAddr,
    ) -> Result<(), ProgramError> {
        let key = FrontKey { netns, endpoint, reserved: 0 };
        let name = "FRONTS";
        self.fronts
            .insert(key_bytes(&key), bytes(&address(front)), 0)
            .map_err(|error| ProgramError::Map { name, error: Box::new(error) })
    }

    /// Lets the connects of a network namespace pass again.
    pub(crate) fn remove_fronts(&mut self, netns: u64) {
        for endpoint in 0..MAX_ENDPOINTS as u32 {
            let key = FrontKey { netns, endpoint, reserved: 0 };
            // One that is not there is removed already.
            self.fronts.remove(&key_bytes(&key)).ok();
        }
    }

    /// Returns how many connects there were of a kind.
    pub(crate) fn count(&self, connect: Connect) -> u64 {
        self.connects.get(&(connect as u32), 0).unwrap_or(0)
    }

    /// Returns a marker of sockets for a front.
    ///
    /// # Errors
    /// Returns an error if the process has no descriptor left.
    pub(crate) fn marker(&self) -> Result<Marker, ProgramError> {
        let name = "DESTINATIONS";
        let map_error = |error| ProgramError::Map { name, error: Box::new(error) };
        let clone = self.destinations.try_clone().map_err(MapError::IoError).map_err(map_error)?;
        let data = MapData::from_fd(clone).map_err(map_error)?;
        let map = Map::from_map_data(data).map_err(map_error)?;
        Ok(Marker(Marks::Map(SkStorage::try_from(map).map_err(map_error)?)))
    }

    /// Learns the cookie of the network namespace that a socket is in, where `getsockopt` does not
    /// tell: a program reports it when the socket, marked, is connected. `cgroup` is this process's
    /// own.
    ///
    /// # Errors
    /// Returns an error if the program cannot be attached, or does not report.
    pub(crate) fn learn_cookie(
        &mut self,
        socket: &UdpSocket,
        marker: &mut Marker,
        cgroup: BorrowedFd<'_>,
    ) -> Result<u64, ProgramError> {
        marker.mark(socket)?;
        let name = "COOKIE";
        let map_error = |error| ProgramError::Map { name, error: Box::new(error) };
        self.cookie.set(0, 0, 0).map_err(map_error)?;
        let link = self.link(Program::Learn, cgroup)?;
        // Nothing is sent. The program runs before the route is looked up, so that it does not
        // matter whether there is one.
        socket.connect((Ipv4Addr::LOCALHOST, 9)).ok();
        drop(link);
        match self.cookie.get(&0, 0).map_err(map_error)? {
            0 => Err(ProgramError::Cookie(io::ErrorKind::NotFound.into())),
            cookie => Ok(cookie),
        }
    }
}

/// Loads the programs and lets go of them, to try out a kernel.
///
/// # Errors
/// Returns an error if this build has no eBPF object, or the kernel refuses a map or a program.
pub fn try_load(endpoints: &[SocketAddr]) -> anyhow::Result<()> {
    Programs::load(endpoints).map(drop).map_err(Into::into)
}

/// Marks the sockets of a front, whose own connects to the service must pass.
pub(crate) struct Marker(Marks);

enum Marks {
    /// In the programs' map.
    Map(SkStorage<MapData, [u8; 24]>),
    /// Nowhere: nothing is redirected to the front.
    #[cfg(test)]
    Nowhere,
    /// Nowhere, and marking panics, as a fault in the front would.
    #[cfg(test)]
    Panic,
}

impl Marker {
    /// Makes a marker that marks nothing.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self(Marks::Nowhere)
    }

    /// Makes a marker that panics.
    #[cfg(test)]
    pub(super) fn panicking() -> Self {
        Self(Marks::Panic)
    }

    /// Marks a socket. The mark ends with it.
    ///
    /// # Errors
    /// Returns an error if the kernel has no memory for it.
    pub(crate) fn mark(&mut self, socket: &impl AsRawFd) -> Result<(), ProgramError> {
        let own = Address { family: family::OWN, ..Address::default() };
        let name = "DESTINATIONS";
        match &mut self.0 {
            Marks::Map(map) => map
                .insert(socket, bytes(&own), 0)
                .map_err(|error| ProgramError::Map { name, error: Box::new(error) }),
            #[cfg(test)]
            Marks::Nowhere => Ok(()),
            #[cfg(test)]
            Marks::Panic => panic!("a fault of the front's, in a test"),
        }
    }
}

/// Reads the cookie of the network namespace that a socket is in; `None` where the kernel does not
/// tell (before Linux 5.14).
///
/// # Errors
/// Returns the system's error.
pub(crate) fn netns_cookie(socket: &impl AsRawFd) -> io::Result<Option<u64>> {
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the pointers are to the cookie and to its length.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        return Ok(Some(cookie));
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENOPROTOOPT) { Ok(None) } else { Err(error) }
}

/// Returns whether a program of a rehearsal is in effect at a cgroup.
fn is_rehearsed(cgroup: BorrowedFd<'_>) -> io::Result<bool> {
    let (_, attach) = Program::Connect4.kernel_types();
    for number in syscall::effective_programs(cgroup, attach)? {
        let program = match syscall::program_by_number(number) {
            Ok(program) => program,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let name = syscall::program_info(program.as_fd())?.name;
        let name: Vec<u8> = name.iter().take_while(|&&byte| byte != 0).map(|&b| b as u8).collect();
        if name == Program::Connect4.name().as_bytes() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn typed<T: TryFrom<Map, Error = MapError>>(
    maps: &mut HashMap<String, Map>,
    name: &'static str,
) -> Result<T, ProgramError> {
    let map_error = |error| ProgramError::Map { name, error: Box::new(error) };
    let map = maps
        .remove(name)
        .ok_or_else(|| map_error(MapError::InvalidName { name: name.to_owned() }))?;
    T::try_from(map).map_err(map_error)
}

/// Returns a descriptor of the sockets' storage; each front makes a map of its own from it.
fn destinations(maps: &mut HashMap<String, Map>) -> Result<OwnedFd, ProgramError> {
    let name = "DESTINATIONS";
    let map_error = |error| ProgramError::Map { name, error: Box::new(error) };
    let Some(Map::SkStorage(data)) = maps.remove(name) else {
        return Err(map_error(MapError::InvalidName { name: name.to_owned() }));
    };
    data.fd().as_fd().try_clone_to_owned().map_err(MapError::IoError).map_err(map_error)
}

/// Returns an address as the programs compare it; an IPv4-mapped one is the IPv4 one.
fn address(address: SocketAddr) -> Address {
    let port = u32::from(address.port().to_be());
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => Address {
            words: [u32::from_ne_bytes(ip.octets()), 0, 0, 0],
            port,
            family: family::IPV4,
        },
        IpAddr::V6(ip) => {
            let mut words = [0u32; 4];
            words.as_mut_bytes().copy_from_slice(&ip.octets());
            Address { words, port, family: family::IPV6 }
        }
    }
}

fn bytes(address: &Address) -> [u8; 24] {
    zerocopy::transmute!(*address)
}

fn key_bytes(key: &FrontKey) -> [u8; 16] {
    zerocopy::transmute!(*key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_mapped_endpoint_is_the_ipv4_one() {
        let plain = address("169.254.169.254:80".parse().unwrap());
        assert_eq!(plain, address("[::ffff:169.254.169.254]:80".parse().unwrap()));
        assert_eq!(plain.words[0].to_ne_bytes(), [169, 254, 169, 254]);
        assert_eq!(plain.port, u32::from(80u16.to_be()));
    }

    #[test]
    fn a_fifth_endpoint_is_refused_before_anything_is_loaded() {
        let endpoint: SocketAddr = "10.0.0.1:80".parse().unwrap();
        if rehearsal_object().is_empty() {
            assert!(matches!(Programs::load(&[endpoint; 5]), Err(ProgramError::NotBuilt)));
        } else {
            let refused = Programs::load(&[endpoint; 5]);
            assert!(matches!(refused, Err(ProgramError::TooManyEndpoints(5))));
        }
    }
}
