//! A hanging root file system (FUSE).

use imds_audit::event::{Loss, LossUnit};
use imds_audit_tests::{HangingFs, TestBed, skip, until};

use super::{CLIENT, GET_V1};

/// Ends the audit, which has lost some of what procfs adds to processes, and nothing else.
fn assert_lost_in_procfs_alone(scene: TestBed) {
    let TestBed { audit, .. } = scene;
    let report = audit.stop();
    assert_eq!(report.code(), Some(0), "{report:#?}");
    let losses = report.losses();
    let is_of_procfs = |loss: &Loss| loss.reason == "procfs" && loss.what == LossUnit::Processes;
    assert!(!losses.is_empty() && losses.iter().all(is_of_procfs), "{report:#?}");
}

#[test]
fn a_root_folder_that_never_answers_holds_up_nothing() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    let Some(trap) = HangingFs::set() else { return skip("this kernel has no FUSE") };
    let root = trap.root();
    let request = ["connect", &address, "send", GET_V1, "receive"];
    // Both live until they are looked at.
    let request = [&request[..], &["stdin"]].concat();
    let steps = [&["root", root.to_str().unwrap()], &request[..]].concat();
    let trapped = scene.start(CLIENT, &steps);
    let walked_in = until(|| (trap.victims() > 0).then_some(()));
    assert!(walked_in.is_some(), "{trap:?} {:#?}", scene.typed_events());
    // The program looks for the user's name there, gets no answer, and goes on.
    scene.wait_for_events(1);
    let other = scene.start(CLIENT, &request);
    scene.wait_for_events(2);
    let other = other.wait();
    assert!(other.status.success(), "{other:?}");
    let requests = scene.requests();
    let (first, second) = (&requests[0].process, &requests[1].process);
    assert_eq!((first.pid, first.user.as_deref()), (Some(trapped.pid()), None));
    let arguments = first.args.as_ref().unwrap();
    assert_eq!(arguments[1], "root", "what the eBPF programs report is there");
    assert_eq!((second.pid, second.user.as_deref()), (Some(other.pid), Some("root")));
    assert_eq!(second.args.as_ref(), Some(&other.arguments));
    drop(trap);
    assert!(trapped.wait().status.success());
    assert_lost_in_procfs_alone(scene);
}

#[test]
fn many_processes_in_a_hanging_root_cost_nobody_elses_description() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    let Some(trap) = HangingFs::set() else { return skip("this kernel has no FUSE") };
    let root = trap.root();
    let request = ["connect", &address, "send", GET_V1, "receive", "stdin"];
    let steps = [&["root", root.to_str().unwrap()], &request[..]].concat();
    // More than there are threads to wait there.
    let trapped: Vec<_> = (0..40).map(|_| scene.start(CLIENT, &steps)).collect();
    scene.wait_for_events(trapped.len());
    let others: Vec<_> = (0..3).map(|_| scene.start(CLIENT, &request)).collect();
    scene.wait_for_events(trapped.len() + others.len());
    let requests = scene.requests();
    let of = |pid: u32| {
        let mut processes = requests.iter().map(|request| &request.process);
        processes.find(|process| process.pid == Some(pid)).unwrap()
    };
    for running in &trapped {
        let process = of(running.pid());
        assert_eq!((&*process.args.as_ref().unwrap()[1], &process.user), ("root", &None));
        // Only the name comes from the trap; the rest is the process's own.
        assert!(process.exe.as_ref().unwrap().starts_with('/'), "{process:#?}");
        assert!(process.responsible.is_some(), "{process:#?}");
    }
    for running in &others {
        let process = of(running.pid());
        assert_eq!(process.user.as_deref(), Some("root"), "{process:#?}");
        assert!(process.exe.as_ref().unwrap().starts_with('/'), "{process:#?}");
        assert!(process.ancestors[0].args.is_some(), "{process:#?}");
    }
    drop(trap);
    for running in trapped.into_iter().chain(others) {
        assert!(running.wait().status.success());
    }
    assert_lost_in_procfs_alone(scene);
}
