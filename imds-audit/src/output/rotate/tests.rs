use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    thread::sleep,
    time::{Duration, Instant},
};

use flate2::read::GzDecoder;
use tempfile::TempDir;

use super::*;
use crate::output::writer::Writer;

const LINES: usize = 40;

fn rotation() -> Rotation {
    Rotation {
        max_size: 100,
        max_age: None,
        max_total_size: u64::MAX,
        min_free_space: 0,
        min_free_percent: 0,
        compress_after: None,
    }
}

fn writer(folder: &TempDir, rotation: Rotation) -> Writer<RotatingFile> {
    Writer::new(RotatingFile::open(&folder.path().join("events.jsonl"), rotation))
}

fn line(number: usize) -> String {
    format!("{{\"number\":{number:010}}}\n")
}

fn write(writer: &mut Writer<RotatingFile>, lines: usize) {
    for number in 0..lines {
        writer.write(line(number).as_bytes()).unwrap();
    }
}

/// Returns the names in a folder, in order.
fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Reads all files, the oldest first, the active one last.
fn read_all(folder: &TempDir) -> String {
    let path = folder.path().join("events.jsonl");
    let mut files: Vec<PathBuf> =
        Folder::of(&path).rotated().into_iter().map(|file| file.path).collect();
    files.push(path);
    files
        .iter()
        .map(|path| {
            let bytes = fs::read(path).unwrap();
            if path.extension().is_some_and(|extension| extension == "gz") {
                let mut text = String::new();
                GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
                return text;
            }
            String::from_utf8(bytes).unwrap()
        })
        .collect()
}

fn all_lines() -> String {
    (0..LINES).map(line).collect()
}

fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "it does not happen");
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn no_line_is_split_and_none_is_missing_over_many_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(&folder, rotation());
    write(&mut writer, LINES);
    assert_eq!(read_all(&folder), all_lines());
    let names = names(&folder);
    assert_eq!(names.len(), LINES / 4, "{names:?}");
    assert_eq!(writer.rotations(), LINES as u64 / 4 - 1);
    for name in &names {
        let path = folder.path().join(name);
        assert!(fs::metadata(&path).unwrap().len() <= 100);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(name == "events.jsonl" || !name.ends_with(".jsonl"), "{name}");
    }
}

#[test]
fn a_line_longer_than_a_file_gets_one_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(&folder, rotation());
    let long = format!("{}\n", "x".repeat(300));
    for text in ["a\n", &long, "b\n"] {
        writer.write(text.as_bytes()).unwrap();
    }
    assert_eq!(read_all(&folder), format!("a\n{long}b\n"));
    assert_eq!(names(&folder).len(), 3);
}

#[test]
fn a_file_is_rotated_when_it_is_old_enough() {
    let folder = tempfile::tempdir().unwrap();
    let age = Some(Duration::from_millis(20));
    let mut writer = writer(&folder, Rotation { max_age: age, max_size: u64::MAX, ..rotation() });
    writer.write(b"a\n").unwrap();
    sleep(Duration::from_millis(40));
    writer.write(b"b\n").unwrap();
    assert_eq!(names(&folder).len(), 2);
    assert_eq!(fs::read(folder.path().join("events.jsonl")).unwrap(), b"b\n");
}

#[test]
fn the_oldest_go_for_the_bound_on_all_and_other_files_stay() {
    let folder = tempfile::tempdir().unwrap();
    let others = ["events.jsonl.1", "events.jsonl.2026.gz", "other.20261129T160512Z", "events"];
    for name in others {
        fs::write(folder.path().join(name), vec![b'x'; 1000]).unwrap();
    }
    let mut writer = writer(&folder, Rotation { max_total_size: 400, ..rotation() });
    write(&mut writer, LINES);
    let left = read_all(&folder);
    assert!(all_lines().ends_with(&left) && left.len() <= 500, "{left}");
    assert!(others.iter().all(|name| folder.path().join(name).exists()));
}

#[test]
fn older_files_are_compressed_and_never_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let compress_after = Some(Duration::ZERO);
    let mut writer = writer(&folder, Rotation { compress_after, ..rotation() });
    write(&mut writer, LINES);
    let count = |suffix: &str| names(&folder).iter().filter(|name| name.ends_with(suffix)).count();
    until(|| {
        count(".gz") == LINES / 4 - 2 && count(".tmp") == 0 && names(&folder).len() == LINES / 4
    });
    assert_eq!(read_all(&folder), all_lines());
    let rotated = Folder::of(&folder.path().join("events.jsonl")).rotated();
    assert!(rotated.last().is_some_and(|newest| !newest.is_compressed), "{rotated:?}");
    assert!(
        rotated.iter().all(|file| {
            fs::metadata(&file.path).unwrap().permissions().mode() & 0o777 == 0o600
        })
    );
}

#[test]
fn a_file_is_not_compressed_before_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let compress_after = Some(Duration::from_secs(3600));
    let mut writer = writer(&folder, Rotation { compress_after, ..rotation() });
    write(&mut writer, LINES);
    drop(writer);
    assert!(names(&folder).iter().all(|name| !name.ends_with(".gz")));
}

#[test]
fn free_space_below_its_floor_costs_rotated_files_first_and_then_lines() {
    let folder = tempfile::tempdir().unwrap();
    write(&mut writer(&folder, rotation()), LINES);
    assert!(names(&folder).len() > 2);
    // More than any disk has.
    let floor = Rotation { min_free_space: u64::MAX / 2, min_free_percent: 100, ..rotation() };
    let mut writer = writer(&folder, floor);
    write(&mut writer, 3);
    assert_eq!(names(&folder), ["events.jsonl"]);
    assert_eq!((writer.lost(), writer.is_failing()), (3, true));
    assert!(writer.last_error().unwrap().contains("below its floor"));
}

#[test]
fn a_file_that_another_program_moves_or_truncates_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let mut writer = writer(&folder, rotation());
    write(&mut writer, 2);
    fs::rename(&path, folder.path().join("events.jsonl.1")).unwrap();
    write(&mut writer, 2);
    fs::copy(&path, folder.path().join("events.jsonl.2")).unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    write(&mut writer, 2);
    let two: String = (0..2).map(line).collect();
    for name in ["events.jsonl", "events.jsonl.1", "events.jsonl.2"] {
        assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), two, "{name}");
    }
    assert_eq!((writer.lost(), writer.rotations()), (0, 0));
}

#[test]
fn a_kill_in_the_middle_of_anything_is_put_right_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    // In the middle of a line.
    file("events.jsonl", "half");
    // In the middle of a compression.
    file("events.jsonl.20261129T160512Z", "one\n");
    file(".events.jsonl.20261129T160512Z.gz.tmp", "not all of");
    // Between the two last steps of one.
    file("events.jsonl.20261129T160511Z", "zero\n");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::Write::write_all(&mut gzip, b"zero\n").unwrap();
    let compressed = folder.path().join("events.jsonl.20261129T160511Z.gz");
    fs::write(&compressed, gzip.finish().unwrap()).unwrap();
    // Of another program.
    file(".other.gz.tmp", "stays");
    let mut writer = writer(&folder, Rotation { max_size: 1000, ..rotation() });
    writer.write(b"two\n").unwrap();
    assert_eq!(read_all(&folder), "zero\none\nhalf\ntwo\n");
    let expected = [
        ".other.gz.tmp",
        "events.jsonl",
        "events.jsonl.20261129T160511Z.gz",
        "events.jsonl.20261129T160512Z",
    ];
    assert_eq!(names(&folder), expected);
}

#[test]
fn a_kill_between_the_steps_of_a_rotation_leaves_no_gap() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("events.jsonl.20261129T160512Z"), "one\n").unwrap();
    let mut writer = writer(&folder, rotation());
    writer.write(b"two\n").unwrap();
    assert_eq!(read_all(&folder), "one\ntwo\n");
}
