//! Output: what is written, where, and the end of it.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use imds_audit::event::{Class, LossUnit, Outcome, StartEvent, StopReason};
use imds_audit_tests::{Events, Report, TestBed, is_asleep, program, root, until, until_exit};
use rustix::process::{Pid, Signal, kill_process};

use super::{CLIENT, GET_V1, GET_V2, PUT, SERVICE};

/// A program that is killed when the test is over.
pub(super) struct Guarded(pub(super) Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Guarded {
    pub(super) fn start(arguments: &[&str]) -> Option<Self> {
        let mut command = Command::new(program().filter(|_| root())?);
        command.arg("run").args(arguments).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Some(Self(command.spawn().unwrap()))
    }

    /// Waits until as many programs are attached as another audit has.
    pub(super) fn wait_until_attached(&self, other: &StartEvent) {
        let programs = other.programs.len();
        let folder = format!("/proc/{}/fd", self.0.id());
        let attached = || {
            let links = fs::read_dir(&folder).unwrap().filter_map(|file| {
                let target = fs::read_link(file.unwrap().path()).ok()?;
                target.to_str().filter(|target| target.contains("bpf_link")).map(drop)
            });
            (links.count() == programs).then_some(())
        };
        assert!(until(attached).is_some(), "its programs are not attached");
    }

    /// Waits until it ends, and gives the exit code and what it said.
    pub(super) fn ended(&mut self) -> (Option<i32>, String) {
        let status = until_exit(&mut self.0).expect("it does not end");
        let said = std::io::read_to_string(self.0.stderr.take().unwrap()).unwrap();
        assert!(!said.contains("panicked"), "{said}");
        (status.code(), said)
    }
}

/// Ends the audit of a scene, whatever it reported.
fn stop(scene: TestBed) -> Report {
    let TestBed { audit, .. } = scene;
    audit.stop()
}

pub(super) fn ask(scene: &TestBed, address: &str, requests: &[&str]) {
    let steps = requests.iter().flat_map(|request| ["send", *request, "receive"]);
    let steps: Vec<_> = ["connect", address].into_iter().chain(steps).collect();
    scene.run_well(CLIENT, &steps);
}

#[test]
fn only_v1_writes_v1_alone_and_counts_all() {
    let Some((scene, address)) = TestBed::alone("json", &["--only", "v1"]) else { return };
    ask(&scene, &address, &[PUT, GET_V2, GET_V1, GET_V2]);
    let events = stop(scene).typed_events();
    assert_eq!(events.kinds(), ["start", "request", "stop"]);
    assert_eq!(events.requests()[0].imds.class, Class::V1);
    let served = [(Class::V1, 1), (Class::V2, 2), (Class::V2Token, 1)];
    let classes = served.map(|(class, count)| (class, [(Outcome::Served, count)].into()));
    assert_eq!(events.stop().totals.classes, classes.into());
}

#[test]
fn fail_on_v1_fails_after_v1() {
    let Some((scene, address)) = TestBed::alone("json", &["--fail-on", "v1"]) else { return };
    ask(&scene, &address, &[PUT, GET_V1]);
    let report = stop(scene);
    assert_eq!(report.code(), Some(3), "{report:#?}");
    assert_eq!(report.typed_events().kinds(), ["start", "request", "request", "stop"]);
}

#[test]
fn fail_on_v1_does_not_fail_after_v2() {
    let Some((scene, address)) = TestBed::alone("json", &["--fail-on", "v1,unknown"]) else {
        return;
    };
    ask(&scene, &address, &[PUT, GET_V2]);
    let report = stop(scene);
    assert_eq!(report.code(), Some(0), "{report:#?}");
}

#[test]
fn another_endpoint_is_audited_in_place_of_the_default_ones() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    ask(&scene, SERVICE, &[GET_V1]);
    ask(&scene, &address, &[GET_V1]);
    let events = stop(scene).typed_events();
    assert_eq!(events.kinds(), ["start", "request", "stop"]);
    assert_eq!(events.start().endpoints, [address.as_str()]);
    assert_eq!(events.requests()[0].imds.endpoint, address);
}

#[test]
fn text_is_one_line_a_request_that_no_argument_can_forge_or_colour() {
    let Some((scene, address)) = TestBed::alone("text", &[]) else { return };
    let forged = "\n12:00:00.000  v1  served 200\r\u{1b}[31mforged\u{1b}[0m\u{9b}31m\u{2028}x";
    scene.run_well(
        CLIENT,
        &["note", forged, "connect", &address, "send", GET_V1, "receive", "send", PUT, "receive"],
    );
    let report = stop(scene);
    let lines: Vec<_> = report.output.lines().collect();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert!(lines[0].contains("start") && lines[3].contains("stop"), "{lines:#?}");
    assert!(lines[1].contains("v1") && lines[1].contains("served 200"), "{}", lines[1]);
    assert!(lines[1].contains("imds-audit-test"), "{}", lines[1]);
    assert!(lines[2].contains("v2-token"), "{}", lines[2]);
    for written in [&report.output, &report.stderr] {
        let is_bare = |text: char| text.is_control() && text != '\n';
        assert!(!written.contains(is_bare), "{written:?}");
        assert!(!written.contains('\u{2028}'), "{written:?}");
        assert!(!written.lines().any(|line| line.starts_with("12:00:00.000")), "{written}");
    }
}

#[test]
fn a_new_output_file_is_readable_by_its_owner_alone() {
    let Some(scene) = TestBed::new() else { return };
    let mode = fs::metadata(scene.audit.output()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    scene.finish();
}

#[test]
fn an_audit_of_a_duration_ends_by_itself_and_appends_to_a_file_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events");
    let before = "{\"kind\":\"before\"}\n";
    fs::write(&file, before).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    let output = file.to_str().unwrap();
    let arguments = ["--format", "json", "--duration", "1s", "--output", output];
    let Some(mut audit) = Guarded::start(&arguments) else { return };
    let (code, said) = audit.ended();
    assert_eq!(code, Some(0), "{said}");
    let written = fs::read_to_string(&file).unwrap();
    let events = Events::read(written.strip_prefix(before).unwrap());
    events.start();
    let stop = events.stop();
    assert_eq!(stop.reason, StopReason::Duration);
    assert!(stop.duration_us >= 1_000_000, "{stop:#?}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn standard_output_carries_events_alone_and_the_summary_goes_to_standard_error() {
    let Some(mut audit) = Guarded::start(&["--format", "json", "--duration", "1s"]) else { return };
    let stdout = std::io::read_to_string(audit.0.stdout.take().unwrap()).unwrap();
    let (code, said) = audit.ended();
    assert_eq!(code, Some(0), "{said}");
    let events = Events::read(&stdout);
    events.start();
    events.stop();
    assert!(said.contains("requests"), "{said}");
}

#[test]
fn an_interrupt_ends_with_a_complete_output() {
    let Some(mut audit) = Guarded::start(&["--format", "json"]) else { return };
    let mut stdout = BufReader::new(audit.0.stdout.take().unwrap()).lines();
    assert!(stdout.next().unwrap().unwrap().contains("\"kind\":\"start\""));
    kill_process(Pid::from_child(&audit.0), Signal::INT).unwrap();
    let last = stdout.last().unwrap().unwrap();
    assert_eq!(Events::read(&(last + "\n")).stop().reason, StopReason::Signal);
    assert_eq!(audit.ended().0, Some(0));
}

#[test]
fn a_reader_that_goes_away_ends_the_audit_without_an_error() {
    let Some(scene) = TestBed::new() else { return };
    let Some(mut audit) = Guarded::start(&["--format", "json"]) else { return };
    let mut stdout = BufReader::new(audit.0.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(line.contains("\"kind\":\"start\""), "{line}");
    drop(stdout);
    ask(&scene, SERVICE, &[GET_V1]);
    let (code, said) = audit.ended();
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("error"), "{said}");
    scene.finish();
}

#[test]
fn a_full_disk_does_not_end_the_audit_and_is_told() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    let arguments = ["--format", "json", "--output", "/dev/full", "--endpoint", &address];
    let Some(mut audit) = Guarded::start(&arguments) else { return };
    audit.wait_until_attached(&scene.audit.typed_events().start());
    ask(&scene, &address, &[GET_V1]);
    scene.wait_for_events(1);
    assert!(audit.0.try_wait().unwrap().is_none(), "it ended");
    kill_process(Pid::from_child(&audit.0), Signal::TERM).unwrap();
    let (code, said) = audit.ended();
    assert_eq!(code, Some(1), "{said}");
    // `start`, the request and `stop`.
    assert!(said.contains("lost: 3 events (output)"), "{said}");
    assert!(said.contains("could not be written to the output: No space left"), "{said}");
    scene.finish();
}

/// A file system of 64 KiB; gone when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = ["-t", "tmpfs", "-o", "size=64k", "tmpfs"];
        let status = Command::new("mount").args(options).arg(folder.path()).status().unwrap();
        assert!(status.success());
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Fills what is left of it with a file.
    fn fill(&self) -> PathBuf {
        let ballast = self.path("ballast");
        let error = fs::write(&ballast, vec![0; 1 << 20]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        ballast
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let status = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
        assert!(status.unwrap().success() || thread::panicking());
    }
}

#[test]
fn a_disk_that_was_full_holds_whole_lines_and_tells_how_many_are_missing() {
    const BEFORE: usize = 30;
    if !root() {
        return;
    }
    let disk = SmallDisk::mount();
    let file = disk.path("events");
    let arguments = ["--output", file.to_str().unwrap()];
    let Some((scene, address)) = TestBed::alone("json", &arguments) else { return };
    let ballast = disk.fill();
    ask(&scene, &address, &[GET_V1; BEFORE]);
    assert!(until(|| is_asleep(scene.audit.pid()).then_some(())).is_some());
    fs::remove_file(ballast).unwrap();
    ask(&scene, &address, &[PUT]);
    stop(scene);

    let written = fs::read_to_string(&file).unwrap();
    assert!(written.ends_with('\n'), "{written}");
    let events = Events::read(&written);
    let (kinds, losses) = (events.kinds(), events.losses());
    let losses = losses.iter().filter(|loss| loss.what == LossUnit::Events);
    let lost: u64 = losses.map(|loss| loss.count).sum();
    assert!(lost > 0, "{kinds:?}");
    assert_eq!(events.count("request") + lost, BEFORE as u64 + 1, "{kinds:?}");
    assert_eq!(events.stop().losses[0].count, lost, "{kinds:?}");
}
