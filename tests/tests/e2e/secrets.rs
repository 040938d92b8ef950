//! Secrets that must never be written.

mod typed;
pub(super) mod wire;

use std::process::Command;

use imds_audit::simulator::{SERVICE_V4, Secrets};
use imds_audit_tests::{Listener, PlantedSecret, Setup, TestBed, assert_absent, program, root};

/// Secrets that a caller sends, beside those that the service hands out.
const BEARER: &str = "planted-bearer-4711-x";
const COOKIE: &str = "planted-cookie-4711-x";

/// Gets everything that is secret from the service, by both versions, and sends secrets of its
/// own; the tokens are typed on command lines, and stand in targets and user agents.
const SCRIPT: &str = r#"
set -e
base=http://169.254.169.254/latest
curl() { command curl -s -m 10 -o /dev/null "$@"; }
token=$(command curl -s -m 10 -X PUT $base/api/token -H 'X-aws-ec2-metadata-token-ttl-seconds: 60')
curl -H "X-aws-ec2-metadata-token: $token" $base/meta-data/iam/security-credentials/app
curl -H "x-AWS-ec2-metadata-token:$token" -A "agent/$token" "$base/user-data?token=$token"
curl $base/meta-data/iam/security-credentials/app
curl $base/user-data
curl $base/dynamic/instance-identity/signature
curl -H "Authorization: Bearer $BEARER" -H "Cookie: session=$COOKIE" $base/meta-data/ami-id
sh -c "curl -s -m 10 -o /dev/null -H 'X-aws-ec2-metadata-token: $token' $base/meta-data/ami-id; :"
"#;

/// What `SCRIPT` asks.
const REQUESTS: usize = 8;

fn assert_secrets_stay(scene: TestBed) {
    let mut command = scene.command("bash");
    command.args(["-c", SCRIPT]).env("BEARER", BEARER).env("COOKIE", COOKIE);
    let caller = scene.start_command(&mut command).wait();
    assert!(caller.status.success(), "{caller:?}");
    let tokens = scene.service.issued_tokens();
    assert_eq!((tokens.len(), scene.entries().len()), (1, REQUESTS));
    let secrets = scene.secrets.clone();
    let TestBed { audit, .. } = scene;
    let report = audit.stop();
    assert_eq!(report.code(), Some(0), "{report:#?}");
    let written = report.everything();
    assert!(written.contains("/latest/meta-data/iam/security-credentials/app"), "it saw nothing");
    let planted = [tokens[0].as_str(), BEARER, COOKIE];
    for secret in secrets.all().into_iter().chain(planted) {
        let line = written.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}

#[test]
fn no_secret_is_in_json_lines_or_in_the_most_talkative_log() {
    let Some(scene) = TestBed::with(&["-vv"], imds_audit::simulator::Topology::Direct) else {
        return;
    };
    assert_secrets_stay(scene);
}

#[test]
fn no_secret_is_in_what_a_packet_source_writes() {
    let Some(scene) = TestBed::by_packets(&["-vv"]) else { return };
    assert_secrets_stay(scene);
}

#[test]
fn no_planted_secret_is_in_what_a_packet_source_writes() {
    let endpoint = desk();
    let arguments = ["-vv", "--endpoint", &endpoint, "--endpoint", super::SERVICE];
    let environment = [("RUST_LOG", "trace")];
    let setup = Setup { arguments: &arguments, environment: &environment, ..Setup::default() };
    let Some(scene) = TestBed::by_packets_with(setup, |_| {}) else { return };
    let needles = plant(&scene);
    let TestBed { audit, .. } = scene;
    let report = audit.stop();
    assert_eq!(report.code(), Some(0), "{report:#?}");
    let lines = report.output.lines().filter(|line| line.contains("/latest/meta-data/ami-id"));
    assert!(lines.count() >= typed::ARGUMENTS.len() + typed::SCRIPTS.len(), "it saw too little");
    for (name, written) in [("the output", &report.output), ("stderr", &report.stderr)] {
        assert_absent(&needles, name, written.as_bytes());
    }
}

#[test]
fn no_secret_is_in_text() {
    let Some((scene, _)) = TestBed::alone("text", &["--endpoint", super::SERVICE]) else { return };
    assert_secrets_stay(scene);
}

/// The port of the service whose answers the test writes.
pub(super) const DESK: u16 = 8_080;

/// Gives that service's address, as the program takes it.
pub(super) fn desk() -> String {
    format!("{SERVICE_V4}:{DESK}")
}

/// Starts the program as talkative as it can be, and with secrets of its own around it.
pub(super) fn talkative(format: &str, to_stdout: bool) -> Option<(TestBed, Vec<PlantedSecret>)> {
    let own = "ownEnvironmentQ7zK2xYw4";
    let environment = [("RUST_LOG", "trace"), ("AWS_SECRET_ACCESS_KEY", own)];
    let endpoint = desk();
    let arguments = ["-vv", "--endpoint", &endpoint, "--endpoint", super::SERVICE];
    let setup = Setup { format, arguments: &arguments, environment: &environment, to_stdout };
    let (scene, _) = TestBed::alone_with(setup)?;
    Some((scene, vec![PlantedSecret::new("the program's own environment", own)]))
}

/// Plants a secret in every place of a request, a response, an argument and an environment.
pub(super) fn plant(scene: &TestBed) -> Vec<PlantedSecret> {
    let desk = Listener::open(&scene.network, DESK);
    let cases = wire::REQUESTS.iter().chain(&wire::RESPONSES).chain(&wire::BODIES);
    let mut needles: Vec<_> =
        cases.enumerate().map(|(number, case)| case.play(&desk, number)).collect();
    needles.extend(typed::play(scene));
    needles
}

fn assert_planted_secrets_stay(format: &str, to_stdout: bool) {
    let Some((scene, mut needles)) = talkative(format, to_stdout) else { return };
    needles.extend(plant(&scene));
    let TestBed { audit, .. } = scene;
    let report = audit.stop();
    assert_eq!(report.code(), Some(0), "{report:#?}");
    let lines = report.output.lines().filter(|line| line.contains("/latest/meta-data/ami-id"));
    assert!(lines.count() >= typed::ARGUMENTS.len() + typed::SCRIPTS.len(), "it saw too little");
    assert!(report.output.contains("<redacted>"), "nothing was there to be removed");
    assert!(report.stderr.contains("DEBUG") || report.stderr.contains("TRACE"), "it was silent");
    for (name, written) in
        [("the output", &report.output), ("stdout", &report.stdout), ("stderr", &report.stderr)]
    {
        assert_absent(&needles, name, written.as_bytes());
    }
}

#[test]
fn no_planted_secret_is_in_json_lines() {
    assert_planted_secrets_stay("json", false);
}

#[test]
fn no_planted_secret_is_in_text() {
    assert_planted_secrets_stay("text", false);
}

#[test]
fn no_planted_secret_is_on_standard_output() {
    assert_planted_secrets_stay("json", true);
}

#[test]
fn no_secret_of_the_environment_or_of_the_service_is_in_a_check_or_a_demonstration() {
    let Some(program) = program().filter(|_| root()) else { return };
    let own = PlantedSecret::new("the program's own environment", "ownEnvironmentQ7zK2xYw4");
    let mut needles = vec![own.clone()];
    let secrets = Secrets::default();
    needles.extend(secrets.all().map(|secret| PlantedSecret::new("the service", secret)));
    for arguments in
        [&["check"][..], &["check", "--json"], &["demo"], &["demo", "--format", "json"]]
    {
        let mut command = Command::new(&program);
        command.args(arguments).env("RUST_LOG", "trace").env("AWS_SESSION_TOKEN", &own.secret);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        for (name, written) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            assert_absent(&needles, &format!("{name} of {arguments:?}"), written);
        }
        assert!(!output.stdout.is_empty(), "{arguments:?} said nothing");
    }
}
