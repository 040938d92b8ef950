//! Requests that a caller could hide from the eBPF programs, or make them take for another's.

use std::time::Duration;

use imds_audit::event::{Class, Outcome};
use imds_audit::simulator::Style;
use imds_audit_tests::{Exchange, TestBed, skip};

use super::{CLIENT, GET_V1, SERVICE};

/// Runs a shell script in the caller's network namespace. Returns whether it succeeded.
fn prepare(scene: &TestBed, script: &str) -> bool {
    scene.run("sh", &["-ec", script]).status.success()
}

/// Has the caller's kernel translate an address to the service's, and asks there.
fn translated(tables: &str, from: &str, address: &str, to: &str) {
    let Some(scene) = TestBed::new() else { return };
    if address.contains(':') && !scene.network.ipv6() {
        return skip("this kernel has no IPv6");
    }
    let family = if address.contains(':') { "-6" } else { "-4" };
    let script = format!(
        "ip {family} route add {address} dev $(ip {family} route get {to} | \
         sed -n 's/.* dev \\([^ ]*\\).*/\\1/p')\n\
         {tables} -t nat -A OUTPUT -d {address} -p tcp --dport 8080 -j DNAT --to-destination {from}"
    );
    if !prepare(&scene, &script) {
        return skip("this kernel has no address translation by iptables");
    }
    let target =
        if family == "-6" { format!("[{address}]:8080") } else { format!("{address}:8080") };
    let caller = scene.run_well(CLIENT, &["connect", &target, "send", GET_V1, "receive"]);
    let findings = scene.finish_without_readers();
    // Its responses have the other address by the time that they reach the socket.
    assert_eq!(findings.verdicts(), [("v1", "unobserved")]);
    findings.assert_sent_by(&caller);
}

#[test]
fn address_translation_hides_no_request() {
    translated("iptables", "169.254.169.254:80", "10.99.0.1", "169.254.169.254");
}

#[test]
fn address_translation_of_ipv6_hides_no_request() {
    translated("ip6tables", "[fd00:ec2::254]:80", "fd99::1", "fd00:ec2::254");
}

#[test]
fn what_a_raw_socket_sends_is_no_request() {
    let Some(scene) = TestBed::new() else { return };
    let script = "import socket, struct\n\
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)\n\
        raw.connect(('169.254.169.254', 80))\n\
        head = struct.pack('!HHIIBBHHH', 40000, 80, 1, 1, 5 << 4, 0x18, 1000, 0, 0)\n\
        raw.send(head + b'GET /latest/meta-data/PHANTOM HTTP/1.1\\r\\n\\r\\n')\n";
    scene.run_well("python3", &["-c", script]);
    scene.run_well(CLIENT, &["connect", SERVICE, "send", GET_V1, "receive"]);
    // Each event is compared with a request that the service was asked.
    assert_eq!(scene.finish().verdicts(), [("v1", "served")]);
}

/// Opens a connection, has a statement run, and asks over it.
fn asked_after(statement: &str) -> Option<Exchange> {
    let scene = TestBed::new()?;
    let script = format!(
        "import os, socket\n\
         caller = socket.create_connection(('169.254.169.254', 80))\n\
         caller.sendall(b'GET /latest/meta-data/ HTTP/1.1\\r\\n\\r\\n'); caller.recv(65536)\n\
         {statement}\n\
         caller.sendall(b'GET /latest/meta-data/ HTTP/1.1\\r\\n\\r\\n'); caller.recv(65536)\n"
    );
    scene.run_well("python3", &["-c", &script]);
    let mut findings = scene.finish();
    assert_eq!(findings.verdicts(), [("v1", "served"); 2]);
    assert_eq!(findings.exchanges[0].process().uid, Some(0));
    findings.exchanges.pop()
}

#[test]
fn credentials_that_changed_on_an_open_connection_are_the_caller_s() {
    let Some(exchange) = asked_after("os.setgid(65534); os.setuid(65534)") else { return };
    let process = exchange.process();
    assert_eq!((process.uid, process.gid), (Some(65_534), Some(65_534)), "{process:#?}");
}

/// The beginning of a caller that forges packets of the service to itself, as a container with
/// `CAP_NET_RAW` can. Their time stamp is so old that its kernel throws them away (PAWS, RFC 7323),
/// behind the hook that sees them.
const FORGER: &str = r#"
import socket, struct

SERVICE = '169.254.169.254'
sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
caller = socket.create_connection((SERVICE, 80))
own, port = caller.getsockname()

def opening():
    while True:
        packet = sniffer.recv(65536)
        tcp = packet[(packet[0] & 15) * 4:]
        if packet[9] != 6 or packet[12:16] != socket.inet_aton(SERVICE): continue
        if struct.unpack('!H', tcp[2:4])[0] != port or tcp[13] & 18 != 18: continue
        options = tcp[20:(tcp[12] >> 4) * 4]
        while options[0] != 8: options = options[1 if options[0] == 1 else options[1]:]
        sequence, acknowledged = struct.unpack('!II', tcp[4:12])
        return sequence + 1, acknowledged, struct.unpack('!II', options[2:10])

sequence, acknowledged, (stamp, echo) = opening()

def checksum(data):
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while total >> 16: total = (total & 65535) + (total >> 16)
    return ~total & 65535

def forge(payload, at, asked, flags=0x18):
    ends = socket.inet_aton(SERVICE) + socket.inet_aton(own)
    options = struct.pack('!BBBBII', 1, 1, 8, 10, (stamp - 10**8) & 0xffffffff, echo)
    def header(check):
        return struct.pack('!HHIIBBHHH', 80, port, (sequence + at) & 0xffffffff,
            (acknowledged + asked) & 0xffffffff, 8 << 4, flags, 500, check, 0) + options
    length = 32 + len(payload)
    pseudo = ends + struct.pack('!BBH', 0, 6, length)
    check = checksum(pseudo + header(0) + payload + bytes(len(payload) % 2))
    ip = struct.pack('!BBHHHBBH', 0x45, 0, 20 + length, 0, 0, 64, 6, 0) + ends
    raw.sendto(ip + header(check) + payload, (own, 0))

def receive():
    response = b''
    while b'\r\n\r\n' not in response: response += caller.recv(1)
    length = int(response.lower().split(b'content-length:')[1].split(b'\r\n')[0])
    for _ in range(length): response += caller.recv(1)
    return len(response)

REQUEST = b'GET /latest/meta-data/instance-id HTTP/1.1\r\n\r\n'
"#;

/// Has a caller forge a packet when it has sent the first byte of five requests, and of nothing else.
/// Whatever it is, it changes neither the requests nor who made them, and no outcome to another one.
fn forged(statement: &str) {
    let Some(scene) = TestBed::new() else { return };
    let script = format!(
        "{FORGER}\ncaller.sendall(REQUEST[:1])\n{statement}\ncaller.sendall(REQUEST[1:])\n\
         receive()\nfor number in range(4): caller.sendall(REQUEST); receive()\n"
    );
    let caller = scene.run_well("python3", &["-c", &script]);
    let served = scene.entries().len();
    assert_eq!(served, 5);
    let (_, requests) = scene.stop();
    assert_eq!(requests.len(), served, "{requests:#?}");
    for request in requests {
        assert_eq!(request.imds.class, Class::V1, "{request:#?}");
        let outcome = request.imds.outcome;
        assert!([Outcome::Served, Outcome::Unobserved].contains(&outcome), "{request:#?}");
        assert_eq!(request.process.pid, Some(caller.pid), "{request:#?}");
    }
}

#[test]
fn a_forged_switch_of_protocols_hides_no_request() {
    forged("forge(b'HTTP/1.1 101 Switching Protocols\\r\\n\\r\\n', 0, 1)");
}

#[test]
fn a_forged_refusal_is_not_believed() {
    forged("forge(b'HTTP/1.1 401 Unauthorized\\r\\nContent-Length: 0\\r\\n\\r\\n', 0, 1)");
}

#[test]
fn a_forged_length_hides_no_response() {
    forged("forge(b'HTTP/1.1 200 OK\\r\\nContent-Length: 9000000\\r\\n\\r\\n', 0, 1)");
}

#[test]
fn a_forged_end_hides_no_request() {
    forged("forge(b'', 0, 1, 0x11)");
}

#[test]
fn a_forged_head_in_the_place_of_a_pipelined_response_is_not_believed() {
    let Some(scene) = TestBed::new() else { return };
    // Time to forge the second response behind the first, which is not left unacknowledged for so long
    // that nobody would believe it anyway.
    let delay = Duration::from_millis(300);
    scene.service.set_style(Style { delay, ..Style::default() });
    let script = format!(
        "{FORGER}\ncaller.sendall(REQUEST * 2)\nfirst = receive()\n\
         forge(b'HTTP/1.1 401 Unauthorized\\r\\nContent-Length: 0\\r\\n\\r\\n', first, \
         2 * len(REQUEST))\nreceive()\n"
    );
    let caller = scene.run_well("python3", &["-c", &script]);
    let findings = scene.finish_without_readers();
    assert_eq!(findings.verdicts(), [("v1", "served"), ("v1", "unobserved")]);
    assert!(findings.exchanges.iter().all(|exchange| exchange.pid() == Some(caller.pid)));
}
