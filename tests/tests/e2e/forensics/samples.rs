//! Captures of strangers: the test suites of tcpdump and libpcap, with odd links, VLAN stacks,
//! fragments, and files that are cut or corrupt on purpose.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use imds_audit_tests::{program, samples};

use super::run;

/// Gives the captures in the folders of a folder.
fn captures(folder: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.collect::<Vec<_>>()
    };
    let is_capture = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "pcap" || extension == "pcapng")
    };
    let folders = entries(folder).into_iter().filter(|path| path.is_dir());
    let mut files: Vec<_> =
        folders.flat_map(|folder| entries(&folder)).filter(is_capture).collect();
    files.sort();
    files
}

/// Gives the number of packets that capinfos counts, for the files that it reads to their ends.
fn counts(files: &[PathBuf]) -> BTreeMap<PathBuf, u64> {
    let output =
        Command::new("capinfos").args(["-T", "-m", "-r", "-c"]).args(files).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let refused = String::from_utf8(output.stderr).unwrap();
    let is_whole = |path: &str| !refused.lines().any(|line| line.contains(&format!("\"{path}\"")));
    let read = |line: &str| {
        let (path, count) = line.rsplit_once(',')?;
        is_whole(path).then_some(())?;
        Some((PathBuf::from(path), count.parse().ok()?))
    };
    printed.lines().filter_map(read).collect()
}

/// Gives the number before a text.
fn number_before(said: &str, text: &str) -> Option<u64> {
    said.split_once(text)?.0.rsplit([' ', '\n']).next()?.parse().ok()
}

/// What became of a file.
struct Replayed {
    packets: Option<u64>,
    refusal: Option<String>,
    said: String,
}

/// Replays a file: it is read whole, or refused in one sentence that names the place.
fn replayed(path: &Path) -> Replayed {
    let name = path.to_str().unwrap();
    let output = run(&["replay", "--format", "json", name]);
    let said = String::from_utf8(output.stderr).unwrap();
    let mut refusals: Vec<_> =
        said.lines().filter(|line| line.contains(name)).map(str::to_owned).collect();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.lines().last().unwrap().contains(r#""kind":"stop""#), "{name}: {stdout}");
    let expected = usize::from(output.status.code() != Some(0));
    assert_eq!((output.status.code(), refusals.len()), (Some(expected as i32), expected), "{said}");
    let refusal = refusals.pop();
    if let Some(refusal) = &refusal {
        let place = refusal.split_once("at byte ").map(|(_, place)| place);
        let is_placed =
            place.is_some_and(|place| place.starts_with(|first: char| first.is_ascii_digit()));
        assert!(is_placed || refusal.contains("begins with the bytes"), "{refusal}");
        assert!(refusal.len() < name.len() + 160, "{refusal}");
    }
    Replayed { packets: number_before(&said, " packets read"), refusal, said }
}

#[test]
fn captures_that_are_cut_or_corrupt_are_refused_at_the_place() {
    let (Some(_), Some(folder)) = (program(), samples()) else { return };
    let damaged = tempfile::tempdir().unwrap();
    let path = damaged.path().join("damaged");
    for sample in captures(&folder).iter().step_by(25) {
        let whole = fs::read(sample).unwrap();
        let Replayed { packets: Some(all), .. } = replayed(sample) else { continue };
        for part in [1, 2, 3] {
            fs::write(&path, &whole[..whole.len() * part / 4 + part]).unwrap();
            let Replayed { packets, refusal, said } = replayed(&path);
            assert!(packets.unwrap_or(0) <= all, "{}: {said}", sample.display());
            // Behind a packet it is a shorter file.
            let is_cut = refusal.is_some_and(|refusal| refusal.contains("ends within"));
            assert!(is_cut || packets < Some(all) || all == 0, "{}: {said}", sample.display());
        }
        // The first packet's length, or that of the second block.
        let mut corrupt = whole.clone();
        let place = if whole[..4] == *b"\n\r\r\n" { 4 } else { 24 + 8 };
        if let Some(length) = corrupt.get_mut(place..place + 4) {
            length.fill(0xf3);
            fs::write(&path, &corrupt).unwrap();
            let Replayed { packets, refusal, .. } = replayed(&path);
            let refusal = refusal.unwrap_or_else(|| panic!("{} is taken", sample.display()));
            assert!(refusal.contains("the file is corrupt at byte "), "{refusal}");
            assert_eq!(packets, Some(0));
        }
    }
}

#[test]
fn captures_of_strangers_are_read_whole_or_refused_in_one_sentence_with_a_place() {
    let (Some(_), Some(folder)) = (program(), samples()) else { return };
    let files = captures(&folder);
    assert!(files.len() > 600, "{} captures", files.len());
    let counts = counts(&files);
    assert!(counts.len() > 600, "{} are read by capinfos", counts.len());
    let (mut refused, mut more) = (0, Vec::new());
    for path in &files {
        let name = path.to_str().unwrap();
        let Replayed { packets, refusal, said } = replayed(path);
        match refusal {
            None => {
                // Others do not read links that they do not know.
                match counts.get(path) {
                    Some(count) => assert_eq!(packets, Some(*count), "{name}: {said}"),
                    None => more.push(name),
                }
            }
            Some(refusal) => {
                refused += 1;
                assert!(!counts.contains_key(path), "{refusal}");
            }
        }
    }
    assert!(refused > 0, "{refused} are refused");
    assert!(more.len() < 20, "capinfos does not read {more:#?}");
}
