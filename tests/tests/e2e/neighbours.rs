//! One control group that floods takes nothing from another one.

use std::process;

use imds_audit_tests::{Caller, Cgroup, TestBed, is_asleep, skip, until};
use rustix::process::Signal;
use serde_json::Value;

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
fn lost(events: &[Value], pid: u32) -> u64 {
    let losses = events.iter().filter(|event| event["loss"]["what"] == "requests");
    let of_process = losses.filter(|event| event["loss"]["process"]["pid"] == pid);
    of_process.map(|event| event["loss"]["count"].as_u64().unwrap()).sum()
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
    let events = audit.stop().events();
    let requests = events.iter().filter(|event| event["kind"] == "request");
    let of =
        |pid: u32| requests.clone().filter(|event| event["process"]["pid"] == pid).count() as u64;
    assert_eq!((of(caller.pid), lost(&events, caller.pid)), (QUIET, 0));
    assert_eq!(of(flood.pid) + lost(&events, flood.pid), NOISE);
    assert!(lost(&events, flood.pid) > NOISE / 4, "{}", lost(&events, flood.pid));
}
