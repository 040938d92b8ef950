//! Sealed records, and what was done to them.

use std::fs;
use std::path::Path;

use imds_audit_tests::TestBed;

use super::super::output::ask;
use super::super::{GET_V1, GET_V2, PUT};
use super::run;

/// A sealed run of three requests; gives its lines.
fn sealed_run(path: &Path) -> Option<Vec<String>> {
    let arguments = ["--seal", "--tally", "1h", "--output", path.to_str().unwrap()];
    let (scene, address) = TestBed::alone("json", &arguments)?;
    ask(&scene, &address, &[PUT, GET_V2, GET_V1]);
    scene.wait_for_events(3);
    let open = run(&["verify", path.to_str().unwrap()]);
    assert_eq!(open.status.code(), Some(3), "{open:?}");
    assert!(String::from_utf8_lossy(&open.stdout).contains("the end is not here"), "{open:?}");
    assert_eq!(run(&["verify", "--open", path.to_str().unwrap()]).status.code(), Some(0));
    let TestBed { audit, .. } = scene;
    let events = audit.stop().typed_events();
    let verified = run(&["verify", path.to_str().unwrap()]);
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");

    let of_last_two = [&events.tallies()[0].checkpoints[0], &events.stop().checkpoints[0]];
    for (checkpoint, line) in of_last_two.into_iter().zip([events.len() - 2, events.len() - 1]) {
        assert_eq!(checkpoint.line, line as u64, "{events:#?}");
        assert_eq!(checkpoint.sha256, events[line - 1].seal.as_ref().unwrap().sha256);
    }
    let text = fs::read_to_string(path).unwrap();
    Some(text.split_inclusive('\n').map(str::to_owned).collect())
}

#[test]
fn each_change_to_a_sealed_run_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let Some(lines) = sealed_run(&folder.path().join("a.jsonl")) else { return };
    let Some(others) = sealed_run(&folder.path().join("b.jsonl")) else { return };
    // start, three requests, tally, stop.
    assert_eq!((lines.len(), others.len()), (6, 6));
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut changed = lines.clone();
        change(&mut changed);
        changed.concat()
    };
    let added = "{\"schema\":1,\"kind\":\"request\"}\n";
    let mixed = [&lines[..2], &others[..2], &lines[2..], &others[2..]].concat().concat();
    for (name, changed, sentences) in [
        (
            "altered",
            with(&|l| l[1] = l[1].replacen("api/token", "api/tokem", 1)),
            &[":2: line 2 of the record was altered"][..],
        ),
        ("removed", with(&|l| drop(l.remove(1))), &[":2: line 2 of the record is missing"]),
        ("added", with(&|l| l.insert(2, added.to_owned())), &[":3: a line without a seal"]),
        ("swapped", with(&|l| l.swap(0, 1)), &[":1: line 2 of the record is not in its place"]),
        (
            "duplicated",
            with(&|l| l.insert(3, l[2].clone())),
            &[":4: line 3 of the record is here a second time"],
        ),
        ("cut", with(&|l| drop(l.pop())), &["the end is not here"]),
        ("cut within a line", with(&|l| l[5].truncate(30)), &[":6: ", "the end is not here"]),
        ("mixed", mixed, &[":5: line 3 of another run"]),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, changed).unwrap();
        let output = run(&["verify", path.to_str().unwrap()]);
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(3), "{name}: {printed}");
        for sentence in sentences {
            assert!(printed.contains(sentence), "{name}: {printed}");
        }
        assert!(!printed.lines().any(|line| line.starts_with("verified")), "{name}: {printed}");
    }

    // As after rotation; files come in any order.
    let parts = [("r.1", &lines[..2]), ("r.2", &lines[2..4]), ("r.3", &lines[4..])];
    let paths = parts.map(|(name, part)| {
        let path = folder.path().join(name);
        fs::write(&path, part.concat()).unwrap();
        path.to_string_lossy().into_owned()
    });
    let [first, second, third] = paths.each_ref().map(String::as_str);
    assert_eq!(run(&["verify", second, third, first]).status.code(), Some(0));
    let output = run(&["verify", third, first]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{printed}");
    assert!(printed.contains("r.3:1: lines 3 to 4 of the record are missing"), "{printed}");
}
