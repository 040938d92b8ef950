use proptest::prelude::*;

use super::input::MAX_BLOCK;
use super::note::{MAX_COMMENT, NotedTask, PacketNote};
use super::*;
use crate::segment::RequestStart;

/// Numbers in one byte order.
#[derive(Clone, Copy, Debug)]
struct Writer {
    big: bool,
}

impl Writer {
    fn u16(self, number: u16) -> [u8; 2] {
        if self.big { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    fn u32(self, number: u32) -> [u8; 4] {
        if self.big { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    fn pcap(self, magic: u32, link: u32, packets: &[(u32, u32, &[u8], u32)]) -> Vec<u8> {
        let mut file = self.u32(magic).to_vec();
        file.extend([self.u16(2), self.u16(4)].concat());
        file.extend([self.u32(0), self.u32(0), self.u32(65_535), self.u32(link)].concat());
        for (seconds, fraction, bytes, wire) in packets {
            let length = u32::try_from(bytes.len()).unwrap();
            for number in [*seconds, *fraction, length, *wire] {
                file.extend(self.u32(number));
            }
            file.extend_from_slice(bytes);
        }
        file
    }

    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let mut body = body.to_vec();
        body.resize(body.len().next_multiple_of(4), 0);
        let length = self.u32(u32::try_from(body.len() + 12).unwrap());
        [&self.u32(kind)[..], &length, &body, &length].concat()
    }

    fn section(self) -> Vec<u8> {
        let version = [self.u16(1), self.u16(0)].concat();
        self.block(0x0a0d_0d0a, &[&self.u32(0x1a2b_3c4d)[..], &version, &[0xff; 8]].concat())
    }

    fn option(self, code: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len()).unwrap();
        let mut option = [&self.u16(code)[..], &self.u16(length), value].concat();
        option.resize(option.len().next_multiple_of(4), 0);
        option
    }

    fn interface(self, link: u16, options: &[u8]) -> Vec<u8> {
        self.block(1, &[&self.u16(link)[..], &[0, 0], &self.u32(0), options].concat())
    }

    fn packet(
        self,
        interface: u32,
        ticks: u64,
        bytes: &[u8],
        wire: u32,
        options: &[u8],
    ) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).unwrap();
        let (high, low) = ((ticks >> 32) as u32, ticks as u32);
        let mut body = [interface, high, low, length, wire].map(|number| self.u32(number)).concat();
        body.extend_from_slice(bytes);
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend_from_slice(options);
        self.block(6, &body)
    }
}

const BOTH: [Writer; 2] = [Writer { big: false }, Writer { big: true }];

/// A packet, as a test compares it.
type Read = (u32, u64, Vec<u8>, u32, Vec<String>);

/// Reads all packets of a file, and the error at its end: the same ones whatever its chunks are.
fn read(file: &[u8]) -> (Vec<Read>, Option<String>) {
    let read = read_chunks(file);
    for size in [13, 4_096] {
        assert_eq!(read_chunks(Cut::new(file, size)), read, "in chunks of {size} bytes");
    }
    read
}

fn read_chunks(file: impl Chunks) -> (Vec<Read>, Option<String>) {
    let mut reader = match CaptureReader::open(file) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Some(error.to_string())),
    };
    let mut packets = Vec::new();
    loop {
        match reader.next_packet() {
            Ok(Some((packet, _))) => {
                let comments = packet.comments();
                let comments = comments.map(|text| String::from_utf8_lossy(text).into_owned());
                let bytes = packet.bytes.to_vec();
                packets.push((
                    packet.link,
                    packet.time,
                    bytes,
                    packet.wire_length,
                    comments.collect(),
                ));
            }
            Ok(None) => return (packets, None),
            Err(error) => return (packets, Some(error.to_string())),
        }
    }
}

#[test]
fn pcap_is_read_in_both_byte_orders_and_resolutions() {
    for writer in BOTH {
        for (magic, nanoseconds) in [(0xa1b2_c3d4, 5_000), (0xa1b2_3c4d, 5)] {
            let file = writer.pcap(magic, 1, &[(7, 5, b"abc", 60), (8, 0, b"", 0)]);
            let (packets, error) = read(&file);
            assert_eq!(error, None);
            let time = 7_000_000_000 + nanoseconds;
            assert_eq!(packets[0], (1, time, b"abc".to_vec(), 60, vec![]));
            assert_eq!(packets.len(), 2);
        }
    }
}

#[test]
fn pcapng_is_read_in_both_byte_orders_with_comments_and_clocks() {
    for writer in BOTH {
        let comment =
            [writer.option(1, b"first"), writer.option(1, b"second"), vec![0; 4]].concat();
        let nanoseconds = writer.option(9, &[9]);
        let binary = [writer.option(9, &[0x80 | 10]), writer.option(14, &[0; 8])].concat();
        let file = [
            writer.section(),
            writer.interface(101, &nanoseconds),
            writer.interface(1, &binary),
            writer.interface(113, &[]),
            writer.block(5, &[0; 20]),
            writer.packet(0, 1_500_000_000_000_000_001, b"abcde", 9, &comment),
            writer.packet(1, 2_560, b"x", 1, &[]),
            writer.packet(2, 3, b"", 0, &[]),
            // An old packet: two numbers of 16 bits in the place of one.
            writer.block(
                2,
                &[
                    &writer.u16(2)[..],
                    &[0; 2],
                    &[0; 4],
                    &writer.u32(4),
                    &writer.u32(1),
                    &writer.u32(1),
                    b"y",
                ]
                .concat(),
            ),
            writer.block(3, &[&writer.u32(2)[..], b"zz"].concat()),
        ]
        .concat();
        let (packets, error) = read(&file);
        assert_eq!(error, None);
        let comments = vec!["first".to_owned(), "second".to_owned()];
        let first = (101, 1_500_000_000_000_000_001, b"abcde".to_vec(), 9, comments);
        assert_eq!(packets[0], first);
        assert_eq!((packets[1].1, packets[2].1), (2_500_000_000, 3_000));
        assert_eq!((packets[3].1, packets[3].2.as_slice()), (4_000, &b"y"[..]));
        assert_eq!((packets[4].0, packets[4].2.as_slice()), (101, &b"zz"[..]));
    }
}

#[test]
fn a_second_section_has_an_order_and_interfaces_of_its_own() {
    let [little, big] = BOTH;
    let file = [
        little.section(),
        little.interface(1, &[]),
        little.packet(0, 1, b"a", 1, &[]),
        big.section(),
        big.interface(101, &[]),
        big.packet(0, 2, b"b", 1, &[]),
        big.packet(1, 2, b"b", 1, &[]),
    ]
    .concat();
    let (packets, error) = read(&file);
    let links: Vec<_> = packets.iter().map(|packet| packet.0).collect();
    assert_eq!(links, [1, 101]);
    assert!(error.unwrap().contains("not described"));
}

#[test]
fn each_refusal_is_one_sentence_with_an_offset() {
    let writer = BOTH[0];
    let pcap = writer.pcap(0xa1b2_c3d4, 1, &[(1, 0, b"abcd", 4), (2, 0, b"efgh", 4)]);
    let pcapng =
        [writer.section(), writer.interface(1, &[]), writer.packet(0, 1, b"abcd", 4, &[])].concat();
    let packet = writer.section().len() + writer.interface(1, &[]).len();
    let with = |place: usize, byte: u8| {
        let mut file = pcapng.clone();
        file[place] = byte;
        file
    };
    for (file, count, said) in [
        (b"".to_vec(), 0, "neither pcap nor pcapng: it begins with the bytes (none)"),
        (b"GIF89a".to_vec(), 0, "neither pcap nor pcapng: it begins with the bytes 47 49 46 38"),
        (pcap[..20].to_vec(), 0, "the file ends within the header that begins at byte 0"),
        (pcap[..30].to_vec(), 0, "the file ends within a packet that begins at byte 24"),
        (pcap[..50].to_vec(), 1, "the file ends within a packet that begins at byte 44"),
        (
            pcapng[..pcapng.len() - 1].to_vec(),
            0,
            "the file ends within a block that begins at byte 48",
        ),
        (with(packet + 4, 7), 0, "corrupt at byte 48: a block has an impossible length"),
        (with(pcapng.len() - 4, 7), 0, "corrupt at byte 48: the two lengths of a block differ"),
        (with(packet + 20, 99), 0, "corrupt at byte 48: a packet is longer than its block"),
        (with(8, 0), 0, "corrupt at byte 0: a section has no byte-order magic"),
        (with(12, 9), 0, "corrupt at byte 0: it is of a version of its format"),
        ([&pcap[..4], &[9], &pcap[5..]].concat(), 0, "corrupt at byte 4: it is of a version"),
        ([&pcap[..24], &[0xff; 16]].concat(), 0, "corrupt at byte 24: a packet is longer than any"),
    ] {
        let (packets, error) = read(&file);
        let error = error.unwrap();
        assert!(error.contains(said), "{error}");
        assert_eq!(packets.len(), count, "{said}");
    }
}

#[test]
fn a_block_beyond_the_bound_is_skipped_unless_it_is_a_packet() {
    let writer = BOTH[0];
    let length = u32::try_from(MAX_BLOCK + 16).unwrap();
    let mut file = [writer.section(), writer.interface(1, &[])].concat();
    let start = file.len();
    file.extend([writer.u32(10), writer.u32(length)].concat());
    file.resize(start + MAX_BLOCK + 12, 0);
    file.extend(writer.u32(length));
    file.extend(writer.packet(0, 1, b"abcd", 4, &[]));
    assert_eq!(read(&file).0.len(), 1);
    file[start..start + 4].copy_from_slice(&writer.u32(6));
    assert!(read(&file).1.unwrap().contains("longer than any can be"));
}

#[test]
fn a_note_is_read_as_it_was_written_and_without_secrets() {
    let task =
        NotedTask { pid: 7, tid: 8, start: u64::MAX, exec: 2, comm: "curl".into(), process: None };
    let note = PacketNote {
        socket: u64::MAX,
        netns: Some(4_026_531_840),
        writer: Some(task.clone()),
        begins: RequestStart::Pipelined.into(),
        lost_requests: 3,
        shared: true,
        ..PacketNote::default()
    };
    let comment = note.comment("for people");
    assert!(comment.starts_with("for people\n"));
    assert_eq!(PacketNote::parse(comment.as_bytes()), Some(note.clone()));
    assert_eq!(PacketNote::parse(b"imds-audit/1 {"), None);
    assert_eq!(PacketNote::parse(b"a stranger's comment"), None);

    let mut process = crate::event::tests::process(&["curl", "--password", "planted-secret"]);
    process.unit = Some("x".repeat(10_000));
    let told = NotedTask { process: Some(Box::new(process)), ..task };
    let note = PacketNote { writer: Some(told.clone()), ..note };
    let read = PacketNote::parse(note.comment("").as_bytes()).unwrap().writer.unwrap();
    let read = read.process.unwrap();
    assert_eq!(read.args.as_ref().unwrap()[2], "<redacted>");
    assert!(read.unit.as_ref().unwrap().len() <= 4_096);

    let mut large = told;
    large.process.as_mut().unwrap().cwd = Some("y".repeat(MAX_COMMENT));
    let comment = PacketNote { writer: Some(large), ..note }.comment("");
    assert!(comment.len() < 1_000 && PacketNote::parse(comment.as_bytes()).is_some());
}

/// What holds for every file, whatever its bytes.
fn check(file: &[u8]) {
    let (packets, _) = read(file);
    let captured: usize = packets.iter().map(|packet| packet.2.len()).sum();
    assert!(captured <= file.len());
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, big: bool) {
        let writer = Writer { big };
        check(&bytes);
        check(&[writer.pcap(0xa1b2_c3d4, 1, &[]), bytes.clone()].concat());
        check(&[writer.section(), writer.interface(1, &[]), bytes].concat());
    }

    #[test]
    fn a_damaged_file_is_read_or_refused(
        place in any::<prop::sample::Index>(),
        value: u8,
        end in any::<prop::sample::Index>(),
        big: bool,
    ) {
        let writer = Writer { big };
        let comment = writer.option(1, b"a comment");
        let pcap = writer.pcap(0xa1b2_c3d4, 1, &[(1, 0, b"abcd", 4), (2, 0, b"efgh", 4)]);
        let pcapng =
            [writer.section(), writer.interface(1, &comment), writer.packet(0, 1, b"abcd", 4, &comment)];
        for mut file in [pcap, pcapng.concat()] {
            let length = file.len();
            file[place.index(length)] = value;
            file.truncate(end.index(length + 1));
            check(&file);
        }
    }
}

/// A file in chunks of this size.
struct Cut<'a> {
    chunks: std::slice::Chunks<'a, u8>,
    current: &'a [u8],
}

impl<'a> Cut<'a> {
    fn new(file: &'a [u8], size: usize) -> Self {
        Self { chunks: file.chunks(size), current: &[] }
    }
}

impl Chunks for Cut<'_> {
    fn loaded(&self) -> &[u8] {
        self.current
    }

    fn consume(&mut self, count: usize) {
        self.current = &self.current[count..];
    }

    fn load(&mut self) -> std::io::Result<bool> {
        assert!(self.current.is_empty(), "{} bytes are left", self.current.len());
        let next = self.chunks.next();
        self.current = next.unwrap_or_default();
        Ok(next.is_some())
    }
}
