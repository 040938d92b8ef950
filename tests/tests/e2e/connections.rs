//! Connections: every way to open, use and close one.

use std::net::SocketAddr;

use imds_audit::event::{ConnectionFate, Family, Outcome, UnknownReason};
use imds_audit::simulator::{
    Framing, HopLimit, HttpTokens, ResponseVersion, SERVICE_V4, Style, TokenMode, Topology,
};
use imds_audit_tests::{Listener, TestBed, own_port, python, skip};

use super::{CLIENT, GET_V1, GET_V2, PATH, PUT, SERVICE, TOKEN_PATH};

#[test]
fn a_python_socket_of_ipv6_that_carries_ipv4_is_reported_as_mapped() {
    let Some(scene) = TestBed::new() else { return };
    let Some(python) = python("IMDS_AUDIT_PYTHON_CURRENT") else { return };
    if !scene.network.ipv6() {
        return skip("this kernel has no IPv6");
    }
    let script = format!(
        "import socket\n\
         s = socket.create_connection(('::ffff:{SERVICE_V4}', 80), 10)\n\
         assert s.family == socket.AF_INET6\n\
         s.sendall(b'GET {PATH} HTTP/1.0\\r\\n\\r\\n')\n\
         while s.recv(4096): pass\n"
    );
    let caller = scene.run_well(python, &["-c", &script]);
    let findings = scene.finish();
    assert_eq!(findings.seen(), [("v1", "served", "GET", PATH)]);
    findings.assert_sent_by(&caller);
    let network = &findings.exchanges[0].request.network;
    assert_eq!((network.mapped, network.family), (true, Family::Ipv4));
    let source: SocketAddr = network.source.as_ref().unwrap().parse().unwrap();
    assert_eq!(source, findings.exchanges[0].entry.peer);
}

#[test]
fn a_shell_that_writes_the_request_line_and_the_headers_apart_is_v2() {
    let Some(scene) = TestBed::with_tokens_required() else { return };
    let script = "ask() { exec 3<>/dev/tcp/169.254.169.254/80; \
                  printf \"$1 HTTP/1.0\\r\\n\" >&3; printf \"$2\\r\\n\" >&3; printf '\\r\\n' >&3; \
                  cat <&3; exec 3>&-; }; \
                  t=$(ask 'PUT /latest/api/token' 'X-aws-ec2-metadata-token-ttl-seconds: 60' \
                  | tail -n 1); \
                  ask 'GET /latest/meta-data/instance-id' \"X-aws-ec2-metadata-token: $t\"";
    let caller = scene.run_well("bash", &["-c", script]);
    assert!(caller.stdout.contains("i-0123456789abcdef0"), "{caller:?}");
    let findings = scene.finish();
    assert_eq!(
        findings.seen(),
        [("v2-token", "served", "PUT", TOKEN_PATH), ("v2", "served", "GET", PATH)]
    );
    findings.exchanges[1].assert_sent_by(&caller);
}

#[test]
fn v1_and_v2_on_one_connection_are_told_apart() {
    let Some(scene) = TestBed::new() else { return };
    let steps = [GET_V1, PUT, GET_V2, GET_V1, GET_V2]
        .into_iter()
        .flat_map(|request| ["send", request, "receive"]);
    let steps: Vec<_> = ["connect", SERVICE].into_iter().chain(steps).collect();
    let caller = scene.run_well(CLIENT, &steps);
    let findings = scene.finish();
    let classes: Vec<_> = findings.verdicts().into_iter().map(|(class, _)| class).collect();
    assert_eq!(classes, ["v1", "v2-token", "v2", "v1", "v2"]);
    assert!(findings.exchanges.iter().all(|exchange| exchange.seen().1 == "served"));
    findings.assert_sent_by(&caller);
}

#[test]
fn v1_where_tokens_are_required_is_rejected() {
    let Some(scene) = TestBed::with_tokens_required() else { return };
    let caller = scene.run_well(CLIENT, &["connect", SERVICE, "send", GET_V1, "receive"]);
    let findings = scene.finish();
    assert_eq!(findings.seen(), [("v1", "rejected", "GET", PATH)]);
    let http = findings.exchanges[0].request.http.as_ref().unwrap();
    assert_eq!(http.status, Some(401));
    findings.assert_sent_by(&caller);
}

#[test]
fn an_empty_token_is_a_class_of_its_own() {
    let Some(scene) = TestBed::new() else { return };
    // Nothing was received yet, so that the token is empty.
    let caller = scene.run_well(CLIENT, &["connect", SERVICE, "send", GET_V2, "receive"]);
    let findings = scene.finish();
    assert_eq!(findings.seen(), [("v2-empty-token", "rejected", "GET", PATH)]);
    findings.assert_sent_by(&caller);
}

#[test]
fn a_token_request_that_is_not_answered_has_no_response() {
    let Some(scene) = TestBed::new() else { return };
    scene.service.set_mode(TokenMode::NoAnswer);
    let put = "http://169.254.169.254/latest/api/token";
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60";
    let caller = scene.run("curl", &["-s", "-m", "1", "-X", "PUT", "-H", ttl, put]);
    assert_eq!(caller.status.code(), Some(28), "curl's exit code of a timeout: {caller:?}");
    // The service's end of the connection may end a little later, and only then is it certain.
    scene.wait_for_events(1);
    let findings = scene.finish();
    assert_eq!(findings.seen(), [("v2-token", "no-response", "PUT", TOKEN_PATH)]);
    findings.assert_sent_by(&caller);
}

#[test]
fn a_token_response_that_dies_at_the_router_is_no_response_and_the_fallback_is_v1() {
    let Some(scene) = TestBed::with(&[], Topology::Routed) else { return };
    if scene.network.topology() != Topology::Routed {
        return skip("this kernel has no virtual Ethernet pairs");
    }
    let put = "http://169.254.169.254/latest/api/token";
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60";
    let caller = scene.run("curl", &["-s", "-m", "1", "-X", "PUT", "-H", ttl, put]);
    assert_eq!(caller.status.code(), Some(28), "curl's exit code of a timeout: {caller:?}");
    scene.run_well(CLIENT, &["connect", SERVICE, "send", GET_V1, "receive"]);
    // The service's end of the connection stays open, and the program waits for it.
    scene.wait_for_events(2);
    let findings = scene.finish_without_readers();
    assert_eq!(findings.verdicts(), [("v2-token", "no-response"), ("v1", "served")]);
}

#[test]
fn a_token_response_shows_the_hop_limit_by_its_time_to_live() {
    let Some(scene) = TestBed::with(&[], Topology::Routed) else { return };
    if scene.network.topology() != Topology::Routed {
        return skip("this kernel has no virtual Ethernet pairs");
    }
    scene.service.set_hop_limit(HopLimit::try_from(2).unwrap());
    let steps = ["connect", SERVICE, "send", PUT, "receive", "send", GET_V2, "receive"];
    scene.run_well(CLIENT, &steps);
    let findings = scene.finish();
    assert_eq!(findings.verdicts(), [("v2-token", "served"), ("v2", "served")]);
    let networks = findings.exchanges.iter().map(|exchange| &exchange.request.network);
    let left: Vec<_> = networks.map(|network| network.response_ttl).collect();
    // One less than was sent, for the router.
    assert_eq!(left, [Some(1), Some(63)]);
}

#[test]
fn a_connection_without_a_request_is_reported_as_one() {
    let Some(scene) = TestBed::new() else { return };
    let caller = scene.run_well(CLIENT, &["connect", SERVICE, "close"]);
    scene.wait_for_events(1);
    let findings = scene.finish();
    assert_eq!(findings.seen(), []);
    let [event] = &findings.connections[..] else { panic!("{:#?}", findings.connections) };
    assert_eq!(event.connection.fate, ConnectionFate::Accepted);
    assert_eq!(event.connection.endpoint, SERVICE);
    assert_eq!(event.process.pid, Some(caller.pid));
    assert_eq!(event.process.args, Some(caller.arguments));
}

#[test]
fn bytes_that_are_not_http_are_unknown_and_never_v1() {
    let Some(scene) = TestBed::new() else { return };
    let caller = scene.run_well(
        CLIENT,
        &["connect", SERVICE, "send", "\u{1}\u{2}\u{3} no HTTP\\r\\n\\r\\n", "receive"],
    );
    let findings = scene.finish();
    let [exchange] = &findings.exchanges[..] else { panic!("{:#?}", findings.exchanges) };
    assert_eq!(exchange.seen().0, "unknown");
    assert_eq!(exchange.request.imds.reason, Some(UnknownReason::NotHttp));
    assert_eq!(exchange.request.imds.version, None);
    assert_eq!(exchange.pid(), Some(caller.pid));
}

#[test]
fn a_request_that_is_cut_off_is_unknown_and_never_v1() {
    let Some(scene) = TestBed::new() else { return };
    let cut = "GET /latest/meta-data/ HTTP/1.1\\r\\nHost: im";
    let caller = scene.run_well(CLIENT, &["connect", SERVICE, "send", cut]);
    scene.wait_for_entries(1);
    scene.wait_for_events(1);
    let findings = scene.finish();
    let exchange = &findings.exchanges[0];
    assert_eq!(exchange.seen().0, "unknown");
    assert_eq!(exchange.request.imds.reason, Some(UnknownReason::Cut));
    assert_eq!(exchange.pid(), Some(caller.pid));
}

#[test]
fn responses_of_every_look_are_served() {
    let Some(scene) = TestBed::new() else { return };
    let versions = [ResponseVersion::Http11, ResponseVersion::Http10];
    let framings = [Framing::Length, Framing::Chunked, Framing::UntilClose];
    let mut callers = Vec::new();
    for version in versions {
        for framing in framings {
            for split_head in [false, true] {
                scene.service.set_style(Style { version, framing, split_head, ..Style::default() });
                let steps = ["connect", SERVICE, "send", GET_V1, "receive"];
                callers.push(scene.run_well(CLIENT, &steps));
            }
        }
    }
    let findings = scene.finish();
    assert_eq!(findings.verdicts(), vec![("v1", "served"); callers.len()]);
    for (exchange, caller) in findings.exchanges.iter().zip(&callers) {
        exchange.assert_sent_by(caller);
    }
}

#[test]
fn responses_of_every_look_can_be_followed_by_another_on_the_same_connection() {
    let Some(scene) = TestBed::new() else { return };
    let steps =
        ["connect", SERVICE, "send", GET_V1, "receive", "send", PUT, "receive", "send", GET_V2];
    let mut requests = 0;
    for framing in [Framing::Length, Framing::Chunked] {
        for split_head in [false, true] {
            scene.service.set_style(Style { framing, split_head, ..Style::default() });
            scene.run_well(CLIENT, &[&steps[..], &["receive"]].concat());
            requests += 3;
        }
    }
    scene.service.set_http_tokens(HttpTokens::Required);
    let findings = scene.finish();
    assert_eq!(findings.exchanges.len(), requests);
    assert!(findings.verdicts().iter().all(|(_, outcome)| *outcome == "served"));
}

#[test]
fn what_a_service_says_on_an_idle_connection_is_no_loss() {
    let port = own_port();
    let endpoint = format!("{SERVICE_V4}:{port}");
    let Some(scene) = TestBed::with(&["--endpoint", &endpoint], Topology::Direct) else { return };
    let desk = Listener::open(&scene.network, port);
    let late = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    // As HAProxy and Jetty do: on a connection without a request, and behind one.
    for requests in [0, 1] {
        let mut line = desk.call();
        for _ in 0..requests {
            line.ask("GET /latest/meta-data/ HTTP/1.1\r\nHost: imds\r\n\r\n");
            line.answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
        line.answer(late);
    }
    scene.wait_for_events(2);
    let report = scene.audit.stop();
    let outcomes: Vec<_> = report.requests().iter().map(|request| request.imds.outcome).collect();
    assert_eq!(outcomes, [Outcome::Served]);
    assert_eq!((report.connections().len(), report.losses()), (1, vec![]));
    assert!(report.stderr.contains("nothing was lost or unobserved"), "{}", report.stderr);
}
