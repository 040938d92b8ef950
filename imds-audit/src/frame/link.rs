//! Link layers: where the IP packet begins in a frame.

use super::Refusal;

/// The VLAN tags that are followed. A provider adds one to a customer's (IEEE 802.1Q, QinQ).
const MAX_TAGS: usize = 4;
/// The bytes of a tag: priority and number, then the type of what follows.
const TAG: usize = 4;

/// The EtherTypes of tags: 802.1Q, 802.1ad, and what came before that.
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// `AF_INET`, the same on every system.
const INET: u32 = 2;
/// `AF_INET6` of Linux, NetBSD and OpenBSD, FreeBSD, and Darwin.
const INET6: [u32; 4] = [10, 24, 28, 30];

/// The kind of a link, which says what stands before the IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum LinkType {
    /// Nothing.
    RawIp,
    /// The rest of a VLAN tag, as a packet socket gives a packet with two of them.
    Tagged,
    /// Two addresses and a type, perhaps with VLAN tags.
    Ethernet,
    /// Linux's own header, where a capture has several links.
    Cooked,
    /// Its second version.
    Cooked2,
    /// The address family, in the byte order of whoever captured.
    Null,
    /// The address family, in network byte order.
    Loop,
}

impl LinkType {
    /// Returns the kind with this number in capture files (tcpdump.org, "Link-layer header types").
    pub(crate) const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Null,
            1 => Self::Ethernet,
            // 12 and 14 stand in files of systems that wrote their own number.
            12 | 14 | 101 | 228 | 229 => Self::RawIp,
            108 => Self::Loop,
            113 => Self::Cooked,
            276 => Self::Cooked2,
            _ => return None,
        })
    }

    /// Returns where the IP packet begins.
    #[inline]
    pub(crate) fn ip_start(self, bytes: &[u8]) -> Result<usize, Refusal> {
        match self {
            Self::RawIp => Ok(0),
            Self::Tagged => behind_tags(bytes, word(bytes, TAG - 2)?, TAG),
            Self::Ethernet => behind_tags(bytes, word(bytes, 12)?, 14),
            Self::Cooked => behind_tags(bytes, word(bytes, 14)?, 16),
            Self::Cooked2 => behind_tags(bytes, word(bytes, 0)?, 20),
            Self::Null => {
                let family = family(bytes)?;
                of_family(if family > 0xffff { family.swap_bytes() } else { family })
            }
            Self::Loop => of_family(family(bytes)?),
        }
    }
}

/// Follows VLAN tags from a type on. Returns where the IP packet begins.
fn behind_tags(bytes: &[u8], mut kind: u16, mut start: usize) -> Result<usize, Refusal> {
    for _ in 0..=MAX_TAGS {
        match kind {
            IPV4 | IPV6 => return Ok(start),
            tag if TAGS.contains(&tag) => {
                kind = word(bytes, start + TAG - 2)?;
                start += TAG;
            }
            _ => return Err(Refusal::NotIp),
        }
    }
    Err(Refusal::TooDeep)
}

fn of_family(family: u32) -> Result<usize, Refusal> {
    if family == INET || INET6.contains(&family) { Ok(4) } else { Err(Refusal::NotIp) }
}

fn family(bytes: &[u8]) -> Result<u32, Refusal> {
    let family = bytes.first_chunk::<4>().ok_or(Refusal::Cut)?;
    Ok(u32::from_be_bytes(*family))
}

fn word(bytes: &[u8], place: usize) -> Result<u16, Refusal> {
    let word = bytes.get(place..).and_then(|rest| rest.first_chunk::<2>()).ok_or(Refusal::Cut)?;
    Ok(u16::from_be_bytes(*word))
}
