use std::process::Command;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::audit::class::Class;
use crate::audit::event::tests::{example, request};

/// Gives the advice on a request by a client with this user agent.
fn advice(diagnosis: Diagnosis, user_agent: &str) -> Advice {
    Advice::new(diagnosis, &request(&[(b"User-Agent", user_agent.as_bytes())], &[]))
}

/// The advice on a request of curl with these arguments.
fn of_curl(args: &[&[u8]]) -> Advice {
    let args: Vec<_> = std::iter::once(&b"curl"[..]).chain(args.iter().copied()).collect();
    Advice::new(Diagnosis::NeverAsks, &request(&[(b"User-Agent", b"curl/8")], &args))
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
    let advice = Advice::new(Diagnosis::NeverAsks, &event);
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
        if let Some(word) = shell::word(&text) {
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
fn a_python_of_ones_own_is_named_and_quoted() {
    let mut event = request(&[(b"User-Agent", b"Boto3/1.9.200")], &[]);
    for (exe, python) in [
        ("/opt/app/bin/python3.8", "/opt/app/bin/python3.8"),
        ("/opt/a b'; id #/bin/python3", r"'/opt/a b'\''; id #/bin/python3'"),
        ("/opt/app/server", "python3"),
        ("/tmp/python3", "python3"),
        ("/usr/../tmp/python3", "python3"),
        ("python3", "python3"),
    ] {
        Arc::make_mut(&mut event.process).exe = Some(exe.into());
        let command = Advice::new(Diagnosis::NeverAsks, &event).command.unwrap();
        assert_eq!(command, format!("{python} -m pip install --upgrade 'boto3>=1.12.6'"));
    }
    Arc::make_mut(&mut event.process).exe = Some("/opt/a\nb/python3".into());
    assert_eq!(Advice::new(Diagnosis::NeverAsks, &event).command, None);
}

#[test]
fn the_hop_limit_is_raised_by_one_or_to_two() {
    let event = example();
    for (hop_limit, more) in [(None, 2), (Some(1), 2), (Some(2), 3), (Some(64), 64)] {
        let diagnosis = Diagnosis::Unanswered { hop_limit, host_network: Some(false) };
        let advice = Advice::new(diagnosis, &event);
        let expected = format!(
            "aws ec2 modify-instance-metadata-options --instance-id INSTANCE_ID \
             --http-put-response-hop-limit {more}"
        );
        assert_eq!(advice.command, Some(expected));
        assert!(advice.text.contains(&format!("to {more} or more")), "{}", advice.text);
    }
}

#[test]
fn in_the_hosts_own_network_the_hop_limit_is_not_raised() {
    let diagnosis = Diagnosis::Unanswered { hop_limit: Some(1), host_network: Some(true) };
    let advice = Advice::new(diagnosis, &example());
    assert!(advice.text.contains("not the cause"), "{}", advice.text);
    assert_eq!(advice.command, None);
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
        for diagnosis in [
            Diagnosis::Refused { outcome: Outcome::NotFound },
            Diagnosis::Unanswered { hop_limit: None, host_network: None },
        ] {
            let text = advice(diagnosis, user_agent).text;
            assert_eq!(text.split_once("; ").map(|(_, switch)| switch), switch, "{text}");
        }
    }
}

#[test]
fn software_that_is_not_recognised_is_told_the_switch_of_the_sdks() {
    let mut event = example();
    event.client = None;
    let advice = Advice::new(Diagnosis::Refused { outcome: Outcome::ServerError }, &event);
    assert_eq!(
        advice.text,
        "find out why the token request fails, in the service or in a proxy; then \
         AWS_EC2_METADATA_V1_DISABLED=true forbids it IMDSv1, if it uses an AWS SDK"
    );
}

#[test]
fn an_endpoint_that_forbids_everything_is_told_from_a_proxy() {
    let diagnosis = Diagnosis::Refused { outcome: Outcome::Forbidden };
    let mut event = example();
    let proxy = Advice::new(diagnosis, &event);
    assert!(proxy.text.contains("kube2iam") && proxy.command.is_none(), "{proxy:?}");
    event.imds.outcome = Outcome::Forbidden;
    let disabled = Advice::new(diagnosis, &event);
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
        let advice = Advice::new(Diagnosis::NeverAsks, &event);
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
        Advice::new(Diagnosis::NeverAsks, &event).command.as_deref() == Some(GLUE)
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
    let advice = Advice::new(Diagnosis::EmptyToken, &event);
    assert!(advice.text.starts_with("let the script stop when"));
    let command = advice.command.unwrap();
    assert!(command.ends_with("'http://[fd00:ec2::254]/latest/api/token') || exit 1"), "{command}");
}

#[test]
fn every_command_is_valid_shell() {
    let unanswered = Diagnosis::Unanswered { hop_limit: None, host_network: None };
    for diagnosis in [Diagnosis::NeverAsks, unanswered, Diagnosis::EmptyToken, Diagnosis::Unused] {
        for user_agent in ["curl/8", "Wget/1.2", "Boto3/1.0", "aws-sdk-go/1.0", "x", ""] {
            let Some(command) = advice(diagnosis, user_agent).command else { continue };
            let check = Command::new("sh").args(["-n", "-c", &command]).status().unwrap();
            assert!(check.success(), "{command}");
        }
    }
}
