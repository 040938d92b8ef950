//! Counts of the packets of a replay.

use crate::event::{Loss, LossUnit};
use crate::frame::Refusal;

/// What became of the packets of the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PacketCounts {
    /// Packets that were read.
    pub packets: u64,
    /// Segments to or from an endpoint.
    pub segments: u64,
    /// Packets of links that are not known, with the number of the last such link.
    pub unknown_links: u64,
    /// The number of the last link that is not known.
    pub last_link: u32,
    /// Parts of fragmented packets that could not be put together.
    pub fragments: u64,
    /// Packets that are cut within their headers.
    pub cut: u64,
    /// Packets whose headers contradict themselves, or are too many.
    pub malformed: u64,
}

impl PacketCounts {
    /// Counts a packet that could not be read.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        match refusal {
            Refusal::Cut => self.cut += 1,
            Refusal::Fragment => self.fragments += 1,
            Refusal::Malformed | Refusal::TooDeep => self.malformed += 1,
            Refusal::NotIp | Refusal::NotTcp => {}
        }
    }

    /// Returns what could not be read. Whether it was to or from an endpoint is not known.
    pub(super) fn losses(self) -> impl Iterator<Item = Loss> {
        let counts = [
            ("unknown-link", self.unknown_links),
            ("fragment", self.fragments),
            ("cut", self.cut),
            ("malformed-packet", self.malformed),
        ];
        counts.into_iter().filter(|(_, count)| *count > 0).map(|(reason, count)| Loss {
            reason: reason.into(),
            what: LossUnit::Records,
            count,
            process: None,
        })
    }
}
