//! Reassembly of fragmented IP packets, with bounds on everything.
//!
//! A fragment that overlaps another one spoils its packet, as it does in Linux and by RFC 5722:
//! which of two versions the receiver took is not known. Copies of a fragment are passed over.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lru::LruCache;

use super::tunnel::{UDP, is_tunnel_port};
use crate::segment::Timestamp;

/// The incomplete packets that are kept; the one that was silent longest makes room.
const MAX_PACKETS: usize = 256;
/// The bytes of fragments that are kept.
const MAX_BYTES: usize = 4 << 20;
/// The fragments of one packet: more than 65 535 bytes make at the smallest usual MTU of 576 bytes.
const MAX_FRAGMENTS: usize = 256;
/// How long a packet may be incomplete, in nanoseconds: Linux's `ipfrag_time`.
const MAX_AGE: u64 = 30_000_000_000;
/// The largest packet.
const MAX_PACKET: usize = 65_535;

const IPV6_HEADER: usize = 40;
const FRAGMENT_HEADER: usize = 8;
const IPV6_FRAGMENT: u8 = 44;

/// Incomplete packets.
#[derive(Debug)]
pub(crate) struct Defragmenter {
    packets: LruCache<Key, Incomplete>,
    bytes: usize,
    lost: u64,
}

/// The identity of a packet (RFC 791, section 3.2; RFC 8200, section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    number: u32,
    protocol: u8,
}

#[derive(Debug)]
struct Incomplete {
    begun: Timestamp,
    /// The first fragment's header, without what says that it is one.
    header: Option<Vec<u8>>,
    /// The bytes of each fragment by its offset.
    parts: BTreeMap<usize, Vec<u8>>,
    /// How many bytes the packet has behind its header, once its last fragment was seen.
    length: Option<usize>,
    fragments: u64,
    /// What becomes of the rest.
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is put together.
    Wanted,
    /// It is a datagram of no tunnel, and is passed over.
    Unwanted,
    /// It contradicts itself: every fragment of it is lost.
    Spoiled,
}

/// A fragment, as a packet has it.
struct Fragment<'a> {
    key: Key,
    offset: usize,
    is_last: bool,
    header: Vec<u8>,
    bytes: &'a [u8],
}

impl Default for Defragmenter {
    fn default() -> Self {
        Self { packets: LruCache::unbounded(), bytes: 0, lost: 0 }
    }
}

impl Defragmenter {
    /// Takes a fragment, from its IP header on. Returns the whole packet if it was the last that
    /// was missing.
    pub(crate) fn push(&mut self, packet: &[u8], time: Timestamp) -> Option<Vec<u8>> {
        let Some(fragment) = Fragment::parse(packet) else {
            self.lost += 1;
            return None;
        };
        let key = fragment.key;
        self.forget_if_old(&key, time);
        let entry = self.packets.get_or_insert_mut(key, || Incomplete::new(time));
        self.bytes += entry.add(&fragment);
        if entry.fate != Fate::Wanted {
            self.bytes -= entry.clear();
        }
        let whole = entry.whole();
        if whole.is_some() {
            // It is no loss.
            entry.fragments = 0;
            self.remove(&key);
        }
        while self.packets.len() > MAX_PACKETS || self.bytes > MAX_BYTES {
            let Some((oldest, _)) = self.packets.peek_lru() else { break };
            let oldest = *oldest;
            self.remove(&oldest);
        }
        whole
    }

    /// Returns how many fragments are of packets that could not be put together, those that are
    /// still incomplete among them.
    pub(crate) fn lost(&self) -> u64 {
        self.lost + self.packets.iter().map(|(_, packet)| packet.lost()).sum::<u64>()
    }

    fn forget_if_old(&mut self, key: &Key, time: Timestamp) {
        let is_old = |packet: &Incomplete| time.0.saturating_sub(packet.begun.0) > MAX_AGE;
        if self.packets.peek(key).is_some_and(is_old) {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(mut packet) = self.packets.pop(key) {
            self.lost += packet.lost();
            self.bytes -= packet.clear();
        }
    }
}

impl Incomplete {
    const fn new(begun: Timestamp) -> Self {
        Self {
            begun,
            header: None,
            parts: BTreeMap::new(),
            length: None,
            fragments: 0,
            fate: Fate::Wanted,
        }
    }

    /// Adds a fragment. Returns how many bytes are kept of it.
    fn add(&mut self, fragment: &Fragment<'_>) -> usize {
        let Fragment { key, offset, is_last, header, bytes } = fragment;
        self.fragments += 1;
        if self.fate != Fate::Wanted {
            return 0;
        }
        let end = offset + bytes.len();
        let known = self.parts.get(offset).is_some_and(|known| known == bytes);
        if known {
            self.fragments -= 1;
            return 0;
        }
        let before = self.parts.range(..=offset).next_back();
        let overlaps = before.is_some_and(|(start, part)| start + part.len() > *offset)
            || self.parts.range(offset + 1..).next().is_some_and(|(start, _)| *start < end);
        let contradicts = match self.length {
            Some(length) => end > length || (*is_last && end != length),
            None => *is_last && self.end() > end,
        };
        let is_odd = !is_last && (bytes.is_empty() || !bytes.len().is_multiple_of(8));
        if overlaps || contradicts || is_odd || self.parts.len() == MAX_FRAGMENTS {
            self.fate = Fate::Spoiled;
            return 0;
        }
        if *is_last {
            self.length = Some(end);
        }
        if *offset == 0 {
            let port = bytes.get(2..).and_then(|rest| rest.first_chunk::<2>());
            let is_tunnel = port.is_some_and(|port| is_tunnel_port(u16::from_be_bytes(*port)));
            if key.protocol == UDP && !is_tunnel {
                self.fate = Fate::Unwanted;
                return 0;
            }
            self.header = Some(header.clone());
        }
        self.parts.insert(*offset, bytes.to_vec());
        bytes.len()
    }

    /// Returns where the last part that is kept ends.
    fn end(&self) -> usize {
        self.parts.last_key_value().map_or(0, |(start, part)| start + part.len())
    }

    /// Forgets its bytes. Returns how many they were.
    fn clear(&mut self) -> usize {
        std::mem::take(&mut self.parts).values().map(Vec::len).sum()
    }

    fn lost(&self) -> u64 {
        if self.fate == Fate::Unwanted { 0 } else { self.fragments }
    }

    /// Puts it together, if nothing is missing.
    fn whole(&self) -> Option<Vec<u8>> {
        let (header, length) = (self.header.as_ref()?, self.length?);
        let kept: usize = self.parts.values().map(Vec::len).sum();
        // Parts do not overlap.
        if kept != length || header.len() + length > MAX_PACKET {
            return None;
        }
        let mut packet = header.clone();
        self.parts.values().for_each(|part| packet.extend_from_slice(part));
        let (place, total) = match packet.first()? >> 4 {
            4 => (2..4, packet.len()),
            _ => (4..6, packet.len() - IPV6_HEADER),
        };
        let total = u16::try_from(total).ok()?;
        packet.get_mut(place)?.copy_from_slice(&total.to_be_bytes());
        Some(packet)
    }
}

impl<'a> Fragment<'a> {
    /// Reads a fragment; `None` if it is cut, contradicts itself, or has headers before the
    /// fragment's own.
    fn parse(packet: &'a [u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::parse_ipv4(packet),
            6 => Self::parse_ipv6(packet),
            _ => None,
        }
    }

    fn parse_ipv4(packet: &'a [u8]) -> Option<Self> {
        let header = usize::from(packet.first()? & 0xf) * 4;
        let total = usize::from(word(packet, 2)?);
        let flags = word(packet, 6)?;
        let address = |at: usize| {
            let octets = packet.get(at..)?.first_chunk::<4>()?;
            Some(IpAddr::from(*octets))
        };
        if header < 20 {
            return None;
        }
        let mut front = packet.get(..header)?.to_vec();
        front.get_mut(6..8)?.fill(0);
        let offset = usize::from(flags & 0x1fff) * 8;
        let bytes = packet.get(header..total)?;
        (offset + bytes.len() <= MAX_PACKET).then_some(())?;
        Some(Self {
            key: Key {
                source: address(12)?,
                destination: address(16)?,
                number: word(packet, 4)?.into(),
                protocol: *packet.get(9)?,
            },
            offset,
            is_last: flags & 0x2000 == 0,
            header: front,
            bytes,
        })
    }

    fn parse_ipv6(packet: &'a [u8]) -> Option<Self> {
        let total = IPV6_HEADER + usize::from(word(packet, 4)?);
        if *packet.get(6)? != IPV6_FRAGMENT {
            return None;
        }
        let address = |at: usize| {
            let octets = packet.get(at..)?.first_chunk::<16>()?;
            Some(IpAddr::from(*octets))
        };
        let (protocol, flags) = (*packet.get(IPV6_HEADER)?, word(packet, IPV6_HEADER + 2)?);
        let number = packet.get(IPV6_HEADER + 4..)?.first_chunk::<4>()?;
        let mut front = packet.get(..IPV6_HEADER)?.to_vec();
        *front.get_mut(6)? = protocol;
        let offset = usize::from(flags & 0xfff8);
        let bytes = packet.get(IPV6_HEADER + FRAGMENT_HEADER..total)?;
        (offset + bytes.len() <= MAX_PACKET).then_some(())?;
        Some(Self {
            key: Key {
                source: address(8)?,
                destination: address(24)?,
                number: u32::from_be_bytes(*number),
                // Not a part of the identity there.
                protocol,
            },
            offset,
            is_last: flags & 1 == 0,
            header: front,
            bytes,
        })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk::<2>().map(|word| u16::from_be_bytes(*word))
}

#[cfg(test)]
mod tests;
