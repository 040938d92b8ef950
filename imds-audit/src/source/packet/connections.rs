//! Connections by their ends, and which of several copies of a packet counts.
//!
//! A packet may pass several interfaces: an address's own and those that it is stacked on, both ends
//! of a virtual pair, a bridge and its ports, the loopback interface out and in. What counts is what
//! is seen on the caller's side:
//!
//! - of a caller in this network namespace, the packets that leave and the answers that arrive;
//! - of a caller elsewhere whose packets are forwarded here, or whose service is here, the packets
//!   that arrive and the answers that leave.
//!
//! What is sent again, or seen again on the same side, is the flow's business: it takes each byte
//! once. A forwarded connection whose source address is translated on its way out is known by its
//! opening, which keeps its sequence number.

use std::net::SocketAddr;
use std::num::NonZeroUsize;

use lru::LruCache;

use crate::frame::Frame;
use crate::segment::{ConnectionId, Direction, EndpointPair, Timestamp};

/// The connections that are remembered; the one that was silent longest makes room, and is a new one
/// when it is heard of again.
const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(20_480).unwrap();
/// The openings of forwarded connections that are remembered.
const MAX_OPENINGS: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();
/// How long it may take a packet from one interface to the next, in nanoseconds.
const MAX_TRANSIT: u64 = 1_000_000_000;

/// The connections that were seen.
#[derive(Debug)]
pub(crate) struct Connections {
    entries: LruCache<(SocketAddr, SocketAddr), Entry>,
    /// Endpoint and sequence number of each opening that arrived.
    openings: LruCache<(SocketAddr, u32), Timestamp>,
    last: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    id: ConnectionId,
    side: Side,
    opening: Option<u32>,
}

/// Where the caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Here,
    Elsewhere,
    /// It is another connection's, with its source address translated.
    Translated,
}

/// What a packet is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The connection.
    pub(crate) connection: ConnectionId,
    /// Which way the packet goes.
    pub(crate) direction: Direction,
    /// The connection's ends.
    pub(crate) ends: EndpointPair,
    /// The connection is new, and its caller's socket is in this network namespace.
    pub(crate) has_new_owner: bool,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            entries: LruCache::new(MAX_CONNECTIONS),
            openings: LruCache::new(MAX_OPENINGS),
            last: 0,
        }
    }
}

impl Connections {
    /// Finds a packet's connection; `None` where the packet is of none, or another copy counts.
    pub(crate) fn find(
        &mut self,
        frame: &Frame<'_>,
        leaves: bool,
        time: Timestamp,
        is_endpoint: impl Fn(SocketAddr) -> bool,
    ) -> Option<Place> {
        let (direction, ends) = frame.direction(is_endpoint)?;
        let key = (ends.source?, ends.endpoint);
        let place = |entry: &Entry, has_new_owner| Place {
            connection: entry.id,
            direction,
            ends,
            has_new_owner,
        };
        if direction == Direction::Response {
            let entry = self.entries.get(&key)?;
            let counts = match entry.side {
                Side::Here => !leaves,
                Side::Elsewhere => leaves,
                Side::Translated => false,
            };
            return counts.then(|| place(entry, false));
        }

        let opening = (frame.syn && frame.acknowledgment.is_none()).then_some(frame.sequence);
        let known = self.entries.get(&key).copied();
        if let Some(entry) = known {
            let reopens = opening.is_some() && entry.opening != opening;
            match (entry.side, leaves) {
                // Whoever sends from elsewhere is not the caller that is here.
                (Side::Here | Side::Translated, false) => return None,
                (Side::Here, true) | (Side::Elsewhere, false) if !reopens => {
                    return Some(place(&entry, false));
                }
                // Forwarded, without translation.
                (Side::Elsewhere, true) if !reopens => return None,
                (Side::Translated, true) if !reopens => return None,
                _ => {}
            }
        }
        let side = self.side(ends.endpoint, opening, leaves, time);
        self.last += 1;
        let entry = Entry { id: ConnectionId(self.last), side, opening };
        self.entries.put(key, entry);
        (side != Side::Translated).then(|| place(&entry, side == Side::Here))
    }

    fn side(
        &mut self,
        endpoint: SocketAddr,
        opening: Option<u32>,
        leaves: bool,
        time: Timestamp,
    ) -> Side {
        let Some(number) = opening else {
            return if leaves { Side::Here } else { Side::Elsewhere };
        };
        if !leaves {
            self.openings.put((endpoint, number), time);
            return Side::Elsewhere;
        }
        let arrived = self.openings.peek(&(endpoint, number));
        let is_forwarded =
            arrived.is_some_and(|arrived| time.0.saturating_sub(arrived.0) <= MAX_TRANSIT);
        if is_forwarded { Side::Translated } else { Side::Here }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::LinkType;

    const CALLER: ([u8; 4], u16) = ([10, 0, 0, 7], 4_000);
    const OTHER: ([u8; 4], u16) = ([10, 0, 0, 9], 5_000);
    const SERVICE: ([u8; 4], u16) = ([169, 254, 169, 254], 80);

    fn see(
        connections: &mut Connections,
        from: ([u8; 4], u16),
        to: ([u8; 4], u16),
        opening: Option<u32>,
        leaves: bool,
    ) -> Option<Place> {
        let packet = etherparse::PacketBuilder::ipv4(from.0, to.0, 64);
        let tcp = match opening {
            Some(number) => packet.tcp(from.1, to.1, number, 500).syn(),
            None => packet.tcp(from.1, to.1, 99, 500).ack(7),
        };
        let mut bytes = Vec::new();
        tcp.write(&mut bytes, &[]).unwrap();
        let frame = Frame::parse(LinkType::RawIp, &bytes, bytes.len()).unwrap();
        let service = SocketAddr::from(SERVICE);
        connections.find(&frame, leaves, Timestamp(0), |address| address == service)
    }

    #[test]
    fn a_caller_here_counts_when_it_leaves_and_its_answers_when_they_arrive() {
        let mut table = Connections::default();
        let first = see(&mut table, CALLER, SERVICE, Some(1), true).unwrap();
        assert!(first.has_new_owner);
        // The next interface of the stack, which the flow takes for a repetition.
        let again = see(&mut table, CALLER, SERVICE, Some(1), true).unwrap();
        assert_eq!((again.connection, again.has_new_owner), (first.connection, false));
        assert_eq!(see(&mut table, CALLER, SERVICE, None, false), None);
        assert_eq!(see(&mut table, SERVICE, CALLER, None, true), None);
        let answer = see(&mut table, SERVICE, CALLER, None, false).unwrap();
        assert_eq!((answer.connection, answer.direction), (first.connection, Direction::Response));
        // The same ports again.
        let next = see(&mut table, CALLER, SERVICE, Some(2), true).unwrap();
        assert_ne!(next.connection, first.connection);
        assert!(next.has_new_owner);
    }

    #[test]
    fn a_caller_elsewhere_counts_when_it_arrives_and_nobody_here_owns_it() {
        let mut table = Connections::default();
        let first = see(&mut table, CALLER, SERVICE, Some(1), false).unwrap();
        assert!(!first.has_new_owner);
        assert_eq!(see(&mut table, CALLER, SERVICE, None, true), None);
        assert_eq!(see(&mut table, SERVICE, CALLER, None, false), None);
        let answer = see(&mut table, SERVICE, CALLER, None, true).unwrap();
        assert_eq!(answer.connection, first.connection);
    }

    #[test]
    fn a_translated_source_is_counted_once() {
        let mut table = Connections::default();
        assert!(see(&mut table, CALLER, SERVICE, Some(1), false).is_some());
        assert_eq!(see(&mut table, OTHER, SERVICE, Some(1), true), None);
        assert_eq!(see(&mut table, OTHER, SERVICE, None, true), None);
        assert_eq!(see(&mut table, SERVICE, OTHER, None, false), None);
        // Another caller on that port later.
        assert!(see(&mut table, OTHER, SERVICE, Some(2), true).unwrap().has_new_owner);
    }

    #[test]
    fn nobody_elsewhere_takes_the_place_of_a_caller_here() {
        let mut table = Connections::default();
        let first = see(&mut table, CALLER, SERVICE, Some(1), true).unwrap();
        assert_eq!(see(&mut table, CALLER, SERVICE, Some(9), false), None);
        let next = see(&mut table, CALLER, SERVICE, None, true).unwrap();
        assert_eq!(next.connection, first.connection);
    }

    #[test]
    fn what_was_open_before_is_taken_and_an_answer_alone_is_not() {
        let mut table = Connections::default();
        assert_eq!(see(&mut table, SERVICE, CALLER, None, false), None);
        assert!(see(&mut table, CALLER, SERVICE, None, true).unwrap().has_new_owner);
        assert_eq!(see(&mut table, CALLER, OTHER, None, true), None);
    }
}
