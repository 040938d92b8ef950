//! Captures that were killed, and captures that are cut.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use imds_audit_tests::{Capturing, TestBed, until};

use super::super::output::ask;
use super::super::{CLIENT, GET_V1, GET_V2, PUT};
use super::{assert_clean, captured_mix, run, tool, wait_for_served};

#[test]
fn a_capture_that_is_killed_is_valid() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    let port = address.rsplit(':').next().unwrap().to_owned();
    let Some(capturing) = Capturing::start(&["--output", "a.pcapng", "--endpoint", &address])
    else {
        return;
    };
    ask(&scene, &address, &[PUT, GET_V2]);
    let path = capturing.path("a.pcapng");
    wait_for_served(&path, &address, 2);
    let folder = capturing.kill();
    assert_clean(&folder.path().join("a.pcapng"), &port);
}

#[test]
fn a_capture_that_is_killed_while_it_writes_is_valid_up_to_its_last_packet() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    for round in 1..=3 {
        let Some(capturing) = Capturing::start(&["--output", "a.pcapng", "--endpoint", &address])
        else {
            return;
        };
        let path = capturing.path("a.pcapng");
        let steps = ["connect", &address, "times", "400", "send", GET_V1, "receive"];
        let folder = thread::scope(|scope| {
            let caller = scope.spawn(|| scene.run_well(CLIENT, &steps));
            // Somewhere in the middle, each time elsewhere.
            let written = || whole_packets(&fs::read(&path).unwrap()).len();
            assert!(until(|| (written() > round * 20).then_some(())).is_some());
            let folder = capturing.kill();
            caller.join().unwrap();
            folder
        });
        let path = folder.path().join("a.pcapng");
        let whole = whole_packets(&fs::read(&path).unwrap());
        assert!(whole.len() > round * 20, "{}", whole.len());
        assert_opens(&path, whole.len());
    }
}

#[test]
fn a_capture_that_is_cut_anywhere_opens_up_to_there() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    let Some((folder, _)) = captured_mix(&scene, &address) else { return };
    let bytes = fs::read(folder.path().join("a.pcapng")).unwrap();
    let packets = whole_packets(&bytes);
    let cut = folder.path().join("cut.pcapng");
    // Behind a packet, and within its block's header, its bytes, its comment and its last number.
    let (start, end) = (packets[packets.len() / 2 - 1], packets[packets.len() / 2]);
    for place in [start, start + 3, start + 8, start + 40, (start + end) / 2, end - 1] {
        fs::write(&cut, &bytes[..place]).unwrap();
        assert_opens(&cut, packets.len() / 2);
    }
}

/// Returns where each whole block of a packet ends.
fn whole_packets(bytes: &[u8]) -> Vec<usize> {
    let number = |place: usize| {
        let bytes = bytes.get(place..place + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().unwrap()))
    };
    let (mut place, mut ends) = (0, Vec::new());
    while let (Some(kind), Some(length)) = (number(place), number(place + 4)) {
        let end = place + length as usize;
        if end > bytes.len() {
            break;
        }
        if kind == 6 {
            ends.push(end);
        }
        place = end;
    }
    ends
}

/// Asserts that everybody reads so many packets of a capture: it may end within the next one, and
/// nothing else is wrong with it.
fn assert_opens(path: &Path, count: usize) {
    let text = path.to_str().unwrap();
    let output = Command::new("tshark")
        .args(["-r", text, "-T", "fields", "-e", "_ws.malformed", "-e", "frame.number"])
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed.lines().count(), count, "{printed}");
    assert!(printed.lines().all(|line| line.starts_with('\t')), "{printed}");
    let said = String::from_utf8(output.stderr).unwrap();
    let warnings: Vec<_> = said
        .lines()
        .filter(|line| !line.contains("Running as user") && !line.contains("cut short"))
        .collect();
    assert!(warnings.is_empty(), "{warnings:?}");

    let output = run(&["replay", text]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("{count} packets read")), "{said}");
    if output.status.code() != Some(0) {
        assert!(said.contains("the file ends within a block that begins at byte "), "{said}");
    }
    // Cut back to its last whole block it is as good as any.
    let bytes = fs::read(path).unwrap();
    let end = whole_packets(&bytes).last().copied().unwrap();
    let mended = path.with_extension("mended.pcapng");
    fs::write(&mended, &bytes[..end]).unwrap();
    tool("tshark", &["-r", mended.to_str().unwrap()]);
    assert!(run(&["replay", mended.to_str().unwrap()]).status.success());
}
