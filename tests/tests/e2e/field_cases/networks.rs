//! Cases that take a network of their own, a relay or containers.

use imds_audit::event::{Cause, Class, RelayPart, RequestEvent};
use imds_audit::simulator::{HopLimit, HttpTokens, TokenMode, Topology};
use imds_audit_tests::{Cgroup, TestBed, TestNetwork, own_port, skip, until};

use super::TTL;

#[test]
fn a_container_that_is_further_away_needs_more_than_what_reached_the_other() {
    // Row 14: a token reached one network with one hop left; this one gets none.
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    scene.service.set_hop_limit(HopLimit::try_from(1).unwrap());
    let put =
        |address: &str| format!("curl -s -m 1 -X PUT {TTL} http://{address}/latest/api/token");
    scene.run_well("sh", &["-c", &put(&address)]);
    let further = TestNetwork::new(Topology::Direct, Some(address.parse().unwrap()));
    further.service.set_mode(TokenMode::NoAnswer);
    let read = format!("curl -s http://{address}/latest/meta-data/instance-id");
    further.run_well("sh", &["-c", &format!("{}; {read}", put(&address))]);
    let is_further = |request: &RequestEvent| {
        request.imds.class == Class::V1
            && request.network.netns.map(u64::from) == Some(further.network.client_inode())
    };
    let found = until(|| scene.audit.requests().into_iter().find(is_further));
    let command = found.unwrap().advice.unwrap().command.unwrap();
    assert!(command.ends_with("--http-put-response-hop-limit 3"), "{command}");
    scene.finish();
}

#[test]
fn a_forwarded_request_counts_once_and_its_relay_is_not_to_change() {
    // Row 15: the relay adds the header, as kube2iam does; both requests are audited.
    let port = own_port();
    let relay = format!("127.0.0.1:{port}");
    let endpoints = ["--endpoint", "169.254.169.254:80", "--endpoint", &relay];
    let Some(scene) = TestBed::with(&endpoints, Topology::Direct) else { return };
    let code = format!(
        "import http.server, urllib.request\n\
         class Relay(http.server.BaseHTTPRequestHandler):\n\
         \x20   protocol_version = 'HTTP/1.1'\n\
         \x20   def log_message(self, *_): pass\n\
         \x20   def do_GET(self):\n\
         \x20       headers = {{'X-Forwarded-For': self.client_address[0]}}\n\
         \x20       request = urllib.request.Request('http://169.254.169.254' + self.path, headers=headers)\n\
         \x20       body = urllib.request.urlopen(request).read()\n\
         \x20       self.send_response(200)\n\
         \x20       self.send_header('Content-Length', str(len(body)))\n\
         \x20       self.end_headers()\n\
         \x20       self.wfile.write(body)\n\
         server = http.server.HTTPServer(('127.0.0.1', {port}), Relay)\n\
         print('listens', flush=True)\n\
         server.handle_request()\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("relay.py");
    std::fs::write(&script, code).unwrap();
    let script = format!(
        "python3 {} & curl -s --retry 60 --retry-connrefused --retry-delay 1 \
         http://{relay}/latest/meta-data/instance-id; wait",
        script.display()
    );
    let caller = scene.run_well("bash", &["-c", &script]);
    assert!(caller.stdout.contains("i-0123456789abcdef0"), "{caller:?}");
    let is_complete = || (scene.requests().len() == 2).then_some(());
    assert!(until(is_complete).is_some(), "{:#?}", scene.requests());
    let (_, requests) = scene.stop();
    // The original may have been written before it is known that it is repeated.
    let (repetitions, originals): (Vec<_>, Vec<_>) =
        requests.iter().partition(|request| request.relay == Some(RelayPart::Repetition));
    let ([repetition], [original]) = (&repetitions[..], &originals[..]) else {
        panic!("{requests:#?}")
    };
    let forwarded_for = repetition.http.as_ref().unwrap().forwarded_for.as_deref();
    assert_eq!(forwarded_for, Some("127.0.0.1"));
    assert_eq!(repetition.advice, None);
    assert_eq!(original.process.name.as_deref(), Some("curl"));
    assert_eq!(original.advice.as_ref().unwrap().cause, Cause::NeverAsks, "{original:#?}");
}

#[test]
fn a_placeholder_that_the_service_rejects_is_no_token_used_across_containers() {
    // Row 16: fluent-bit probes so.
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    scene.service.set_http_tokens(HttpTokens::Required);
    let unique = format!("{:016x}", scene.network.client_inode());
    let probe = format!(
        "read line; curl -s -o /dev/null -H 'X-aws-ec2-metadata-token: INVALID' \
         http://{address}/latest/meta-data/"
    );
    for digit in ["a", "b"] {
        let id = format!("{}{unique}", digit.repeat(48));
        let slice = format!("imds-audit-{digit}{unique}.slice");
        let Some(group) = Cgroup::create(&slice, &format!("docker-{id}.scope")) else {
            return skip("there is no hierarchy of control groups of version 2 to write to");
        };
        let running = scene.start("sh", &["-c", &probe]);
        group.adopt(running.pid());
        let caller = running.wait();
        assert!(caller.status.success(), "{caller:?}");
    }
    let findings = scene.finish();
    assert_eq!(findings.verdicts(), [("v2", "rejected"), ("v2", "rejected")]);
    let summary = &findings.report.stderr;
    assert!(!summary.contains("containers") && !summary.contains("several processes"), "{summary}");
}
