//! Bundles: what is in them and what must not be, and their replay on another machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use imds_audit::event::{Body, Event, Origin};
use imds_audit_tests::{Capturing, Events, PlantedSecret, Setup, TestBed, assert_absent, program};
use serde_json::Value;

use super::super::{SERVICE, secrets};
use super::{assert_agree, assert_clean, events, mix, run, tool};

/// Gives everything that a folder's files hold, unpacked where packed.
fn everything(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything(&path));
        } else {
            found.insert(path.to_string_lossy().into_owned(), fs::read(&path).unwrap());
        }
    }
    found
}

/// Plants secrets, and asserts that a bundle has none of them, compressed or not.
pub(super) fn assert_no_secret_is_in_a_bundle(scene: &TestBed, capturing: Capturing) {
    let mut needles = secrets::plant(scene);
    needles.extend(scene.secrets.all().map(|secret| PlantedSecret::new("the service", secret)));
    let (folder, said) = capturing.stop();
    let files = everything(folder.path());
    assert!(files.keys().any(|name| name.ends_with("b/capture.pcapng")), "{:?}", files.keys());
    for (name, bytes) in &files {
        assert_absent(&needles, name, bytes);
    }
    assert_absent(&needles, "standard error", said.as_bytes());
    // It is not empty of everything else.
    let name = files.keys().find(|name| name.ends_with("capture.pcapng")).unwrap();
    let packets = &files[name];
    assert!(packets.windows(12).filter(|window| window == b"GET /latest/").count() > 20);

    // What replays of it write, of a compressed file too.
    tool("gzip", &["-k", name]);
    let packed = format!("{name}.gz");
    for path in [name, &packed] {
        let mut arguments = vec!["replay", "--format", "json", path];
        let desk = secrets::desk();
        arguments.extend(["--endpoint", &desk, "--endpoint", SERVICE]);
        let output = run(&arguments);
        assert!(output.status.success(), "{output:?}");
        assert_absent(&needles, "a replay", &output.stdout);
        assert!(events(output).len() > 20, "{path}");
    }
}

#[test]
fn no_planted_secret_is_in_a_bundle() {
    let endpoint = secrets::desk();
    let setup = Setup { arguments: &["--endpoint", &endpoint], ..Setup::default() };
    let Some((scene, _)) = TestBed::alone_with(setup) else { return };
    let arguments = ["--bundle", "b", "--endpoint", &endpoint, "--endpoint", SERVICE];
    let Some(capturing) = Capturing::start(&arguments) else { return };
    assert_no_secret_is_in_a_bundle(&scene, capturing);
}

#[test]
fn a_bundle_is_verified_opened_and_replayed_to_the_same_events() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    let arguments = ["--bundle", "b", "--label", "case=4711", "--endpoint", &address];
    let Some(capturing) = Capturing::start(&arguments) else { return };
    let count = mix(&scene, &address);
    scene.wait_for_events(count);
    let (folder, said) = capturing.stop();
    assert!(said.contains("the bundle is complete"), "{said}");
    assert_bundle_is_good_elsewhere(&folder.path().join("b"), &address, count);
}

/// Runs the program to its end as on another machine: with another host's name.
fn run_elsewhere(arguments: &[&str]) -> Output {
    let script = r#"hostname elsewhere; exec "$0" "$@""#;
    let program = program().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--uts", "sh", "-euc", script]).arg(program).args(arguments);
    command.env_remove("RUST_LOG").output().unwrap()
}

/// Asserts that a bundle that was carried to another machine is verified, opened by tshark, and
/// replayed to the events that are in it.
pub(super) fn assert_bundle_is_good_elsewhere(bundle: &Path, address: &str, count: usize) {
    let port = address.rsplit(':').next().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("b");
    fs::rename(bundle, &moved).unwrap();
    let bundle = moved;
    let verify = || run_elsewhere(&["verify", bundle.to_str().unwrap()]);
    let verified = verify();
    let printed = String::from_utf8(verified.stdout).unwrap();
    assert_eq!(verified.status.code(), Some(0), "{printed}");
    assert!(printed.ends_with("verified: unaltered and complete\n"), "{printed}");
    let packets = bundle.join("capture.pcapng");
    assert_clean(&packets, port);

    let live = Events::read_file(&bundle.join("events.jsonl"));
    let path = packets.to_str().unwrap();
    let output = run_elsewhere(&["replay", "--format", "json", "--endpoint", address, path]);
    assert!(output.status.success(), "{output:?}");
    let replayed = events(output);
    assert_eq!(live.count("request"), count as u64);
    assert_agree("capture", &live, &replayed);
    for (live, replayed) in of_requests(&live).into_iter().zip(of_requests(&replayed)) {
        let name = |event: &Event| event.origin.host.as_ref().unwrap().name.clone();
        assert_eq!(name(live), name(replayed));
        assert_ne!(name(replayed).as_deref(), Some("elsewhere"));
        assert_eq!(*live, with_run_of(live, replayed));
    }
    let host: Value = serde_json::from_slice(&fs::read(bundle.join("host.json")).unwrap()).unwrap();
    assert_eq!(host["run"].as_str(), live[0].origin.run.as_deref());

    let check = bundle.join("check.json");
    let before = fs::read(&check).unwrap();
    fs::write(&check, [&before[..], b" "].concat()).unwrap();
    let verified = verify();
    assert_eq!(verified.status.code(), Some(3));
    assert!(String::from_utf8(verified.stdout).unwrap().contains("check.json: altered"));
}

/// Gives the events of requests, the first one first.
fn of_requests(events: &Events) -> Vec<&Event> {
    let is_request = |event: &&Event| matches!(event.body, Body::Request(_));
    let mut found: Vec<_> = events.iter().filter(is_request).collect();
    found.sort_by_key(|event| event.body.time());
    found
}

/// Gives a replayed request what is a run's own in the live one: its id, its source, its seal, the key
/// of its tokens' hashes, and its times, which [`assert_agree`] compares: a packet has that of the
/// clock when it was written.
fn with_run_of(live: &Event, replayed: &Event) -> Event {
    let Origin { run, source, .. } = Origin::clone(&live.origin);
    let origin = Arc::new(Origin { run, source, ..Origin::clone(&replayed.origin) });
    let mut event = Event { origin, seal: live.seal.clone(), ..replayed.clone() };
    if let (Body::Request(live), Body::Request(replayed)) = (&live.body, &mut event.body) {
        replayed.time = live.time;
        replayed.imds.duration_us = live.imds.duration_us;
        replayed.imds.token = live.imds.token;
    }
    event
}
