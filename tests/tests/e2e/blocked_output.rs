//! Outputs that nobody reads.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;

use imds_audit::event::StopReason;
use imds_audit_tests::{Events, TestBed, is_asleep, program, root, until, written_so_far};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};

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
    audit.wait_until_attached(&scene.audit.typed_events().start());
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
    assert!(written.ends_with('\n'), "the last line is whole");
    let events = Events::read(&written);
    let losses = events.losses();
    assert!(losses.iter().all(|loss| loss.reason == "output"), "{losses:#?}");
    let lost: u64 = losses.iter().map(|loss| loss.count).sum();
    assert!(lost > 0, "nothing was lost");
    assert_eq!(events.requests().len() as u64 + lost, REQUESTS as u64);
    let stop = events.stop();
    assert_eq!(stop.reason, StopReason::Signal);
    assert_eq!(stop.totals.requests, REQUESTS as u64);
    assert_eq!((&*stop.losses[0].reason, stop.losses[0].count), ("output", lost));
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
    let stop = Events::read(&written_so_far(file.path())).stop();
    assert_eq!(stop.totals.requests, REQUESTS as u64);
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
    audit.wait_until_attached(&scene.audit.typed_events().start());
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
