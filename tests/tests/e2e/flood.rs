//! A process that never reaches the service takes nothing from the others.

use std::net::{SocketAddr, TcpStream};
use std::{process, thread};

use imds_audit_tests::{TestBed, until};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde_json::Value;

use super::{CLIENT, GET_V1};

/// More connections than the program follows at once.
const CONNECTS: u64 = 20_000;

/// Connects without success, from a network namespace without a route.
fn flood(address: &str) {
    let address: SocketAddr = address.parse().unwrap();
    let flooder = thread::spawn(move || {
        // SAFETY: the thread leaves its network namespace alone, and ends here.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
        for _ in 0..CONNECTS {
            TcpStream::connect(address).unwrap_err();
        }
    });
    flooder.join().unwrap();
}

fn of_kind<'e>(events: &'e [Value], kind: &str) -> Vec<&'e Value> {
    events.iter().filter(|event| event["kind"] == kind).collect()
}

#[test]
fn a_caller_keeps_its_process_through_a_flood_that_never_reaches_the_service() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    let ask = ["send", GET_V1, "receive", "send", GET_V1, "receive"];
    let steps = [&["connect", &address], &ask[..], &["stdin-line"], &ask[..], &["stdin"]].concat();
    let mut caller = scene.start(CLIENT, &steps);
    let requests = || of_kind(&scene.audit.events(), "request").len();
    assert!(until(|| (requests() == 2).then_some(())).is_some(), "{} requests", requests());
    flood(&address);
    caller.say("\n");
    assert!(until(|| (requests() == 4).then_some(())).is_some(), "{} requests", requests());
    let caller = caller.wait();
    assert!(caller.status.success(), "{caller:?}");
    let TestBed { audit, .. } = scene;
    let events = audit.stop().events();
    let requests = of_kind(&events, "request");
    assert_eq!(requests.len(), 4);
    for request in &requests {
        assert_eq!(request["imds"]["outcome"], "served", "{request:#}");
        assert_eq!(request["process"]["pid"], caller.pid);
        assert_eq!(request["process"]["args"], requests[0]["process"]["args"], "{request:#}");
        assert!(request["process"]["args"].is_array(), "{request:#}");
        assert!(!request["process"]["ancestors"].as_array().unwrap().is_empty(), "{request:#}");
        assert_eq!(request["caller"], requests[0]["caller"]);
    }
    // Each connect is in the count of an event, or was lost on its way and counted.
    let connections = of_kind(&events, "connection");
    let count = |event: &&Value| event["connection"]["count"].as_u64().unwrap_or(1);
    let counted: u64 = connections.iter().map(count).sum();
    let losses: Vec<_> = of_kind(&events, "loss").into_iter().map(|e| &e["loss"]).collect();
    let lost = losses.iter().filter(|loss| loss["reason"] == "connect");
    let lost: u64 = lost.filter_map(|loss| loss["count"].as_u64()).sum();
    assert_eq!(counted + lost, CONNECTS, "{connections:#?} {losses:#?}");
    assert!(connections.len() <= 4, "{connections:#?}");
    for loss in losses {
        assert_eq!(loss["process"]["pid"], process::id(), "others lose nothing: {loss:#}");
    }
    assert_eq!(events.last().unwrap()["totals"]["connections"], counted);
}

#[test]
fn fail_on_loss_fails_after_a_loss() {
    let arguments = ["--fail-on", "loss", "--ring-size", "4096"];
    let Some((scene, address)) = TestBed::alone("json", &arguments) else { return };
    flood(&address);
    let TestBed { audit, .. } = scene;
    let report = audit.stop();
    assert!(!of_kind(&report.events(), "loss").is_empty(), "{report:#?}");
    assert_eq!(report.code(), Some(3), "{report:#?}");
}

#[test]
fn fail_on_loss_does_not_fail_without_one() {
    let Some((scene, address)) = TestBed::alone("json", &["--fail-on", "loss"]) else { return };
    scene.run_well(CLIENT, &["connect", &address, "send", GET_V1, "receive"]);
    let TestBed { audit, .. } = scene;
    let report = audit.stop();
    assert_eq!(report.code(), Some(0), "{report:#?}");
}
