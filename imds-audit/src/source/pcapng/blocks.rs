//! The parts of both formats: numbers in either byte order, options, times.

/// The byte order of a file, or of a section of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The least significant byte first.
    Little,
    /// The most significant byte first.
    Big,
}

impl Order {
    /// Reads 16 bits; 0 where there are none.
    pub(super) fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let word = bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
        match self {
            Self::Little => u16::from_le_bytes(word),
            Self::Big => u16::from_be_bytes(word),
        }
    }

    /// Reads 32 bits; 0 where there are none.
    pub(super) fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let word = bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
        match self {
            Self::Little => u32::from_le_bytes(word),
            Self::Big => u32::from_be_bytes(word),
        }
    }

    fn i64(self, bytes: &[u8]) -> i64 {
        let word = bytes.first_chunk().copied().unwrap_or_default();
        match self {
            Self::Little => i64::from_le_bytes(word),
            Self::Big => i64::from_be_bytes(word),
        }
    }
}

/// Options of a pcapng block (draft-ietf-opsawg-pcapng, section 3.5).
#[derive(Clone, Copy, Debug)]
pub(super) struct Options<'a> {
    bytes: &'a [u8],
    order: Order,
}

impl<'a> Options<'a> {
    /// Reads options from these bytes.
    pub(super) const fn new(bytes: &'a [u8], order: Order) -> Self {
        Self { bytes, order }
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    /// Returns the next option's code and value. Options that are cut are left out.
    fn next(&mut self) -> Option<Self::Item> {
        let (code, length) = (self.order.u16(self.bytes, 0), self.order.u16(self.bytes, 2));
        let value = self.bytes.get(4..)?.get(..usize::from(length))?;
        if code == 0 {
            return None;
        }
        let padded = usize::from(length).next_multiple_of(4) + 4;
        self.bytes = self.bytes.get(padded..).unwrap_or_default();
        Some((code, value))
    }
}

/// The code of a comment.
pub(super) const COMMENT: u16 = 1;
/// The codes of an interface's resolution of time and its offset.
const RESOLUTION: u16 = 9;
const OFFSET: u16 = 14;

/// Nanoseconds of a second.
const SECOND: u128 = 1_000_000_000;

/// An interface: its link and its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    /// The number of its kind of link.
    pub link: u32,
    /// The bytes that it captures of a packet; 0 for all.
    pub snap_length: u32,
    /// Ticks of its clock in a second.
    ticks: u128,
    /// Seconds to add.
    offset: i64,
}

impl Interface {
    /// Makes one with a clock of this many ticks in a second.
    pub(super) const fn new(link: u32, snap_length: u32, ticks: u128) -> Self {
        Self { link, snap_length, ticks, offset: 0 }
    }

    /// Reads one from a description's body; `None` if its clock is of no use.
    pub(super) fn parse(body: &[u8], order: Order) -> Option<Self> {
        let mut interface = Self::new(u32::from(order.u16(body, 0)), order.u32(body, 4), 1_000_000);
        for (code, value) in Options::new(body.get(8..).unwrap_or_default(), order) {
            match (code, value) {
                (RESOLUTION, [exponent]) => interface.ticks = ticks(*exponent)?,
                (OFFSET, [_, _, _, _, _, _, _, _]) => interface.offset = order.i64(value),
                _ => {}
            }
        }
        Some(interface)
    }

    /// Returns the time of seconds and the ticks behind them.
    pub(super) fn time_of(self, seconds: u32, ticks: u32) -> u64 {
        let fraction = u128::from(ticks) * SECOND / self.ticks;
        let time = u128::from(seconds) * SECOND + fraction;
        u64::try_from(time).unwrap_or(u64::MAX)
    }

    /// Returns a time in nanoseconds since 1970; what does not fit is the nearest that does.
    pub(super) fn time(self, ticks: u64) -> u64 {
        let nanoseconds = match self.ticks {
            1_000_000 => u128::from(ticks) * 1_000,
            SECOND => u128::from(ticks),
            per_second => {
                let (seconds, rest) =
                    (u128::from(ticks) / per_second, u128::from(ticks) % per_second);
                // The rest is below the resolution, which is at most 64 bits.
                seconds * SECOND + rest * SECOND / per_second
            }
        };
        let offset = i128::from(self.offset) * SECOND as i128;
        let time = i128::try_from(nanoseconds).unwrap_or(i128::MAX).saturating_add(offset);
        u64::try_from(time.max(0)).unwrap_or(u64::MAX)
    }
}

/// Returns the ticks in a second: a power of 10, or of 2 if the highest bit is set.
fn ticks(exponent: u8) -> Option<u128> {
    let power = u32::from(exponent & 0x7f);
    if exponent & 0x80 == 0 {
        10_u128.checked_pow(power).filter(|_| power <= 19)
    } else {
        (power < 64).then(|| 1 << power)
    }
}
