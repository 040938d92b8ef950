//! The reader of both formats.

use super::CaptureError;
use super::blocks::{COMMENT, Interface, Options, Order};
use super::input::{Input, MAX_BLOCK};
use super::note::{LossNote, MAX_LOSSES, SectionNote};
use super::read_ahead::Chunks;
use crate::event::Loss;

/// The bytes of a pcap file's header, and of the header of a packet in it.
const PCAP_HEADER: usize = 24;
const PCAP_RECORD: usize = 16;
/// What Kuznetzov's variant has more in each packet's header.
const KUZNETZOV: usize = 8;

/// The kinds of pcapng blocks that are read (draft-ietf-opsawg-pcapng, section 4).
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OLD_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
/// The shortest block: kind, length, length again.
const MIN_BLOCK: u32 = 12;
/// The versions of the formats that are read: pcap 2, and what Linux's patched libpcap wrote; pcapng
/// 1.0, and 1.2, which is the same.
const PCAP_MAJOR: [u16; 2] = [2, 543];
const PCAPNG: [(u16, u16); 2] = [(1, 0), (1, 2)];
const UNKNOWN_VERSION: &str = "it is of a version of its format that is not known";
/// The largest section's header, or interface's statistics, whose comments are read.
const MAX_COMMENTED: u32 = 256 << 10;
/// Where the options of a section's header begin, and of an interface's statistics.
const SECTION_OPTIONS: usize = 24;
const STATISTICS_OPTIONS: usize = 20;
/// The interfaces of a section that are kept.
const MAX_INTERFACES: usize = 4_096;

/// A packet of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a> {
    /// The number of its kind of link (tcpdump.org, "Link-layer header types").
    pub link: u32,
    /// When it passed, in nanoseconds since 1970.
    pub time: u64,
    /// The bytes that were captured.
    pub bytes: &'a [u8],
    /// How many bytes it had.
    pub wire_length: u32,
    /// How many sections began before it; 0 in a pcap file.
    pub section: u64,
    options: Option<Options<'a>>,
}

impl<'a> Packet<'a> {
    /// Iterates over its comments.
    pub(crate) fn comments(&self) -> impl Iterator<Item = &'a [u8]> {
        let options = self.options.into_iter().flatten();
        options.filter(|(code, _)| *code == COMMENT).map(|(_, value)| value)
    }
}

/// Reads the packets of a capture file.
pub(crate) struct CaptureReader<R> {
    input: Input<R>,
    format: Format,
    /// How many sections began.
    sections: u64,
    /// What this program noted on the current section.
    section: Option<SectionNote>,
    /// What it noted as lost at the end of one.
    losses: Vec<Loss>,
}

enum Format {
    Pcap { order: Order, interface: Interface, extra: usize },
    Pcapng { order: Order, interfaces: Vec<Interface> },
}

/// Where a packet's parts lie in a block.
struct Found {
    link: u32,
    time: u64,
    start: usize,
    captured: usize,
    wire_length: u32,
    options: usize,
    block: usize,
}

impl<R: Chunks> CaptureReader<R> {
    /// Reads the beginning of a file.
    ///
    /// # Errors
    /// Returns an error if it is neither format, or ends before its header does.
    pub(crate) fn open(reader: R) -> Result<Self, CaptureError> {
        let mut input = Input::new(reader);
        let start = input.peek(PCAP_HEADER)?;
        let Some(magic) = start.first_chunk::<4>().copied() else {
            return Err(unknown(start));
        };
        if u32::from_be_bytes(magic) == SECTION {
            let format = Format::Pcapng { order: Order::Little, interfaces: Vec::new() };
            return Ok(Self { input, format, sections: 0, section: None, losses: Vec::new() });
        }
        let orders =
            [(Order::Little, u32::from_le_bytes(magic)), (Order::Big, u32::from_be_bytes(magic))];
        let known = orders.into_iter().find_map(|(order, magic)| match magic {
            0xa1b2_c3d4 => Some((order, 1_000_000, 0)),
            0xa1b2_3c4d => Some((order, 1_000_000_000, 0)),
            0xa1b2_cd34 => Some((order, 1_000_000, KUZNETZOV)),
            _ => None,
        });
        let Some((order, ticks, extra)) = known else { return Err(unknown(start)) };
        if start.len() < PCAP_HEADER {
            return Err(CaptureError::Cut { what: "the header", offset: 0 });
        }
        if !PCAP_MAJOR.contains(&order.u16(start, 4)) {
            return Err(CaptureError::Corrupt { offset: 4, why: UNKNOWN_VERSION });
        }
        // The upper bits tell of a frame check sequence, which is behind the packet.
        let interface = Interface::new(order.u32(start, 20) & 0xffff, order.u32(start, 16), ticks);
        input.consume(PCAP_HEADER);
        let format = Format::Pcap { order, interface, extra };
        Ok(Self { input, format, sections: 0, section: None, losses: Vec::new() })
    }

    /// Takes what this program noted as lost at the end of a section.
    pub(crate) fn take_losses(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.losses)
    }

    /// Returns the next packet, with what this program noted on its section; `None` at the end.
    ///
    /// # Errors
    /// Returns an error if the file is cut or corrupt. Nothing can be read behind that.
    pub(crate) fn next_packet(
        &mut self,
    ) -> Result<Option<(Packet<'_>, Option<&SectionNote>)>, CaptureError> {
        let found = match self.format {
            Format::Pcap { order, interface, extra } => {
                self.next_record(order, interface, extra)?
            }
            Format::Pcapng { .. } => self.next_block()?,
        };
        let Some(found) = found else { return Ok(None) };
        let order = match &self.format {
            Format::Pcap { order, .. } | Format::Pcapng { order, .. } => *order,
        };
        self.input.consume(found.block);
        let block = self.input.consumed(found.block);
        let end = found.start + found.captured;
        let options = block.get(found.options..block.len().saturating_sub(4));
        let packet = Packet {
            link: found.link,
            time: found.time,
            bytes: block.get(found.start..end).unwrap_or_default(),
            wire_length: found.wire_length,
            section: self.sections,
            options: options.filter(|_| found.options > 0).map(|bytes| Options::new(bytes, order)),
        };
        Ok(Some((packet, self.section.as_ref())))
    }

    fn next_record(
        &mut self,
        order: Order,
        interface: Interface,
        extra: usize,
    ) -> Result<Option<Found>, CaptureError> {
        let offset = self.input.offset();
        let cut = CaptureError::Cut { what: "a packet", offset };
        let header = PCAP_RECORD + extra;
        let bytes = self.input.peek(header)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.len() < header {
            return Err(cut);
        }
        let (seconds, fraction) = (order.u32(bytes, 0), order.u32(bytes, 4));
        let (captured, wire_length) = (order.u32(bytes, 8), order.u32(bytes, 12));
        let captured = usize::try_from(captured).unwrap_or(usize::MAX);
        if captured > MAX_BLOCK - header {
            return Err(CaptureError::Corrupt {
                offset,
                why: "a packet is longer than any can be",
            });
        }
        let block = header + captured;
        if self.input.peek(block)?.len() < block {
            return Err(cut);
        }
        let time = interface.time_of(seconds, fraction);
        let link = interface.link;
        Ok(Some(Found { link, time, start: header, captured, wire_length, options: 0, block }))
    }

    /// Reads blocks up to the next one with a packet.
    fn next_block(&mut self) -> Result<Option<Found>, CaptureError> {
        loop {
            let Format::Pcapng { order, interfaces } = &mut self.format else { return Ok(None) };
            let offset = self.input.offset();
            let cut = CaptureError::Cut { what: "a block", offset };
            let corrupt = |why| CaptureError::Corrupt { offset, why };
            let start = self.input.peek(16)?;
            if start.is_empty() {
                return Ok(None);
            }
            if start.len() < 12 {
                return Err(cut);
            }
            if order.u32(start, 0) == SECTION {
                // The order of a section is that of its own magic number.
                *order = match start.get(8..12) {
                    Some([0x4d, 0x3c, 0x2b, 0x1a]) => Order::Little,
                    Some([0x1a, 0x2b, 0x3c, 0x4d]) => Order::Big,
                    _ => return Err(corrupt("a section has no byte-order magic")),
                };
                let version = (order.u16(start, 12), order.u16(start, 14));
                if start.len() == 16 && !PCAPNG.contains(&version) {
                    return Err(corrupt(UNKNOWN_VERSION));
                }
                interfaces.clear();
                self.sections += 1;
                self.section = None;
            }
            let (kind, length) = (order.u32(start, 0), order.u32(start, 4));
            if length < MIN_BLOCK || !length.is_multiple_of(4) {
                return Err(corrupt("a block has an impossible length"));
            }
            let size = usize::try_from(length).unwrap_or(usize::MAX);
            let is_read = match kind {
                INTERFACE | OLD_PACKET | SIMPLE_PACKET | ENHANCED_PACKET => true,
                SECTION | STATISTICS => length <= MAX_COMMENTED,
                _ => false,
            };
            if !is_read {
                if !self.input.skip(u64::from(length))? {
                    return Err(cut);
                }
                continue;
            }
            if size > MAX_BLOCK {
                return Err(corrupt("a block is longer than any can be"));
            }
            let block = self.input.peek(size)?;
            if block.len() < size {
                return Err(cut);
            }
            if order.u32(block, size - 4) != length {
                return Err(corrupt("the two lengths of a block differ"));
            }
            if matches!(kind, SECTION | STATISTICS) {
                let start = if kind == SECTION { SECTION_OPTIONS } else { STATISTICS_OPTIONS };
                let options = block.get(start..size - 4).unwrap_or_default();
                let mut comments = Options::new(options, *order)
                    .filter(|(code, _)| *code == COMMENT)
                    .map(|(_, comment)| comment);
                if kind == SECTION {
                    self.section = comments.find_map(SectionNote::parse);
                } else if let Some(note) = comments.find_map(LossNote::parse) {
                    let room = MAX_LOSSES.saturating_sub(self.losses.len());
                    self.losses.extend(note.losses.into_iter().take(room));
                }
                self.input.consume(size);
                continue;
            }
            if kind == INTERFACE {
                let body = block.get(8..size - 4).unwrap_or_default();
                let interface = Interface::parse(body, *order)
                    .filter(|_| body.len() >= 8)
                    .ok_or_else(|| corrupt("an interface has no clock that can be read"))?;
                if interfaces.len() == MAX_INTERFACES {
                    return Err(corrupt("a section has more interfaces than any host"));
                }
                interfaces.push(interface);
                self.input.consume(size);
                continue;
            }
            return packet(kind, block, *order, interfaces).map(Some).map_err(corrupt);
        }
    }
}

/// Finds the packet in a whole block.
fn packet(
    kind: u32,
    block: &[u8],
    order: Order,
    interfaces: &[Interface],
) -> Result<Found, &'static str> {
    let header = match kind {
        SIMPLE_PACKET => 12,
        _ => 28,
    };
    let size = block.len();
    let room = size.checked_sub(header + 4).ok_or("a packet's block is too short")?;
    let number = match kind {
        SIMPLE_PACKET => 0,
        OLD_PACKET => u32::from(order.u16(block, 8)),
        _ => order.u32(block, 8),
    };
    let interface = usize::try_from(number).ok().and_then(|number| interfaces.get(number));
    let interface = interface.ok_or("a packet is of an interface that was not described")?;
    let (time, captured, wire_length) = if kind == SIMPLE_PACKET {
        let wire = order.u32(block, 8);
        let snap = if interface.snap_length == 0 { u32::MAX } else { interface.snap_length };
        (0, wire.min(snap), wire)
    } else {
        let ticks = u64::from(order.u32(block, 12)) << 32 | u64::from(order.u32(block, 16));
        (interface.time(ticks), order.u32(block, 20), order.u32(block, 24))
    };
    let captured = usize::try_from(captured).ok().filter(|captured| *captured <= room);
    let captured = captured.ok_or("a packet is longer than its block")?;
    // Options follow the padding; a simple packet has none.
    let options = if kind == SIMPLE_PACKET { 0 } else { header + captured.next_multiple_of(4) };
    Ok(Found {
        link: interface.link,
        time,
        start: header,
        captured,
        wire_length,
        options,
        block: size,
    })
}

fn unknown(start: &[u8]) -> CaptureError {
    let digits = start.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>();
    CaptureError::Unknown(if digits.is_empty() { "(none)".to_owned() } else { digits.join(" ") })
}
