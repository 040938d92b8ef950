//! A hanging root file system (FUSE).

use imds_audit_tests::{HangingFs, TestBed, kinds, skip, until};
use serde_json::json;

use super::{CLIENT, GET_V1};

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
    assert!(walked_in.is_some(), "{trap:?} {:#?}", scene.events());
    // The program looks for the user's name there, gets no answer, and goes on.
    scene.wait_for_events(1);
    let other = scene.start(CLIENT, &request);
    scene.wait_for_events(2);
    let other = other.wait();
    assert!(other.status.success(), "{other:?}");
    let events = scene.events();
    let (first, second) = (&events[0]["process"], &events[1]["process"]);
    assert_eq!((&first["pid"], &first["user"]), (&json!(trapped.pid()), &json!(null)));
    assert_eq!(first["args"][1], "root", "what the eBPF programs report is there");
    assert_eq!((&second["pid"], &second["user"]), (&json!(other.pid), &json!("root")));
    assert_eq!(second["args"], json!(other.arguments));
    drop(trap);
    assert!(trapped.wait().status.success());
    let TestBed { audit, .. } = scene;
    let report = audit.stop();
    assert_eq!(report.code(), Some(0), "{report:#?}");
    let events = report.events();
    let losses: Vec<_> = events.iter().filter(|event| event["kind"] == "loss").collect();
    assert!(!losses.is_empty(), "{:?}", kinds(&events));
    assert!(losses.iter().all(|event| event["loss"]["reason"] == "procfs"), "{losses:#?}");
    assert!(losses.iter().all(|event| event["loss"]["what"] == "processes"), "{losses:#?}");
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
    let events = scene.events();
    let of = |pid: u32| {
        let mut events = events.iter().map(|event| &event["process"]);
        events.find(|process| process["pid"] == json!(pid)).unwrap()
    };
    for running in &trapped {
        let process = of(running.pid());
        assert_eq!((&process["args"][1], &process["user"]), (&json!("root"), &json!(null)));
        // Only the name comes from the trap; the rest is the process's own.
        assert!(process["exe"].as_str().unwrap().starts_with('/'), "{process:#}");
        assert!(!process["responsible"].is_null(), "{process:#}");
    }
    for running in &others {
        let process = of(running.pid());
        assert_eq!(process["user"], "root", "{process:#}");
        assert!(process["exe"].as_str().unwrap().starts_with('/'), "{process:#}");
        assert!(!process["ancestors"][0]["args"].is_null(), "{process:#}");
    }
    drop(trap);
    for running in trapped.into_iter().chain(others) {
        assert!(running.wait().status.success());
    }
    let TestBed { audit, .. } = scene;
    let report = audit.stop();
    assert_eq!(report.code(), Some(0), "{report:#?}");
    let events = report.events();
    let losses = events.iter().filter(|event| event["kind"] == "loss");
    let reasons: Vec<_> = losses.map(|event| event["loss"]["reason"].clone()).collect();
    assert!(reasons.iter().all(|reason| reason == "procfs"), "{reasons:?}");
    assert!(!reasons.is_empty());
}
