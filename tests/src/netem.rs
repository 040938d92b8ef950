//! A network that loses, repeats and delays packets, so that they overtake each other.

use std::fs;
use std::io;

use imds_audit::simulator::Namespace;
use rtnetlink::packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::net::{AddressFamily, SocketType, netdevice, socket};

/// `TCA_OPTIONS`.
const OPTIONS: u16 = 2;
/// `struct tc_netem_qopt`: latency, limit, loss, gap, duplicate and jitter (`linux/pkt_sched.h`).
/// A probability is of 2^32; times are in the scheduler's ticks of 64 ns.
const NETEM: [u32; 6] = [2 * MILLISECOND, 10_000, u32::MAX / 12, 0, u32::MAX / 12, 2 * MILLISECOND];
const MILLISECOND: u32 = 1_000_000 / 64;

/// Spoils what an interface sends: of twelve packets one is lost and one sent twice, and each is
/// held back for up to four milliseconds.
///
/// # Errors
/// There is no such interface, or the kernel has no `sch_netem`.
pub fn spoil(namespace: &Namespace, interface: &str) -> io::Result<()> {
    namespace.run(|| ask(interface)).map_err(io::Error::other)?
}

/// What TCP in a namespace noticed of it, in packets.
#[derive(Clone, Copy, Debug)]
pub struct Spoilt {
    /// How many it sent once more.
    pub repeated: u64,
    /// How many came before one that was sent earlier.
    pub overtaken: u64,
}

/// Says what TCP in a namespace noticed.
///
/// # Errors
/// The counters cannot be read.
pub fn spoilt(namespace: &Namespace) -> io::Result<Spoilt> {
    let count = |file: &str, table: &str, name: &str| -> io::Result<u64> {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{file}"))?;
        // Of each table a line of names and one of values, both beginning with its own name.
        let mut lines = text.lines().filter(|line| line.starts_with(table));
        let mut words = || lines.next().unwrap_or_default().split_ascii_whitespace();
        let found = words().zip(words()).find(|(title, _)| *title == name);
        let value = found.and_then(|(_, value)| value.parse().ok());
        value.ok_or_else(|| io::Error::other(format!("no {name} in {file}")))
    };
    let counts = || {
        let repeated = count("snmp", "Tcp:", "RetransSegs")?;
        Ok(Spoilt { repeated, overtaken: count("netstat", "TcpExt:", "TCPOFOQueue")? })
    };
    namespace.run(counts).map_err(io::Error::other)?
}

/// Asks the kernel to queue what an interface of this namespace sends in that way.
fn ask(interface: &str) -> io::Result<()> {
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    let index = netdevice::name_to_index(&any, interface)?;
    let mut message = TcMessage::with_index(index.try_into().map_err(io::Error::other)?);
    message.header.parent = TcHandle::ROOT;
    message.attributes = vec![
        TcAttribute::Kind("netem".to_owned()),
        TcAttribute::Other(DefaultNla::new(OPTIONS, NETEM.map(u32::to_ne_bytes).concat())),
    ];
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::NewQueueDiscipline(message));
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
