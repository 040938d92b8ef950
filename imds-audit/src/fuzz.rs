//! Entry points for a fuzzer: one for each parser, with the properties that hold for any input.
//!
//! It is no part of the program: only tests and `cargo xtask fuzz` build it. The unit tests run
//! each entry over its corpus, so that what was found once stays found.

use std::net::SocketAddr;
use std::time::Duration;

use crate::classify;
use crate::event::{Body, Event, Origin, StopReason};
use crate::flow::{Limits, RequestHead, ResponseHead, Tracker, fixture};
use crate::frame::{Defragmenter, Frame, LinkType, Prefilter, Tunnel};
use crate::pipeline::interrupt::Interrupt;
use crate::pipeline::replay::Replay;
use crate::process::{CgroupLocation, Stat, most_specific};
use crate::redact;
use crate::segment::{ConnectionId, Direction, Segment, Timestamp};
use crate::source::ebpf::{btf, record::Record};
use crate::text::bounded;
use crate::text::terminal;

/// An entry, by the name of its target and of its corpus.
pub type Entry = (&'static str, fn(&[u8]));

/// All of them.
pub const ENTRIES: [Entry; 10] = [
    ("record", record),
    ("stream", stream),
    ("head", head),
    ("btf", btf),
    ("cgroup", cgroup),
    ("redact", redact),
    ("stat", stat),
    ("frame", frame),
    ("pcap", pcap),
    ("pcapng", pcapng),
];

/// Reads a record of the eBPF programs, and what a process's has behind its fixed part.
pub fn record(bytes: &[u8]) {
    // As the ring has it: at an address that its numbers can be read from.
    let mut room = vec![0u64; bytes.len().div_ceil(8)];
    let aligned = zerocopy::IntoBytes::as_mut_bytes(room.as_mut_slice());
    let Some(aligned) = aligned.get_mut(..bytes.len()) else { return };
    aligned.copy_from_slice(bytes);
    match Record::parse(aligned) {
        Ok(Record::Segment { segment, .. }) => {
            assert!(segment.payload.len() <= aligned.len());
            assert!(segment.payload.len() as u64 <= u64::from(segment.length));
        }
        Ok(Record::Process { record, .. }) => {
            let process = record.process();
            let kept: usize =
                process.arguments.iter().flat_map(|args| args.iter()).map(<[u8]>::len).sum();
            assert!(kept <= aligned.len());
        }
        Ok(Record::Connect { .. }) | Err(_) => {}
    }
}

/// Rebuilds connections from segments that the bytes describe: eight bytes each, and as many of
/// payload as the last of them says.
pub fn stream(mut bytes: &[u8]) {
    let limits = Limits {
        connections: 3,
        ended: 2,
        buffered: 6_000,
        head: 400,
        held: 2_000,
        pending: 3,
        ..Limits::default()
    };
    let mut tracker = Tracker::new(limits);
    let mut time = Timestamp(0);
    let mut payloads = 0;
    let mut events = 0;
    let mut segments = 0;
    while let Some((&[flags, seconds, a, b, c, d, e, length], rest)) = bytes.split_first_chunk() {
        let (payload, rest) = rest.split_at(rest.len().min(length.into()));
        bytes = rest;
        payloads += payload.len();
        segments += 1;
        time.0 +=
            u64::from(seconds) * u64::try_from(Duration::from_millis(500).as_nanos()).unwrap_or(0);
        let is_response = flags & 1 != 0;
        // Near one place, or anywhere.
        let near = |low: u8, high: u8| {
            0xffff_ff00u32.wrapping_add(u32::from(u16::from_le_bytes([low, high])))
        };
        let direction = if is_response { Direction::Response } else { Direction::Request };
        let segment = Segment {
            connection: ConnectionId(u64::from(flags >> 1 & 3)),
            time,
            acknowledgment: (flags & 8 == 0).then(|| near(c, d)),
            syn: flags & 16 != 0,
            fin: flags & 32 != 0,
            rst: flags & 64 != 0,
            length: u32::try_from(payload.len()).unwrap_or(0) + u32::from(e),
            ..fixture::segment(direction, near(a, b), payload)
        };
        tracker.handle_segment(&segment);
        if flags & 128 != 0 {
            tracker.handle_loss();
        }
        tracker.handle_timeout(time);
        events += drain(&mut tracker);
        assert!(tracker.len() <= limits.connections && tracker.buffered() <= limits.buffered);
        assert!(tracker.next_deadline().is_none_or(|deadline| deadline > time));
    }
    tracker.finish(time);
    events += drain(&mut tracker);
    assert!(tracker.is_empty() && tracker.buffered() == 0);
    // A request takes more than ten bytes; a lost or cut one, and a connection, a segment.
    assert!(events <= payloads / 10 + 2 * segments, "{events} of {payloads}, {segments}");
}

/// Takes all events. Returns how many there were.
fn drain(tracker: &mut Tracker) -> usize {
    std::iter::from_fn(|| tracker.poll_event()).count()
}

/// Reads header blocks, classifies what they ask, and makes its parts fit to be shown.
pub fn head(bytes: &[u8]) {
    if let Some(head) = RequestHead::parse(bytes) {
        let verdict = classify::classify(head.method(), head.target(), head.headers());
        let token =
            head.headers().any(|(name, _)| name.eq_ignore_ascii_case(classify::TOKEN_HEADER));
        assert!(!token || verdict.class.version() == Some(crate::event::Version::V2));
        assert!(head.method().len() + head.target().len() <= bytes.len());
        shown(head.target());
    }
    if let Some(head) = ResponseHead::parse(bytes) {
        assert!((100..1000).contains(&head.status()));
        for (name, value) in head.headers() {
            assert!(name.len() + value.len() <= bytes.len());
        }
    }
    let _ = crate::diagnose::recognise(Some(bytes), None, None);
}

/// Resolves the kernel's offsets from type information.
pub fn btf(bytes: &[u8]) {
    let _ = btf::resolve(bytes);
}

/// Reads a cgroup path, and what procfs says of memberships.
pub fn cgroup(bytes: &[u8]) {
    let placement = CgroupLocation::of(bytes);
    for part in [placement.unit.as_deref(), placement.pod.as_deref()].into_iter().flatten() {
        assert!(part.len() <= bytes.len() * 2);
    }
    let (resolved, memberships) = bytes.split_at(bytes.len() / 2);
    for resolved in [None, Some(resolved)] {
        let reported = most_specific(resolved, memberships);
        assert!(reported.is_none_or(|path| path.len() <= bytes.len() + 1));
    }
}

/// Removes secrets from text and from arguments, which NULs part.
pub fn redact(bytes: &[u8]) {
    let once = redact::text(bytes).into_owned();
    assert!(once.len() <= 16 * bytes.len() + 64);
    let arguments: Vec<&[u8]> = bytes.split(|&byte| byte == 0).collect();
    assert_eq!(redact::arguments(arguments.iter().copied()).len(), arguments.len());
    let (secret, text) = bytes.split_at(bytes.len().min(12));
    if secret.len() == 12 && !may_meet_a_mark(secret) {
        let cleaned = redact::known(text, secret);
        assert!(!cleaned.windows(secret.len()).any(|window| window == secret));
    }
    shown(bytes);
}

/// Says whether a secret can stand where a mark does when its own occurrences are gone: a mark is
/// a part of it, or begins where it ends, or ends where it begins.
fn may_meet_a_mark(secret: &[u8]) -> bool {
    let mark = redact::MARK;
    let is_within = |part: &[u8], whole: &[u8]| whole.windows(part.len()).any(|w| w == part);
    let overlaps = |length| {
        let (start, end) = (secret.get(..length), secret.len().checked_sub(length));
        start.is_some_and(|start| mark.ends_with(start))
            || end.and_then(|end| secret.get(end..)).is_some_and(|end| mark.starts_with(end))
    };
    is_within(mark, secret) || is_within(secret, mark) || (1..=mark.len()).any(overlaps)
}

/// Reads a process's line in procfs.
pub fn stat(bytes: &[u8]) {
    let _ = Stat::parse(bytes, 1);
}

/// Reads frames of a kind of link, which the first byte names: a length of two bytes, then as many.
/// What is put together of fragments is a frame too, and the prefilter admits every segment of an
/// endpoint.
pub fn frame(bytes: &[u8]) {
    const LINKS: [u32; 7] = [0, 1, 101, 108, 113, 276, 228];
    let endpoint = SocketAddr::from(([169, 254, 169, 254], 80));
    let prefilter = Prefilter::new(&[endpoint]);
    let Some((&[number, ..], mut rest)) = bytes.split_first_chunk::<1>() else { return };
    let link = LINKS.get(usize::from(number) % LINKS.len()).copied();
    let Some(link) = link.and_then(LinkType::from_number) else { return };
    let mut fragments = Defragmenter::default();
    let mut time = Timestamp(0);
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length));
        let (frame, next) = behind.split_at(length.min(behind.len()));
        rest = next;
        time.0 += 1_000_000_000;
        let found = segment_of(link, frame, endpoint);
        assert!(!found || prefilter.admits(link, frame));
        let packet = link.ip_start(frame).ok().and_then(|start| frame.get(start..));
        if let Some(whole) = packet.and_then(|packet| fragments.push(packet, time)) {
            assert!(whole.len() <= usize::from(u16::MAX));
            segment_of(LinkType::RawIp, &whole, endpoint);
        }
    }
    assert!(fragments.lost() <= bytes.len() as u64 / 2);
}

/// Returns whether a frame has a segment of an endpoint. Its parts lie within it.
fn segment_of(link: LinkType, bytes: &[u8], endpoint: SocketAddr) -> bool {
    let Tunnel { link, offset, .. } = Tunnel::innermost(link, bytes);
    let Some(inner) = bytes.get(offset..) else { return false };
    let Ok(frame) = Frame::parse(link, inner, inner.len()) else { return false };
    assert!(frame.ip_start < frame.tcp_start && frame.tcp_start < frame.payload_start);
    assert!(frame.payload_start + frame.payload.len() <= inner.len());
    assert!(frame.payload.len() as u64 <= u64::from(frame.length));
    frame.direction(|address| address == endpoint).is_some()
}

/// Replays a pcap file.
pub fn pcap(bytes: &[u8]) {
    capture(bytes);
}

/// Replays a pcapng file, and reads the notes in its comments.
pub fn pcapng(bytes: &[u8]) {
    capture(bytes);
}

/// Replays a capture. No event has more than the file, and packets lie within it.
fn capture(bytes: &[u8]) {
    let endpoints = vec![SocketAddr::from(([169, 254, 169, 254], 80))];
    let Ok(interrupt) = Interrupt::new() else { return };
    let mut replay = Replay::new(endpoints, Origin::default(), Vec::new(), interrupt);
    let mut requests = 0_u64;
    let mut count = |event: &Event| requests += u64::from(matches!(event.body, Body::Request(_)));
    // A file that is cut or corrupt is replayed up to there.
    let _ = replay.file(bytes, &mut count);
    let packets = replay.counts();
    assert!(packets.packets <= bytes.len() as u64 / 16 + 1 && packets.segments <= packets.packets);
    replay.finish(StopReason::EndOfInput, &mut count);
    assert!(requests <= bytes.len() as u64 / 8);
}

/// Makes bytes one line of text, which nothing in them may break.
fn shown(bytes: &[u8]) {
    let text = terminal::word(&bounded::text(bytes, 200));
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_corpus_is_read_without_breaking_a_law() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus");
        for (name, entry) in ENTRIES {
            let files = std::fs::read_dir(root.join(name)).unwrap();
            let count =
                files.map(|file| entry(&std::fs::read(file.unwrap().path()).unwrap())).count();
            assert!(count > 0, "{name} has a corpus");
        }
    }
}
