//! Unloading: nothing is left in the kernel when the program is gone.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;

use imds_audit_tests::bpf::{Kind, is_there};
use imds_audit_tests::{TestBed, until};
use rustix::process::Signal;

use super::{CLIENT, GET_V1, SERVICE};

/// The eBPF programs, each with its link.
const PROGRAMS: usize = 5;

#[test]
fn a_program_that_is_told_to_end_leaves_nothing_behind() {
    leaves_nothing_behind(Signal::TERM);
}

#[test]
fn a_program_that_is_killed_leaves_nothing_behind() {
    leaves_nothing_behind(Signal::KILL);
}

fn leaves_nothing_behind(signal: Signal) {
    let Some(scene) = TestBed::new() else { return };
    let ask = ["connect", SERVICE, "send", GET_V1, "receive"];
    scene.run_well(CLIENT, &ask);
    scene.wait_for_events(1);
    let TestBed { stage, audit } = scene;
    let held = held(audit.pid());
    let count = |kind| held.iter().filter(|(other, _)| *other == kind).count();
    assert_eq!((count(Kind::Program), count(Kind::Link)), (PROGRAMS, PROGRAMS), "{held:?}");
    assert!(count(Kind::Map) > 0, "{held:?}");
    let left = || held.iter().copied().filter(|&(kind, id)| is_there(kind, id).unwrap());
    assert_eq!(left().count(), held.len(), "all are there as long as the program is");
    audit.signal(signal);
    audit.wait();
    // The kernel lets go of some of them later, when no processor can be using them any more.
    let is_gone = until(|| left().next().is_none().then_some(()));
    assert!(is_gone.is_some(), "still there: {:?}", left().collect::<Vec<_>>());
    // And nobody is in the way of the others' packets.
    stage.run_well(CLIENT, &ask);
    assert_eq!(stage.entries().len(), 2);
}

/// Says what a process holds in the kernel, as its open descriptors tell (`proc_pid_fdinfo(5)`).
pub(super) fn held(pid: u32) -> BTreeSet<(Kind, u32)> {
    let mut held = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap() {
        // A descriptor may be closed in between.
        let information = match fs::read_to_string(entry.unwrap().path()) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            information => information.unwrap(),
        };
        let of = |name: &str| -> Option<u32> {
            let line = information.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim().parse().unwrap())
        };
        // A link tells its program too.
        let [link, map, program] = ["link_id:", "map_id:", "prog_id:"].map(of);
        held.extend(link.map(|id| (Kind::Link, id)));
        held.extend(map.map(|id| (Kind::Map, id)));
        held.extend(program.map(|id| (Kind::Program, id)));
    }
    held
}
