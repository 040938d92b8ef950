//! Findings about the packet source: whether it could run here.

use super::finding::{Item, Status};
use super::verdict::Verdict;
use crate::source::packet::error::PacketError;

const NAME: &str = "packet-source";
const OWN_NETWORK: &str = "it sees this network namespace only, and names the owner of a \
                           connection's socket where that still lives";

/// Says whether a packet socket can be had, and whether `run` takes it.
pub(super) fn source(of_ebpf: Verdict, opened: Result<(), PacketError>) -> Item {
    match (of_ebpf, opened) {
        (Verdict::Impossible, Ok(())) => Item::lacking(
            NAME,
            Status::Degraded,
            "a packet socket can be opened, and takes the place of the eBPF programs",
            OWN_NETWORK,
        ),
        (Verdict::Impossible, Err(error)) => Item::lacking(
            NAME,
            Status::Missing,
            error.to_string(),
            "no packet socket can take the place of the eBPF programs",
        ),
        (_, Ok(())) => Item::ok(NAME, format!("not needed; with --source packet {OWN_NETWORK}")),
        (_, Err(error)) => Item::ok(NAME, format!("not needed, and not to be had: {error}")),
    }
}
