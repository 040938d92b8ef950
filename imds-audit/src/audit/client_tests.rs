use super::table::KNOWN;
use super::*;

fn told(
    user_agent: Option<&str>,
    exe: Option<&str>,
    args: &[&str],
) -> Option<(String, Option<String>, Hint)> {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    Client::recognise(user_agent.map(str::as_bytes), exe, Some(&args))
        .map(|client| (client.name, client.version, client.hint))
}

#[test]
fn user_agents_of_real_clients_are_read() {
    for (user_agent, name, version) in [
        ("curl/7.88.1", "curl", Some("7.88.1")),
        ("Wget/1.21.3", "Wget", Some("1.21.3")),
        ("Python-urllib/3.11", "Python-urllib", Some("3.11")),
        ("python-requests/2.7.0 CPython/3.8 Linux/5.10", "python-requests", Some("2.7.0")),
        ("Boto3/1.12.6 Python/3.11.7 Linux/6.1 Botocore/1.15.6", "Boto3", Some("1.12.6")),
        ("Botocore/1.10.34 Python/3.8 Linux/6.1", "Botocore", Some("1.10.34")),
        ("aws-cli/1.46.3 Python/3.11.7 exec-env/EC2 botocore/1.43", "aws-cli", Some("1.46.3")),
        ("aws-sdk-nodejs/2.574.0 linux/v20.20.2", "aws-sdk-nodejs", Some("2.574.0")),
        ("aws-sdk-java/1.11.375 Linux/6 OpenJDK", "aws-sdk-java", Some("1.11.375")),
        ("app/1 aws-sdk-go/1.25.0", "aws-sdk-go", Some("1.25.0")),
        ("aws-sdk-ruby3/3.70.0", "aws-sdk-ruby3", Some("3.70.0")),
        ("aws-sdk-php/3.100.0 GuzzleHttp/6", "aws-sdk-php", Some("3.100.0")),
        (
            "aws-sdk-dotnet-coreclr/ aws-sdk-dotnet-core/3.3.24.3 .NET_Core/4.6 OS/Linux",
            "aws-sdk-dotnet-core",
            Some("3.3.24.3"),
        ),
        ("aws-sdk-rust/1.7.0 ua/2.1 api/imds/1.13.0", "aws-sdk-rust", Some("1.7.0")),
        ("Cloud-Init/19.3", "Cloud-Init", Some("19.3")),
        ("Go-http-client/1.1", "Go-http-client", Some("1.1")),
        ("own tool", "own", None),
    ] {
        let expected = (name.to_owned(), version.map(Into::into), Hint::UserAgent);
        assert_eq!(told(Some(user_agent), None, &[]), Some(expected));
    }
    assert_eq!(told(Some(" "), None, &[]), None);
    assert_eq!(told(None, None, &[]), None);
}

#[test]
fn without_a_user_agent_the_executable_or_an_argument_hints() {
    use Hint::{CommandLine, Executable, UserAgent};
    let spark = "/opt/spark/jars/a.jar:/opt/spark/jars/hadoop-aws-3.2.0.jar";
    let spark_with_sdk = format!("{spark}:/opt/spark/jars/aws-java-sdk-bundle-1.11.375.jar");
    for (user_agent, exe, args, expected) in [
        (None, "/usr/bin/curl", &["curl"][..], Some(("curl", None, Executable))),
        (Some("mine/1"), "/usr/bin/curl", &["curl"], Some(("curl", None, Executable))),
        (None, "/bin/bash", &["bash", "-c", "x"], Some(("bash", None, Executable))),
        (
            None,
            "/usr/local/aws-cli/v2/2.15.0/dist/aws",
            &["aws", "s3", "ls"],
            Some(("aws-cli", Some("2.15.0"), Executable)),
        ),
        (
            None,
            "/usr/bin/python3.11",
            &["/usr/bin/python3", "/usr/bin/aws", "s3"],
            Some(("aws-cli", None, CommandLine)),
        ),
        (
            Some("Python-urllib/3.6"),
            "/usr/bin/python3.6",
            &["python3", "/usr/bin/cloud-init", "init"],
            Some(("Cloud-Init", None, CommandLine)),
        ),
        (
            Some("Go-http-client/1.1"),
            "/usr/bin/amazon-ssm-agent",
            &["amazon-ssm-agent"],
            Some(("amazon-ssm-agent", None, Executable)),
        ),
        (None, "/kiam", &["/kiam", "agent"], Some(("kiam", None, Executable))),
        (
            Some("aws-sdk-go/1.44.0"),
            "/usr/bin/amazon-ssm-agent",
            &["amazon-ssm-agent"],
            Some(("aws-sdk-go", Some("1.44.0"), UserAgent)),
        ),
        (
            None,
            "/usr/bin/java",
            &["java", "-cp", spark, "org.apache.spark.deploy.SparkSubmit"],
            Some(("Hadoop S3A", Some("3.2.0"), CommandLine)),
        ),
        (
            Some("Java/1.8.0_292"),
            "/usr/bin/java",
            &["java", "-cp", &spark_with_sdk, "x"],
            Some(("aws-sdk-java", Some("1.11.375"), CommandLine)),
        ),
        (
            None,
            "/usr/bin/java",
            &["java", "-cp", "/x/bundle-2.29.52.jar", "x"],
            Some(("aws-sdk-java", Some("2.29.52"), CommandLine)),
        ),
        (Some("Java/17"), "/usr/bin/java", &["java"], Some(("Java", Some("17"), UserAgent))),
        (None, "/usr/bin/node", &["node", "x.js"], None),
        (Some("own/1"), "/opt/own", &["own"], Some(("own", Some("1"), UserAgent))),
    ] {
        let expected = expected
            .map(|(name, version, hint)| (name.to_owned(), version.map(str::to_owned), hint));
        assert_eq!(told(user_agent, Some(exe), args), expected, "{exe} {args:?}");
    }
}

#[test]
fn an_argument_that_only_mentions_a_client_hints_at_nothing() {
    for args in [
        &["python3", "app.py", "--tool", "/usr/bin/aws"][..],
        &["cat", "aws"],
        &["java", "-Dx=aws-java-sdk-core-1.1.jar.bak"],
        &["java", "-cp", "/x/aws-java-sdk-core.jar"],
        &["java", "-cp", "/x/bundle-1.0.jar"],
    ] {
        assert_eq!(told(None, Some("/usr/bin/x"), args), None, "{args:?}");
    }
}

#[test]
fn two_lines_of_one_sdk_have_their_own_first_versions() {
    let support = |agent: &str| {
        let client = Client::recognise(Some(agent.as_bytes()), None, None);
        client.and_then(|client| client.known()).map(|known| known.support)
    };
    assert_eq!(support("aws-sdk-java/1.7.4"), Some(Support::Since("1.11.678")));
    assert_eq!(support("aws-sdk-java/2.1.0"), Some(Support::Since("2.10.21")));
    assert_eq!(support("aws-sdk-java/3.1.0"), None);
    assert_eq!(support("curl/8"), Some(Support::ByCaller));
}

#[test]
fn whether_a_version_speaks_imdsv2_and_falls_back_is_told() {
    use Trigger::{NoAnswer, Refused, ServerError};
    for (agent, since, falls_back_on) in [
        ("Boto3/1.9.200", Some("1.12.6"), &[][..]),
        ("Boto3/1.12.6", Some("1.12.6"), &[NoAnswer, Refused, ServerError]),
        ("aws-sdk-nodejs/2.574.0", Some("2.575.0"), &[]),
        ("aws-sdk-java/1.11.901", Some("1.11.678"), &[NoAnswer, Refused]),
        ("aws-sdk-rust/1.0", None, &[]),
        ("curl/8", None, &[]),
        ("unheard-of/1", None, &[]),
    ] {
        let client = Client::recognise(Some(agent.as_bytes()), None, None).unwrap();
        assert_eq!((client.imdsv2_since, client.falls_back_on), (since, falls_back_on), "{agent}");
    }
}

#[test]
fn versions_are_compared_by_their_numbers() {
    use Ordering::{Equal, Greater, Less};
    for (a, b, expected) in [
        ("1.9.200", "1.12.6", Some(Less)),
        ("1.12.6", "1.12.6", Some(Equal)),
        ("2.0", "2.0.0", Some(Equal)),
        ("1.26.27+repack", "1.26.27", Some(Equal)),
        ("10", "9.9.9", Some(Greater)),
        ("x", "1", None),
        ("99999999999999999999999", "1", None),
    ] {
        assert_eq!(compare(a, b), expected, "{a} {b}");
    }
}

#[test]
fn every_row_has_a_source_and_can_be_found() {
    for known in &KNOWN {
        assert!(!known.source.is_empty() && !known.agent.is_empty(), "{known:?}");
        let version = known.major.map_or("1.0".to_owned(), |major| format!("{major}.0"));
        let client = Client::new(known.agent, Some(&version), Hint::UserAgent);
        assert_eq!(client.known(), Some(known), "{known:?}");
        for version in [
            match known.support {
                Support::Since(version) => Some(version),
                _ => None,
            },
            match known.fallback {
                Fallback::NeverSince(version) => Some(version),
                _ => None,
            },
            known.switch.and_then(|switch| switch.since),
        ]
        .into_iter()
        .flatten()
        {
            assert!(compare(version, version).is_some(), "{version}");
            assert!(known.major.is_none_or(|major| version.starts_with(major)), "{known:?}");
        }
    }
}
