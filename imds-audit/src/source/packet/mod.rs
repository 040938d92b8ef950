//! The packet source: a packet socket in the current network namespace, for hosts that refuse
//! eBPF.
//!
//! It sees its own network namespace and what is forwarded through it, and no other. It names no
//! process: whoever takes the packets asks who owns a connection's socket.

pub(crate) mod connections;
pub(crate) mod error;
pub(crate) mod filter;
mod socket;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

use tokio::io::unix::AsyncFd;

use self::connections::Connections;
use self::error::PacketError;
use self::socket::{MAX_PACKET, PacketSocket};
use crate::frame::{Frame, LinkType, Refusal};
use crate::segment::{EndpointPair, Segment, Timestamp};

/// An open packet source.
pub(crate) struct PacketSource {
    socket: AsyncFd<PacketSocket>,
    endpoints: Vec<SocketAddr>,
    connections: Connections,
    netns: Option<u32>,
    buffer: Vec<u8>,
    /// Packets that could not be read, by why.
    refused: BTreeMap<Refusal, u64>,
    drops: u64,
}

/// A packet of a connection.
pub(crate) struct Packet<'a> {
    /// The packet.
    pub(crate) segment: Segment<'a>,
    /// Its IP and TCP headers.
    pub(crate) headers: &'a [u8],
    /// The connection is new, and its caller's socket is in this network namespace.
    pub(crate) has_new_owner: bool,
}

/// Packets that were lost, or that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missed {
    /// Those that the socket had no room for.
    pub(crate) dropped: u64,
    /// Fragments: only the first names its connection.
    pub(crate) fragments: u64,
    /// Others: headers that are cut or contradict themselves.
    pub(crate) malformed: u64,
}

impl PacketSource {
    /// Opens the source, with room for about so many bytes of packets. It must be called inside a
    /// tokio runtime. `netns` is the network namespace's number, for the events.
    ///
    /// # Errors
    /// Returns an error if the host does not allow it.
    pub(crate) fn open(
        endpoints: &[SocketAddr],
        room: u32,
        netns: Option<u32>,
    ) -> Result<Self, PacketError> {
        let socket = PacketSocket::open(endpoints, room)?;
        // SAFETY: the socket owns its descriptor, which stays open and the same until it is dropped.
        let socket = unsafe { AsyncFd::register(socket) }
            .map_err(|error| PacketError::Open(io::Error::from(error)))?;
        Ok(Self {
            socket,
            endpoints: endpoints.to_vec(),
            connections: Connections::default(),
            netns,
            buffer: vec![0; MAX_PACKET],
            refused: BTreeMap::new(),
            drops: 0,
        })
    }

    /// Opens the source for a moment, to see whether the host allows it.
    ///
    /// # Errors
    /// Returns an error if it does not.
    pub(crate) fn try_open(endpoints: &[SocketAddr]) -> Result<(), PacketError> {
        PacketSocket::open(endpoints, 0).map(drop)
    }

    /// Returns the longest header block of a response that is read as a whole; of a longer one the
    /// status line is read.
    pub(crate) fn head_limit(&self) -> u32 {
        self.socket.get_ref().head_limit
    }

    /// Waits until there are packets.
    ///
    /// # Errors
    /// Returns an error if the socket cannot be waited for.
    pub(crate) async fn wait(&mut self) -> io::Result<()> {
        // Ready until `drain` meets the end.
        self.socket.readable_mut().await.map(drop)
    }

    /// Hands out the packets that are there, at most `most`. Returns whether there are no more.
    /// The time of day is `offset` nanoseconds more than the time since boot, which `now` reads.
    ///
    /// # Errors
    /// Returns an error if the socket cannot be read.
    pub(crate) fn drain(
        &mut self,
        most: usize,
        offset: i128,
        now: impl Fn() -> Timestamp,
        mut take: impl FnMut(Packet<'_>),
    ) -> io::Result<bool> {
        let mut latest = now();
        for _ in 0..most {
            let Some(received) = self.socket.get_ref().receive(&mut self.buffer)? else {
                self.rest();
                return Ok(true);
            };
            let Self { endpoints, connections, netns, buffer, refused, .. } = self;
            let bytes = buffer.get(..received.captured).unwrap_or_default();
            let passed = received.time(offset);
            if passed.is_none_or(|time| time > latest) {
                latest = now();
            }
            // None is of the future, though the time of day may have been set since.
            let time = passed.filter(|time| *time <= latest).unwrap_or(latest);
            let is_endpoint = |address| endpoints.contains(&address);
            match parse(bytes, received.wire_length, is_endpoint) {
                Ok(frame) => {
                    let place = connections.find(&frame, received.leaves, time, is_endpoint);
                    if let Some(place) = place {
                        let ends = EndpointPair { netns: *netns, ..place.ends };
                        let segment =
                            frame.segment(place.connection, ends, place.direction, time, false);
                        let headers = frame.ip_start..frame.payload_start;
                        take(Packet {
                            segment,
                            headers: bytes.get(headers).unwrap_or_default(),
                            has_new_owner: place.has_new_owner,
                        });
                    }
                }
                Err(reason) => *refused.entry(reason).or_default() += 1,
            }
            // It may have held a token.
            zeroize::Zeroize::zeroize(buffer.get_mut(..received.captured).unwrap_or_default());
        }
        Ok(false)
    }

    /// Lets the next [`wait`](Self::wait) wait. A packet that comes after the last look is not
    /// missed: the kernel tells of each, and the telling is taken in only after this has returned.
    fn rest(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(Ok(mut guard)) = self.socket.poll_read_ready_mut(&mut context) {
            guard.clear_ready();
        }
    }

    /// Returns what was missed since the start.
    ///
    /// # Errors
    /// Returns an error if the kernel does not give its statistics.
    pub(crate) fn missed(&mut self) -> io::Result<Missed> {
        self.drops = self.drops.saturating_add(self.socket.get_ref().take_drops()?);
        let of = |reason| self.refused.get(&reason).copied().unwrap_or(0);
        let fragments = of(Refusal::Fragment);
        let all: u64 = self.refused.values().sum();
        Ok(Missed { dropped: self.drops, fragments, malformed: all - fragments })
    }
}

/// Reads a packet from its IP header on, or from a VLAN tag before that.
///
/// Which of the two it is the kernel says no more since Linux 6.11, whose protocol is that behind
/// the tag. A tag that reads as an IP header leads to no endpoint: what passed the filter has one.
fn parse(
    bytes: &[u8],
    wire_length: usize,
    is_endpoint: impl Fn(SocketAddr) -> bool + Copy,
) -> Result<Frame<'_>, Refusal> {
    let has_endpoint = |frame: &Frame<'_>| frame.direction(is_endpoint).is_some();
    let plain = Frame::parse(LinkType::RawIp, bytes, wire_length);
    if plain.as_ref().is_ok_and(has_endpoint) {
        return plain;
    }
    let tagged = Frame::parse(LinkType::Tagged, bytes, wire_length);
    match plain {
        _ if tagged.as_ref().is_ok_and(has_endpoint) => tagged,
        Err(Refusal::NotIp) => tagged,
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_read_behind_any_tag() {
        let service = SocketAddr::from(([169, 254, 169, 254], 80));
        let packet = etherparse::PacketBuilder::ipv4([10, 0, 0, 7], [169, 254, 169, 254], 64);
        let mut plain = Vec::new();
        packet.tcp(4_000, 80, 1, 500).write(&mut plain, b"GET").unwrap();
        let read = |bytes: &[u8]| {
            let frame = parse(bytes, bytes.len(), |address| address == service)?;
            Ok((frame.destination, frame.payload.to_vec()))
        };
        let expected = Ok((service, b"GET".to_vec()));
        assert_eq!(read(&plain), expected);
        for number in 0..=u16::MAX {
            let tag = [number.to_be_bytes(), [8, 0]].concat();
            assert_eq!(read(&[&tag[..], &plain].concat()), expected, "{number:#x}");
        }
        // Whatever else passed is refused for what it is.
        assert_eq!(read(&plain[..30]), Err(Refusal::Cut));
        assert_eq!(read(&[]), Err(Refusal::Cut));
    }
}
