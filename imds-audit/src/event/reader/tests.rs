use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::event::tests::example;
use crate::event::{Body, Class};

fn lines_of(source: &Source) -> Vec<Option<String>> {
    let mut lines = Vec::new();
    let text = |line: &[u8]| String::from_utf8(line.to_vec()).unwrap();
    source.lines(&mut |line| lines.push(line.map(text))).unwrap();
    lines
}

fn written(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn some(lines: &[&str]) -> Vec<Option<String>> {
    lines.iter().map(|line| Some((*line).to_owned())).collect()
}

#[test]
fn an_event_is_read_back_as_it_was_written() {
    let event = Event::from(example());
    let line = serde_json::to_vec(&event).unwrap();
    let Parsed::Event(read) = parse(&line) else { panic!("not read") };
    assert_eq!(*read, event);
    let prefixed = [b"2026-11-29T16:00:00Z stdout F ".as_slice(), &line].concat();
    assert!(matches!(parse(&prefixed), Parsed::Event(read) if *read == event));
}

#[test]
fn what_a_newer_version_writes_is_read_as_unknown() {
    let kind = parse(br#"{"schema":9,"kind":"weather","time":"tomorrow","host":{"name":"a"}}"#);
    let Parsed::Event(event) = kind else { panic!("not read") };
    assert_eq!(event.body, Body::Other);
    let mut line = serde_json::to_value(Event::from(example())).unwrap();
    line["imds"]["class"] = "v3".into();
    line["imds"]["new"] = serde_json::json!({"a": 1});
    let Parsed::Event(event) = parse(line.to_string().as_bytes()) else { panic!("not read") };
    let Body::Request(request) = event.body else { panic!("not a request") };
    assert_eq!(request.imds.class, Class::Unknown);
}

#[test]
fn lines_of_other_programs_and_damaged_ones_are_told_apart() {
    for line in [&b""[..], b"hello", br#"{"level":"info"}"#, b"[1]", b"\xff\xfe"] {
        assert!(matches!(parse(line), Parsed::Foreign), "{line:?}");
    }
    let whole = serde_json::to_vec(&Event::from(example())).unwrap();
    for end in [20, whole.len() / 2, whole.len() - 1] {
        assert!(matches!(parse(&whole[..end]), Parsed::Malformed(_)), "{end}");
    }
}

#[test]
fn a_lean_line_says_what_the_event_says() {
    let mut event = Event::from(example());
    event.origin = std::sync::Arc::new(crate::event::Origin {
        run: Some("r".to_owned()),
        ..Default::default()
    });
    let json = serde_json::to_vec(&event).unwrap();
    let line = Line::parse(&json).unwrap().unwrap();
    assert_eq!(line.run, Some(r#""r""#));
    let (LineKind::Request(lean), Body::Request(full)) = (line.kind, &event.body) else {
        panic!("not a request")
    };
    assert_eq!(
        (lean.time, lean.class, lean.outcome),
        (full.time, full.imds.class, full.imds.outcome)
    );
    assert_eq!(lean.resource, full.imds.resource);
    assert_eq!(lean.caller.unwrap(), serde_json::to_string(&full.caller).unwrap());
}

#[test]
fn a_file_is_read_once_whatever_its_compression() {
    let text = b"one\ntwo\nthree";
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(text).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(
        text.as_slice(),
        ruzstd::encoding::CompressionLevel::Fastest,
    );
    for (name, bytes) in [("plain", text.to_vec()), ("gzip", gzip), ("zstd", zstd)] {
        let (_folder, path) = written(name, &bytes);
        assert_eq!(lines_of(&Source::whole(path)), some(&["one", "two", "three"]), "{name}");
    }
}

#[test]
fn parts_of_a_file_have_each_line_once_wherever_they_are_cut() {
    let text = b"a\nbb\n\nccc\ndddd\ne";
    let (_folder, path) = written("plain", text);
    let whole = lines_of(&Source::whole(path.clone()));
    assert_eq!(whole, some(&["a", "bb", "", "ccc", "dddd", "e"]));
    let length = text.len() as u64;
    for cut in 0..=length {
        let part = |start, end| Source { path: path.clone(), start, end: Some(end) };
        let mut both = lines_of(&part(0, cut));
        both.extend(lines_of(&part(cut, length)));
        assert_eq!(both, whole, "{cut}");
    }
}

#[test]
fn a_line_without_an_end_takes_no_more_memory_than_the_bound() {
    let mut bytes = vec![b'x'; MAX_LINE + 10];
    bytes.extend_from_slice(b"\nnext\n");
    let (_folder, path) = written("long", &bytes);
    assert_eq!(lines_of(&Source::whole(path)), [None, Some("next".to_owned())]);
}

#[test]
fn a_damaged_file_is_an_error_after_what_could_be_read() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
    gzip.write_all(b"one\ntwo\n").unwrap();
    let bytes = gzip.finish().unwrap();
    let (_folder, path) = written("cut.gz", &bytes[..bytes.len() - 6]);
    let mut count = 0;
    assert!(Source::whole(path).lines(&mut |_| count += 1).is_err());
    assert_eq!(count, 2);
}

#[test]
fn folders_hold_what_this_program_writes_and_rotates() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("day")).unwrap();
    let names =
        ["b.jsonl", "b.jsonl.20261129T160512Z.gz", "day/a.jsonl.zst", "notes.txt", "x.parquet"];
    for name in names {
        std::fs::write(folder.path().join(name), b"").unwrap();
    }
    let found = find(&[folder.path().to_owned()]).unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|path| path.strip_prefix(folder.path()).unwrap().to_str().unwrap())
        .collect();
    assert_eq!(found, ["b.jsonl", "b.jsonl.20261129T160512Z.gz", "day/a.jsonl.zst"]);
    assert!(find(&[folder.path().join("gone")]).is_err());
}
