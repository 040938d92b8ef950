//! One token in several hands.

use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

use imds_audit::event::{Container, TokenHash};
use imds_audit_tests::{Caller, Cgroup, Comparison, TestBed, skip};

const TTL: &str = "X-aws-ec2-metadata-token-ttl-seconds: 60";

/// Asks for a token.
fn token(scene: &TestBed, address: &str) -> String {
    let url = format!("http://{address}/latest/api/token");
    scene.run_well("curl", &["-s", "-m", "10", "-X", "PUT", "-H", TTL, &url]).stdout
}

/// A script that uses a token once its standard input ends.
fn script(address: &str, token: &str) -> String {
    format!(
        "read line; exec curl -s -m 10 -H 'X-aws-ec2-metadata-token: {token}' \
         http://{address}/latest/meta-data/instance-id"
    )
}

/// Uses a token in a process of its own, in a control group where one is given.
fn use_token(scene: &TestBed, address: &str, token: &str, cgroup: Option<&Cgroup>) -> Caller {
    let running = scene.start("sh", &["-c", &script(address, token)]);
    if let Some(cgroup) = cgroup {
        cgroup.adopt(running.pid());
    }
    let caller = running.wait();
    assert_eq!(caller.stdout, "i-0123456789abcdef0", "{caller:?}");
    caller
}

/// Gives the hashes of the tokens that were used, in order.
fn hashes(findings: &Comparison) -> Vec<TokenHash> {
    findings.exchanges.iter().filter_map(|exchange| exchange.request.imds.token).collect()
}

#[test]
fn one_token_used_by_two_processes_is_seen_and_stays_secret() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    let (shared, other) = (token(&scene, &address), token(&scene, &address));
    let [first, second] = [(); 2].map(|()| use_token(&scene, &address, &shared, None));
    use_token(&scene, &address, &other, None);
    let findings = scene.finish();
    let [a, b, c] = hashes(&findings)[..] else { panic!("{:?}", hashes(&findings)) };
    assert_eq!(a, b);
    assert_ne!(a, c);
    let mut users = [first.pid, second.pid];
    users.sort_unstable();
    let reported = format!(
        "tokens: 2 seen, 1 used by several processes; {a} by curl[{}], curl[{}]\n",
        users[0], users[1]
    );
    assert!(findings.report.stderr.contains(&reported), "{reported}{}", findings.report.stderr);
    for secret in [shared, other] {
        assert!(!findings.report.everything().contains(&secret));
    }
}

#[test]
fn one_token_used_in_two_containers_is_seen() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    // Unique on the host: several test runs may be about.
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    let unique = format!("{:08x}{nanoseconds:08x}", process::id());
    let containers = [("docker", "a"), ("cri-containerd", "b")].map(|(runtime, digit)| {
        let id = format!("{}{unique}", digit.repeat(48));
        let slice = format!("imds-audit-{digit}{unique}.slice");
        let group = Cgroup::create(&slice, &format!("{runtime}-{id}.scope"));
        (group, id)
    });
    let [(Some(first), first_id), (Some(second), second_id)] = containers else {
        return skip("there is no hierarchy of control groups of version 2 to write to");
    };
    let shared = token(&scene, &address);
    let one = use_token(&scene, &address, &shared, Some(&first));
    let two = use_token(&scene, &address, &shared, Some(&second));
    let findings = scene.finish();
    let [a, b] = hashes(&findings)[..] else { panic!("{:?}", hashes(&findings)) };
    assert_eq!(a, b);
    let container = |id: String, runtime: &str| {
        Some(Container { id, runtime: Some(runtime.to_owned()), ..Container::default() })
    };
    let used = &findings.exchanges[1..];
    assert_eq!(used[0].process().container, container(first_id, "docker"));
    assert_eq!(used[1].process().container, container(second_id, "containerd"));
    let reported = format!(
        "tokens: 1 seen, 1 used by several processes, 1 across containers; {a} by curl[{}] in \
         container aaaaaaaaaaaa, curl[{}] in container bbbbbbbbbbbb\n",
        one.pid, two.pid
    );
    assert!(findings.report.stderr.contains(&reported), "{reported}{}", findings.report.stderr);
}
