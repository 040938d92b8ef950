//! Causes met in the field, each by the script or the request that shows it.

mod networks;

use std::fs::File;
use std::io::Write;

use imds_audit::event::Cause;
use imds_audit::simulator::{Status, TokenMode};
use imds_audit_tests::{Comparison, TestBed, node_modules};
use rustix::fs::{CWD, Mode, mkfifoat};

const TOKEN: &str = "http://169.254.169.254/latest/api/token";
const TTL: &str = "-H 'X-aws-ec2-metadata-token-ttl-seconds: 60'";
const READ: &str = "curl -s http://169.254.169.254/latest/meta-data/instance-id";

/// The requests of a script, and what is advised on the last one. `held` in it waits until the first
/// request was reported: a shell that has ended before it was looked for is not known.
struct Case {
    script: String,
    mode: TokenMode,
    classes: &'static [&'static str],
    cause: Cause,
    reason: &'static str,
    /// A part of the command; none where there is no command.
    command: Option<&'static str>,
}

fn case(script: String, classes: &'static [&'static str], cause: Cause) -> Case {
    Case { script, mode: TokenMode::Normal, classes, cause, reason: "", command: None }
}

/// Raises the hop limit by one over what the service's own network needs.
const RAISE: &str = "aws ec2 modify-instance-metadata-options --instance-id INSTANCE_ID \
                     --http-put-response-hop-limit 2";

/// Runs the script of a case; `None` where the host does not allow the audit.
fn run(case: &Case) -> Option<Comparison> {
    // The advice depends on the hop limits that were seen, and an audit of the metadata address sees
    // those of other tests too.
    let (scene, address) = TestBed::alone("json", &[])?;
    scene.service.set_mode(case.mode);
    let script = case.script.replace("169.254.169.254", &address);
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    mkfifoat(CWD, &gate, Mode::RUSR | Mode::WUSR).unwrap();
    let held = format!("held() {{ read -r _ <{}; }}; export -f held", gate.display());
    let script = format!("scene={}; {held}; {script}; true", scene.network.client_inode());
    let caller = scene.start("bash", &["-c", &script]);
    // Open until the script has ended: whoever is held reads from it.
    let opened = case.script.contains("held").then(|| {
        scene.wait_for_events(1);
        let mut gate = File::options().read(true).write(true).open(&gate).unwrap();
        gate.write_all(b"\n").unwrap();
        gate
    });
    let caller = caller.wait();
    assert!(caller.status.success(), "{caller:?}");
    drop(opened);
    Some(scene.finish())
}

fn assert_told(cases: &[Case]) {
    for case in cases {
        let Some(findings) = run(case) else { return };
        let classes: Vec<_> = findings.verdicts().iter().map(|(class, _)| *class).collect();
        assert_eq!(classes, case.classes, "{}", case.script);
        let advice = findings.exchanges.last().unwrap().advice();
        assert_eq!(advice.cause, case.cause, "{}: {advice:#?}", case.script);
        assert!(advice.reason.contains(case.reason), "{}: {advice:#?}", case.script);
        match (case.command, advice.command.as_deref()) {
            (None, None) => {}
            (Some(RAISE), Some(command)) => assert_eq!(command, RAISE),
            (Some(part), Some(command)) => assert!(command.contains(part), "{command}"),
            (_, found) => panic!("{}: {found:?}", case.script),
        }
    }
}

#[test]
fn a_token_request_in_a_subshell_explains_the_reads_of_its_script() {
    let put = format!("curl -s -f -X PUT {TTL} {TOKEN}");
    let refused = |script| Case {
        mode: TokenMode::Status(Status::Forbidden),
        reason: "is refused (forbidden) and falls back",
        ..case(script, &["v2-token", "v1"], Cause::Refused)
    };
    assert_told(&[
        refused(format!("T=$({put} | tr -d x; held); {READ}")),
        refused(format!("t() {{ {put} || {{ held; false; }}; }}; T=$(t) || {READ}")),
        refused(format!("( {put} ); {READ}")),
        Case {
            command: Some("X-aws-ec2-metadata-token: $TOKEN"),
            ..case(
                format!("T=$({put} | tr -d x; held); {READ}"),
                &["v2-token", "v1"],
                Cause::Unused,
            )
        },
        Case {
            mode: TokenMode::NoAnswer,
            command: Some(RAISE),
            ..case(
                format!("T=$({put} -m 1 | tr -d x; held); {READ}"),
                &["v2-token", "v1"],
                Cause::Unanswered,
            )
        },
    ]);
}

#[test]
fn a_token_that_another_script_fetches_explains_the_reads_of_the_one_that_called_it() {
    let folder = tempfile::tempdir().unwrap();
    let script = |name: &str, code: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, code).unwrap();
        path.to_str().unwrap().to_owned()
    };
    // Its arguments are the options and the address of the service.
    let fetch = script("token.sh", "curl -s -X PUT \"$@\" || true\nheld\n");
    let read = script("main.sh", "T=$(bash \"$1\" \"${@:3}\")\ncurl -s \"$2\"\ntrue\n");
    let url = "http://169.254.169.254/latest/meta-data/instance-id";
    let script = format!("bash {read} {fetch} {url} {TTL} {TOKEN}; : held");
    assert_told(&[Case {
        command: Some("X-aws-ec2-metadata-token: $TOKEN"),
        ..case(script, &["v2-token", "v1"], Cause::Unused)
    }]);
}

#[test]
fn a_script_is_not_explained_by_another_in_the_same_interpreter() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, code: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("import sys, urllib.request as u\n{code}\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let asks = write(
        "v2.py",
        "r = u.Request(sys.argv[1] + '/latest/api/token', method='PUT', \
         headers={'X-aws-ec2-metadata-token-ttl-seconds': '60'})\nu.urlopen(r).read()",
    );
    let reads = write("v1.py", "u.urlopen(sys.argv[1] + '/latest/meta-data/instance-id').read()");
    let service = "http://169.254.169.254";
    let script = format!("python3 {asks} {service}; python3 {reads} {service}");
    assert_told(&[Case {
        reason: "never asks for a token",
        command: Some("X-aws-ec2-metadata-token: $TOKEN"),
        ..case(script, &["v2-token", "v1"], Cause::NeverAsks)
    }]);
}

#[test]
fn a_header_with_a_mistake_is_named_and_not_repeated() {
    let read = |header: &str| format!("{READ} -H {header}");
    let named = |header, reason| Case {
        reason,
        command: Some("-H \"X-aws-ec2-metadata-token: $TOKEN\""),
        ..case(read(header), &["v1"], Cause::WrongHeader)
    };
    let cases = [
        named("'X-aws-metadata-token: t'", "'X-aws-metadata-token'"),
        named("'aws-ec2-metadata-token: t'", "'aws-ec2-metadata-token'"),
        named("'X-aws-ec2-metadata-token-ttl-seconds: t'", "a token's lifetime"),
        named("'X-aws-ec2-metadata-token : t'", "'X-aws-ec2-metadata-token '"),
        named("'X-aws-ec2-metadata-token t'", "without a colon"),
        named("'\"X-aws-ec2-metadata-token:' -s", "the shell splits it"),
    ];
    assert_told(&cases);
    let Some(findings) = run(&cases[0]) else { return };
    let command = findings.exchanges[0].advice().command.as_ref().unwrap();
    assert!(!command.contains("X-aws-metadata-token"), "{command}");
}

#[test]
fn the_fault_of_a_token_request_is_named() {
    let put = |options: &str, path: &str| {
        format!("curl -s -X PUT {options} http://169.254.169.254{path}")
    };
    let refused = |script: String, reason| Case {
        reason,
        command: Some("TOKEN=$(curl -sf -X PUT"),
        ..case(script, &["v2-token"], Cause::Refused)
    };
    let token = "/latest/api/token";
    let forwarded = put(&format!("{TTL} -H 'X-Forwarded-For: 10.0.0.9'"), token);
    assert_told(&[
        Case { command: None, ..refused(forwarded, "carries X-Forwarded-For") },
        refused(put(TTL, "/latest/api/token/"), "ends in a slash"),
        refused(put(TTL, "/2021-03-23/api/token"), "a date in the place of latest"),
        refused(put("", token), "has no header X-aws-ec2-metadata-token-ttl-seconds"),
        refused(
            put("-H 'X-aws-ec2-metadata-token-ttl-seconds: 99999'", token),
            "not between 1 and 21600",
        ),
        Case {
            reason: "its method is not PUT",
            command: Some("TOKEN=$(curl -sf -X PUT"),
            ..case(format!("curl -s {TTL} {TOKEN}"), &["v1"], Cause::Refused)
        },
    ]);
}

#[test]
fn a_probe_of_another_cloud_and_an_unsafe_argument_get_no_such_command() {
    let write = "curl -s -w '%output{/tmp/imds-audit-x}' http://169.254.169.254/latest/meta-data/";
    assert_told(&[
        case(
            "curl -s -H 'Metadata-Flavor: Google' http://169.254.169.254/".to_owned(),
            &["v1"],
            Cause::OtherCloudProbe,
        ),
        Case {
            command: Some("&& curl -s -H \"X-aws-ec2-metadata-token: $TOKEN\" http://"),
            ..case(write.to_owned(), &["v1"], Cause::NeverAsks)
        },
    ]);
}

/// Asks without a token, and again with one when that is rejected, in one process.
pub(super) const V1_FIRST: &str = "
import urllib.error, urllib.request
def ask(path, method='GET', headers={}):
    request = urllib.request.Request('http://169.254.169.254' + path, method=method, headers=headers)
    return urllib.request.urlopen(request).read()
path = '/latest/meta-data/instance-id'
try:
    ask(path)
except urllib.error.HTTPError:
    token = ask('/latest/api/token', 'PUT', {'X-aws-ec2-metadata-token-ttl-seconds': '60'})
    ask(path, headers={'X-aws-ec2-metadata-token': token.decode()})
";

#[test]
fn a_client_that_asks_for_a_token_only_after_a_rejection_prefers_imdsv1() {
    // Row 9, as seen: a process of Python, and a script with curl.
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("first.py");
    std::fs::write(&script, V1_FIRST).unwrap();
    let by_shell = format!(
        "{READ} -f || {{ T=$(curl -s -X PUT {TTL} {TOKEN}); {READ} -H \"X-aws-ec2-metadata-token: $T\"; }}"
    );
    for script in [format!("python3 {}", script.display()), by_shell] {
        let Some(scene) = TestBed::with_tokens_required() else { return };
        let script = format!("scene={}; {script}; true", scene.network.client_inode());
        scene.run_well("bash", &["-c", &script]);
        let findings = scene.finish();
        let expected = [("v1", "rejected"), ("v2-token", "served"), ("v2", "served")];
        assert_eq!(findings.verdicts(), expected, "{script}");
        let advice = findings.exchanges[2].advice();
        assert_eq!(advice.cause, Cause::PrefersV1, "{script}: {advice:#?}");
        let reason = &advice.reason;
        assert!(reason.contains("goes on working when IMDSv2 is enforced"), "{reason}");
    }
    // By its version.
    assert_told(&[Case {
        reason: "uses IMDSv1 until then",
        ..case(format!("{READ} -A amazon-ssm-agent/2.3.814.0"), &["v1"], Cause::PrefersV1)
    }]);
}

#[test]
fn a_token_request_without_an_answer_is_explained_where_nothing_follows_it() {
    // Row 10: a client that speaks IMDSv2 only, and one that a setting forbids to fall back.
    for agent in ["aws-sdk-rust/1.7.0", "Boto3/1.44.5"] {
        let put = format!("curl -s -m 1 -A {agent} -X PUT {TTL} {TOKEN}");
        assert_told(&[Case {
            mode: TokenMode::NoAnswer,
            reason: "asks for a token, gets no answer",
            command: Some(RAISE),
            ..case(put, &["v2-token"], Cause::Unanswered)
        }]);
    }
}

#[test]
fn a_call_that_sends_no_token_in_any_version_is_named() {
    // Row 11.
    let Some(modules) = node_modules() else { return };
    let Some(scene) = TestBed::new() else { return };
    let call = "new (require('aws-sdk').MetadataService)().request(\
                '/latest/meta-data/instance-id', error => { if (error) throw error; })";
    let caller =
        scene.start_command(scene.command("node").env("NODE_PATH", modules).args(["-e", call]));
    let caller = caller.wait();
    assert!(caller.status.success(), "{caller:?}");
    let findings = scene.finish();
    assert_eq!(findings.verdicts(), [("v1", "served")]);
    let reason = &findings.exchanges[0].advice().reason;
    assert!(reason.contains("MetadataService.request(), which sends none"), "{reason}");
}

#[test]
fn a_sticky_sdk_is_to_be_started_again_and_a_split_header_is_named() {
    // Row 18: the C++ SDK stays with IMDSv1 once its token request failed.
    let agent = "-A aws-sdk-cpp/1.11.100";
    let Some(scene) = TestBed::new() else { return };
    scene.service.set_mode(TokenMode::Status(Status::Forbidden));
    let url = "http://169.254.169.254/latest";
    let one = format!(
        "curl -s {agent} -X PUT {TTL} {url}/api/token --next -s {agent} {url}/meta-data/instance-id"
    );
    scene.run_well("sh", &["-c", &one]);
    let findings = scene.finish();
    assert_eq!(findings.verdicts(), [("v2-token", "forbidden"), ("v1", "served")]);
    let text = &findings.exchanges[1].advice().text;
    assert!(text.contains("then start it again: it stays with IMDSv1 since its token"), "{text}");
    // Row 17, without any quotes in the variable.
    let header =
        "O='-H X-aws-ec2-metadata-token: AQAEAABBBBCCCCDDDDEEEEFFFFGGGGHHHHIIIIJJJJKKKK=='";
    assert_told(&[Case {
        reason: "the shell splits it",
        command: Some("X-aws-ec2-metadata-token: $TOKEN"),
        ..case(format!("{header}; {READ} $O"), &["v1"], Cause::WrongHeader)
    }]);
}
