//! Outputs that nobody reads.

use std::fs::{self, File};
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;

use imds_audit_tests::{TestBed, is_asleep, kinds, program, root, until, written_so_far};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::output::Guarded;
use super::{CLIENT, GET_V1};

/// More events than a pipe and the program's queue hold, which is 64 KiB and 2 MiB: one has more
/// than 700 bytes.
const REQUESTS: usize = 4_000;

/// Has a client ask `REQUESTS` times, and waits until the programs have nothing more to do.
fn flood(scene: &TestBed, address: &str, audit: &Guarded) {
    let times = REQUESTS.to_string();
    scene.run_well(CLIENT, &["connect", address, "times", &times, "send", GET_V1, "receive"]);
    let is_over = || (scene.audit.lines().len() > REQUESTS).then_some(());
    assert!(until(is_over).is_some(), "the other audit has not seen it");
    assert!(until(|| is_asleep(audit.0.id()).then_some(())).is_some(), "it is at work");
}

fn stuck(arguments: &[&str]) -> Option<(TestBed, String, Guarded)> {
    let (scene, address) = TestBed::alone("json", &[])?;
    let arguments = [&["--format", "json", "--endpoint", &address], arguments].concat();
    let audit = Guarded::start(&arguments)?;
    audit.wait_until_attached(&scene.audit.events()[0]);
    Some((scene, address, audit))
}

fn terminate(audit: &Guarded) {
    kill_process(Pid::from_child(&audit.0), Signal::TERM).unwrap();
}

#[test]
fn a_pipe_that_is_read_too_late_loses_what_it_is_told_to_have_lost() {
    let Some((scene, address, mut audit)) = stuck(&[]) else { return };
    flood(&scene, &address, &audit);
    let mut stdout = audit.0.stdout.take().unwrap();
    let reader = thread::spawn(move || {
        let mut written = String::new();
        stdout.read_to_string(&mut written).map(|_| written)
    });
    terminate(&audit);
    let (code, said) = audit.ended();
    let written = reader.join().unwrap().unwrap();
    assert_eq!(code, Some(0), "{said}");
    let events: Vec<Value> =
        written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds = kinds(&events);
    let requests = kinds.iter().filter(|kind| **kind == "request").count();
    let losses: Vec<_> = events.iter().filter(|event| event["kind"] == "loss").collect();
    assert!(losses.iter().all(|event| event["loss"]["reason"] == "output"), "{losses:#?}");
    let lost: u64 = losses.iter().map(|event| event["loss"]["count"].as_u64().unwrap()).sum();
    assert!(lost > 0, "nothing was lost");
    assert_eq!(requests + usize::try_from(lost).unwrap(), REQUESTS);
    let stop = events.last().unwrap();
    assert_eq!((&stop["kind"], &stop["reason"]), (&"stop".into(), &"signal".into()));
    assert_eq!(stop["totals"]["requests"], REQUESTS);
    assert_eq!(stop["losses"][0]["reason"], "output");
    assert_eq!(stop["losses"][0]["count"], lost);
    assert!(said.contains(&lost.to_string()), "the summary is silent of {lost}: {said}");
}

#[test]
fn a_signal_ends_an_audit_whose_output_nobody_reads() {
    let Some((scene, address, mut audit)) = stuck(&[]) else { return };
    flood(&scene, &address, &audit);
    terminate(&audit);
    let (code, said) = audit.ended();
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("could not be written to the output: the reader is gone or too slow"),
        "{said}"
    );
    assert!(said.contains(&format!("requests: {REQUESTS}")), "{said}");
}

#[test]
fn a_signal_ends_an_audit_whose_diagnostics_nobody_reads() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    let Some(program) = program() else { return };
    let mut command = Command::new(program);
    command.args(["run", "-vv", "--format", "json", "--endpoint", &address]);
    command.env("RUST_LOG", "trace").stdin(Stdio::null());
    let file = tempfile::NamedTempFile::new().unwrap();
    command.stdout(file.reopen().unwrap()).stderr(Stdio::piped());
    let mut audit = Guarded(command.spawn().unwrap());
    let is_started = || written_so_far(file.path()).contains("start").then_some(());
    assert!(until(is_started).is_some());
    flood(&scene, &address, &audit);
    terminate(&audit);
    let status = imds_audit_tests::until_exit(&mut audit.0).expect("it does not end");
    assert_eq!(status.code(), Some(0));
    let written = fs::read_to_string(file.path()).unwrap();
    let stop: Value = serde_json::from_str(written.lines().last().unwrap()).unwrap();
    assert_eq!((&stop["kind"], &stop["totals"]["requests"]), (&"stop".into(), &REQUESTS.into()));
    let mut said = Vec::new();
    audit.0.stderr.take().unwrap().read_to_end(&mut said).unwrap();
    assert!(said.len() >= 1 << 15, "{} bytes: it was not stuck", said.len());
}

#[test]
fn the_reader_of_a_named_pipe_that_goes_away_ends_the_audit_without_an_error() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let output = pipe.to_str().unwrap();
    let arguments = ["--format", "json", "--endpoint", &address, "--output", output];
    // Without waiting for a writer: the program does not wait for a reader either.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut reader = File::from(rustix::fs::open(&pipe, flags, Mode::empty()).unwrap());
    let mut audit = Guarded::start(&arguments).unwrap();
    audit.wait_until_attached(&scene.audit.events()[0]);
    let mut first = [0; 11];
    assert!(until(|| reader.read_exact(&mut first).ok()).is_some());
    assert_eq!(&first, b"{\"schema\":1");
    drop(reader);
    scene.run_well(CLIENT, &["connect", &address, "send", GET_V1, "receive"]);
    let (code, said) = audit.ended();
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("could not be written"), "{said}");
}

#[test]
fn a_named_pipe_that_nobody_reads_is_refused_with_a_sentence() {
    if !root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let Some(mut audit) = Guarded::start(&["--output", pipe.to_str().unwrap()]) else { return };
    let (code, said) = audit.ended();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the pipe has no reader"), "{said}");
}
