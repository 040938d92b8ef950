//! `connect`: which process opens a connection, and where to.

use aya_ebpf::{
    EbpfContext,
    bindings::bpf_sock_addr,
    helpers::generated::{bpf_get_socket_cookie, bpf_ktime_get_boot_ns},
    programs::SockAddrContext,
};
use imds_audit_ebpf::{COMM_LENGTH, Connect, EndpointPair, Loss, Task, kind};

use crate::{
    config::Peer,
    kernel::{CurrentTask, Pointer, netns},
    ring::{Reservation, count_for_process, is_fuller_than},
    sent_snapshots,
    skip::Skip,
    snapshot::{Occasion, read_owner, write_current, write_helpers_only},
    socket,
};

/// `SOCK_STREAM`.
const STREAM: u32 = 1;
/// `IPPROTO_TCP`.
const TCP: u32 = 6;
/// `IPPROTO_MPTCP`: its subflows are TCP.
const MULTIPATH_TCP: u32 = 262;

/// The address that an IPv4 `connect` names.
pub struct Destination4(pub *const bpf_sock_addr);

impl Peer for Destination4 {
    #[inline(always)]
    fn ipv4(&self) -> u32 {
        // SAFETY: the pointer is the program's context.
        unsafe { (*self.0).user_ip4 }
    }
    #[inline(always)]
    fn ipv6<const N: usize>(&self) -> u32 {
        0
    }
    #[inline(always)]
    fn is_ipv6(&self) -> bool {
        false
    }
    #[inline(always)]
    fn has_port(&self, wanted: u32) -> bool {
        port(self.0) == wanted
    }
}

/// The address that an IPv6 `connect` names.
pub struct Destination6(pub *const bpf_sock_addr);

impl Destination6 {
    /// Returns whether the address is `::ffff:a.b.c.d`, which Java's sockets use by default.
    #[inline(always)]
    fn is_mapped(&self) -> bool {
        self.ipv6::<0>() == 0 && self.ipv6::<1>() == 0 && self.ipv6::<2>() == 0xffff_u32.to_be()
    }
}

impl Peer for Destination6 {
    #[inline(always)]
    fn ipv4(&self) -> u32 {
        if self.is_mapped() { self.ipv6::<3>() } else { 0 }
    }
    #[inline(always)]
    fn ipv6<const N: usize>(&self) -> u32 {
        // SAFETY: the pointer is the program's context; N is below 4.
        unsafe { (&raw const (*self.0).user_ip6).cast::<u32>().add(N).read_volatile() }
    }
    #[inline(always)]
    fn is_ipv6(&self) -> bool {
        true
    }
    #[inline(always)]
    fn has_port(&self, wanted: u32) -> bool {
        port(self.0) == wanted
    }
}

/// The context has the port in network order in the lower half.
#[inline(always)]
fn port(address: *const bpf_sock_addr) -> u32 {
    // SAFETY: the pointer is the program's context.
    u32::from(u16::from_be(unsafe { (*address).user_port } as u16))
}

/// A `connect` call to an audited endpoint.
struct Connecting<'a, P> {
    address: *const bpf_sock_addr,
    peer: &'a P,
    ip_version: u8,
    socket_version: u8,
    socket: u64,
    netns: u32,
}

impl<P: Peer> Occasion for Connecting<'_, P> {
    const KIND: u32 = kind::CONNECT;

    #[inline(always)]
    fn socket(&self) -> u64 {
        self.socket
    }

    #[inline(always)]
    unsafe fn write_endpoints(&self, place: *mut EndpointPair) {
        let peer = self.peer;
        // SAFETY: the caller's promise; each of the addresses has room for four words.
        unsafe {
            (&raw mut (*place).local).cast::<[u32; 4]>().write([0; 4]);
            let words = (&raw mut (*place).peer).cast::<[u32; 4]>();
            if self.ip_version == 4 {
                words.write([peer.ipv4(), 0, 0, 0]);
            } else {
                words.write([
                    peer.ipv6::<0>(),
                    peer.ipv6::<1>(),
                    peer.ipv6::<2>(),
                    peer.ipv6::<3>(),
                ]);
            }
            (*place).local_port = 0;
            (*place).peer_port = port(self.address) as u16;
            (*place).ip_version = self.ip_version;
            (*place).socket_version = self.socket_version;
            (*place).reserved = 0;
            (*place).netns = self.netns;
            (*place).reserved2 = 0;
        }
    }
}

/// How long, in nanoseconds, a process that connects again has no second snapshot.
const SNAPSHOT_INTERVAL: u64 = 1_000_000_000;
/// How many quarters of the ring may be full for a snapshot to be written, and for a record of the
/// `connect` alone. Anybody can connect, also without a way to the service; the rest is kept for
/// those who send requests.
const SNAPSHOT_QUARTERS: u64 = 2;
const CONNECT_QUARTERS: u64 = 3;

/// Reports a `connect` to the audited endpoint of an IP version.
#[inline(always)]
pub fn try_connect(
    context: &SockAddrContext,
    peer: &impl Peer,
    ip_version: u8,
    socket_version: u8,
) -> Result<(), Skip> {
    let address = context.sock_addr;
    // SAFETY: the pointer is the program's context.
    let (kind, protocol) = unsafe { ((*address).type_, (*address).protocol) };
    if kind != STREAM || protocol != TCP && protocol != MULTIPATH_TCP {
        return Err(Skip::NotTcp);
    }
    // SAFETY: the helper takes the program's context.
    let socket = unsafe { bpf_get_socket_cookie(context.as_ptr()) };
    // SAFETY: the pointer is the program's context; the field is one of its union's.
    let netns = netns(Pointer::of_typed(unsafe { (*address).__bindgen_anon_1.sk }));
    let connecting = Connecting { address, peer, ip_version, socket_version, socket, netns };
    let (current, task) = match CurrentTask::get() {
        CurrentTask::User(current, task) => (current, task),
        // The process that it opens the connection for is unknown; the opening packet reports it.
        CurrentTask::Kthread => return Err(Skip::Nothing),
        CurrentTask::Unreadable => return connect_without_reads(&connecting),
    };
    if let Some(state) = socket::find(socket) {
        // The socket was connected before; what is remembered is of that connection.
        // SAFETY: the pointer is to a map value, which lives as long as the program runs.
        unsafe {
            (*state).valid_bits = 0;
            (*state).lost_requests = 0;
            (*state).lost_records = 0;
        }
    }
    let mut comm = [0; COMM_LENGTH];
    current.read_comm(&mut comm);
    let written = write(&connecting, current, &task, &comm);
    if let Err(loss) = written {
        count_for_process(loss as u32, &task.process(), &comm, 1);
        return Err(Skip::Lost(loss));
    }
    if let Some(state) = socket::find_or_add(socket) {
        socket::set_writer(state, &task);
        // SAFETY: the pointer is to a map value, which lives as long as the program runs.
        unsafe { (*state).comm = comm };
    }
    Ok(())
}

/// Writes the process's snapshot, or the `connect` alone where it had one shortly before or the ring
/// is too full.
#[inline(always)]
fn write<P: Peer>(
    connecting: &Connecting<'_, P>,
    current: Pointer,
    task: &Task,
    comm: &[u8; COMM_LENGTH],
) -> Result<(), Loss> {
    let owner = read_owner(current);
    // SAFETY: the helper has no arguments.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let last = sent_snapshots::last_sent(task.process(), owner);
    if last.is_none_or(|time| now.wrapping_sub(time) >= SNAPSHOT_INTERVAL) {
        if !is_fuller_than(SNAPSHOT_QUARTERS) {
            if !write_current(connecting, current, task, &owner) {
                return Err(Loss::Connect);
            }
            sent_snapshots::remember(task.process(), now, owner);
            return Ok(());
        }
        // Not a loss yet: a process that sends a request has its snapshot written then.
    }
    if is_fuller_than(CONNECT_QUARTERS) {
        return Err(Loss::Connect);
    }
    write_alone(connecting, now, task, comm)
}

/// Writes a record of the `connect` alone.
#[inline(always)]
fn write_alone<P: Peer>(
    connecting: &Connecting<'_, P>,
    time: u64,
    task: &Task,
    comm: &[u8; COMM_LENGTH],
) -> Result<(), Loss> {
    let Some(reservation) = Reservation::<{ size_of::<Connect>() }>::new() else {
        return Err(Loss::Connect);
    };
    let record = reservation.at::<Connect>(0);
    // SAFETY: the reservation is as long as the record.
    unsafe {
        (*record).kind = kind::CONNECT_ONLY;
        (*record).reserved = 0;
        (*record).time = time;
        (*record).socket = connecting.socket;
        (*record).task = *task;
        (*record).comm = *comm;
        connecting.write_endpoints(&raw mut (*record).ends);
    }
    reservation.submit();
    Ok(())
}

/// Writes what the helpers report, where kernel memory may not be read. Without a start time a
/// process cannot be told from a later one of the same pid, so each has its record.
#[inline(always)]
fn connect_without_reads<P: Peer>(connecting: &Connecting<'_, P>) -> Result<(), Skip> {
    if is_fuller_than(SNAPSHOT_QUARTERS) || !write_helpers_only(connecting) {
        return Err(Skip::Lost(Loss::Connect));
    }
    Ok(())
}
