//! What a fuzzer feeds: an entry for everything that parses bytes, with the laws that hold for
//! whatever it is given.
//!
//! It is no part of the program: only tests and `cargo xtask fuzz` build it. The unit tests run
//! each entry over its corpus, so that what was found once stays found.

use std::time::Duration;

use crate::audit::{class, client::Client, limit, redact};
use crate::flow::{
    ConnectionId, Direction, Limits, RequestHead, ResponseHead, Segment, Timestamp, Tracker,
    fixture,
};
use crate::output::printable;
use crate::probe::{btf, record::Record};
use crate::process::{Placement, Record as ProcessRecord, Stat, most_telling};

/// An entry, by the name of its target and of its corpus.
pub type Entry = (&'static str, fn(&[u8]));

/// All of them.
pub const ENTRIES: [Entry; 7] = [
    ("record", record),
    ("stream", stream),
    ("head", head),
    ("btf", btf),
    ("cgroup", cgroup),
    ("redact", redact),
    ("stat", stat),
];

/// Reads a record of the kernel half, and what a process's has behind its fixed part.
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
        Ok(Record::Process { bytes, .. }) => {
            if let Ok(record) = ProcessRecord::parse(bytes) {
                let process = record.process();
                let kept: usize =
                    process.arguments.iter().flat_map(|args| args.iter()).map(<[u8]>::len).sum();
                assert!(kept <= aligned.len());
            }
        }
        Err(_) => {}
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
    let mut findings = 0;
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
        let mut sink = |_| findings += 1;
        tracker.segment(&segment, &mut sink);
        if flags & 128 != 0 {
            tracker.lost();
        }
        tracker.expire(time, &mut sink);
        assert!(tracker.len() <= limits.connections && tracker.buffered() <= limits.buffered);
        assert!(tracker.next_deadline().is_none_or(|deadline| deadline > time));
    }
    tracker.finish(time, &mut |_| findings += 1);
    assert!(tracker.is_empty() && tracker.buffered() == 0);
    // A request takes more than ten bytes; a lost or cut one, and a connection, a segment.
    assert!(findings <= payloads / 10 + 2 * segments, "{findings} of {payloads}, {segments}");
}

/// Reads header blocks, classifies what they ask, and makes its parts fit to be shown.
pub fn head(bytes: &[u8]) {
    if let Some(head) = RequestHead::parse(bytes) {
        let verdict = class::classify(head.method(), head.target(), head.headers());
        let token = head.headers().any(|(name, _)| name.eq_ignore_ascii_case(class::TOKEN_HEADER));
        assert!(!token || verdict.class.version() == Some(class::Version::V2));
        assert!(head.method().len() + head.target().len() <= bytes.len());
        shown(head.target());
    }
    if let Some(head) = ResponseHead::parse(bytes) {
        assert!((100..1000).contains(&head.status()));
        for (name, value) in head.headers() {
            assert!(name.len() + value.len() <= bytes.len());
        }
    }
    let _ = Client::from_user_agent(bytes);
}

/// Resolves the kernel's offsets from type information.
pub fn btf(bytes: &[u8]) {
    let _ = btf::resolve(bytes);
}

/// Reads a cgroup path, and what procfs says of memberships.
pub fn cgroup(bytes: &[u8]) {
    let placement = Placement::of(bytes);
    for part in [placement.unit.as_deref(), placement.pod.as_deref()].into_iter().flatten() {
        assert!(part.len() <= bytes.len() * 2);
    }
    let (resolved, memberships) = bytes.split_at(bytes.len() / 2);
    for resolved in [None, Some(resolved)] {
        let told = most_telling(resolved, memberships);
        assert!(told.is_none_or(|path| path.len() <= bytes.len() + 1));
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

/// Makes bytes one line of text, which nothing in them may break.
fn shown(bytes: &[u8]) {
    let text = printable::word(&limit::text(bytes, 200));
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
