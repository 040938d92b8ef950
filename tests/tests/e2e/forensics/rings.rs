//! Captures over several files.

use std::fs;
use std::path::{Path, PathBuf};

use imds_audit_tests::{Capturing, TestBed, until};

use super::super::GET_V1;
use super::super::output::ask;
use super::{events, run, served};

#[test]
fn a_ring_of_captures_is_replayed_as_one() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    let arguments = ["--output", "r.pcapng", "--max-size", "8KiB", "--endpoint", &address];
    let Some(capturing) = Capturing::start(&arguments) else { return };
    for _ in 0..6 {
        ask(&scene, &address, &[GET_V1, GET_V1]);
    }
    scene.wait_for_events(12);
    let (folder, _) = capturing.stop();
    // In any order.
    let files = captures(folder.path());
    assert!(files.len() > 2, "{files:?}");
    let mut arguments = vec!["replay", "--format", "json", "--endpoint", &address];
    arguments.extend(files.iter().map(|path| path.to_str().unwrap()));
    let events = events(run(&arguments));
    assert_eq!(served(&events), 12, "{events:#?}");
}

#[test]
fn a_new_file_is_begun_by_age_and_nothing_is_lost_between_them() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    let arguments = ["--output", "r.pcapng", "--max-age", "300ms", "--endpoint", &address];
    let Some(capturing) = Capturing::start(&arguments) else { return };
    let mut asked = 0;
    let third = until(|| {
        ask(&scene, &address, &[GET_V1]);
        asked += 1;
        (captures(capturing.folder()).len() >= 3).then_some(())
    });
    assert!(third.is_some(), "{:?}", captures(capturing.folder()));
    scene.wait_for_events(asked);
    let (folder, _) = capturing.stop();
    let files = captures(folder.path());
    let mut arguments = vec!["replay", "--format", "json", "--endpoint", &address];
    arguments.extend(files.iter().map(|path| path.to_str().unwrap()));
    assert_eq!(served(&events(run(&arguments))), asked, "{files:?}");
}

/// Gives the captures in a folder, the last one first.
pub(super) fn captures(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_capture = |path: &PathBuf| path.extension().is_some_and(|name| name == "pcapng");
    let mut files: Vec<_> = entries.filter(is_capture).collect();
    files.sort();
    files.reverse();
    files
}
