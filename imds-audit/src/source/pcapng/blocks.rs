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
const SECOND: u64 = 1_000_000_000;

/// An interface: its link and its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    /// The number of its kind of link.
    pub link: u32,
    /// The bytes that it captures of a packet; 0 for all.
    pub snap_length: u32,
    /// Ticks of its clock in a second.
    ticks: u64,
    /// Nanoseconds of a tick; 0 where they are no whole number.
    tick: u64,
    /// Seconds to add.
    offset: i64,
}

impl Interface {
    /// Makes one with a clock of this many ticks in a second.
    pub(super) const fn new(link: u32, snap_length: u32, ticks: u64) -> Self {
        let tick = if SECOND.is_multiple_of(ticks) { SECOND / ticks } else { 0 };
        Self { link, snap_length, ticks, tick, offset: 0 }
    }

    /// Reads one from a description's body; `None` if its clock is of no use.
    pub(super) fn parse(body: &[u8], order: Order) -> Option<Self> {
        let (mut per_second, mut offset) = (1_000_000, 0);
        for (code, value) in Options::new(body.get(8..).unwrap_or_default(), order) {
            match (code, value) {
                (RESOLUTION, [exponent]) => per_second = ticks(*exponent)?,
                (OFFSET, [_, _, _, _, _, _, _, _]) => offset = order.i64(value),
                _ => {}
            }
        }
        let (link, snap_length) = (u32::from(order.u16(body, 0)), order.u32(body, 4));
        Some(Self { offset, ..Self::new(link, snap_length, per_second) })
    }

    /// Returns the time of seconds and the ticks behind them.
    pub(super) fn time_of(self, seconds: u32, ticks: u32) -> u64 {
        // Both are below 2⁶³: a tick has 1 or 1000 nanoseconds.
        u64::from(seconds) * SECOND + u64::from(ticks) * self.tick
    }

    /// Returns a time in nanoseconds since 1970; what does not fit is the nearest that does.
    pub(super) fn time(self, ticks: u64) -> u64 {
        if self.offset == 0
            && self.tick > 0
            && let Some(time) = ticks.checked_mul(self.tick)
        {
            return time;
        }
        let (seconds, rest) = (ticks / self.ticks, ticks % self.ticks);
        let rest = u128::from(rest) * u128::from(SECOND) / u128::from(self.ticks);
        let nanoseconds = u128::from(seconds) * u128::from(SECOND) + rest;
        let offset = i128::from(self.offset) * i128::from(SECOND);
        let time = i128::try_from(nanoseconds).unwrap_or(i128::MAX).saturating_add(offset);
        u64::try_from(time.max(0)).unwrap_or(u64::MAX)
    }
}

/// Returns the ticks in a second: a power of 10, or of 2 if the highest bit is set.
fn ticks(exponent: u8) -> Option<u64> {
    let power = u32::from(exponent & 0x7f);
    if exponent & 0x80 == 0 { 10_u64.checked_pow(power) } else { (power < 64).then(|| 1 << power) }
}
