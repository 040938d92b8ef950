use std::process::Command;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::aggregate::hop_limit::Needed;
use crate::audit::fixture::request;
use crate::diagnose::diagnosis::{Refusal, Silence, TokenFault, TokenLoss};
use crate::event::tests::example;
use crate::event::{Class, Outcome};

/// Gives the advice on a request by a client with this user agent.
fn advice(diagnosis: Diagnosis, user_agent: &str) -> Advice {
    advise(&diagnosis, &request(&[(b"User-Agent", user_agent.as_bytes())], &[]))
}

/// The advice on a request of curl with these arguments.
fn of_curl(args: &[&[u8]]) -> Advice {
    let args: Vec<_> = std::iter::once(&b"curl"[..]).chain(args.iter().copied()).collect();
    advise(&Diagnosis::NeverAsks, &request(&[(b"User-Agent", b"curl/8")], &args))
}

const TOKEN: &str = "TOKEN=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 21600' \
                     http://169.254.169.254/latest/api/token)";
const WITH: &str = "-H \"X-aws-ec2-metadata-token: $TOKEN\"";

#[test]
fn each_client_is_told_what_to_update_to() {
    for (user_agent, text, command) in [
        (
            "Boto3/1.9.200",
            "update Boto3 from 1.9.200 to 1.12.6 or newer, the first that speaks IMDSv2",
            Some("python3 -m pip install --upgrade 'boto3>=1.12.6'"),
        ),
        (
            "aws-sdk-nodejs/2.574.0 linux/v20",
            "update aws-sdk-nodejs from 2.574.0 to 2.575.0 or newer, the first that speaks IMDSv2",
            Some("npm install aws-sdk@2"),
        ),
        (
            "aws-sdk-go/1.25.0 (go1.13; linux; amd64)",
            "update aws-sdk-go from 1.25.0 to 1.25.38 or newer, the first that speaks IMDSv2",
            Some("go get 'github.com/aws/aws-sdk-go@>=v1.25.38'"),
        ),
        (
            "aws-sdk-ruby3/3.70.0",
            "update aws-sdk-ruby3 from 3.70.0 to 3.79.0 or newer, the first that speaks IMDSv2",
            Some("gem install aws-sdk-core --version '>= 3.79.0'"),
        ),
        (
            "aws-sdk-java/1.11.375 Linux/6",
            "update aws-sdk-java from 1.11.375 to 1.11.678 or newer, the first that speaks IMDSv2",
            None,
        ),
        (
            "aws-sdk-dotnet-45/ aws-sdk-dotnet-core/3.1.0.1 .NET_Runtime/4.0",
            "update aws-sdk-dotnet-core from 3.1.0.1 to 3.3.103.66 or newer, the first that speaks \
             IMDSv2",
            Some("dotnet add package AWSSDK.Core"),
        ),
        (
            "Cloud-Init/19.3",
            "update Cloud-Init from 19.3 to 19.4 or newer, the first that speaks IMDSv2",
            None,
        ),
        (
            "Boto3/1.44.5",
            "Boto3 1.44.5 speaks IMDSv2, so it fell back before it was observed: start it again \
             and look for its token request; then AWS_EC2_METADATA_V1_DISABLED=true forbids it \
             IMDSv1",
            None,
        ),
    ] {
        let advice = advice(Diagnosis::NeverAsks, user_agent);
        assert_eq!((&*advice.text, advice.command.as_deref()), (text, command));
        assert_eq!(advice.reason, "never asks for a token");
    }
}

#[test]
fn software_that_is_not_recognised_is_said_to_be_that() {
    let mut event = example();
    event.client = None;
    Arc::make_mut(&mut event.process).exe = Some("/opt/own".into());
    let advice = advise(&Diagnosis::NeverAsks, &event);
    assert!(advice.text.starts_with("the software is not recognised: "), "{}", advice.text);
    let expected = format!(
        "{TOKEN} && curl -s {WITH} \
         http://169.254.169.254/latest/meta-data/iam/security-credentials/app"
    );
    assert_eq!(advice.command.as_deref(), Some(&*expected));
}

#[test]
fn a_script_gets_the_version_2_form_of_its_own_request() {
    let advice = of_curl(&[b"-s", b"http://169.254.169.254/latest/meta-data/instance-id"]);
    let expected =
        format!("{TOKEN} && curl {WITH} -s http://169.254.169.254/latest/meta-data/instance-id");
    assert_eq!(advice.command.as_deref(), Some(&*expected));
}

#[test]
fn a_hostile_argument_stays_one_word_and_one_line() {
    for hostile in [
        &b"$(touch /tmp/x)"[..],
        b"`id`",
        b"a'; rm -rf / #",
        b"\"$HOME\" | sh",
        b"&& reboot",
        b"*",
        b"\\",
        b"",
        "gr\u{fc}\u{df}e".as_bytes(),
    ] {
        let command = of_curl(&[b"-A", hostile]).command.unwrap();
        let words = command.split_once(WITH).unwrap().1;
        let shown =
            Command::new("sh").args(["-c", &format!("printf '%s\\0' {words}")]).output().unwrap();
        let expected = [b"-A\0", hostile, b"\0"].concat();
        assert_eq!(shown.stdout, expected, "{command}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_shell_reads_every_word_as_it_was(text in "[^\\x00]{0,40}") {
        if let Some(word) = shell_command::word(&text) {
            let shown = Command::new("printf").args(["%s", &text]).output().unwrap().stdout;
            let read = Command::new("sh").args(["-c", &format!("printf %s {word}")]).output();
            prop_assert_eq!(read.unwrap().stdout, shown);
            prop_assert_eq!(word.lines().count(), 1);
        }
    }
}

#[test]
fn what_cannot_be_shown_on_one_line_is_not_part_of_a_command() {
    let plain = format!(
        "{TOKEN} && curl -s {WITH} \
         http://169.254.169.254/latest/meta-data/iam/security-credentials/app"
    );
    let long = vec![b'a'; 3000];
    for hostile in [&b"a\nb"[..], b"\x1b[31m", "\u{202e}".as_bytes(), &long] {
        let command = of_curl(&[b"-s", hostile]).command.unwrap();
        assert_eq!(command, plain);
    }
}

#[test]
fn a_secret_in_an_argument_is_not_in_the_command() {
    let advice = of_curl(&[b"-u", b"admin:hunter2secret", b"-H", b"Authorization: Bearer sesame"]);
    let command = advice.command.unwrap();
    assert!(!command.contains("hunter2secret") && !command.contains("sesame"), "{command}");
    assert!(command.contains("<redacted>"), "{command}");
}

#[test]
fn no_path_of_the_callers_choice_is_executed() {
    // E12, S3: the base interpreter is not the caller's environment, and a caller names its own.
    let mut event = request(&[(b"User-Agent", b"Boto3/1.9.200")], &[]);
    for (exe, own, environment) in [
        ("/usr/bin/python3.11", "/srv/app/venv/bin/python", Some("/srv/app/venv/bin/python")),
        ("/usr/bin/python3.11", "venv/bin/python", Some("venv/bin/python")),
        ("/usr/bin/python3.11", "python3", None),
        ("/opt/app/bin/python3.8", "/opt/app/server", None),
        ("/tmp/python3", "/tmp/\u{202e}python3", None),
    ] {
        let process = Arc::make_mut(&mut event.process);
        process.exe = Some(exe.into());
        process.args = Some(vec![own.into(), "boto.py".into()]);
        let advice = advise(&Diagnosis::NeverAsks, &event);
        let command = advice.command.unwrap();
        assert_eq!(command, "python3 -m pip install --upgrade 'boto3>=1.12.6'", "{own}");
        let found = advice.text.split_once(", in the environment of ").map(|(_, own)| own);
        assert_eq!(found, environment, "{}", advice.text);
    }
}

fn unanswered(silence: Silence) -> Diagnosis {
    Diagnosis::Unanswered { silence, at: Some(example().time) }
}

fn away(limit: Option<u8>, needed: Needed) -> Silence {
    Silence::HopLimit { is_own_network: true, limit, needed }
}

fn refused(outcome: Outcome, fault: Option<TokenFault>) -> Diagnosis {
    Diagnosis::Refused { refusal: Refusal { outcome, fault }, at: Some(example().time) }
}

#[test]
fn the_hop_limit_is_raised_to_what_is_needed() {
    for (limit, more) in [(None, 2), (Some(1), 2), (Some(2), 3), (Some(63), 64), (None, 3)] {
        let advice = advise(&unanswered(away(limit, Needed::AtLeast(more))), &example());
        let expected = format!(
            "aws ec2 modify-instance-metadata-options --instance-id INSTANCE_ID \
             --http-put-response-hop-limit {more}"
        );
        assert_eq!(advice.command, Some(expected));
        assert!(advice.text.contains(&format!("to {more} or more")), "{}", advice.text);
    }
}

#[test]
fn the_hop_limit_is_not_raised_where_it_is_not_the_cause() {
    for (silence, text) in [
        (Silence::HostNetwork, "not the cause"),
        (Silence::Closed, "not the cause"),
        (Silence::TooLate, "not the cause"),
        (away(None, Needed::Unreachable), "does not help"),
    ] {
        for diagnosis in [
            unanswered(silence),
            Diagnosis::Unanswered { silence, at: None },
            Diagnosis::EmptyToken { token_request: TokenLoss::Unanswered(silence) },
        ] {
            let advice = advise(&diagnosis, &example());
            assert!(advice.text.contains(text), "{}", advice.text);
            assert!(!advice.command.unwrap_or_default().contains("hop-limit"), "{diagnosis:?}");
        }
    }
}

#[test]
fn where_the_network_is_not_known_both_possibilities_are_named() {
    let silence =
        Silence::HopLimit { is_own_network: false, limit: None, needed: Needed::AtLeast(2) };
    let advice = advise(&unanswered(silence), &example());
    assert!(advice.text.starts_with("if the caller is in a network of its own, raise "));
    assert!(advice.text.contains("in the host's, look for a packet filter"), "{}", advice.text);
    assert_eq!(advice.reason, "asks for a token, gets no answer and falls back");
}

#[test]
fn an_empty_token_is_traced_to_its_token_request() {
    let silence = away(None, Needed::AtLeast(2));
    let refusal = Refusal { outcome: Outcome::Forbidden, fault: Some(TokenFault::TrailingSlash) };
    for (token_request, reason, text, command) in [
        (TokenLoss::NotObserved, "failed, or it made none", "find out why", "|| exit 1"),
        (TokenLoss::Served, "was served", "how it keeps the token", "|| exit 1"),
        (TokenLoss::Unanswered(silence), "exceed the hop limit", "HopLimit to 2", "-hop-limit 2"),
        (TokenLoss::Refused(refusal), "(forbidden): its path", "without a slash", "|| exit 1"),
    ] {
        let advice = advise(&Diagnosis::EmptyToken { token_request }, &example());
        assert!(advice.reason.contains(reason), "{}", advice.reason);
        assert!(advice.text.starts_with("let the script stop when its token request fails"));
        assert!(advice.text.contains(text), "{}", advice.text);
        assert!(advice.command.unwrap().ends_with(command));
    }
}

#[test]
fn the_command_for_a_wrong_header_has_the_right_one_alone() {
    for name in ["X-aws-metadata-token", "X_aws_ec2_metadata_token"] {
        let header = format!("{name}: t");
        let args: &[&[u8]] =
            &[b"curl", b"-s", b"-H", header.as_bytes(), b"http://169.254.169.254/x"];
        let event = request(&[(b"User-Agent", b"curl/8")], args);
        let mistake = HeaderMistake::Misnamed(name.to_owned());
        let advice = advise(&Diagnosis::WrongHeader(mistake), &event);
        assert_eq!(advice.cause, crate::event::Cause::WrongHeader);
        assert!(advice.reason.contains(&format!("named '{name}'")), "{}", advice.reason);
        assert!(advice.text.contains("X-aws-ec2-metadata-token"), "{}", advice.text);
        let command = advice.command.unwrap();
        assert!(command.contains(WITH) && !command.contains(name), "{command}");
    }
}

#[test]
fn the_fault_of_a_token_request_is_corrected() {
    for (fault, text) in [
        (TokenFault::Method, "with PUT"),
        (TokenFault::TrailingSlash, "without a slash"),
        (TokenFault::DatedPath, "/latest/api/token"),
        (TokenFault::NoLifetime, "ttl-seconds"),
        (TokenFault::BadLifetime, "21600"),
        (TokenFault::Expect, "without an Expect"),
        (TokenFault::NoHost, "Host header"),
        (TokenFault::Forwarded, "leave out X-Forwarded-For"),
    ] {
        let advice = advise(&refused(Outcome::Forbidden, Some(fault)), &example());
        assert!(advice.text.contains(text) && !advice.text.contains("kube2iam"), "{advice:?}");
        assert_eq!(advice.command.is_none(), fault == TokenFault::Forwarded, "{advice:?}");
    }
}

#[test]
fn an_sdk_that_stays_with_imdsv1_is_started_again() {
    // Row 18.
    let advice = advice(refused(Outcome::NotFound, None), "aws-sdk-cpp/1.11.100");
    let expected = "start it again: it stays with IMDSv1 since its token request of \
                    2026-11-22T01:02:03Z failed";
    assert!(advice.text.contains(expected), "{}", advice.text);
}

#[test]
fn a_probe_of_another_cloud_needs_nothing() {
    let advice = advise(&Diagnosis::OtherCloudProbe, &example());
    assert!(advice.text.starts_with("do nothing for IMDSv2"), "{}", advice.text);
    assert_eq!(advice.command, None);
}

#[test]
fn a_client_that_prefers_imdsv1_keeps_working_and_is_updated() {
    let diagnosis = Diagnosis::PrefersV1 { is_observed: false };
    let advice = advice(diagnosis, "amazon-ssm-agent/2.3.814.0");
    assert!(advice.reason.contains("goes on working when IMDSv2 is enforced"));
    assert!(advice.text.starts_with("update amazon-ssm-agent from 2.3.814.0 to 3.0.413.0 or"));
}

#[test]
fn an_sdk_is_forbidden_to_fall_back_by_its_own_switch() {
    for (user_agent, switch) in [
        ("Boto3/1.44.5", Some("then AWS_EC2_METADATA_V1_DISABLED=true forbids it IMDSv1")),
        (
            "Boto3/1.20.0",
            Some("then AWS_EC2_METADATA_V1_DISABLED=true (from 1.29.4 on) forbids it IMDSv1"),
        ),
        (
            "aws-sdk-java/2.20.0",
            Some(
                "then AWS_EC2_METADATA_V1_DISABLED=true or -Daws.disableEc2MetadataV1=true (from \
                 2.23.17 on) forbids it IMDSv1",
            ),
        ),
        (
            "aws-sdk-java/1.12.0",
            Some(
                "then AWS_EC2_METADATA_V1_DISABLED=true or \
                 -Dcom.amazonaws.sdk.disableEc2MetadataV1=true (in newer versions) forbids it \
                 IMDSv1",
            ),
        ),
        ("Cloud-Init/19.4", None),
        ("curl/8", None),
    ] {
        for diagnosis in
            [refused(Outcome::NotFound, None), unanswered(away(None, Needed::AtLeast(2)))]
        {
            let text = advice(diagnosis, user_agent).text;
            assert_eq!(text.split_once("; ").map(|(_, switch)| switch), switch, "{text}");
        }
    }
}

#[test]
fn software_that_is_not_recognised_is_told_the_switch_of_the_sdks() {
    let mut event = example();
    event.client = None;
    let advice = advise(&refused(Outcome::ServerError, None), &event);
    assert_eq!(
        advice.text,
        "find out why the token request fails, in the service or in a proxy; then \
         AWS_EC2_METADATA_V1_DISABLED=true forbids it IMDSv1, if it uses an AWS SDK"
    );
}

#[test]
fn an_endpoint_that_forbids_everything_is_told_from_a_proxy() {
    let diagnosis = refused(Outcome::Forbidden, None);
    let mut event = example();
    let proxy = advise(&diagnosis, &event);
    assert!(proxy.text.contains("kube2iam") && proxy.command.is_none(), "{proxy:?}");
    event.imds.outcome = Outcome::Forbidden;
    let disabled = advise(&diagnosis, &event);
    assert!(disabled.command.unwrap().ends_with("--http-endpoint enabled"));
}

#[test]
fn databricks_is_told_the_setting_of_its_glue_catalog() {
    let java: &[&[u8]] = &[
        b"/usr/lib/jvm/bin/java",
        b"-cp",
        b"/databricks/jars/*",
        b"com.databricks.backend.daemon.driver.DriverDaemon",
    ];
    for (user_agent, expected) in [
        ("aws-sdk-java/1.7.4", "; otherwise update aws-sdk-java from 1.7.4 to 1.11.678 or newer"),
        ("Java/1.8", "; otherwise update the SDK that the library which asks was built with"),
    ] {
        let mut event = request(&[(b"User-Agent", user_agent.as_bytes())], java);
        Arc::make_mut(&mut event.process).name = Some("java".into());
        let advice = advise(&Diagnosis::NeverAsks, &event);
        assert_eq!(advice.command.as_deref(), Some(GLUE));
        assert!(advice.text.starts_with("on Databricks with the AWS Glue catalog, "));
        assert!(advice.text.contains(expected), "{}", advice.text);
    }
}

#[test]
fn the_glue_catalog_is_not_blamed_for_others() {
    let setting = |user_agent: &[u8], name: &str, args: &[&[u8]]| {
        let mut event = request(&[(b"User-Agent", user_agent)], args);
        Arc::make_mut(&mut event.process).exe = None;
        Arc::make_mut(&mut event.process).name = Some(name.into());
        advise(&Diagnosis::NeverAsks, &event).command.as_deref() == Some(GLUE)
    };
    let old = b"aws-sdk-java/1.7.4";
    assert!(setting(old, "java", &[b"java", b"-cp", b"/databricks/jars/x.jar"]));
    assert!(!setting(old, "java", &[b"java", b"-jar", b"app.jar"]));
    assert!(!setting(b"aws-sdk-java/1.12.1", "java", &[b"java", b"-cp", b"/databricks/x.jar"]));
    assert!(!setting(b"Boto3/1.9", "python", &[b"python", b"/databricks/x.py"]));
}

#[test]
fn a_script_with_an_empty_token_is_told_to_stop() {
    let mut event = example();
    event.imds.class = Class::V2EmptyToken;
    event.imds.endpoint = "[fd00:ec2::254]:80".into();
    let token_request = TokenLoss::NotObserved;
    let advice = advise(&Diagnosis::EmptyToken { token_request }, &event);
    assert!(advice.text.starts_with("let the script stop when"));
    let command = advice.command.unwrap();
    assert!(command.ends_with("'http://[fd00:ec2::254]/latest/api/token') || exit 1"), "{command}");
}

#[test]
fn every_command_is_valid_shell() {
    let token_request = TokenLoss::NotObserved;
    for diagnosis in [
        Diagnosis::NeverAsks,
        unanswered(away(None, Needed::AtLeast(2))),
        Diagnosis::EmptyToken { token_request },
        Diagnosis::Unused,
        Diagnosis::WrongHeader(HeaderMistake::Split),
        refused(Outcome::ClientError, Some(TokenFault::NoLifetime)),
    ] {
        for user_agent in ["curl/8", "Wget/1.2", "Boto3/1.0", "aws-sdk-go/1.0", "x", ""] {
            let Some(command) = advice(diagnosis.clone(), user_agent).command else { continue };
            let check = Command::new("sh").args(["-n", "-c", &command]).status().unwrap();
            assert!(check.success(), "{command}");
        }
    }
}
