//! Every way to send: a table, one row a case, for each family of addresses.
//!
//! The law of a row: the requests in the service's log are the requests that are reported, each
//! once, with the class and the outcome that the service says it had, and with the process that
//! said of itself that it sends.

use std::net::SocketAddr;

use imds_audit::event::{Attribution, Family, Network, Process, SourceKind};
use imds_audit::simulator::{SERVICE_V4, SERVICE_V6, Topology};
use imds_audit_tests::netem::{spoil, spoilt};
use imds_audit_tests::{Caller, Comparison, TestBed, skip, until};
use io_uring::IoUring;
use serde_json::{Value, json};

use super::{CLIENT, GET_V1, GET_V2, PUT};

/// A request whose token comes last, behind 31 KiB of other headers.
const LONG_V2: &str = "GET /latest/meta-data/instance-id HTTP/1.1\\r\\nHost: imds\\r\\n{padding}\
                       {header}: {token}\\r\\n\\r\\n";

/// Four requests that are sent at once.
const PIPELINE: &str = concat!(
    "GET /latest/meta-data/instance-id HTTP/1.1\\r\\nHost: imds\\r\\n\\r\\n",
    "GET /latest/meta-data/ HTTP/1.1\\r\\nHost: imds\\r\\n{header}: {token}\\r\\n\\r\\n",
    "GET /latest/no-such HTTP/1.1\\r\\nHost: imds\\r\\n\\r\\n",
    "GET /latest/user-data HTTP/1.1\\r\\nHost: imds\\r\\n{header}: {token}\\r\\n\\r\\n",
);

/// What follows the opening of a connection where nothing else is the row's point.
const ASK: [&str; 6] = ["send", PUT, "receive", "send", GET_V2, "receive"];
const ASKED: [&str; 2] = ["v2-token", "v2"];
/// The classes of the same from pages that the client could still change.
const UNPROVEN: [&str; 2] = ["unknown", "unknown"];

/// Whether callers wait for their responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stay {
    Patient,
    Gone,
}
use Stay::{Gone, Patient};

/// Defines a test for each row: its name, the steps of the client, in which `{address}` is the
/// service's, the classes that they make, and whether the client waits for the responses.
macro_rules! rows {
    ($($(#[$meta:meta])* $name:ident: $steps:expr, $classes:expr, $stay:expr;)*) => {
        $($(#[$meta])* #[test] fn $name() {
            check(&$steps.concat(), &$classes.concat(), $stay);
        })*

        /// The same rows with packets in place of eBPF programs.
        ///
        /// What differs: a packet says nothing of the pages that its bytes came from, so that what
        /// its sender may still change is reported as it passed; the process is the owner of the
        /// connection's socket and not whoever wrote; an IPv6 socket that carries IPv4 is not told
        /// from an IPv4 one; and of responses in one packet only the first one's head leaves the
        /// kernel, so that the outcomes of the others are `unobserved`.
        mod by_packets {
            use super::*;

            $($(#[$meta])* #[test] fn $name() {
                check_by_packets(&$steps.concat(), &$classes.concat(), $stay);
            })*
        }
    };
}

/// The first steps of every client.
const OPEN: [&str; 3] = ["tell", "connect", "{address}"];
const VIA: [&str; 2] = ["tell", "via"];
const CONNECT: [&str; 2] = ["connect", "{address}"];

rows! {
    write: [&OPEN[..], &ASK, &["send", GET_V1, "receive"]], [&ASKED[..], &["v1"]], Patient;
    writev_of_vectors_that_cut_every_name:
        [&VIA[..], &["writev"], &CONNECT, &ASK], [ASKED], Patient;
    writev_of_lines: [&VIA[..], &["writev-lines"], &CONNECT, &ASK], [ASKED], Patient;
    send: [&VIA[..], &["send"], &CONNECT, &ASK], [ASKED], Patient;
    sendmsg_of_vectors_that_cut_every_name:
        [&VIA[..], &["sendmsg"], &CONNECT, &ASK], [ASKED], Patient;
    sendmmsg: [&VIA[..], &["sendmmsg"], &CONNECT, &ASK], [ASKED], Patient;
    sendfile: [&VIA[..], &["sendfile"], &CONNECT, &ASK], [UNPROVEN], Patient;
    splice: [&VIA[..], &["splice"], &CONNECT, &ASK], [UNPROVEN], Patient;
    zero_copy: [&VIA[..], &["zerocopy"], &CONNECT, &ASK], [UNPROVEN], Patient;
    sendfile_of_v1: [
        &VIA[..], &["sendfile"], &CONNECT, &["send", GET_V1, "receive"]
    ], [["v1"]], Patient;
    more_to_come: [&VIA[..], &["more"], &CONNECT, &ASK], [ASKED], Patient;
    io_uring: [&VIA[..], &["ring"], &CONNECT, &ASK], [ASKED], Patient;
    io_uring_with_a_polling_thread: [&VIA[..], &["ring-poller"], &CONNECT, &ASK], [ASKED], Patient;
    io_uring_in_a_worker_thread: [&VIA[..], &["ring-worker"], &CONNECT, &ASK], [ASKED], Patient;
    one_byte_at_a_time: [&VIA[..], &["bytes"], &CONNECT, &ASK], [ASKED], Patient;

    tcp_fast_open: [["tell", "fast", "{address}", PUT, "receive", "send", GET_V2, "receive"]],
        [ASKED], Patient;
    multipath_tcp: [&["tell", "multipath", "{address}"][..], &ASK], [ASKED], Patient;

    a_head_of_31_kib_with_the_token_last:
        [&OPEN[..], &["send", PUT, "receive", "send", LONG_V2, "receive"]], [ASKED], Patient;
    a_head_of_31_kib_by_vectors: [
        &VIA[..], &["writev"], &CONNECT, &["send", PUT, "receive", "send", LONG_V2, "receive"]
    ], [ASKED], Patient;
    several_requests_in_one_segment: [
        &OPEN[..], &["send", PUT, "receive"], &["send", PIPELINE],
        &["receive"; 4]
    ], [["v2-token", "v1", "v2", "v1", "v2"]], Patient;
    two_hundred_connections_at_once:
        [["tell", "crowd", "200", "{address}", GET_V1]], [["v1"; 200]], Patient;

    a_child_on_its_parent_s_connection: [
        &OPEN[..], &["send", PUT, "receive", "child", "send", GET_V2, "receive"]
    ], [ASKED], Patient;
    a_process_that_was_handed_the_connection: [
        &OPEN[..], &["send", PUT, "receive", "pass", "send", GET_V2, "receive"]
    ], [ASKED], Patient;
    a_thread_that_is_not_the_leader: [&OPEN[..], &["thread"], &ASK], [ASKED], Patient;
    an_exec_between_connect_and_write: [&OPEN[..], &["exec"], &ASK], [ASKED], Patient;
    an_exec_between_two_requests: [
        &OPEN[..], &["send", PUT, "receive", "exec", "send", GET_V2, "receive"]
    ], [ASKED], Patient;
    a_vfork_child: [
        &OPEN[..], &["send", PUT, "receive", "vfork", GET_V2, "receive", "send", GET_V1, "receive"]
    ], [&ASKED[..], &["v1"]], Patient;
    an_exit_right_after_the_write: [&OPEN[..], &["send", GET_V1]], [["v1"]], Gone;
}

#[test]
fn a_connection_from_before_the_audit() {
    let steps = [&OPEN[..], &["stdin"], &ASK].concat();
    let opened = TestBed::after(|stage| {
        let callers = addresses(stage.network.ipv6()).map(|address| {
            let caller = stage.start(CLIENT, &with_address(&steps, &address));
            (address, caller)
        });
        let callers: Vec<_> = callers.collect();
        let count = u64::try_from(callers.len()).unwrap();
        let accepted = || (stage.service.log().counters().connections == count).then_some(());
        assert!(until(accepted).is_some(), "the callers do not connect");
        callers
    });
    let Some((scene, callers)) = opened else { return };
    let said = callers.into_iter().map(|(address, caller)| (address, said(&caller.wait())));
    let said: Vec<_> = said.collect();
    judge(&scene.finish(), &said, &ASKED, &[Attribution::Writer; 2]);
}

#[test]
fn a_socket_in_a_namespace_that_is_gone_a_moment_later() {
    let Some(scene) = TestBed::new() else { return };
    if scene.network.topology() == Topology::Loopback {
        return skip("this kernel has no virtual Ethernet pairs: the service is in the namespace");
    }
    let address = SocketAddr::from((SERVICE_V4, 80)).to_string();
    let steps = ["stdin", "tell", "connect", &address, "send", GET_V1];
    let client = scene.start(CLIENT, &steps);
    let (findings, caller) = scene.finish_without_network(client, 1);
    judge(&findings, &[(address, said(&caller))], &["v1"], &[Attribution::Writer]);
}

#[test]
fn a_thread_of_the_kernel_that_sends_for_a_process_that_wrote_before() {
    let steps = [&OPEN[..], &["send", PUT, "receive", "redirect", GET_V2, "receive"]].concat();
    let attributions = [Attribution::Writer, Attribution::LastWriter];
    // The kernel moves whole pages from one socket to the other.
    check_attributed(&steps, &["v2-token", "unknown"], Patient, &attributions);
}

#[test]
fn a_thread_of_the_kernel_that_sends_for_a_process_that_only_connected() {
    let steps = [&OPEN[..], &["redirect", GET_V1, "receive"]].concat();
    check_attributed(&steps, &["v1"], Patient, &[Attribution::Connector]);
}

#[test]
#[ignore = "it needs sch_netem, which the kernels of cargo xtask vm have"]
fn over_a_network_that_loses_repeats_and_delays_packets() {
    const TIMES: usize = 8;
    let times = TIMES.to_string();
    let asked = [GET_V1, GET_V2, LONG_V2].map(|request| ["send", request, "receive"]);
    let steps =
        [&OPEN[..], &["send", PUT, "receive", "times", &times], asked.as_flattened()].concat();
    let classes = [&["v2-token"][..], &["v1", "v2", "v2"].repeat(TIMES)].concat();
    let Some(scene) = TestBed::new() else { return };
    let network = &scene.network;
    if let Err(error) = spoil(network.client(), "eth0") {
        return skip(&format!("this kernel has no sch_netem: {error}"));
    }
    spoil(network.service_namespace(), "imds0").unwrap();
    let said = call(&scene, &steps, classes.len());
    let [client, service] =
        [network.client(), network.service_namespace()].map(|namespace| spoilt(namespace).unwrap());
    assert!(client.repeated > 0 && service.repeated > 0, "{client:?} {service:?}");
    assert!(client.overtaken + service.overtaken > 0, "{client:?} {service:?}");
    judge(&scene.finish(), &said, &classes, &vec![Attribution::Writer; classes.len()]);
}

/// Checks a row whose requests are all sent by whom the kernel sees sending.
fn check(steps: &[&str], classes: &[&str], stay: Stay) {
    check_attributed(steps, classes, stay, &vec![Attribution::Writer; classes.len()]);
}

/// Has a client take a row's steps for each family of addresses, and judges what is reported.
fn check_attributed(steps: &[&str], classes: &[&str], stay: Stay, attributions: &[Attribution]) {
    if steps.iter().any(|step| step.starts_with("ring"))
        && let Err(error) = IoUring::new(1)
    {
        return skip(&format!("io_uring is not to be had on this kernel: {error}"));
    }
    let Some(scene) = TestBed::new() else { return };
    let said = call(&scene, steps, classes.len());
    let findings = match stay {
        Patient => scene.finish(),
        Gone => scene.finish_without_readers(),
    };
    judge(&findings, &said, classes, attributions);
}

/// As [`check_attributed`], with a program that sees packets.
fn check_by_packets(steps: &[&str], classes: &[&str], stay: Stay) {
    if steps.iter().any(|step| step.starts_with("ring"))
        && let Err(error) = IoUring::new(1)
    {
        return skip(&format!("io_uring is not to be had on this kernel: {error}"));
    }
    let Some(scene) = TestBed::by_packets(&[]) else { return };
    let said = call(&scene, steps, classes.len());
    // Of responses that the service's kernel merges into one packet the first alone is read.
    let may_merge = steps.contains(&PIPELINE);
    let findings = match stay {
        Patient if !may_merge => scene.finish(),
        _ => scene.finish_without_readers(),
    };
    let classes = if classes == UNPROVEN { &ASKED } else { classes };
    let expected: Vec<&str> = said.iter().flat_map(|_| classes).copied().collect();
    let seen: Vec<_> = findings.verdicts().into_iter().map(|(class, _)| class).collect();
    assert_eq!(seen, expected);
    assert_eq!(findings.connections, [], "connections without a request");
    for (exchanges, (address, senders)) in findings.exchanges.chunks(classes.len()).zip(&said) {
        let address: SocketAddr = address.parse().unwrap();
        for exchange in exchanges {
            assert_eq!(exchange.origin.source, Some(SourceKind::Packet));
            assert_eq!(exchange.request.network.family, family(address), "{exchange:#?}");
            match exchange.process().attribution {
                Attribution::SocketOwner => {
                    let owners =
                        senders.iter().flat_map(|sender| [&sender["pid"], &sender["parent"]]);
                    let owners: Vec<_> = owners.map(Value::as_u64).collect();
                    assert!(
                        owners.contains(&exchange.pid().map(u64::from)),
                        "{owners:?} {exchange:#?}"
                    );
                }
                Attribution::Unknown => assert_eq!(exchange.pid(), None),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Has a client take steps that make so many requests, for each family of addresses, and gives who
/// it says it was.
fn call(scene: &TestBed, steps: &[&str], requests: usize) -> Vec<(String, Vec<Value>)> {
    addresses(scene.network.ipv6())
        .map(|address| {
            let before = scene.entries().len();
            let caller = scene.run_well(CLIENT, &with_address(steps, &address));
            // The service reads the callers' requests in the order of the callers.
            scene.wait_for_entries(before + requests);
            (address, said(&caller))
        })
        .collect()
}

/// The service's addresses: of IPv4, of IPv6, and of IPv4 over a socket of IPv6.
fn addresses(ipv6: bool) -> impl Iterator<Item = String> {
    let all = [
        SocketAddr::from((SERVICE_V4, 80)),
        SocketAddr::from((SERVICE_V6, 80)),
        SocketAddr::from((SERVICE_V4.to_ipv6_mapped(), 80)),
    ];
    if !ipv6 {
        skip("this kernel has no IPv6; the rows run with IPv4 alone");
    }
    all.into_iter().filter(move |address| ipv6 || address.is_ipv4()).map(|a| a.to_string())
}

fn with_address<'a>(steps: &[&'a str], address: &'a str) -> Vec<&'a str> {
    steps.iter().map(|step| if *step == "{address}" { address } else { step }).collect()
}

/// Reads who a client said it is, a line for each text that was sent.
fn said(caller: &Caller) -> Vec<Value> {
    assert!(caller.status.success(), "{caller:?}");
    caller.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Compares each request with what its sender said of itself. Where fewer texts were sent than
/// requests, several were in the last one.
fn judge(
    findings: &Comparison,
    said: &[(String, Vec<Value>)],
    classes: &[&str],
    attributions: &[Attribution],
) {
    let expected: Vec<&str> = said.iter().flat_map(|_| classes).copied().collect();
    let seen: Vec<_> = findings.verdicts().into_iter().map(|(class, _)| class).collect();
    assert_eq!(seen, expected);
    assert_eq!(findings.connections, [], "connections without a request");
    for (exchanges, (address, senders)) in findings.exchanges.chunks(classes.len()).zip(said) {
        let address: SocketAddr = address.parse().unwrap();
        let senders = senders.iter().chain(std::iter::repeat(senders.last().unwrap()));
        for ((exchange, sender), attribution) in exchanges.iter().zip(senders).zip(attributions) {
            assert_eq!(who(exchange.process()), *sender, "{address} {exchange:#?}");
            assert_eq!(exchange.process().attribution, *attribution, "{exchange:#?}");
            let Network { family, mapped, .. } = exchange.request.network;
            assert_eq!(family, self::family(address), "{exchange:#?}");
            assert_eq!(mapped, address.ip().to_canonical() != address.ip(), "{exchange:#?}");
        }
    }
}

/// Gives the family of the packets of a connection to an address.
fn family(address: SocketAddr) -> Family {
    if address.ip().to_canonical().is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }
}

/// Gives of a reported process what a sender says of itself.
fn who(process: &Process) -> Value {
    json!({
        "pid": process.pid,
        "tid": process.tid,
        "parent": process.ancestors[0].pid,
        "name": process.name,
        "thread": process.thread_name.as_ref().or(process.name.as_ref()),
        "args": process.args,
    })
}
