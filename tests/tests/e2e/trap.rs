//! A caller of whom not everything can be found out.

use imds_audit_tests::{Scene, Trap, kinds, skip, until};
use serde_json::json;

use super::{CLIENT, GET_V1};

#[test]
fn a_root_folder_that_never_answers_holds_up_nothing() {
    let Some((scene, address)) = Scene::alone("json", &[]) else { return };
    let Some(trap) = Trap::set() else { return skip("this kernel has no FUSE") };
    let root = trap.root();
    let request = ["connect", &address, "send", GET_V1, "receive"];
    // Both live until they are looked at.
    let request = [&request[..], &["stdin"]].concat();
    let steps = [&["root", root.to_str().unwrap()], &request[..]].concat();
    let trapped = scene.start(CLIENT, &steps);
    let walked_in = until(|| (trap.victims() > 0).then_some(()));
    assert!(walked_in.is_some(), "{trap:?} {:#?}", scene.events());
    // The program looks for the user's name there, in vain, and goes on.
    scene.wait_for_events(1);
    let other = scene.start(CLIENT, &request);
    scene.wait_for_events(2);
    let other = other.wait();
    assert!(other.status.success(), "{other:?}");
    let events = scene.events();
    let (first, second) = (&events[0]["process"], &events[1]["process"]);
    assert_eq!((&first["pid"], &first["user"]), (&json!(trapped.pid()), &json!(null)));
    assert_eq!(first["args"][1], "root", "what the kernel half tells is there");
    assert_eq!((&second["pid"], &second["user"]), (&json!(other.pid), &json!("root")));
    assert_eq!(second["args"], json!(other.arguments));
    drop(trap);
    assert!(trapped.wait().status.success());
    let Scene { audit, .. } = scene;
    let report = audit.stop();
    assert_eq!(report.code(), Some(0), "{report:#?}");
    let events = report.events();
    let losses: Vec<_> = events.iter().filter(|event| event["kind"] == "loss").collect();
    assert!(!losses.is_empty(), "{:?}", kinds(&events));
    assert!(losses.iter().all(|event| event["loss"]["reason"] == "procfs"), "{losses:#?}");
    assert!(losses.iter().all(|event| event["loss"]["what"] == "processes"), "{losses:#?}");
}
