//! Connects of a rehearsed cgroup, and of others beside it: what the kernel does, with a client that
//! every kernel's test machine has.

use imds_audit::event::{Class, RehearsalVerdict};
use imds_audit::simulator::{HttpTokens, Topology};
use imds_audit_tests::bpf::{self, Kind};
use imds_audit_tests::{Rehearsal, TestNetwork, root};
use rustix::process::Signal;

use super::{CLIENT, GET_V1, GET_V2, PATH, PUT, SERVICE, TOKEN_PATH};

mod faults;
mod networks;
mod targets;

/// The service's IPv6 address, and its IPv4 address as an IPv6 socket takes it.
const SERVICE_V6: &str = "[fd00:ec2::254]:80";
const MAPPED: &str = "[::ffff:169.254.169.254]:80";

fn stage() -> Option<TestNetwork> {
    root().then(|| TestNetwork::new(Topology::Direct, None))
}

#[test]
fn requests_without_a_token_are_refused_and_never_reach_the_service() {
    let Some(stage) = stage() else { return };
    for address in [SERVICE, MAPPED, SERVICE_V6] {
        if address == SERVICE_V6 && !stage.network.ipv6() {
            continue;
        }
        let before = stage.entries().len();
        let command = [
            CLIENT, "connect", address, "send", GET_V1, "receive", "send", PUT, "receive", "send",
            GET_V2, "receive",
        ];
        let Some(rehearsed) = Rehearsal::of_command(&stage, &[], &command) else { return };
        assert!(rehearsed.status.success(), "{rehearsed:?}");
        assert_eq!(
            rehearsed.seen(),
            [("v1", 401, PATH), ("v2-token", 200, TOKEN_PATH), ("v2", 200, PATH)],
            "{address}"
        );
        assert_eq!(rehearsed.verdicts(), ["adapts"], "{rehearsed:?}");
        let targets: Vec<_> = stage
            .entries()
            .into_iter()
            .skip(before)
            .map(|entry| (entry.method, entry.target))
            .collect();
        let expected =
            [("PUT", TOKEN_PATH), ("GET", PATH)].map(|(m, t)| (m.to_owned(), t.to_owned()));
        assert_eq!(targets, expected, "{address}");
        assert!(rehearsed.events.iter().all(|event| event.origin.rehearsal), "{rehearsed:?}");
        for request in rehearsed.events.requests() {
            // The endpoint that the caller meant, not the front.
            let meant = if address == SERVICE_V6 { SERVICE_V6 } else { SERVICE };
            assert_eq!(request.imds.endpoint, meant, "{request:#?}");
            assert_eq!(request.network.mapped, address == MAPPED, "{request:#?}");
        }
        assert_eq!(rehearsed.result().redirected, 1);
    }
}

#[test]
fn a_caller_that_never_requests_a_token_breaks_and_does_so_for_real() {
    let Some(stage) = stage() else { return };
    let command = [CLIENT, "connect", SERVICE, "send", GET_V1, "receive"];
    let Some(rehearsed) = Rehearsal::of_command(&stage, &[], &command) else { return };
    assert_eq!(rehearsed.verdicts(), ["breaks"], "{rehearsed:?}");
    assert_eq!(rehearsed.status.code(), Some(3), "{rehearsed:?}");
    assert!(stage.entries().is_empty(), "{:?}", stage.entries());
    stage.service.set_http_tokens(HttpTokens::Required);
    stage.run_well(CLIENT, &command[1..]);
    let statuses: Vec<_> = stage.entries().iter().map(|entry| entry.status).collect();
    assert_eq!(statuses, [Some(401)]);
}

#[test]
fn processes_of_other_cgroups_in_the_same_network_reach_the_service() {
    let Some(stage) = stage() else { return };
    let command = [CLIENT, "connect", SERVICE, "send", GET_V1, "receive", "stdin"];
    let Some(rehearsal) = Rehearsal::start(&stage, &[], &command) else { return };
    rehearsal.wait_until_attached();
    stage.run_well(CLIENT, &["connect", SERVICE, "send", GET_V1, "receive"]);
    let statuses: Vec<_> = stage.entries().iter().map(|entry| entry.status).collect();
    assert_eq!(statuses, [Some(200)], "the other process was refused too");
    let rehearsed = rehearsal.wait();
    assert_eq!(rehearsed.seen(), [("v1", 401, PATH)]);
    assert_eq!(stage.entries().len(), 1);
}

#[test]
fn a_running_cgroup_is_rehearsed_and_its_open_connections_are_left_alone() {
    let Some(stage) = stage() else { return };
    let name = format!("imds-audit-test-{}-target", std::process::id());
    let Some(group) = imds_audit_tests::Cgroup::create(&name, "inner") else {
        return imds_audit_tests::skip("there is no hierarchy of control groups of version 2");
    };
    let mut client = stage.start(
        CLIENT,
        &[
            "connect",
            SERVICE,
            "send",
            GET_V1,
            "receive",
            "stdin-line",
            "send",
            GET_V1,
            "receive",
            "close",
            "connect",
            SERVICE,
            "send",
            GET_V1,
            "receive",
            "stdin",
        ],
    );
    stage.wait_for_entries(1);
    group.adopt(client.pid());
    let path = format!("/{name}");
    let Some(rehearsal) = Rehearsal::start(&stage, &["--cgroup", &path], &[]) else { return };
    rehearsal.wait_until_attached();
    // A second rehearsal of the same, or of what is below it, is refused.
    for path in [path.clone(), format!("{path}/inner")] {
        let second = Rehearsal::start(&stage, &["--cgroup", &path], &[]).unwrap().wait();
        assert!(second.stderr.contains("being rehearsed"), "{second:?}");
        assert_eq!(second.status.code(), Some(4), "{second:?}");
    }
    client.say("go on\n");
    rehearsal.wait_for_requests(2);
    let rehearsed = rehearsal.end_by(Signal::TERM);
    client.wait();
    assert_eq!(rehearsed.seen(), [("v1", 200, PATH), ("v1", 401, PATH)], "{rehearsed:?}");
    assert_eq!(rehearsed.result().open_before, 1, "{rehearsed:?}");
    let caller = &rehearsed.result().callers[0];
    assert_eq!((caller.verdict, caller.unrehearsed), (RehearsalVerdict::Breaks, 1));
    assert_eq!(rehearsed.status.code(), Some(3));
    assert_eq!(stage.entries().len(), 2);
}

#[test]
fn the_root_cgroup_is_refused_without_leave() {
    let Some(stage) = stage() else { return };
    let Some(rehearsal) = Rehearsal::start(&stage, &["--cgroup", "/"], &[]) else { return };
    let refused = rehearsal.wait();
    assert!(refused.stderr.contains("--whole-host"), "{refused:?}");
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
}

#[test]
fn a_token_response_arrives_no_further_than_the_rehearsed_hop_limit() {
    if !root() {
        return;
    }
    let stage = TestNetwork::new(Topology::Routed, None);
    if stage.network.topology() != Topology::Routed {
        return imds_audit_tests::skip("there are no virtual Ethernet pairs");
    }
    stage.service.set_hop_limit(2.try_into().unwrap());
    let ask = [CLIENT, "connect", SERVICE, "send", PUT, "receive", "send", GET_V2, "receive"];
    let Some(near) = Rehearsal::of_command(&stage, &["--hop-limit", "2"], &ask) else { return };
    assert_eq!(near.verdicts(), ["adapts"], "{near:?}");
    let requests = near.events.requests();
    let token = requests.iter().find(|request| request.imds.class == Class::V2Token).unwrap();
    assert_eq!(token.network.response_ttl, Some(1), "{token:#?}");
    // The answer is kept back, and the caller waits as it would for one that died on the way.
    let ask = ["timeout", "2", CLIENT, "connect", SERVICE, "send", PUT, "receive"];
    let far = Rehearsal::of_command(&stage, &["--hop-limit", "1"], &ask).unwrap();
    assert_eq!(far.verdicts(), ["breaks"], "{far:?}");
    assert_eq!(far.seen(), [("v2-token", 0, TOKEN_PATH)], "{far:?}");
    assert_eq!(far.status.code(), Some(3));
    // For real.
    stage.service.set_hop_limit(1.try_into().unwrap());
    let real = stage.run("timeout", &ask[1..]);
    assert_eq!(real.status.code(), Some(124), "{real:?}");
}

#[test]
fn the_command_s_exit_status_is_the_program_s() {
    let Some(stage) = stage() else { return };
    let ask = [CLIENT, "connect", SERVICE, "send", PUT, "receive", "send", GET_V2, "receive"];
    let command = [&["sh", "-c", "\"$@\" && exit 7", "sh"], &ask[..]].concat();
    let Some(rehearsed) = Rehearsal::of_command(&stage, &[], &command) else { return };
    assert_eq!(rehearsed.status.code(), Some(7), "{rehearsed:?}");
    assert_eq!(rehearsed.result().command.unwrap().exit_status, Some(7));
    let reported = rehearsed.reported();
    assert_eq!(reported.command.unwrap().exit_status, Some(7));
}

#[test]
fn a_disabled_endpoint_refuses_everything() {
    let Some(stage) = stage() else { return };
    let command = [CLIENT, "connect", SERVICE, "send", PUT, "receive"];
    let Some(rehearsed) = Rehearsal::of_command(&stage, &["--disabled"], &command) else { return };
    assert_eq!(rehearsed.seen(), [("v2-token", 403, TOKEN_PATH)]);
    assert_eq!(rehearsed.verdicts(), ["breaks"]);
    assert!(stage.entries().is_empty());
}
