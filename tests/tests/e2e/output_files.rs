//! Output files that are moved or removed, and signals.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
};

use imds_audit::event::StopReason;
use imds_audit_tests::{Events, Report, TestBed, program, root, until};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    CLIENT, GET_V1,
    output::{Guarded, ask},
};

fn kinds(path: &Path) -> Vec<&'static str> {
    Events::read_file(path).kinds()
}

/// Waits until a file has events of these kinds.
fn wait_for(path: &Path, expected: &[&str]) {
    let seen = until(|| (kinds(path) == expected).then_some(()));
    assert!(seen.is_some(), "{expected:?} are not in {path:?}: {:?}", kinds(path));
}

/// A scene whose audit writes to a file of the test's own.
fn scene(path: &Path) -> Option<(TestBed, String)> {
    TestBed::alone("json", &["--output", path.to_str().unwrap()])
}

fn stop(scene: TestBed) -> Report {
    let TestBed { audit, .. } = scene;
    audit.stop()
}

#[test]
fn an_output_file_that_is_removed_is_made_anew_and_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let Some((scene, address)) = scene(&path) else { return };
    fs::remove_file(&path).unwrap();
    ask(&scene, &address, &[GET_V1]);
    wait_for(&path, &["request"]);
    let report = stop(scene);
    assert_eq!(kinds(&path), ["request", "stop"]);
    assert!(report.stderr.contains("opened anew"), "{report:#?}");
    assert!(report.stderr.contains("because it was removed"), "{report:#?}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn an_output_file_that_is_moved_keeps_what_it_has_and_a_new_one_gets_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("events.jsonl"), folder.path().join("events.jsonl.1"));
    let Some((scene, address)) = scene(&path) else { return };
    ask(&scene, &address, &[GET_V1]);
    wait_for(&path, &["start", "request"]);
    fs::rename(&path, &moved).unwrap();
    ask(&scene, &address, &[GET_V1]);
    wait_for(&path, &["request"]);
    let report = stop(scene);
    assert_eq!(kinds(&moved), ["start", "request"]);
    assert_eq!(kinds(&path), ["request", "stop"]);
    let totals = Events::read_file(&path).stop().totals;
    assert_eq!(totals.requests, 2, "{totals:#?}");
    assert!(report.stderr.contains("because it was moved"), "{report:#?}");
}

#[test]
fn a_hangup_opens_the_output_file_anew_and_the_audit_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("events.jsonl"), folder.path().join("events.jsonl.1"));
    let Some((scene, address)) = scene(&path) else { return };
    fs::rename(&path, &moved).unwrap();
    scene.audit.signal(Signal::HUP);
    assert!(until(|| path.exists().then_some(())).is_some(), "no file was opened");
    ask(&scene, &address, &[GET_V1]);
    wait_for(&path, &["request"]);
    let report = stop(scene);
    assert_eq!(report.code(), Some(0), "{report:#?}");
    assert_eq!(kinds(&moved), ["start"]);
    assert_eq!(kinds(&path), ["request", "stop"]);
}

#[test]
fn no_signal_ends_the_audit_without_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let Some((scene, address)) = scene(&path) else { return };
    for signal in [Signal::USR1, Signal::USR2, Signal::ALARM, Signal::PROF, Signal::PIPE] {
        scene.audit.signal(signal);
    }
    ask(&scene, &address, &[GET_V1]);
    wait_for(&path, &["start", "request"]);
    scene.audit.signal(Signal::QUIT);
    let TestBed { audit, .. } = scene;
    let report = audit.wait();
    assert_eq!(report.code(), Some(0), "{report:#?}");
    assert_eq!(kinds(&path), ["start", "request", "stop"]);
    assert!(report.stderr.contains("requests"), "{report:#?}");
}

#[test]
fn a_hangup_without_a_file_ends_the_audit_with_its_record() {
    let Some(scene) = TestBed::new() else { return };
    let Some(mut audit) = Guarded::start(&["--format", "json"]) else { return };
    audit.wait_until_attached(&scene.audit.typed_events().start());
    kill_process(Pid::from_child(&audit.0), Signal::HUP).unwrap();
    let stdout = std::io::read_to_string(audit.0.stdout.take().unwrap()).unwrap();
    let (code, said) = audit.ended();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(Events::read(&stdout).stop().reason, StopReason::Signal);
    assert!(said.contains("requests"), "{said}");
    scene.finish();
}

#[test]
fn a_file_of_another_user_that_all_may_write_to_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    fs::write(&path, "").unwrap();
    if !root() {
        return;
    }
    chown(&path, Some(65534), None).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let output = path.to_str().unwrap();
    let Some(mut audit) = Guarded::start(&["--duration", "1s", "--output", output]) else { return };
    let (code, said) = audit.ended();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("belongs to another user") && said.contains("uid=65534"), "{said}");
    assert!(said.contains("can be written to by other users") && said.contains("0666"), "{said}");
}

#[test]
fn text_lines_have_a_date_and_a_zone() {
    let Some((scene, address)) = TestBed::alone("text", &[]) else { return };
    scene.run_well(CLIENT, &["connect", &address, "send", GET_V1, "receive"]);
    let report = stop(scene);
    let lines: Vec<_> = report.output.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    for line in lines {
        let (stamp, rest) = line.split_once("  ").unwrap();
        let time = serde_json::from_value::<imds_audit::event::Time>(stamp.into());
        assert!(time.is_ok() && stamp.ends_with('Z'), "{line}");
        assert!(!rest.is_empty());
    }
}

#[test]
fn too_few_descriptors_are_not_missing_rights() {
    let Some(program) = program().filter(|_| root()) else { return };
    // Every point at which the descriptors can run out, the first of them before anything is open.
    for limit in 4..=12 {
        let mut command = Command::new(&program);
        command.args(["run", "--format", "json"]).stdin(Stdio::null()).stdout(Stdio::null());
        let limits = rustix::process::Rlimit { current: Some(limit), maximum: Some(limit) };
        // SAFETY: only a system call is made between fork and exec.
        unsafe {
            command.pre_exec(move || {
                Ok(rustix::process::setrlimit(rustix::process::Resource::Nofile, limits)?)
            });
        }
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("Too many open files"), "{limit}: {said}");
        assert!(!said.contains("CAP_"), "{limit}: {said}");
        assert_ne!(output.status.code(), Some(0), "{limit}");
    }
}
