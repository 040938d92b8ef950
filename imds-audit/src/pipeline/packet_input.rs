//! Packets of a packet socket, and the owners of their connections.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;

use lru::LruCache;

use super::clock::now;
use super::record_tap::RecordTap;
use crate::aggregate::counter_delta::CounterDelta;
use crate::audit::auditor::Auditor;
use crate::event::{Fallback, Loss, LossUnit};
use crate::process::{Processes, Roots, SocketOwners, SocketQuestion};
use crate::segment::{ConnectionId, Direction, Timestamp};
use crate::source::ebpf::loader::Options;
use crate::source::packet::{Missed, PacketSource, filter::HEAD_LIMITS};

/// The connections without an owner that are remembered for a second look.
const MAX_OPEN: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// An open packet source with its search for owners.
pub(super) struct PacketInput {
    source: PacketSource,
    owners: SocketOwners,
    netns: Option<u32>,
    /// Connections whose owner was not found at their first packet, and may be when a request is
    /// sent; whether it was looked for again.
    open: LruCache<ConnectionId, bool>,
    /// Connections whose owner was not found.
    unowned: u64,
    told: CounterDelta<&'static str>,
}

impl PacketInput {
    /// Opens it, with as much room for packets as the options give the ring.
    pub(super) fn open(options: &Options, roots: &Roots) -> anyhow::Result<Self> {
        let netns = super::host_network::own_netns();
        let source = PacketSource::open(&options.endpoints, options.ring_bytes, netns)?;
        let owners = SocketOwners::open(roots)?;
        let open = LruCache::new(MAX_OPEN);
        Ok(Self { source, owners, netns, open, unowned: 0, told: CounterDelta::default() })
    }

    /// Returns what the audit does without.
    pub(super) fn fallbacks(&self) -> Vec<Fallback> {
        let mut fallbacks = vec![Fallback {
            name: "own-network-only".to_owned(),
            reason: "the source is a packet socket".to_owned(),
            consequence:
                "requests from other network namespaces, such as those of most containers, \
                          are seen only where they are forwarded through this one, and without \
                          their process"
                    .to_owned(),
        }];
        if self.source.head_limit() < HEAD_LIMITS[0] {
            fallbacks.push(Fallback {
                name: "status-lines-only".to_owned(),
                reason: "the kernel has no room for a longer filter (net.core.optmem_max)"
                    .to_owned(),
                consequence: "the outcome of a request that is followed by another on its \
                              connection may be unobserved"
                    .to_owned(),
            });
        }
        fallbacks
    }

    /// Waits until there are packets or owners.
    pub(super) async fn wait(&mut self) -> io::Result<()> {
        let Self { source, owners, .. } = self;
        let timeout = owners.next_timeout();
        let over = async {
            match timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = source.wait() => ready,
            () = owners.changed() => Ok(()),
            () = over => Ok(()),
        }
    }

    /// Passes on the packets that are there, at most `most`. Returns whether there are no more.
    pub(super) fn drain(
        &mut self,
        most: usize,
        offset: i128,
        without_ttl: &[SocketAddr],
        auditor: &mut Auditor,
        tap: &mut Option<Box<dyn RecordTap>>,
        mut after: impl FnMut(&mut Auditor, Timestamp),
    ) -> bool {
        let Self { source, owners, netns, open, unowned, .. } = self;
        let drained = source.drain(most, offset, now, |packet| {
            let mut segment = packet.segment;
            let sends = segment.direction == Direction::Request && !segment.payload.is_empty();
            let again = open.get_mut(&segment.connection).filter(|looked| sends && !**looked);
            let is_second = again.map(|looked| *looked = true).is_some();
            if (packet.has_new_owner || is_second)
                && let Some(source) = segment.ends.source
            {
                let question = SocketQuestion {
                    ticket: segment.connection.0,
                    source,
                    endpoint: segment.ends.endpoint,
                    time: segment.time.0,
                    netns: *netns,
                };
                if owners.ask(question) {
                    auditor.await_owner(segment.connection);
                    if let Some(tap) = tap {
                        tap.await_owner(segment.connection);
                    }
                } else if !is_second {
                    open.put(segment.connection, false);
                    *unowned += 1;
                }
            }
            if without_ttl.contains(&segment.ends.endpoint) {
                segment.ttl = None;
            }
            let time = segment.time;
            if let Some(tap) = tap {
                tap.segment(&segment, [0; imds_audit_ebpf::COMM_LENGTH], packet.headers);
            }
            auditor.handle_segment(&segment, [0; imds_audit_ebpf::COMM_LENGTH]);
            after(auditor, time);
        });
        drained.unwrap_or_else(|error| {
            log::warn!("the packet socket cannot be read error={error}");
            true
        })
    }

    /// Passes on the owners that were found.
    pub(super) fn pass_owners(
        &mut self,
        processes: &mut Processes,
        auditor: &mut Auditor,
        tap: &mut Option<Box<dyn RecordTap>>,
    ) {
        while let Some(answer) = self.owners.poll() {
            let connection = ConnectionId(answer.ticket);
            let is_second = self.open.pop(&connection).is_some();
            if !answer.is_named() && !is_second {
                self.unowned += 1;
                if answer.is_open {
                    self.open.put(connection, false);
                }
            }
            let owner = answer.record.as_ref().map(|record| {
                let record = record.record();
                auditor.handle_snapshot(Timestamp(record.time()), processes.observe(&record));
                (record.task(), record.snapshot().thread_comm)
            });
            auditor.handle_owner(connection, owner);
            if let Some(tap) = tap {
                tap.owner(connection, owner.filter(|_| answer.is_named()));
            }
        }
    }

    /// Waits until an owner is found, or its search is given up. Returns whether one is awaited.
    pub(super) async fn wait_for_owner(&self) -> bool {
        let Some(timeout) = self.owners.next_timeout() else { return false };
        tokio::select! {
            () = self.owners.changed() => {}
            () = tokio::time::sleep(timeout) => {}
        }
        true
    }

    /// Returns the losses since the last call.
    pub(super) fn take_losses(&mut self) -> Vec<Loss> {
        let missed = self.source.missed().unwrap_or_else(|error| {
            log::warn!("the packet socket's statistics cannot be read error={error}");
            Missed::default()
        });
        let counts = [
            ("packet-socket", LossUnit::Records, missed.dropped),
            ("fragment", LossUnit::Records, missed.fragments),
            ("malformed-packet", LossUnit::Records, missed.malformed),
            ("socket-owner", LossUnit::Processes, self.unowned),
        ];
        let grown = counts
            .into_iter()
            .map(|(reason, what, count)| (reason, what, self.told.grow(reason, count, u64::MAX)));
        grown
            .filter(|(.., count)| *count > 0)
            .map(|(reason, what, count)| Loss { reason: reason.into(), what, count, process: None })
            .collect()
    }
}
