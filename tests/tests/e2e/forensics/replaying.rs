//! Replays that are interrupted, and files of several hosts.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use imds_audit::event::{Body, Event, StopReason};
use imds_audit_tests::{Capturing, Events, TestBed, is_asleep, program, until, until_exit};
use rustix::process::{Pid, Signal, kill_process};

use super::super::output::ask;
use super::super::{GET_V1, GET_V2, PUT};
use super::rings::captures;
use super::{captured_mix, events, run};

#[test]
fn a_signal_ends_a_replay_with_its_record() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    let Some((folder, count)) = captured_mix(&scene, &address) else { return };
    let packets = fs::read(folder.path().join("a.pcapng")).unwrap();
    for signal in [Signal::INT, Signal::TERM] {
        let output = folder.path().join(format!("{}.jsonl", signal.as_raw()));
        let mut replaying = Command::new(program().unwrap())
            .args(["replay", "--format", "json", "--seal", "--endpoint", &address, "--output"])
            .arg(&output)
            .arg("-")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = replaying.stdin.take().unwrap();
        stdin.write_all(&packets).unwrap();
        stdin.flush().unwrap();
        // The pipe stays open: it waits for more.
        let is_read = || {
            let unread = rustix::io::ioctl_fionread(&stdin).unwrap();
            (unread == 0 && are_all_asleep(replaying.id())).then_some(())
        };
        assert!(until(is_read).is_some());
        kill_process(Pid::from_child(&replaying), signal).unwrap();
        let status = until_exit(&mut replaying).expect("it does not end");
        assert_eq!(status.code(), Some(0));
        let events = Events::read_file(&output);
        assert_eq!(events.stop().reason, StopReason::Signal);
        assert_eq!(events.count("request"), count as u64);
        assert_eq!(run(&["verify", output.to_str().unwrap()]).status.code(), Some(0));
    }
}

/// Says whether each thread of a process waits for something.
fn are_all_asleep(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut numbers = threads.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    numbers.all(|number| is_asleep(number.parse().unwrap()))
}

#[test]
fn captures_of_two_hosts_are_replayed_under_their_names() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    let capture = |host: &str, requests: &[&str]| {
        let arguments = ["--output", "a.pcapng", "--max-size", "4KiB", "--endpoint", &address];
        let renamed = |command: &mut Command| {
            use std::os::unix::process::CommandExt;
            let host = host.to_owned();
            // SAFETY: the closure makes two system calls, for the new process alone, and allocates
            // nothing.
            unsafe {
                command.pre_exec(move || {
                    rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWUTS)?;
                    Ok(rustix::system::sethostname(host.as_bytes())?)
                });
            }
        };
        let capturing = Capturing::start_prepared(&arguments, renamed)?;
        ask(&scene, &address, requests);
        let (folder, _) = capturing.stop();
        Some(folder)
    };
    let Some(first) = capture("host-a", &[PUT, GET_V2, GET_V1]) else { return };
    let Some(second) = capture("host-b", &[GET_V1]) else { return };
    // The later ones first, and mixed.
    let mut files = captures(second.path());
    files.extend(captures(first.path()));
    assert!(files.len() > 3, "{files:?}");
    let mut arguments = vec!["replay", "--format", "json", "--endpoint", &address];
    arguments.extend(files.iter().map(|path| path.to_str().unwrap()));
    let events = events(run(&arguments));
    let of = |name: &str| {
        let is_of = |event: &&Event| {
            let host = event.origin.host.as_ref().and_then(|host| host.name.as_deref());
            matches!(event.body, Body::Request(_)) && host == Some(name)
        };
        events.iter().filter(is_of).count()
    };
    assert_eq!((of("host-a"), of("host-b"), events.count("request")), (3, 1, 4), "{events:#?}");
}
