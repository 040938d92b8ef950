//! Real clients under rehearsal, and then for real: what the rehearsal said happens when the service
//! is switched to required tokens.

use std::fs;
use std::process::Command;

use imds_audit::event::Cause;
use imds_audit::simulator::{HttpTokens, Topology};
use imds_audit_tests::{
    Cgroup, Rehearsal, Rehearsed, Systemd, TestNetwork, node_modules, program, python, root, skip,
    until,
};
use rustix::process::Signal;

mod endings;
mod front;
mod java;
mod page;

const URL: &str = "http://169.254.169.254/latest/meta-data/instance-id";
const ROLE: &str = "http://169.254.169.254/latest/meta-data/iam/security-credentials/app";

/// Prints the key of the credentials that boto3 finds.
const BOTO3: &str = "import boto3; \
                     print(boto3.Session().get_credentials().get_frozen_credentials().access_key)";
/// As agents do that ask without a token first (field case 9): a token only after a refusal.
const V1_FIRST: &str = r#"
import urllib.request, urllib.error
base = "http://169.254.169.254/latest"
def get(path, method="GET", headers={}):
    request = urllib.request.Request(base + path, method=method, headers=headers)
    return urllib.request.urlopen(request, timeout=20).read().decode()
path = "/meta-data/instance-id"
try:
    print(get(path))
except urllib.error.HTTPError as error:
    assert error.code == 401, error
    token = get("/api/token", "PUT", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})
    print(get(path, headers={"X-aws-ec2-metadata-token": token}))
"#;
fn stage() -> Option<TestNetwork> {
    root().then(|| TestNetwork::new(Topology::Direct, None))
}

/// Runs a command as it is, rehearses it, and runs it with tokens required for real. It must succeed
/// in the first, and come to the same end in the two others.
fn rehearse(
    stage: &TestNetwork,
    variables: &[(&str, &str)],
    command: &[&str],
) -> Option<Rehearsed> {
    let run = |stage: &TestNetwork| {
        let mut client = stage.command(command[0]);
        client.args(&command[1..]).envs(variables.iter().copied());
        stage.start_command(&mut client).wait()
    };
    let plain = run(stage);
    assert!(plain.status.success(), "{plain:?}");
    let prepare = |program: &mut Command| {
        program.envs(variables.iter().copied());
    };
    let rehearsal = Rehearsal::start_prepared(stage, &[], command, prepare)?;
    // A script that reads its input is alive until its events are there: what has ended cannot be
    // looked at any more.
    rehearsal.wait_for_requests(1);
    let rehearsed = rehearsal.wait();
    stage.service.set_http_tokens(HttpTokens::Required);
    let real = run(stage);
    stage.service.set_http_tokens(HttpTokens::Optional);
    let expected = real.status.code();
    let reported = rehearsed.result().command.unwrap().exit_status;
    assert_eq!(reported, expected, "rehearsed {rehearsed:?}\nreal {real:?}");
    assert_eq!(rehearsed.stdout, real.stdout, "{rehearsed:?}");
    // The exit code says that something broke under rehearsal; else the command's own is passed on.
    let broke = rehearsed.verdicts().contains(&"breaks");
    let code = if broke { Some(3) } else { expected };
    assert_eq!(rehearsed.status.code(), code, "{rehearsed:?}");
    Some(rehearsed)
}

#[test]
fn a_script_with_curl_that_sends_no_token_breaks() {
    let Some(stage) = stage() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("refresh.sh").to_str().unwrap().to_owned();
    fs::write(&path, format!("curl -sf -m 20 {ROLE} || code=9\nread line\nexit ${{code:-0}}\n"))
        .unwrap();
    let Some(rehearsed) = rehearse(&stage, &[], &["sh", &path]) else { return };
    assert_eq!(rehearsed.verdicts(), ["breaks"], "{rehearsed:?}");
    let caller = &rehearsed.result().callers[0];
    assert!(caller.caller.title.contains("refresh.sh"), "{caller:#?}");
    let advice = caller.advice.as_ref().unwrap();
    assert_eq!(advice.cause, Cause::NeverAsks, "{caller:#?}");
    // The command that is offered has the service's address, not the front's.
    let command = advice.command.as_ref().unwrap();
    assert!(command.contains("http://169.254.169.254/latest/api/token"), "{command}");
    assert_eq!(caller.sequence[0].status, Some(401), "{caller:#?}");
    for token in stage.service.issued_tokens() {
        assert!(!rehearsed.stderr.contains(&token));
    }
}

#[test]
fn clients_that_request_a_token_after_a_refusal_or_before_adapt() {
    let script = format!(
        "TOKEN=$(curl -s -m 20 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' \
         http://169.254.169.254/latest/api/token) && \
         curl -sf -m 20 -H \"X-aws-ec2-metadata-token: $TOKEN\" {URL}"
    );
    let falls_back = format!("curl -sf -m 20 {URL} || {{ {script}; }}");
    for (command, refused) in [
        (["sh", "-c", &script], 0),
        (["sh", "-c", &falls_back], 1),
        (["/usr/bin/python3", "-c", V1_FIRST], 1),
    ] {
        let Some(stage) = stage() else { return };
        let Some(rehearsed) = rehearse(&stage, &[], &command) else { return };
        assert_eq!(rehearsed.verdicts(), ["adapts"], "{command:?} {rehearsed:?}");
        let caller = &rehearsed.result().callers[0];
        assert_eq!(caller.refused, refused, "{caller:#?}");
        let words = if refused > 0 { "then requested a token" } else { "never refused" };
        assert!(caller.reason.contains(words), "{caller:#?}");
        for token in stage.service.issued_tokens() {
            assert!(!rehearsed.stderr.contains(&token), "a token in {}", rehearsed.stderr);
            assert!(!fs::read_to_string(&rehearsed.output).unwrap().contains(&token));
        }
    }
}

#[test]
fn sdks_of_2019_break_and_current_ones_adapt() {
    let Some(modules) = node_modules() else { return };
    let modules = modules.to_str().unwrap();
    let (Some(old), Some(new)) =
        (python("IMDS_AUDIT_PYTHON_V1"), python("IMDS_AUDIT_PYTHON_CURRENT"))
    else {
        return;
    };
    let old_cli = old.with_file_name("aws");
    let version_2 = |name: &str| {
        format!(
            "const AWS = require('{name}'); new AWS.CredentialProviderChain().resolve(\
             (error, found) => {{ if (error) process.exit(5); console.log(found.accessKeyId); }})"
        )
    };
    let (js_2019, js_2) = (version_2("aws-sdk-2019"), version_2("aws-sdk"));
    let js_3 = "require('@aws-sdk/credential-provider-node').defaultProvider()()\
                .then(found => console.log(found.accessKeyId), () => process.exit(5))";
    let mut clients = vec![
        (vec![old.to_str().unwrap(), "-c", BOTO3], "breaks"),
        (vec![new.to_str().unwrap(), "-c", BOTO3], "adapts"),
        (vec!["node", "-e", &js_2019], "breaks"),
        (vec!["node", "-e", &js_2], "adapts"),
        (vec!["node", "-e", js_3], "adapts"),
        (vec![old_cli.to_str().unwrap(), "configure", "list"], "breaks"),
    ];
    if fs::exists("/usr/bin/aws").unwrap() {
        clients.push((vec!["/usr/bin/aws", "configure", "list"], "adapts"));
    } else {
        skip("there is no AWS CLI");
    }
    for (command, verdict) in clients {
        let Some(stage) = stage() else { return };
        let variables = [("NODE_PATH", modules)];
        let Some(rehearsed) = rehearse(&stage, &variables, &command) else { return };
        assert_eq!(rehearsed.verdicts(), [verdict], "{command:?} {rehearsed:?}");
    }
}

#[test]
fn a_container_behind_a_hop_breaks_under_the_hop_limit_that_cuts_it_off() {
    if !root() {
        return;
    }
    let Some(python) = python("IMDS_AUDIT_PYTHON_CURRENT") else { return };
    let stage = TestNetwork::new(Topology::Routed, None);
    if stage.network.topology() != Topology::Routed {
        return skip("there are no virtual Ethernet pairs");
    }
    stage.service.set_hop_limit(2.try_into().unwrap());
    let command = [python.to_str().unwrap(), "-c", BOTO3];
    for (limit, verdict, code) in [("2", "adapts", 0), ("1", "breaks", 3)] {
        let options = ["--hop-limit", limit];
        let Some(rehearsed) = Rehearsal::of_command(&stage, &options, &command) else { return };
        assert_eq!(rehearsed.verdicts(), [verdict], "{rehearsed:?}");
        assert_eq!(rehearsed.status.code(), Some(code), "{}", rehearsed.stderr);
    }
    // For real: no credentials, neither by a token nor without one.
    stage.service.set_hop_limit(1.try_into().unwrap());
    stage.service.set_http_tokens(HttpTokens::Required);
    let real = stage.run(command[0], &command[1..]);
    assert!(!real.status.success(), "{real:?}");
}

#[test]
fn a_container_is_found_by_the_beginning_of_its_id() {
    let Some(stage) = stage() else { return };
    let id = format!("{:08x}{}", std::process::id(), "ab".repeat(28));
    let (outer, inner) =
        (format!("imds-audit-test-{}", std::process::id()), format!("docker-{id}.scope"));
    let Some(group) = Cgroup::create(&outer, &inner) else {
        return skip("there is no hierarchy of control groups of version 2");
    };
    let script = format!("read line; curl -sf -m 20 {URL}; read line");
    let mut container = stage.start("bash", &["-c", &script]);
    group.adopt(container.pid());
    let options = ["--container", &id[..12], "--for", "60s"];
    let Some(rehearsal) = Rehearsal::start(&stage, &options, &[]) else { return };
    rehearsal.wait_until_attached();
    container.say("go on\n");
    rehearsal.wait_for_requests(1);
    let rehearsed = rehearsal.end_by(Signal::INT);
    container.wait();
    assert_eq!(rehearsed.verdicts(), ["breaks"], "{rehearsed:?}");
    assert_eq!(rehearsed.status.code(), Some(3));
    let home = rehearsed.result().callers[0].caller.home.clone();
    assert_eq!(home, Some(format!("container {}", &id[..12])));
    // A process of it, and one that is not there.
    let missing = Rehearsal::start(&stage, &["--container", "ffffffffffff"], &[]).unwrap().wait();
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
}

#[test]
fn a_unit_is_found_by_its_name() {
    let Some(stage) = stage() else { return };
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("wait");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut held = fs::File::options().read(true).write(true).open(&fifo).unwrap();
    let unit = format!("rehearsed-{}.service", std::process::id());
    let service = format!(
        "StandardInput=file:{}\nStandardOutput=null\nStandardError=null\n\
         ExecStart=bash -c 'read line; curl -sf -m 20 {URL}; read line'",
        fifo.display()
    );
    let Some(systemd) = Systemd::boot(&stage, "rehearsal", &[(&unit, service)], &[]) else {
        return;
    };
    let name = unit.trim_end_matches(".service");
    // The unit's cgroup is there a moment after its systemd.
    let rehearsal = until(|| {
        let rehearsal = Rehearsal::start(&stage, &["--unit", name], &[])?;
        let links = || rehearsal.objects(imds_audit_tests::bpf::Kind::Link).len();
        let started =
            until(|| (links() >= 8 || !is_running(rehearsal.pid())).then(|| links() >= 8));
        if started == Some(true) { Some(rehearsal) } else { None }
    });
    let rehearsal = rehearsal.unwrap();
    std::io::Write::write_all(&mut held, b"go on\n").unwrap();
    rehearsal.wait_for_requests(1);
    let rehearsed = rehearsal.end_by(Signal::TERM);
    drop(held);
    drop(systemd);
    assert_eq!(rehearsed.verdicts(), ["breaks"], "{rehearsed:?}");
    let home = rehearsed.result().callers[0].caller.home.clone();
    assert_eq!(home, Some(unit), "{rehearsed:?}");
}

fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z') && !rest.is_empty())
}

#[test]
fn a_rehearsal_s_events_are_taken_in_by_the_report() {
    let Some(stage) = stage() else { return };
    let command = ["/usr/bin/python3", "-c", V1_FIRST];
    let Some(rehearsed) = Rehearsal::of_command(&stage, &[], &command) else { return };
    assert_eq!(rehearsed.verdicts(), ["adapts"]);
    let report =
        Command::new(program().unwrap()).arg("report").arg(&rehearsed.output).output().unwrap();
    let text = String::from_utf8_lossy(&report.stdout);
    assert!(report.status.success(), "{report:?}");
    assert!(text.to_lowercase().contains("rehears"), "{text}");
    for event in rehearsed.events.iter() {
        assert!(event.origin.rehearsal, "{event:#?}");
    }
}
