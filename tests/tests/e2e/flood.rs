//! A process that never reaches the service takes nothing from the others.

use std::net::{SocketAddr, TcpStream};
use std::{process, thread};

use imds_audit::event::Outcome;
use imds_audit_tests::{TestBed, until};
use rustix::thread::{UnshareFlags, unshare_unsafe};

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

#[test]
fn a_caller_keeps_its_process_through_a_flood_that_never_reaches_the_service() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    let ask = ["send", GET_V1, "receive", "send", GET_V1, "receive"];
    let steps = [&["connect", &address], &ask[..], &["stdin-line"], &ask[..], &["stdin"]].concat();
    let mut caller = scene.start(CLIENT, &steps);
    let requests = || scene.audit.requests().len();
    assert!(until(|| (requests() == 2).then_some(())).is_some(), "{} requests", requests());
    flood(&address);
    caller.say("\n");
    assert!(until(|| (requests() == 4).then_some(())).is_some(), "{} requests", requests());
    let caller = caller.wait();
    assert!(caller.status.success(), "{caller:?}");
    let TestBed { audit, .. } = scene;
    let report = audit.stop();
    let requests = report.requests();
    assert_eq!(requests.len(), 4);
    for request in &requests {
        assert_eq!(request.imds.outcome, Outcome::Served, "{request:#?}");
        assert_eq!(request.process.pid, Some(caller.pid));
        assert_eq!(request.process.args.as_ref(), Some(&caller.arguments), "{request:#?}");
        assert!(!request.process.ancestors.is_empty(), "{request:#?}");
        assert_eq!(request.caller, requests[0].caller);
    }
    // Each connect is in the count of an event, or was lost on its way and counted.
    let connections = report.connections();
    let counted: u64 = connections.iter().map(|event| event.connection.count).sum();
    let losses = report.losses();
    let lost = losses.iter().filter(|loss| loss.reason == "connect");
    let lost: u64 = lost.map(|loss| loss.count).sum();
    assert_eq!(counted + lost, CONNECTS, "{connections:#?} {losses:#?}");
    assert!(connections.len() <= 4, "{connections:#?}");
    for loss in losses {
        let loser = loss.process.as_ref().map(|process| process.pid);
        assert_eq!(loser, Some(process::id()), "others lose nothing: {loss:#?}");
    }
    assert_eq!(report.stop().totals.connections, counted);
}

#[test]
fn fail_on_loss_fails_after_a_loss() {
    let arguments = ["--fail-on", "loss", "--ring-size", "4096"];
    let Some((scene, address)) = TestBed::alone("json", &arguments) else { return };
    flood(&address);
    let TestBed { audit, .. } = scene;
    let report = audit.stop();
    assert!(!report.losses().is_empty(), "{report:#?}");
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
