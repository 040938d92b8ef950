//! The front as its callers and the service see it.

use aho_corasick::AhoCorasick;
use imds_audit::event::{Class, RequestEvent};
use imds_audit_tests::regions;

use super::*;

#[test]
fn callers_that_ask_what_they_are_connected_to_are_told_the_endpoint() {
    let Some(stage) = stage() else { return };
    let ask = "import socket\nfor family, address in ((socket.AF_INET, '169.254.169.254'), \
               (socket.AF_INET6, '::ffff:169.254.169.254'), (socket.AF_INET6, 'fd00:ec2::254')):\n\
               \x20 s = socket.socket(family); s.connect((address, 80)); print(*s.getpeername()[:2])\n\
               s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\n\
               c = socket.create_connection(s.getsockname()); \
               print(c.getpeername() == s.getsockname())";
    let command = ["/usr/bin/python3", "-c", ask];
    let Some(rehearsed) = Rehearsal::of_command(&stage, &[], &command) else { return };
    let expected = "169.254.169.254 80\n::ffff:169.254.169.254 80\nfd00:ec2::254 80\nTrue\n";
    assert_eq!(rehearsed.stdout, expected, "{rehearsed:?}");
    assert!(rehearsed.status.success());
    assert!(rehearsed.verdicts().is_empty(), "{rehearsed:?}");
    assert_eq!(rehearsed.result().redirected, 3);
}

#[test]
fn the_front_asks_the_service_as_the_caller_s_user() {
    let Some(stage) = stage() else { return };
    let ask = "import socket, sys\n\
               s = socket.create_connection(('169.254.169.254', 80))\n\
               s.sendall(b'GET /latest/meta-data/ HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n\
               print(s.recv(12).decode(), flush=True)\nsys.stdin.read()";
    let command = ["setpriv", "--reuid", "65534", "--clear-groups", "/usr/bin/python3", "-c", ask];
    let Some(rehearsal) = Rehearsal::start(&stage, &[], &command) else { return };
    rehearsal.wait_for_requests(1);
    // The eighth column is the user (proc_pid_net(5)); the front's connection to 169.254.169.254:80.
    let table = fs::read_to_string(format!("/proc/{}/net/tcp", rehearsal.pid())).unwrap();
    let users: Vec<_> = table
        .lines()
        .filter(|line| line.split_ascii_whitespace().nth(2) == Some("FEA9FEA9:0050"))
        .filter_map(|line| line.split_ascii_whitespace().nth(7))
        .collect();
    assert_eq!(users, ["65534"], "{table}");
    let rehearsed = rehearsal.wait();
    assert_eq!(rehearsed.stdout, "HTTP/1.1 401\n", "{rehearsed:?}");
}

#[test]
fn what_cannot_be_redirected_passes_and_is_counted() {
    let Some(stage) = stage() else { return };
    if stage.network.topology() != Topology::Direct {
        return skip("there are no virtual Ethernet pairs");
    }
    // A socket that is bound to a network device cannot reach the loopback interface; and UDP is
    // none of IMDS.
    let ask = "import socket\n\
               u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
               u.connect(('169.254.169.254', 80)); print(*u.getpeername())\n\
               s = socket.socket()\n\
               s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth0')\n\
               s.connect(('169.254.169.254', 80))\n\
               s.sendall(b'GET /latest/meta-data/ HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n\
               print(s.recv(12).decode())";
    let command = ["/usr/bin/python3", "-c", ask];
    let Some(rehearsed) = Rehearsal::of_command(&stage, &[], &command) else { return };
    assert_eq!(rehearsed.stdout, "169.254.169.254 80\nHTTP/1.1 200\n", "{rehearsed:?}");
    assert_eq!(rehearsed.result().passed_bound_to_device, 1, "{rehearsed:?}");
    assert_eq!(rehearsed.result().redirected, 0, "{rehearsed:?}");
    assert_eq!(rehearsed.verdicts(), ["not-exercised"], "{rehearsed:?}");
    assert_eq!(rehearsed.result().callers[0].unrehearsed, 1, "{rehearsed:?}");
}

#[test]
fn no_token_is_left_in_the_memory_of_a_rehearsal() {
    let Some(stage) = stage() else { return };
    let script = format!(
        "TOKEN=$(curl -s -m 20 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' \
         http://169.254.169.254/latest/api/token); \
         curl -sf -m 20 -H \"X-aws-ec2-metadata-token: $TOKEN\" {ROLE}; read line"
    );
    let Some(rehearsal) = Rehearsal::start(&stage, &[], &["bash", "-c", &script]) else { return };
    let is_last = |request: &RequestEvent| request.imds.class == Class::V2;
    let seen = || rehearsal.events().requests().iter().any(is_last).then_some(());
    assert!(until(seen).is_some());
    let secrets = [stage.service.issued_tokens(), vec![stage.secrets.secret_access_key.clone()]];
    let search = AhoCorasick::new(secrets.concat()).unwrap();
    // The ring of records, which the kernel leaves out of core dumps, holds requests until others are
    // written over them.
    let holding = || {
        let regions = regions(rehearsal.pid()).into_iter();
        let holding =
            regions.filter(|region| !region.is_left_out && search.is_match(&region.bytes));
        holding.collect::<Vec<_>>()
    };
    assert!(until(|| holding().is_empty().then_some(())).is_some(), "{:?}", holding());
    let left_out = regions(rehearsal.pid()).into_iter().filter(|region| region.is_left_out);
    assert!(left_out.into_iter().any(|region| search.is_match(&region.bytes)), "not looked for");
    let rehearsed = rehearsal.wait();
    assert_eq!(rehearsed.verdicts(), ["adapts"], "{rehearsed:?}");
    let written = fs::read(&rehearsed.output).unwrap();
    assert!(!search.is_match(&written) && !search.is_match(&rehearsed.stderr));
}
