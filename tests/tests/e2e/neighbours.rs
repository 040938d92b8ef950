//! One control group that floods takes nothing from another one.

use std::process;

use imds_audit::event::{Loss, LossUnit};
use imds_audit_tests::{Caller, Cgroup, TestBed, is_asleep, skip, until};
use rustix::process::Signal;

use super::{CLIENT, GET_V1};

/// More requests than the ring below has room for.
const NOISE: u64 = 2_000;
const QUIET: u64 = 30;
const RING: [&str; 2] = ["--ring-size", "262144"];

/// Has a client in a control group ask so often on one connection.
fn ask(scene: &TestBed, group: &Cgroup, address: &str, count: u64) -> Caller {
    let count = count.to_string();
    let steps = ["stdin-line", "connect", address, "times", &count, "send", GET_V1, "receive"];
    let mut client = scene.start(CLIENT, &steps);
    group.adopt(client.pid());
    client.say("go on\n");
    let caller = client.wait();
    assert!(caller.status.success(), "{caller:?}");
    caller
}

/// Adds up the lost requests of a process.
fn lost(losses: &[Loss], pid: u32) -> u64 {
    let requests = losses.iter().filter(|loss| loss.what == LossUnit::Requests);
    let is_of = |loss: &&Loss| loss.process.as_ref().is_some_and(|process| process.pid == pid);
    requests.filter(is_of).map(|loss| loss.count).sum()
}

#[test]
fn one_that_floods_while_the_program_stands_still_leaves_room_for_another() {
    let group = |name| {
        let outer = format!("imds-audit-test-{}-{name}", process::id());
        Cgroup::create(&outer, "caller")
    };
    let Some((scene, address)) = TestBed::alone("json", &RING) else { return };
    let (Some(noisy), Some(quiet)) = (group("noisy"), group("quiet")) else {
        return skip("there is no hierarchy of control groups of version 2 to write to");
    };
    scene.audit.signal(Signal::STOP);
    let flood = ask(&scene, &noisy, &address, NOISE);
    let caller = ask(&scene, &quiet, &address, QUIET);
    scene.audit.signal(Signal::CONT);
    assert!(until(|| is_asleep(scene.audit.pid()).then_some(())).is_some(), "it is never done");
    let TestBed { audit, .. } = scene;
    let report = audit.stop();
    let (requests, losses) = (report.requests(), report.losses());
    let of =
        |pid| requests.iter().filter(|request| request.process.pid == Some(pid)).count() as u64;
    assert_eq!((of(caller.pid), lost(&losses, caller.pid)), (QUIET, 0));
    assert_eq!(of(flood.pid) + lost(&losses, flood.pid), NOISE);
    assert!(lost(&losses, flood.pid) > NOISE / 4, "{}", lost(&losses, flood.pid));
}
