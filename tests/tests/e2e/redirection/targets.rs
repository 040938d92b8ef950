//! Targets and duration of a rehearsal, and its cost for other cgroups.

use imds_audit::event::StopReason;
use imds_audit_tests::sandbox::{Cgroups, in_cgroup, with_cgroups};
use imds_audit_tests::{Cgroup, skip, until};

use super::*;

const ASK: [&str; 5] = ["connect", SERVICE, "send", GET_V1, "receive"];

fn group(name: &str) -> Option<Cgroup> {
    let group = Cgroup::create(&format!("imds-audit-test-{}-{name}", std::process::id()), "inner");
    if group.is_none() {
        skip("there is no hierarchy of control groups of version 2");
    }
    group
}

fn statuses(stage: &TestNetwork) -> Vec<Option<u16>> {
    stage.entries().iter().map(|entry| entry.status).collect()
}

#[test]
fn the_cgroup_of_a_process_is_rehearsed_with_what_else_is_in_it() {
    let Some(stage) = stage() else { return };
    let Some(group) = group("pid") else { return };
    let steps = [&["stdin-line"], &ASK[..], &["stdin"]].concat();
    let (mut named, mut other) = (stage.start(CLIENT, &steps), stage.start(CLIENT, &steps));
    for client in [&named, &other] {
        group.adopt(client.pid());
    }
    let pid = named.pid().to_string();
    let Some(rehearsal) = Rehearsal::start(&stage, &["--pid", &pid], &[]) else { return };
    rehearsal.wait_until_attached();
    named.say("go on\n");
    other.say("go on\n");
    rehearsal.wait_for_requests(2);
    let rehearsed = rehearsal.end_by(Signal::TERM);
    named.wait();
    other.wait();
    assert_eq!(rehearsed.seen(), [("v1", 401, PATH); 2], "{rehearsed:?}");
    assert_eq!(rehearsed.result().target, format!("the cgroup of process {pid}"));
    assert!(stage.entries().is_empty());
    // The largest number that the option takes is of no process.
    let nobody = ["--pid", "4294967295"];
    let missing = Rehearsal::start(&stage, &nobody, &[]).unwrap().wait();
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
    assert!(missing.stderr.contains("process 4294967295 cannot be read"), "{missing:?}");
}

/// In a cgroup namespace of its own the rehearsal has all that it sees for the whole host: no other
/// test is in there.
#[test]
fn the_whole_host_is_rehearsed_with_leave() {
    let Some(stage) = stage() else { return };
    let Some(group) = group("host") else { return };
    let mut client = stage.start(CLIENT, &[&["stdin-line"], &ASK[..], &["stdin"]].concat());
    group.adopt(client.pid());
    let folder = group.folder().to_owned();
    let inside = |command: &mut std::process::Command| in_cgroup(command, &folder);
    let Some(refused) = Rehearsal::start_prepared(&stage, &["--cgroup", "/"], &[], inside) else {
        return;
    };
    let refused = refused.wait();
    assert!(refused.stderr.contains("--whole-host"), "{refused:?}");
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    let rehearsal = Rehearsal::start_prepared(&stage, &["--whole-host"], &[], inside).unwrap();
    rehearsal.wait_until_attached();
    stage.run_well(CLIENT, &ASK);
    assert_eq!(statuses(&stage), [Some(200)], "a process outside of the namespace was refused too");
    client.say("go on\n");
    rehearsal.wait_for_requests(1);
    let rehearsed = rehearsal.end_by(Signal::TERM);
    client.wait();
    assert_eq!(rehearsed.seen(), [("v1", 401, PATH)], "{rehearsed:?}");
    assert_eq!(rehearsed.result().target, "every process that is visible here");
    assert_eq!(rehearsed.status.code(), Some(3), "{rehearsed:?}");
    assert_eq!(stage.entries().len(), 1);
}

#[test]
fn when_the_time_is_over_connects_lead_to_the_service_and_the_command_goes_on() {
    let Some(stage) = stage() else { return };
    let command = [&[CLIENT, "stdin-line"], &ASK[..]].concat();
    let Some(mut rehearsal) = Rehearsal::start(&stage, &["--for", "1s"], &command) else { return };
    assert!(until(|| rehearsal.events().rehearsal()).is_some(), "it goes on");
    rehearsal.say("go on\n");
    let rehearsed = rehearsal.wait();
    assert_eq!(statuses(&stage), [Some(200)], "{rehearsed:?}");
    // The result was written before the command's end, and the program waited for it.
    assert_eq!(rehearsed.result().command.unwrap().exit_status, None, "{rehearsed:?}");
    assert_eq!(rehearsed.status.code(), Some(0), "{rehearsed:?}");
    assert_eq!(rehearsed.reported().command.unwrap().exit_status, Some(0));
    let stop = rehearsed.events.stop();
    assert_eq!(stop.reason, StopReason::Duration, "{stop:#?}");
    // Without a command it is over then.
    let Some(group) = group("for") else { return };
    let path = format!("/imds-audit-test-{}-for", std::process::id());
    let options = ["--cgroup", &path, "--for", "1s"];
    let rehearsed = Rehearsal::start(&stage, &options, &[]).unwrap().wait_for_signal();
    assert_eq!(rehearsed.status.code(), Some(0), "{rehearsed:?}");
    drop(group);
}

#[test]
fn processes_of_other_cgroups_run_no_program_of_the_rehearsal() {
    let Some(stage) = stage() else { return };
    let Some(_counting) = bpf::count_runs() else {
        return skip("the kernel does not count the runs of programs");
    };
    let command = [&[CLIENT, "stdin-line"], &ASK[..], &["stdin"]].concat();
    let Some(mut rehearsal) = Rehearsal::start(&stage, &[], &command) else { return };
    rehearsal.wait_until_attached();
    let runs = |rehearsal: &Rehearsal| -> Vec<(String, u64)> {
        let programs = rehearsal.objects(Kind::Program).into_iter().map(bpf::runs);
        programs
            .filter(|(name, _)| name.starts_with("rehearse") || name.starts_with("peer_name"))
            .collect()
    };
    stage.run_well(CLIENT, &[&["times", "20"], &ASK[..], &["close"]].concat());
    let others = runs(&rehearsal);
    assert_eq!(others.len(), 4, "{others:?}");
    assert!(others.iter().all(|(_, count)| *count == 0), "{others:?}");
    rehearsal.say("go on\n");
    rehearsal.wait_for_requests(1);
    let own = runs(&rehearsal);
    assert!(own.contains(&("rehearse4".to_owned(), 1)), "{own:?}");
    rehearsal.wait();
    assert_eq!(stage.entries().len(), 20);
}

#[test]
fn a_host_with_cgroup_v1_rehearses_commands_and_says_what_it_cannot() {
    let Some(stage) = stage() else { return };
    let command = [&[CLIENT], &ASK[..]].concat();
    let name = format!("imds-audit-no-unit-{}", std::process::id());
    for cgroups in [Cgroups::Version1, Cgroups::Hybrid] {
        let shown = |command: &mut std::process::Command| with_cgroups(command, cgroups);
        let Some(rehearsal) = Rehearsal::start_prepared(&stage, &[], &command, shown) else {
            return;
        };
        let rehearsed = rehearsal.wait();
        assert_eq!(rehearsed.seen(), [("v1", 401, PATH)], "{cgroups:?} {rehearsed:?}");
        assert_eq!(rehearsed.status.code(), Some(3), "{cgroups:?}");
        for (option, value, reason) in [
            ("--unit", name.as_str(), "keeps its units in cgroup v1"),
            ("--container", "ffffffffffff", "runs its containers on cgroup v1"),
        ] {
            let missing = Rehearsal::start_prepared(&stage, &[option, value], &[], shown);
            let missing = missing.unwrap().wait();
            assert_eq!(missing.status.code(), Some(1), "{cgroups:?} {missing:?}");
            assert!(missing.stderr.contains(reason), "{cgroups:?} {missing:?}");
        }
    }
}
