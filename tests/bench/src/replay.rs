//! Costs of `imds-audit replay` for captures of other traffic, beside reading and tshark.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::child::{Taken, taken};
use super::rows::Rows;

/// The sizes of the captures, in MiB. Time is measured for the last one.
const SIZES: [u64; 3] = [10, 100, 1_024];
/// How often the largest is read and replayed, in turn; the first time warms up the page cache.
const ROUNDS: usize = 7;
/// The requests to the metadata service in each capture.
const REQUESTS: u64 = 10;
/// The packets between two requests of other traffic, and back, in bytes behind the Ethernet header:
/// a download's mix of segments and acknowledgements, with some datagrams.
const MIX: [(Traffic, usize); 8] = [
    (Traffic::Segment, 1_448),
    (Traffic::Segment, 1_448),
    (Traffic::Acknowledgment, 0),
    (Traffic::Segment, 1_448),
    (Traffic::Datagram, 120),
    (Traffic::Segment, 600),
    (Traffic::Acknowledgment, 0),
    (Traffic::Segment, 1_448),
];

/// The columns.
const READING: &str = "reading";
const OURS: &str = "imds-audit";
const TSHARK: &str = "tshark";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traffic {
    Segment,
    Acknowledgment,
    Datagram,
}

/// The two formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Pcap,
    Pcapng,
}

/// Measures.
///
/// # Errors
/// Returns an error if a program cannot be run or fails, or the files cannot be written.
pub fn measure(program: &Path) -> Result<Rows> {
    let mut rows = Rows::default();
    let folder = tempfile::tempdir()?;
    for size in SIZES {
        for format in [Format::Pcap, Format::Pcapng] {
            let path = write(folder.path(), size << 20, format)?;
            let name = format!("{size} MiB of {}", format.name());
            let taken = replay(program, &path, folder.path())?;
            rows.add(&format!("{name}: memory"), "MiB", OURS, taken.mebibytes);
            if Some(&size) == SIZES.last() {
                compare(&mut rows, &format!("{name}: time"), program, &path)?;
            }
            fs::remove_file(path)?;
        }
    }
    Ok(rows)
}

/// Reads, replays and dissects a capture in turn.
fn compare(rows: &mut Rows, name: &str, program: &Path, path: &Path) -> Result<()> {
    let folder = path.parent().context("no folder")?;
    for round in 0..ROUNDS {
        let read = taken(Command::new("cat").arg(path).stdout(Stdio::null()))?;
        let replayed = replay(program, path, folder)?;
        if round > 0 {
            rows.add(name, "s", READING, read.seconds);
            rows.add(name, "s", OURS, replayed.seconds);
        }
    }
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(path).args(["-Y", "http.request && ip.dst == 169.254.169.254"]);
    tshark.args(["-T", "fields", "-e", "frame.time_epoch", "-e", "http.request.uri"]);
    let output = folder.join("tshark");
    tshark.stdout(File::create(&output)?).stderr(Stdio::null());
    let dissected = taken(&mut tshark)?;
    let found = fs::read_to_string(&output)?.lines().count() as u64;
    if found != REQUESTS {
        bail!("tshark found {found} of {REQUESTS} requests");
    }
    // Once: it takes its time, in which the other two are many times done. Pairs are of a round.
    (1..ROUNDS).for_each(|_| rows.add(name, "s", TSHARK, dissected.seconds));
    Ok(())
}

/// Replays a capture, which must give every request in it.
fn replay(program: &Path, path: &Path, folder: &Path) -> Result<Taken> {
    let output = folder.join("events");
    let _ = fs::remove_file(&output);
    let mut command = Command::new(program);
    command.args(["replay", "--format", "json", "--output"]).arg(&output).arg(path);
    let taken = taken(command.stderr(Stdio::null()))?;
    let text = fs::read_to_string(&output)?;
    let found = text.lines().filter(|line| line.contains(r#""kind":"request""#)).count() as u64;
    if found != REQUESTS {
        bail!("the replay found {found} of {REQUESTS} requests");
    }
    Ok(taken)
}

impl Format {
    const fn name(self) -> &'static str {
        match self {
            Self::Pcap => "pcap",
            Self::Pcapng => "pcapng",
        }
    }
}

/// Writes a capture of about so many bytes of other traffic, with a few requests in it.
fn write(folder: &Path, size: u64, format: Format) -> Result<PathBuf> {
    let path = folder.join(format!("traffic.{}", format.name()));
    let mut capture = Capture::create(&path, format)?;
    let mut next_request = size / (REQUESTS + 1);
    let (mut flow, mut requests) = (0_u32, 0);
    while capture.size < size {
        if capture.size >= next_request && requests < REQUESTS {
            requests += 1;
            next_request = size * (requests + 1) / (REQUESTS + 1);
            request(&mut capture, u16::try_from(requests)?)?;
        }
        for (kind, length) in MIX {
            flow = flow.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let client = Ipv4Addr::new(10, 0, (flow >> 8) as u8, (flow >> 16) as u8);
            let server = Ipv4Addr::new(198, 51, 100, (flow >> 24) as u8);
            let packet = match kind {
                Traffic::Segment => tcp(server, client, (443, 40_000), 0x10, &vec![0x5a; length]),
                Traffic::Acknowledgment => tcp(client, server, (40_000, 443), 0x10, &[]),
                Traffic::Datagram => udp(client, server, (50_000, 53), length),
            };
            capture.add(&packet)?;
        }
    }
    capture.file.flush()?;
    Ok(path)
}

/// Adds a request and its response.
fn request(capture: &mut Capture, number: u16) -> Result<()> {
    const REQUEST: &[u8] = b"GET /latest/meta-data/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n";
    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (client, service) = (Ipv4Addr::new(10, 0, 0, 7), Ipv4Addr::new(169, 254, 169, 254));
    let port = 20_000 + number;
    capture.add(&tcp(client, service, (port, 80), 0x18, REQUEST))?;
    capture.add(&tcp(service, client, (80, port), 0x18, RESPONSE))
}

struct Capture {
    file: BufWriter<File>,
    format: Format,
    size: u64,
    time: u64,
}

impl Capture {
    fn create(path: &Path, format: Format) -> Result<Self> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        match format {
            Format::Pcap => {
                for number in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
                    file.write_all(&number.to_le_bytes())?;
                }
            }
            Format::Pcapng => {
                let section = [0x0a0d_0d0a_u32, 28, 0x1a2b_3c4d, 1, u32::MAX, u32::MAX, 28];
                let interface = [1, 20, 1, 0, 20];
                for number in section.into_iter().chain(interface) {
                    file.write_all(&number.to_le_bytes())?;
                }
            }
        }
        // 2026-11-22T00:00:00Z, in microseconds.
        Ok(Self { file, format, size: 0, time: 1_795_305_600_000_000 })
    }

    fn add(&mut self, packet: &[u8]) -> Result<()> {
        self.time += 10;
        let length = u32::try_from(packet.len())?;
        let padding = packet.len().next_multiple_of(4) - packet.len();
        let (front, behind) = match self.format {
            Format::Pcap => {
                let (seconds, rest) = (self.time / 1_000_000, self.time % 1_000_000);
                (vec![u32::try_from(seconds)?, u32::try_from(rest)?, length, length], Vec::new())
            }
            Format::Pcapng => {
                let block = 32 + length + u32::try_from(padding)?;
                let (high, low) = ((self.time >> 32) as u32, self.time as u32);
                (vec![6, block, 0, high, low, length, length], vec![block])
            }
        };
        let bytes =
            |numbers: Vec<u32>| numbers.into_iter().flat_map(u32::to_le_bytes).collect::<Vec<_>>();
        let padding = if behind.is_empty() { 0 } else { padding };
        let whole = [&bytes(front), packet, &vec![0; padding], &bytes(behind)].concat();
        self.file.write_all(&whole)?;
        self.size += whole.len() as u64;
        Ok(())
    }
}

/// Makes a frame with an IPv4 packet of a protocol; checksums are zero.
fn frame(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, body: &[&[u8]]) -> Vec<u8> {
    let length: usize = body.iter().map(|part| part.len()).sum();
    let total = u16::try_from(20 + length).unwrap_or(u16::MAX).to_be_bytes();
    let mut frame = vec![2; 12];
    frame.extend([0x08, 0, 0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, protocol, 0, 0]);
    frame.extend(from.octets());
    frame.extend(to.octets());
    body.iter().for_each(|part| frame.extend_from_slice(part));
    frame
}

fn tcp(
    from: Ipv4Addr,
    to: Ipv4Addr,
    (source, destination): (u16, u16),
    flags: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut header = [source.to_be_bytes(), destination.to_be_bytes()].concat();
    header.extend([0, 0, 4, 0, 0, 0, 4, 0, 5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    frame(from, to, 6, &[&header, payload])
}

fn udp(from: Ipv4Addr, to: Ipv4Addr, (source, destination): (u16, u16), length: usize) -> Vec<u8> {
    let total = u16::try_from(8 + length).unwrap_or(u16::MAX);
    let header =
        [source, destination, total, 0].into_iter().flat_map(u16::to_be_bytes).collect::<Vec<_>>();
    frame(from, to, 17, &[&header, &vec![0x5a; length]])
}
