//! Causes of IMDSv1 use, and the advice for them: each diagnosis with software that
//! falls into it.

use imds_audit::event::{Advice, Cause, Class, Client, Hint, Outcome, Trigger};
use imds_audit::simulator::{HopLimit, Status, TokenMode, Topology};
use imds_audit_tests::{Caller, Comparison, Exchange, TestBed, node_modules, python};

use super::{CLIENT, PATH, SERVICE, TOKEN_PATH};

const URL: &str = "http://169.254.169.254/latest/meta-data/instance-id";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
const CREDENTIALS: &str = "/latest/meta-data/iam/security-credentials/app";

/// An SDK that looks for credentials; prints the key of those that it finds.
#[derive(Clone, Copy, Debug)]
enum Sdk {
    /// boto3 of 2019, which knows IMDSv1 alone.
    Boto3Of2019,
    /// A current boto3.
    Boto3,
    /// Version 2 of the JavaScript SDK, of 2019, which knows IMDSv1 alone.
    JavaScript2Of2019,
    /// Version 2 of the JavaScript SDK, the last of them.
    JavaScript2,
    /// Version 3 of the JavaScript SDK.
    JavaScript3,
}

impl Sdk {
    /// Finds credentials in a scene; `None` where the SDK is not installed.
    fn run(self, scene: &TestBed) -> Option<Caller> {
        self.run_and_check(scene, &[])
    }

    /// Finds them where the service has another address: only there no other test's hop limit is
    /// seen, and the advice can be compared as a whole.
    fn run_at(self, scene: &TestBed, address: &str) -> Option<Caller> {
        let service = format!("http://{address}");
        self.run_and_check(scene, &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &service)])
    }

    fn run_and_check(self, scene: &TestBed, variables: &[(&str, &str)]) -> Option<Caller> {
        let caller = self.run_with(scene, variables)?;
        assert_eq!(caller.stdout.trim(), scene.secrets.access_key_id, "{self:?} {caller:?}");
        Some(caller)
    }

    /// Runs its default chain of credentials with variables in its environment.
    fn run_with(self, scene: &TestBed, variables: &[(&str, &str)]) -> Option<Caller> {
        // The summary tells callers apart by their command lines, and the audit is of the host.
        let scene_number = scene.network.client_inode();
        let python_script = format!(
            "scene = {scene_number}; import boto3; \
             print(boto3.Session().get_credentials().get_frozen_credentials().access_key)"
        );
        let version_2 = |name: &str| {
            format!(
                "const scene = {scene_number}, AWS = require('{name}'); new AWS.CredentialProviderChain().resolve(\
                 (error, found) => {{ if (error) throw error; console.log(found.accessKeyId); }})"
            )
        };
        let (program, script) = match self {
            Self::Boto3Of2019 => (python("IMDS_AUDIT_PYTHON_V1")?, python_script),
            Self::Boto3 => (python("IMDS_AUDIT_PYTHON_CURRENT")?, python_script),
            Self::JavaScript2Of2019 => ("node".into(), version_2("aws-sdk-2019")),
            Self::JavaScript2 => ("node".into(), version_2("aws-sdk")),
            Self::JavaScript3 => (
                "node".into(),
                format!(
                    "const scene = {scene_number}; \
                     require('@aws-sdk/credential-provider-node').defaultProvider()()\
                     .then(found => console.log(found.accessKeyId))"
                ),
            ),
        };
        let mut command = scene.command(program);
        command.env("NODE_PATH", node_modules()?).envs(variables.iter().copied());
        command.args([if matches!(self, Self::Boto3Of2019 | Self::Boto3) { "-c" } else { "-e" }]);
        Some(scene.start_command(command.arg(script)).wait())
    }
}

/// Asserts that each request without a token, and no other, has the advice.
fn assert_advised(findings: &Comparison, cause: Cause, text: &str, command: Option<&str>) {
    for exchange in &findings.exchanges {
        let imds = &exchange.request.imds;
        if imds.class == Class::V2Token {
            // A client that may never fall back is advised on its token request.
            if let Some(advice) = &exchange.request.advice {
                let found = (imds.outcome, advice.cause);
                assert_eq!(found, (Outcome::NoResponse, Cause::Unanswered), "{exchange:#?}");
            }
            continue;
        }
        let advice = exchange.advice();
        assert_eq!(advice.cause, cause, "{exchange:#?}");
        assert!(advice.text.contains(text), "{exchange:#?}");
        assert_eq!(advice.command.as_deref(), command, "{exchange:#?}");
    }
}

/// Runs a client to its end, and gives what the audit takes it for.
fn recognised(program: &str, arguments: &[&str]) -> Option<Client> {
    let scene = TestBed::new()?;
    scene.run_well(program, arguments);
    let mut findings = scene.finish();
    assert_eq!(findings.seen(), [("v1", "served", "GET", PATH)]);
    findings.exchanges.remove(0).request.client
}

/// Asserts that the summary has the advice of the last request, under the caller.
fn assert_in_summary(findings: &Comparison) {
    let Advice { cause: _, reason, text, command } = findings.exchanges.last().unwrap().advice();
    let summary = &findings.report.stderr;
    for part in [Some(reason), Some(text), command.as_ref()].into_iter().flatten() {
        assert!(summary.contains(part), "{part}: {summary}");
    }
}

#[test]
fn an_old_sdk_never_asks_and_is_told_its_first_version() {
    for (sdk, text, command) in [
        (
            Sdk::Boto3Of2019,
            "update Boto3 from 1.9.200 to 1.12.6 or newer",
            "-m pip install --upgrade 'boto3>=1.12.6'",
        ),
        (
            Sdk::JavaScript2Of2019,
            "update aws-sdk-nodejs from 2.574.0 to 2.575.0 or newer",
            "npm install aws-sdk@2",
        ),
    ] {
        let Some(scene) = TestBed::new() else { return };
        let Some(caller) = sdk.run(&scene) else { return };
        let findings = scene.finish();
        assert_eq!(
            findings.seen(),
            [("v1", "served", "GET", ROLES), ("v1", "served", "GET", CREDENTIALS)]
        );
        findings.assert_sent_by(&caller);
        for advice in findings.exchanges.iter().map(Exchange::advice) {
            assert_eq!(advice.cause, Cause::NeverAsks, "{sdk:?}");
            assert!(advice.text.contains(text), "{advice:#?}");
            assert!(advice.command.as_ref().unwrap().ends_with(command), "{advice:#?}");
        }
        assert_in_summary(&findings);
    }
}

#[test]
fn an_sdk_that_is_refused_a_token_falls_back_and_is_told_of_the_proxy() {
    for sdk in [Sdk::Boto3, Sdk::JavaScript2, Sdk::JavaScript3] {
        for (status, outcome) in [
            (Status::Forbidden, "forbidden"),
            (Status::NotFound, "not-found"),
            (Status::MethodNotAllowed, "refused-method"),
        ] {
            let Some(scene) = TestBed::new() else { return };
            scene.service.set_mode(TokenMode::Status(status));
            let Some(caller) = sdk.run(&scene) else { return };
            let findings = scene.finish();
            assert_eq!(
                findings.verdicts(),
                [("v2-token", outcome), ("v1", "served"), ("v1", "served")],
                "{sdk:?}"
            );
            findings.assert_sent_by(&caller);
            assert_advised(&findings, Cause::Refused, "remove the proxy in between", None);
            let reason = format!("asks for a token, is refused ({outcome}) and falls back");
            assert_eq!(findings.exchanges[1].advice().reason, reason);
            assert_in_summary(&findings);
        }
    }
}

#[test]
fn an_sdk_whose_token_request_fails_in_the_service_falls_back_and_is_told_so() {
    for sdk in [Sdk::Boto3, Sdk::JavaScript3] {
        let Some(scene) = TestBed::new() else { return };
        scene.service.set_mode(TokenMode::Status(Status::ServiceUnavailable));
        let Some(caller) = sdk.run(&scene) else { return };
        let findings = scene.finish();
        let [asked @ .., ("v1", "served"), ("v1", "served")] = &findings.verdicts()[..] else {
            panic!("{sdk:?} {:?}", findings.verdicts())
        };
        assert!(asked.iter().all(|verdict| *verdict == ("v2-token", "server-error")), "{asked:?}");
        findings.assert_sent_by(&caller);
        assert_advised(&findings, Cause::Refused, "find out why the token request fails", None);
        assert_in_summary(&findings);
    }
}

#[test]
fn the_switch_that_is_advised_forbids_imdsv1() {
    for sdk in [Sdk::Boto3, Sdk::JavaScript2, Sdk::JavaScript3] {
        let Some(scene) = TestBed::new() else { return };
        scene.service.set_mode(TokenMode::Status(Status::Forbidden));
        let switch = [("AWS_EC2_METADATA_V1_DISABLED", "true")];
        let Some(caller) = sdk.run_with(&scene, &switch) else { return };
        assert!(!caller.status.success(), "{sdk:?} {caller:?}");
        let findings = scene.finish();
        let verdicts = findings.verdicts();
        assert!(!verdicts.is_empty(), "{sdk:?}");
        assert!(
            verdicts.iter().all(|verdict| *verdict == ("v2-token", "forbidden")),
            "{verdicts:?}"
        );
    }
}

#[test]
fn an_sdk_that_gets_no_answer_falls_back_and_is_told_of_the_hop_limit() {
    // With how often each one asks, a second each time.
    for (sdk, attempts) in [(Sdk::Boto3, 1), (Sdk::JavaScript2, 4), (Sdk::JavaScript3, 1)] {
        let Some((scene, address)) = TestBed::alone_in(Topology::Direct) else { return };
        scene.service.set_mode(TokenMode::NoAnswer);
        let Some(caller) = sdk.run_at(&scene, &address) else { return };
        let findings = scene.finish();
        let mut expected = vec![("v2-token", "no-response"); attempts];
        expected.extend([("v1", "served"), ("v1", "served")]);
        assert_eq!(findings.verdicts(), expected, "{sdk:?}");
        findings.assert_sent_by(&caller);
        let command = "aws ec2 modify-instance-metadata-options --instance-id INSTANCE_ID \
                       --http-put-response-hop-limit 2";
        assert_advised(&findings, Cause::Unanswered, "HttpPutResponseHopLimit to 2", Some(command));
        assert_in_summary(&findings);
    }
}

#[test]
fn an_sdk_behind_a_hop_falls_back_where_the_hop_limit_is_one() {
    let Some((scene, address)) = TestBed::alone_in(Topology::Routed) else { return };
    if scene.network.topology() != Topology::Routed {
        return imds_audit_tests::skip("this kernel has no veth interfaces");
    }
    let Some(caller) = Sdk::Boto3.run_at(&scene, &address) else { return };
    let findings = scene.finish_without_readers();
    // No answer comes and no end of the connection: whether one comes within 30 s is not waited
    // for here, and not by the caller.
    assert_eq!(
        findings.verdicts(),
        [("v2-token", "unobserved"), ("v1", "served"), ("v1", "served")]
    );
    findings.assert_sent_by(&caller);
    let command = "aws ec2 modify-instance-metadata-options --instance-id INSTANCE_ID \
                   --http-put-response-hop-limit 2";
    assert_advised(&findings, Cause::Unanswered, "HttpPutResponseHopLimit to 2", Some(command));
    let reason = &findings.exchanges[1].advice().reason;
    assert!(reason.contains("it runs in its own network namespace"), "{reason}");
    assert_in_summary(&findings);
}

#[test]
fn the_hop_limit_that_is_advised_lets_the_sdk_have_its_token() {
    let Some(scene) = TestBed::with(&[], Topology::Routed) else { return };
    scene.service.set_hop_limit(HopLimit::try_from(2).unwrap());
    let Some(caller) = Sdk::Boto3.run(&scene) else { return };
    let findings = scene.finish();
    assert_eq!(findings.verdicts(), [("v2-token", "served"), ("v2", "served"), ("v2", "served")]);
    findings.assert_sent_by(&caller);
}

#[test]
fn databricks_is_told_the_setting_of_its_glue_catalog() {
    let Some(scene) = TestBed::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let java = folder.path().join("java");
    std::fs::copy(CLIENT, &java).unwrap();
    let class = "com.databricks.backend.daemon.driver.DriverDaemon";
    let get = "GET /latest/meta-data/instance-id HTTP/1.1\\r\\nHost: imds\\r\\n\
               User-Agent: aws-sdk-java/1.7.4 Linux\\r\\n\\r\\n";
    scene.run_well(&java, &["note", class, "connect", SERVICE, "send", get, "receive"]);
    let findings = scene.finish();
    assert_eq!(findings.verdicts(), [("v1", "served")]);
    let setting = "spark.databricks.hive.metastore.glueCatalog.isolation.enabled false";
    assert_advised(&findings, Cause::NeverAsks, "on Databricks with the AWS Glue", Some(setting));
    assert_in_summary(&findings);
}

#[test]
fn the_hop_limit_is_stated_with_what_it_means_for_containers() {
    for (hop_limit, stated) in [
        (
            1,
            "hop limit: 1; a container in the host's network gets a token, one in a network of \
             its own does not and may fall back to IMDSv1\n",
        ),
        (3, "hop limit: 3; a container gets a token up to 2 hops away from the host's network\n"),
    ] {
        let Some(scene) = TestBed::in_the_hosts_network() else { return };
        scene.service.set_hop_limit(HopLimit::try_from(hop_limit).unwrap());
        let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60";
        let url = "http://169.254.169.254/latest/api/token";
        scene.run_well("curl", &["-s", "-m", "10", "-X", "PUT", "-H", ttl, url]);
        let findings = scene.finish();
        assert_eq!(findings.verdicts(), [("v2-token", "served")]);
        assert_eq!(findings.exchanges[0].request.network.response_ttl, Some(hop_limit));
        assert!(findings.report.stderr.contains(stated), "{}", findings.report.stderr);
    }
}

#[test]
fn a_script_whose_token_request_fails_sends_an_empty_token() {
    // The same script with each tool: curl drops the header without a value, wget sends it.
    for (tool, expected) in [
        ("curl -s -H \"X-aws-ec2-metadata-token: $TOKEN\"", ("v1", "served", "GET", PATH)),
        (
            "wget -q -O - --header=\"X-aws-ec2-metadata-token: $TOKEN\"",
            ("v2-empty-token", "rejected", "GET", PATH),
        ),
    ] {
        let Some(scene) = TestBed::new() else { return };
        scene.service.set_mode(TokenMode::Status(Status::Forbidden));
        let script = format!(
            "scene={}; TOKEN=$(curl -s -f -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' \
             http://169.254.169.254/latest/api/token); {tool} {URL}; true",
            scene.network.client_inode()
        );
        scene.run_well("sh", &["-c", &script]);
        let findings = scene.finish();
        assert_eq!(findings.seen(), [("v2-token", "forbidden", "PUT", TOKEN_PATH), expected]);
        let command = "TOKEN=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 21600' \
                       http://169.254.169.254/latest/api/token) || exit 1";
        assert_advised(&findings, Cause::EmptyToken, "stop when its token request", Some(command));
        assert_in_summary(&findings);
    }
}

#[test]
fn a_script_that_never_asks_is_given_its_own_request_with_a_token_and_it_works() {
    let Some(scene) = TestBed::new() else { return };
    let script = format!("printf 'the id is '; curl -s -A \"it's; id\" '{URL}'; true");
    scene.run_well("sh", &["-c", &script]);
    scene.wait_for_events(1);
    let advice = scene.requests().remove(0).advice.unwrap();
    let command = advice.command.as_deref().unwrap();
    assert!(command.ends_with(&format!(r"-s -A 'it'\''s; id' {URL}")), "{command}");
    let caller = scene.run_well("sh", &["-c", command]);
    assert_eq!(caller.stdout, "i-0123456789abcdef0");
    let findings = scene.finish();
    assert_eq!(findings.verdicts(), [("v1", "served"), ("v2-token", "served"), ("v2", "served")]);
    assert_eq!(findings.exchanges[2].entry.user_agent.as_deref(), Some("it's; id"));
}

#[test]
fn a_client_without_a_user_agent_is_hinted_at_by_its_executable_or_its_script() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("cloud-init");
    let read = format!("import urllib.request; urllib.request.urlopen('{URL}').read()");
    std::fs::write(&script, read).unwrap();
    let socket = "exec 3<>/dev/tcp/169.254.169.254/80; \
                  printf 'GET /latest/meta-data/instance-id HTTP/1.0\\r\\n\\r\\n' >&3; \
                  while read -r line; do :; done <&3";
    for (program, arguments, name, hint) in [
        ("curl", &["-s", "-A", "", URL][..], "curl", Hint::Executable),
        ("bash", &["-c", socket], "bash", Hint::Executable),
        ("python3", &[script.to_str().unwrap()], "Cloud-Init", Hint::CommandLine),
    ] {
        let Some(client) = recognised(program, arguments) else { return };
        assert_eq!((&*client.name, client.hint), (name, hint), "{client:#?}");
        assert_eq!(client.version, None);
    }
}

#[test]
fn what_an_sdk_is_known_to_do_stands_beside_its_name() {
    for (sdk, name, since, falls_back_on) in [
        (Sdk::Boto3Of2019, "Boto3", "1.12.6", &[][..]),
        (
            Sdk::Boto3,
            "Boto3",
            "1.12.6",
            &[Trigger::NoAnswer, Trigger::Refused, Trigger::ServerError],
        ),
        (Sdk::JavaScript2Of2019, "aws-sdk-nodejs", "2.575.0", &[]),
    ] {
        let Some(scene) = TestBed::new() else { return };
        let Some(_caller) = sdk.run(&scene) else { return };
        let findings = scene.finish();
        for exchange in &findings.exchanges {
            let client = exchange.request.client.as_ref().unwrap();
            assert_eq!((&*client.name, client.hint), (name, Hint::UserAgent));
            assert_eq!(client.imdsv2_since.as_deref(), Some(since));
            assert_eq!(*client.falls_back_on, *falls_back_on, "{client:#?}");
        }
    }
}
