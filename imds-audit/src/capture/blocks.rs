//! pcapng blocks that are written (draft-ietf-opsawg-pcapng).

const SECTION: u32 = 0x0a0d_0d0a;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
/// The kind of link that has no header: the packet begins with its IP header.
const RAW_IP: u16 = 101;

/// Codes of options.
const COMMENT: u16 = 1;
const OPERATING_SYSTEM: u16 = 3;
const APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const TIME_RESOLUTION: u16 = 9;
const END_TIME: u16 = 3;
const DROPPED: u16 = 5;
/// Times in nanoseconds.
const NANOSECONDS: u8 = 9;

/// Appends a section's header.
pub(super) fn section(out: &mut Vec<u8>, system: &str, application: &str, comment: &str) {
    block(out, SECTION, |out| {
        out.extend(BYTE_ORDER.to_le_bytes());
        out.extend([1_u16.to_le_bytes(), 0_u16.to_le_bytes()].concat());
        // The section's length is not known.
        out.extend([0xff; 8]);
        option(out, OPERATING_SYSTEM, system.as_bytes());
        option(out, APPLICATION, application.as_bytes());
        option(out, COMMENT, comment.as_bytes());
        option(out, 0, &[]);
    });
}

/// Appends the description of an interface whose packets begin with their IP header.
pub(super) fn interface(out: &mut Vec<u8>, name: &str) {
    block(out, INTERFACE, |out| {
        out.extend(RAW_IP.to_le_bytes());
        // Reserved, and no bound on the bytes of a packet.
        out.extend([0; 6]);
        option(out, INTERFACE_NAME, name.as_bytes());
        option(out, TIME_RESOLUTION, &[NANOSECONDS]);
        option(out, 0, &[]);
    });
}

/// A packet as it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WrittenPacket<'a> {
    /// The number of its interface in the section.
    pub interface: u32,
    /// When it passed, in nanoseconds since 1970.
    pub time: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// How many it had.
    pub wire_length: usize,
    /// Its comment.
    pub comment: &'a str,
    /// Another comment, on what was lost before it.
    pub lost: Option<&'a str>,
}

/// Appends a packet.
pub(super) fn packet(out: &mut Vec<u8>, packet: &WrittenPacket<'_>) {
    let WrittenPacket { interface, time, bytes, wire_length, comment, lost } = *packet;
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    block(out, ENHANCED_PACKET, |out| {
        out.extend(interface.to_le_bytes());
        out.extend(halves(time));
        out.extend(number(bytes.len()));
        out.extend(number(wire_length));
        out.extend_from_slice(bytes);
        pad(out);
        option(out, COMMENT, comment.as_bytes());
        lost.into_iter().for_each(|lost| option(out, COMMENT, lost.as_bytes()));
        option(out, 0, &[]);
    });
}

/// Appends the statistics of an interface at the end of a capture: the time in nanoseconds since
/// 1970, how many packets were not written, and a comment.
pub(super) fn statistics(
    out: &mut Vec<u8>,
    interface: u32,
    time: u64,
    dropped: u64,
    comment: &str,
) {
    block(out, STATISTICS, |out| {
        out.extend(interface.to_le_bytes());
        out.extend(halves(time));
        option(out, END_TIME, &halves(time));
        option(out, DROPPED, &dropped.to_le_bytes());
        option(out, COMMENT, comment.as_bytes());
        option(out, 0, &[]);
    });
}

/// Returns a time as blocks have it: the upper half comes first.
const fn halves(time: u64) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h] = time.to_le_bytes();
    [e, f, g, h, a, b, c, d]
}

/// Appends a block of this kind, with its length before and behind its body.
fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    let mut inner = Vec::new();
    body(&mut inner);
    pad(&mut inner);
    out.extend_from_slice(&inner);
    let length = u32::try_from(out.len() - start + 4).unwrap_or(u32::MAX).to_le_bytes();
    out.extend(length);
    if let Some(place) = out.get_mut(start + 4..start + 8) {
        place.copy_from_slice(&length);
    }
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = value.get(..value.len().min(usize::from(u16::MAX))).unwrap_or_default();
    out.extend(code.to_le_bytes());
    out.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(value);
    pad(out);
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}
