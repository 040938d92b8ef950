//! The packet socket: what the kernel is asked for, and how its answers are read.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_int, c_void, sock_filter, socklen_t};

use super::error::PacketError;
use super::filter;
use crate::segment::Timestamp;

/// Room for one packet. The kernel cuts up a larger one for the network card, or says it is cut.
pub(crate) const MAX_PACKET: usize = 68 << 10;
/// Room for the control messages of a packet: its time and its length.
const MAX_CONTROL: usize = 256;

/// An open packet socket on all interfaces of the network namespace, those that come later too.
#[derive(Debug)]
pub(crate) struct PacketSocket {
    socket: OwnedFd,
    /// The longest header block of a response that the filter finds the end of.
    pub(crate) head_limit: u32,
}

/// A packet that was received; its bytes begin at the IP header, or at a tag before that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// How many bytes were captured.
    pub(crate) captured: usize,
    /// How many it had.
    pub(crate) wire_length: usize,
    /// Whether it leaves the host, or the network namespace.
    pub(crate) leaves: bool,
    /// When it passed, by the time of day; `None` where the kernel does not say.
    pub(crate) time_of_day: Option<i128>,
}

impl PacketSocket {
    /// Opens a socket that sees the endpoints' packets, and has room for about so many bytes.
    pub(crate) fn open(endpoints: &[SocketAddr], room: u32) -> Result<Self, PacketError> {
        if endpoints.len() > imds_audit_ebpf::MAX_ENDPOINTS {
            return Err(PacketError::TooManyEndpoints(endpoints.len()));
        }
        // Without a protocol nothing is received until the filter is in place.
        // SAFETY: the call has no pointers.
        let number = unsafe {
            libc::socket(
                libc::AF_PACKET,
                libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
                0,
            )
        };
        if number < 0 {
            let error = io::Error::last_os_error();
            return Err(match error.raw_os_error() {
                Some(libc::EPERM | libc::EACCES) => PacketError::Rights(error),
                _ => PacketError::Open(error),
            });
        }
        // SAFETY: the kernel has just given out this descriptor, and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(number) };
        let head_limit = attach(&socket, endpoints)?;
        let one: c_int = 1;
        set(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, &one)
            .map_err(|error| PacketError::Setting { what: "the packets' lengths", error })?;
        set(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &one)
            .map_err(|error| PacketError::Setting { what: "the packets' times", error })?;
        let room = c_int::try_from(room).unwrap_or(c_int::MAX);
        // Beyond the host's limit it takes CAP_NET_ADMIN.
        if set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &room).is_err() {
            set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, &room)
                .map_err(|error| PacketError::Setting { what: "the room", error })?;
        }
        bind_to_all(&socket)
            .map_err(|error| PacketError::Setting { what: "the interfaces", error })?;
        Ok(Self { socket, head_limit })
    }

    /// Receives a packet; `None` where there is none.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        // SAFETY: zeros are a valid value of each of these C structures.
        let (mut address, mut message): (libc::sockaddr_ll, libc::msghdr) =
            unsafe { (MaybeUninit::zeroed().assume_init(), MaybeUninit::zeroed().assume_init()) };
        // Aligned as the headers of control messages are.
        let mut control = [0u64; MAX_CONTROL / 8];
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        message.msg_name = (&raw mut address).cast();
        message.msg_namelen = length_of::<libc::sockaddr_ll>();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = MAX_CONTROL as _;
        // SAFETY: every pointer leads to memory of the length that stands beside it, which lives
        // until the call returns.
        let count = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, 0) };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EINTR) => Ok(None),
                // An interface that carried packets is down: others go on.
                Some(libc::ENETDOWN) => Ok(None),
                _ => Err(error),
            };
        };
        let captured = count.min(buffer.len());
        let leaves = address.sll_pkttype == OUTGOING;
        let mut received = Received { captured, wire_length: captured, leaves, time_of_day: None };
        // SAFETY: the kernel has filled the message, and its control messages lie in `control`; each
        // is read only as far as its own length says.
        unsafe {
            let mut header = libc::CMSG_FIRSTHDR(&raw const message);
            while let Some(current) = header.as_ref() {
                let data = libc::CMSG_DATA(header);
                let length = current.cmsg_len;
                match (current.cmsg_level, current.cmsg_type) {
                    (libc::SOL_PACKET, libc::PACKET_AUXDATA) if holds::<Auxdata>(length) => {
                        let data: Auxdata = data.cast::<Auxdata>().read_unaligned();
                        received.wire_length = captured.max(data.length as usize);
                    }
                    (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS) if holds::<libc::timespec>(length) => {
                        let time: libc::timespec = data.cast::<libc::timespec>().read_unaligned();
                        received.time_of_day = Some(
                            i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec),
                        );
                    }
                    _ => {}
                }
                header = libc::CMSG_NXTHDR(&raw const message, header);
            }
        }
        Ok(Some(received))
    }

    /// Returns how many packets the socket had no room for since the last call.
    pub(crate) fn take_drops(&self) -> io::Result<u64> {
        let mut statistics = [0u32; 2];
        let mut length = length_of::<[u32; 2]>();
        // SAFETY: the pointers lead to the statistics and to their length.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                PACKET_STATISTICS,
                statistics.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        let [_, drops] = statistics;
        Ok(drops.into())
    }
}

impl AsRawFd for PacketSocket {
    fn as_raw_fd(&self) -> c_int {
        self.socket.as_raw_fd()
    }
}

impl Received {
    /// Returns when it passed, in nanoseconds since boot, by a clock whose time of day is so much
    /// more than that.
    pub(crate) fn time(&self, offset: i128) -> Option<Timestamp> {
        self.time_of_day.and_then(|time| u64::try_from(time - offset).ok()).map(Timestamp)
    }
}

/// `PACKET_OUTGOING` of packet(7).
const OUTGOING: u8 = 4;
/// `PACKET_STATISTICS` of packet(7).
const PACKET_STATISTICS: c_int = 6;

/// `struct tpacket_auxdata` of `linux/if_packet.h`.
#[repr(C)]
struct Auxdata {
    status: u32,
    length: u32,
    captured: u32,
    mac: u16,
    net: u16,
    vlan_tci: u16,
    vlan_tpid: u16,
}

/// Returns whether a control message of this length has room for a value.
fn holds<T>(length: usize) -> bool {
    // SAFETY: the function computes a number.
    length >= unsafe { libc::CMSG_LEN(length_of::<T>()) } as usize
}

/// Attaches the best filter that the kernel has room for.
fn attach(socket: &OwnedFd, endpoints: &[SocketAddr]) -> Result<u32, PacketError> {
    let mut last = io::Error::from_raw_os_error(libc::EINVAL);
    for limit in filter::HEAD_LIMITS {
        let mut program: Vec<sock_filter> = filter::program(endpoints, limit);
        let whole = libc::sock_fprog {
            len: u16::try_from(program.len()).unwrap_or(u16::MAX),
            filter: program.as_mut_ptr(),
        };
        match set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &whole) {
            Ok(()) => return Ok(limit),
            Err(error) => last = error,
        }
    }
    Err(PacketError::Setting { what: "the filter", error: last })
}

/// Receives from every interface, those that come later too.
fn bind_to_all(socket: &OwnedFd) -> io::Result<()> {
    // SAFETY: zeros are a valid value of this C structure.
    let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: the pointer leads to an address of the length that stands beside it.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            length_of::<libc::sockaddr_ll>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn set<T>(socket: &OwnedFd, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    // SAFETY: the pointer leads to a value of the length that stands beside it, and what that points
    // to lives until the call returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast::<c_void>(),
            length_of::<T>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn length_of<T>() -> socklen_t {
    // Structures of the kernel's interface are short.
    size_of::<T>() as socklen_t
}
