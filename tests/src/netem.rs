//! A network that loses, repeats and delays packets, so that they overtake each other.

use std::fs;
use std::io;

use imds_audit::simulator::Namespace;
use rtnetlink::packet_core::DefaultNla;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::tc::{TcAttribute, TcHandle, TcMessage};

use super::netlink::{self, index};

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
/// Returns an error if there is no such interface, or the kernel has no `sch_netem`.
pub fn spoil(namespace: &Namespace, interface: &str) -> io::Result<()> {
    namespace.run(|| ask(interface)).map_err(io::Error::other)?
}

/// What TCP in a namespace noticed of it, in packets.
#[derive(Clone, Copy, Debug)]
pub struct LossyLink {
    /// How many it sent once more.
    pub repeated: u64,
    /// How many came before one that was sent earlier.
    pub overtaken: u64,
}

/// Says what TCP in a namespace noticed.
///
/// # Errors
/// Returns an error if the counters cannot be read.
pub fn spoilt(namespace: &Namespace) -> io::Result<LossyLink> {
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
        Ok(LossyLink { repeated, overtaken: count("netstat", "TcpExt:", "TCPOFOQueue")? })
    };
    namespace.run(counts).map_err(io::Error::other)?
}

/// Asks the kernel to queue what an interface of this namespace sends in that way.
fn ask(interface: &str) -> io::Result<()> {
    let mut message =
        TcMessage::with_index(index(interface)?.try_into().map_err(io::Error::other)?);
    message.header.parent = TcHandle::ROOT;
    message.attributes = vec![
        TcAttribute::Kind("netem".to_owned()),
        TcAttribute::Other(DefaultNla::new(OPTIONS, NETEM.map(u32::to_ne_bytes).concat())),
    ];
    netlink::create(RouteNetlinkMessage::NewQueueDiscipline(message))
}
