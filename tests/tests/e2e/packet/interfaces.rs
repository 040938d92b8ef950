//! Interfaces that are stacked, come later than the audit, or cut up and join packets.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;

use imds_audit::simulator::GATEWAY_V4;
use imds_audit_tests::{Listener, own_port, skip, skip_on_this_kernel};

use super::*;

/// Runs a shell script in the callers' network namespace. Returns whether it succeeded.
fn prepare(scene: &TestBed, script: &str) -> bool {
    scene.run("sh", &["-ec", script]).status.success()
}

/// Leads the way to the service over an interface that comes later than the audit, and is stacked
/// on the one of before, so that each packet passes both; and asks over it.
fn ask_over(kind: &str, commands: &str) {
    let Some(scene) = TestBed::by_packets(&[]) else { return };
    let script = format!(
        "{commands}\nip link set up0 up\nip address del 10.0.0.5/24 dev eth0\n\
         ip address add 10.0.0.5/24 dev up0\n\
         ip route replace 169.254.169.254/32 via {GATEWAY_V4} dev up0"
    );
    if !prepare(&scene, &script) {
        return skip(&format!("this kernel has no {kind}"));
    }
    let steps = ["connect", SERVICE, "send", PUT, "receive", "send", GET_V1, "receive"];
    scene.run_well(CLIENT, &steps);
    assert_eq!(scene.finish().verdicts(), [("v2-token", "served"), ("v1", "served")]);
}

#[test]
fn a_request_over_a_bridge_and_its_port_is_reported_once() {
    ask_over("bridges", "ip link add up0 type bridge\nip link set eth0 master up0");
}

#[test]
fn a_request_over_an_interface_on_top_of_another_is_reported_once() {
    ask_over("macvlan", "ip link add link eth0 name up0 type macvlan mode bridge");
}

#[test]
fn requests_over_loopback_and_over_another_interface_are_each_reported_once() {
    let endpoint = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 9), own_port()));
    let address = endpoint.to_string();
    let arguments = ["--endpoint", SERVICE, "--endpoint", &address];
    let Some(scene) = TestBed::by_packets(&arguments) else { return };
    let listener = scene.network.in_client(|| TcpListener::bind(endpoint)).unwrap().unwrap();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        // Until the caller has ended.
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    scene.run_well(CLIENT, &["connect", &address, "send", GET_V1, "receive"]);
    serving.join().unwrap();
    scene.run_well(CLIENT, &["connect", SERVICE, "send", PUT, "receive"]);
    let requests = scene.audit.stop().requests();
    assert_eq!(verdicts(requests), [["v1", "served"], ["v2-token", "served"]]);
}

#[test]
fn packets_of_every_size_are_read_whatever_the_cards_do_to_them() {
    let endpoint = SocketAddr::from((SERVICE_V4, own_port()));
    for settings in [
        "tx off rx off tso off gso off gro off",
        "tx on rx on tso off gso off gro on",
        "tx on rx on tso on gso on gro on",
        "tx off tso off gso on gro off",
    ] {
        let address = endpoint.to_string();
        let Some(scene) = TestBed::by_packets(&["--endpoint", &address]) else { return };
        let set = |interface: &str| format!("ethtool -K {interface} {settings} >/dev/null");
        if !prepare(&scene, &set("eth0")) {
            return skip("there is no ethtool");
        }
        let mut other = scene.network.service_namespace().command("sh").unwrap();
        assert!(other.args(["-ec", &set("imds0")]).status().unwrap().success(), "{settings}");
        ask_with_a_long_body(scene, endpoint, settings);
    }
}

#[test]
fn packets_beyond_64_kib_are_read() {
    let endpoint = SocketAddr::from((SERVICE_V4, own_port()));
    let Some(scene) = TestBed::by_packets(&["--endpoint", &endpoint.to_string()]) else { return };
    let set = |interface: &str| {
        format!(
            "ip link set {interface} gso_max_size 190000 gro_max_size 190000 \
             gso_ipv4_max_size 190000 gro_ipv4_max_size 190000"
        )
    };
    if !prepare(&scene, &set("eth0")) {
        return skip_on_this_kernel("the kernel, or ip, has no packets of that size");
    }
    let mut other = scene.network.service_namespace().command("sh").unwrap();
    assert!(other.args(["-ec", &set("imds0")]).status().unwrap().success());
    ask_with_a_long_body(scene, endpoint, "packets beyond 64 KiB");
}

/// Asks with a body that takes many packets, or few large ones, and then again.
fn ask_with_a_long_body(scene: TestBed, endpoint: SocketAddr, what: &str) {
    const BODY: usize = 600_000;
    let desk = Listener::open(&scene.network, endpoint.port());
    let mut line = desk.call();
    let head = format!("PUT /latest/api/token HTTP/1.1\r\nContent-Length: {BODY}\r\n\r\n");
    line.ask([head.as_bytes(), &vec![b'b'; BODY]].concat());
    line.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    line.ask(b"GET /latest/user-data HTTP/1.1\r\nHost: a\r\n\r\n");
    line.answer(
        [&b"HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n\r\n"[..], &[b'c'; BODY]].concat(),
    );
    line.ask(b"GET /latest/no-such HTTP/1.1\r\nHost: a\r\n\r\n");
    line.answer(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    // The last outcome counts once the caller's kernel has acknowledged it.
    scene.wait_for_events(3);
    let report = scene.audit.stop();
    let found = verdicts(report.requests());
    let expected = [["v2-token", "served"], ["v1", "served"], ["v1", "not-found"]];
    assert_eq!(found, expected, "{what}: {:#?}", report.requests());
    assert_eq!(report.losses(), [], "{what}");
}
