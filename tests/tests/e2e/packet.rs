//! The packet source: a socket in the callers' own network namespace, in place of eBPF programs.

mod agent;
mod interfaces;
mod loss;
mod owners;
mod tags;

use std::fs;
use std::process::Command;

use imds_audit::event::{Attribution, RequestEvent, SourceKind};
use imds_audit::simulator::SERVICE_V4;
use imds_audit_tests::sandbox::with_rights;
use imds_audit_tests::{Setup, TestBed, program, root};
use rustix::thread::CapabilitySet;
use serde_json::{Value, json};

use super::{CLIENT, GET_V1, GET_V2, PUT, SERVICE};

/// The kernel's setting of how much memory the filter and the options of a socket may take.
const FILTER_ROOM: &str = "/proc/sys/net/core/optmem_max";

/// What a container's root has by default, the right to open packet sockets among it.
const OF_A_CONTAINER: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::NET_RAW);

/// Gives the class and the outcome of each request that was reported, in their order.
fn verdicts(mut requests: Vec<RequestEvent>) -> Vec<[&'static str; 2]> {
    requests.sort_by_key(|request| request.time);
    requests.iter().map(|r| [r.imds.class.name(), r.imds.outcome.name()]).collect()
}

#[test]
fn requests_are_reported_with_their_process_and_the_source() {
    let Some(scene) = TestBed::by_packets(&[]) else { return };
    let fallbacks = scene.audit.typed_events().start().fallbacks;
    let is_short = fallbacks.iter().any(|fallback| fallback.name == "status-lines-only");
    // The default before Linux 6.8, and since; between them it depends on the endpoints.
    let room: u32 = fs::read_to_string(FILTER_ROOM).unwrap().trim().parse().unwrap();
    if room <= 20 << 10 || room >= 128 << 10 {
        assert_eq!(is_short, room <= 20 << 10, "{FILTER_ROOM} is {room}: {fallbacks:#?}");
    }
    check(scene);
}

#[test]
fn without_the_right_to_load_programs_packets_are_read_and_the_start_says_so() {
    let setup = Setup::default();
    let scene = TestBed::in_the_clients_network(setup, |command| {
        with_rights(command, OF_A_CONTAINER.union(CapabilitySet::SYS_PTRACE));
    });
    let Some(scene) = scene else { return };
    let start = scene.audit.typed_events().start();
    assert_eq!(start.programs, ["packet-socket"]);
    let reason = |name: &str| {
        let mut fallbacks = start.fallbacks.iter();
        fallbacks.find(|fallback| fallback.name == name).map(|fallback| &*fallback.reason)
    };
    assert!(reason("no-ebpf").is_some_and(|reason| reason.contains("CAP_BPF")), "{start:#?}");
    assert!(reason("own-network-only").is_some(), "{start:#?}");
    check(scene);
}

/// Has a client ask, and asserts that its requests and its process are reported.
fn check(scene: TestBed) {
    let steps = ["tell", "connect", SERVICE];
    let ask = ["send", PUT, "receive", "send", GET_V2, "receive", "send", GET_V1, "receive"];
    // It lives until its requests are reported: one that ends earlier may not be found.
    let caller = scene.start(CLIENT, &[&steps[..], &ask, &["stdin"]].concat());
    let reported = || (scene.audit.requests().len() == 3).then_some(());
    assert!(imds_audit_tests::until(reported).is_some(), "{:#?}", scene.audit.requests());
    let caller = caller.wait();
    assert!(caller.status.success(), "{caller:?}");
    let said: Value = serde_json::from_str(caller.stdout.lines().next().unwrap()).unwrap();
    let findings = scene.finish();
    assert_eq!(findings.classes(), ["v2-token", "v2", "v1"]);
    assert_eq!(findings.verdicts().last(), Some(&("v1", "served")));
    for exchange in &findings.exchanges {
        assert_eq!(exchange.origin.source, Some(SourceKind::Packet), "{exchange:#?}");
        let process = exchange.process();
        assert_eq!(process.attribution, Attribution::SocketOwner, "{process:#?}");
        assert_eq!(json!(process.pid), said["pid"], "{process:#?}");
        assert_eq!(json!(process.args), said["args"], "{process:#?}");
        assert_eq!(json!(process.ancestors[0].pid), said["parent"], "{process:#?}");
    }
}

#[test]
fn without_the_right_to_open_packet_sockets_it_says_what_to_ask_for() {
    let Some(program) = program().filter(|_| root()) else { return };
    for (source, sentences) in [
        ("packet", &["CAP_NET_RAW is missing", "--cap-add NET_RAW"][..]),
        ("auto", &["CAP_NET_RAW is missing", "CAP_BPF"]),
    ] {
        let mut command = Command::new(&program);
        command.args(["run", "--duration", "1s", "--source", source]);
        with_rights(&mut command, CapabilitySet::CHOWN);
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{stderr}");
        for sentence in sentences {
            assert!(stderr.contains(sentence), "{sentence}: {stderr}");
        }
    }
}

#[test]
fn a_check_says_that_packets_take_the_place_of_programs() {
    let Some(program) = program().filter(|_| root()) else { return };
    let mut command = Command::new(&program);
    command.args(["check", "--json"]);
    with_rights(&mut command, OF_A_CONTAINER);
    let output = command.output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!(report["verdict"], "partial");
    let items = report["items"].as_array().unwrap();
    let item = items.iter().find(|item| item["name"] == "packet-source").unwrap();
    assert_eq!(item["status"], "degraded", "{item:#}");
    let consequence = item["consequence"].as_str().unwrap();
    assert!(consequence.contains("this network namespace only"), "{item:#}");
}
