//! The software that asks the metadata service in the field.

use std::path::Path;

use imds_audit::event::{Cause, Resource, Version};
use imds_audit::simulator::{Status, TokenMode};
use imds_audit_tests::{TestBed, python, skip};

use super::{PATH, TOKEN_PATH};

const URL: &str = "http://169.254.169.254/latest/meta-data/instance-id";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
const CREDENTIALS: &str = "/latest/meta-data/iam/security-credentials/app";

/// Prints the key of the credentials that boto3 finds.
const BOTO3: &str = "import boto3; \
                     print(boto3.Session().get_credentials().get_frozen_credentials().access_key)";

#[test]
fn curl_without_a_token_is_v1() {
    let Some(scene) = TestBed::new() else { return };
    let caller = scene.run_well("curl", &["-s", "-m", "10", URL]);
    assert_eq!(caller.stdout, "i-0123456789abcdef0");
    let findings = scene.finish();
    assert_eq!(findings.seen(), [("v1", "served", "GET", PATH)]);
    findings.assert_sent_by(&caller);
    let request = &findings.exchanges[0].request;
    assert_eq!(request.client.as_ref().unwrap().name, "curl");
    assert_eq!(request.process.name.as_deref(), Some("curl"));
    assert_eq!(request.process.uid, Some(0));
    assert_eq!(request.process.ancestors[0].pid, std::process::id());
    assert_eq!(request.imds.version, Some(Version::V1));
}

#[test]
fn the_documented_v2_commands_are_v2_and_their_token_stays_secret() {
    let Some(scene) = TestBed::with_tokens_required() else { return };
    // EC2 User Guide, "Use IMDSv2".
    let script = "TOKEN=`curl -s -X PUT \"http://169.254.169.254/latest/api/token\" \
                  -H \"X-aws-ec2-metadata-token-ttl-seconds: 21600\"` \
                  && curl -s -H \"X-aws-ec2-metadata-token: $TOKEN\" \
                  http://169.254.169.254/latest/meta-data/instance-id";
    let caller = scene.run_well("bash", &["-c", script]);
    assert_eq!(caller.stdout, "i-0123456789abcdef0");
    let tokens = scene.service.issued_tokens();
    let findings = scene.finish();
    assert_eq!(
        findings.seen(),
        [("v2-token", "served", "PUT", TOKEN_PATH), ("v2", "served", "GET", PATH)]
    );
    assert_eq!(tokens.len(), 1);
    assert!(!findings.report.everything().contains(&tokens[0]));
    for exchange in &findings.exchanges {
        let process = exchange.process();
        let mut ancestors = process.ancestors.iter().map(|ancestor| ancestor.pid);
        // The shell may have become curl.
        let is_the_shell_s =
            process.pid == Some(caller.pid) || ancestors.any(|pid| pid == caller.pid);
        assert!(is_the_shell_s, "{process:#?}");
        assert_eq!(process.name.as_deref(), Some("curl"), "{process:#?}");
    }
}

#[test]
fn wget_is_v1() {
    let Some(scene) = TestBed::new() else { return };
    let caller = scene.run_well("wget", &["-q", "-T", "10", "-t", "1", "-O", "-", URL]);
    assert_eq!(caller.stdout, "i-0123456789abcdef0");
    let findings = scene.finish();
    assert_eq!(findings.seen(), [("v1", "served", "GET", PATH)]);
    findings.assert_sent_by(&caller);
}

#[test]
fn python_urllib_is_v1() {
    let Some(scene) = TestBed::new() else { return };
    let Some(python) = python("IMDS_AUDIT_PYTHON_CURRENT") else { return };
    let script =
        format!("import urllib.request; print(urllib.request.urlopen('{URL}', timeout=10).read())");
    let caller = scene.run_well(python, &["-c", &script]);
    assert!(caller.stdout.contains("i-0123456789abcdef0"), "{caller:?}");
    let findings = scene.finish();
    assert_eq!(findings.seen(), [("v1", "served", "GET", PATH)]);
    findings.assert_sent_by(&caller);
}

#[test]
fn boto3_of_2019_gets_its_credentials_by_v1_alone() {
    let Some(scene) = TestBed::new() else { return };
    let Some(python) = python("IMDS_AUDIT_PYTHON_V1") else { return };
    let caller = scene.run_well(python, &["-c", BOTO3]);
    assert_eq!(caller.stdout.trim(), scene.secrets.access_key_id, "{caller:?}");
    let findings = scene.finish();
    assert_eq!(
        findings.seen(),
        [("v1", "served", "GET", ROLES), ("v1", "served", "GET", CREDENTIALS)]
    );
    findings.assert_sent_by(&caller);
    let resources: Vec<_> =
        findings.exchanges.iter().map(|exchange| exchange.request.imds.resource).collect();
    assert_eq!(resources, [Some(Resource::Metadata), Some(Resource::Credentials)]);
}

#[test]
fn current_boto3_gets_its_credentials_by_v2_alone() {
    let Some(scene) = TestBed::with_tokens_required() else { return };
    let Some(python) = python("IMDS_AUDIT_PYTHON_CURRENT") else { return };
    let caller = scene.run_well(python, &["-c", BOTO3]);
    assert_eq!(caller.stdout.trim(), scene.secrets.access_key_id, "{caller:?}");
    let findings = scene.finish();
    assert_eq!(
        findings.seen(),
        [
            ("v2-token", "served", "PUT", TOKEN_PATH),
            ("v2", "served", "GET", ROLES),
            ("v2", "served", "GET", CREDENTIALS)
        ]
    );
    findings.assert_sent_by(&caller);
}

#[test]
fn current_boto3_that_is_refused_a_token_falls_back_to_v1() {
    let Some(scene) = TestBed::new() else { return };
    let Some(python) = python("IMDS_AUDIT_PYTHON_CURRENT") else { return };
    scene.service.set_mode(TokenMode::Status(Status::Forbidden));
    let caller = scene.run_well(python, &["-c", BOTO3]);
    assert_eq!(caller.stdout.trim(), scene.secrets.access_key_id, "{caller:?}");
    let findings = scene.finish();
    assert_eq!(
        findings.seen(),
        [
            ("v2-token", "forbidden", "PUT", TOKEN_PATH),
            ("v1", "served", "GET", ROLES),
            ("v1", "served", "GET", CREDENTIALS)
        ]
    );
    findings.assert_sent_by(&caller);
}

#[test]
fn tools_and_libraries_are_what_the_table_says() {
    // Those that send what their caller says, by their own requests.
    let nc = "printf 'GET /latest/meta-data/instance-id HTTP/1.0\\r\\n\\r\\n' | nc -N 169.254.169.254 80";
    let (tiny, lwp) = (
        format!("use HTTP::Tiny; print HTTP::Tiny->new->get('{URL}')->{{content}}"),
        format!("use LWP::UserAgent; print LWP::UserAgent->new->get('{URL}')->content"),
    );
    let ruby = format!("require 'net/http'; print Net::HTTP.get(URI('{URL}'))");
    let node = format!("fetch('{URL}').then(r => r.text()).then(t => console.log(t))");
    let requests = format!("http --ignore-stdin --body {URL}");
    let aria = format!("aria2c -q --allow-overwrite=true -o found {URL}; cat found");
    let rows = [
        ("http", requests, "HTTPie"),
        ("aria2c", aria, "aria2"),
        ("nc", nc.to_owned(), "nc"),
        ("perl", format!("perl -e \"{tiny}\""), "HTTP-Tiny"),
        ("lwp-request", format!("perl -e \"{lwp}\""), "libwww-perl"),
        ("ruby", format!("ruby -e \"{ruby}\""), "Ruby"),
        ("node", format!("node -e \"{node}\""), "node"),
    ];
    for (program, script, name) in rows {
        if !Path::new("/usr/bin").join(program).exists() {
            skip(&format!("there is no /usr/bin/{program}"));
            continue;
        }
        let Some(scene) = TestBed::new() else { return };
        let caller = scene.run_well("sh", &["-c", &script]);
        assert!(caller.stdout.contains("i-0123456789abcdef0"), "{caller:?}");
        let findings = scene.finish();
        assert_eq!(findings.seen(), [("v1", "served", "GET", PATH)], "{script}");
        let client = findings.exchanges[0].request.client.as_ref();
        assert_eq!(client.unwrap().name, name, "{script}");
        let advice = findings.exchanges[0].advice();
        assert_eq!(advice.cause, Cause::NeverAsks, "{advice:#?}");
        let text = &advice.text;
        assert!(text.starts_with(&format!("let what uses {name} ask for a token")), "{text}");
    }
}
