use super::sdk_table::entries;
use super::*;
use crate::event::Trigger;

fn reported(
    user_agent: Option<&str>,
    exe: Option<&str>,
    args: &[&str],
) -> Option<(String, Option<String>, Hint)> {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    recognise(user_agent.map(str::as_bytes), exe, Some(&args))
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
        assert_eq!(reported(Some(user_agent), None, &[]), Some(expected));
    }
    assert_eq!(reported(Some(" "), None, &[]), None);
    assert_eq!(reported(None, None, &[]), None);
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
        assert_eq!(reported(user_agent, Some(exe), args), expected, "{exe} {args:?}");
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
        assert_eq!(reported(None, Some("/usr/bin/x"), args), None, "{args:?}");
    }
}

#[test]
fn two_lines_of_one_sdk_have_their_own_first_versions() {
    let support = |agent: &str| {
        let client = recognise(Some(agent.as_bytes()), None, None);
        client.as_ref().and_then(known).map(|known| known.support)
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
        let client = recognise(Some(agent.as_bytes()), None, None).unwrap();
        assert_eq!(
            (client.imdsv2_since.as_deref(), &*client.falls_back_on),
            (since, falls_back_on),
            "{agent}"
        );
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
    for entry in entries() {
        assert!(!entry.source.is_empty() && !entry.agent.is_empty(), "{entry:?}");
        let version = entry.major.map_or("1.0".to_owned(), |major| format!("{major}.0"));
        let found = client(entry.agent, Some(&version), Hint::UserAgent);
        assert_eq!(known(&found), Some(entry), "{entry:?}");
        assert!(!entry.agent.contains(' ') || entry.major.is_none(), "{entry:?}");
        let support = match entry.support {
            Support::Since(version) => [Some(version), None],
            Support::AfterRefusal { since, first } => [Some(since), first],
            _ => [None, None],
        };
        let fallback = match entry.fallback {
            V1Fallback::NeverSince(version) => Some(version),
            _ => None,
        };
        let switch = entry.switch.and_then(|switch| switch.since);
        for version in support.into_iter().chain([fallback, switch]).flatten() {
            assert!(compare(version, version).is_some(), "{version}");
            assert!(entry.major.is_none_or(|major| version.starts_with(major)), "{entry:?}");
        }
    }
}

#[test]
fn clients_of_the_field_are_recognised_by_path_script_title_or_suffix() {
    for (user_agent, exe, args, name, since) in [
        (
            Some("Go-http-client/1.1"),
            "/opt/datadog-agent/bin/agent/agent",
            &["agent", "run"][..],
            "datadog-agent",
            Some("7.18.0"),
        ),
        (None, "/opt/other/bin/agent", &["agent"], "", None),
        (
            Some("aws-fluent-bit-plugin-ecs"),
            "/fluent-bit/bin/fluent-bit",
            &["fluent-bit"],
            "aws-fluent-bit-plugin-ecs",
            Some("1.8.8"),
        ),
        (
            Some("Ruby"),
            "/opt/puppetlabs/puppet/bin/ruby",
            &["ruby", "/opt/puppetlabs/bin/facter"],
            "facter",
            Some("4.2.1"),
        ),
        (
            Some("Ruby"),
            "/opt/chef/embedded/bin/ruby",
            &["ruby", "/usr/bin/chef-client", "-d"],
            "ohai",
            Some("17.0.42"),
        ),
        (
            Some("Ruby"),
            "/usr/bin/ruby2.5",
            &["codedeploy-agent: master 812"],
            "codedeploy-agent",
            Some("1.3.1"),
        ),
        (Some("Ruby"), "/usr/bin/ruby", &["ruby", "/srv/app.rb"], "Ruby", None),
        (
            Some("Python-urllib/3.7"),
            "/usr/bin/python3.7",
            &["python3", "/sbin/mount.efs", "fs-1"],
            "efs-utils",
            Some("1.22"),
        ),
        (
            Some("Python-urllib/3.10"),
            "/usr/bin/python3.10",
            &["python3", "/usr/bin/ec2metadata"],
            "ec2metadata",
            Some("0.32"),
        ),
        (
            Some("ansible-httpget"),
            "/usr/bin/python3",
            &["python3"],
            "ansible-httpget",
            Some("1.5.0"),
        ),
        (Some("HTTPie/3.2.1"), "/usr/bin/python3", &["python3", "/usr/bin/http"], "HTTPie", None),
        (Some("aria2/1.36.0"), "/usr/bin/aria2c", &["aria2c"], "aria2", None),
        (Some("HTTP-Tiny/0.080"), "/usr/bin/perl", &["perl", "x.pl"], "HTTP-Tiny", None),
        (Some("node"), "/usr/bin/node", &["node", "x.js"], "node", None),
        (Some("Ignition/2.14.0"), "/usr/bin/ignition", &["ignition"], "Ignition", Some("2.10.0")),
        (Some("s3fs/1.85"), "/usr/bin/s3fs", &["s3fs"], "s3fs", Some("1.91")),
        (None, "/usr/bin/osqueryd", &["osqueryd"], "osquery", Some("4.9.0")),
        (
            Some("aws-sdk-ruby2/2.10.9"),
            "/usr/bin/ruby",
            &["ruby"],
            "aws-sdk-ruby2",
            Some("2.11.401"),
        ),
        (Some("AWS Perl SDK"), "/usr/bin/perl", &["perl", "x.pl"], "AWS Perl SDK", Some("0.45")),
        (
            Some("paws/0.5.1 (R4.2.0; linux-gnu; x86_64)"),
            "/usr/lib/R/bin/exec/R",
            &["R"],
            "paws",
            Some("0.5.2"),
        ),
        (
            Some("Java/17.0.9"),
            "/usr/share/elasticsearch/jdk/bin/java",
            &["java", "-m", "org.elasticsearch.server/org.elasticsearch.bootstrap.Elasticsearch"],
            "elasticsearch",
            Some("8.2.0"),
        ),
    ] {
        let args: Vec<_> = args.iter().map(|&arg| arg.to_owned()).collect();
        let found = recognise(user_agent.map(str::as_bytes), Some(exe), Some(&args));
        let found_name = found.as_ref().map_or("", |client| client.name.as_str());
        assert_eq!(found_name, name, "{exe} {args:?}");
        let found_since = found.as_ref().and_then(|client| client.imdsv2_since.as_deref());
        assert_eq!(found_since, since, "{exe} {args:?}");
    }
}

#[test]
fn a_script_that_runs_curl_is_recognised_above_it() {
    let above = |exe: &str, args: &[&str]| {
        let mut process = (*crate::event::tests::example().process).clone();
        process.exe = Some(exe.into());
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        let parent = crate::event::Ancestor { pid: 7, name: Some("bash".into()), args: Some(args) };
        process.ancestors = vec![parent.clone(), parent];
        script_above(&process).map(|client| client.name)
    };
    let script = ["/bin/bash", "/usr/bin/ec2-metadata", "-i"];
    assert_eq!(above("/usr/bin/curl", &script).as_deref(), Some("ec2-metadata"));
    assert_eq!(above("/opt/app", &script), None);
    assert_eq!(above("/usr/bin/curl", &["bash", "/opt/run.sh"]), None);
    // One that makes its own requests, and calls curl for something else.
    assert_eq!(above("/usr/bin/curl", &["python3", "/usr/bin/s3cmd"]), None);
    let client = recognise(None, None, Some(&script.map(str::to_owned))).unwrap();
    assert!(!requests_tokens_itself(&client));
}

#[test]
fn a_tool_is_told_from_a_program_with_requests_of_its_own() {
    let process = |exe: &str, args: &[&str]| {
        let mut process = (*crate::event::tests::example().process).clone();
        process.exe = Some(exe.into());
        process.args = Some(args.iter().map(|&arg| arg.to_owned()).collect());
        process
    };
    for (exe, args, is_tool, drops) in [
        ("/usr/bin/curl", &["curl"][..], true, true),
        ("/usr/bin/wget", &["wget"], true, false),
        ("/usr/bin/dash", &["sh", "x.sh"], true, false),
        ("/usr/bin/python3.11", &["python3", "/usr/bin/http", "x"], true, true),
        ("/usr/bin/nc.openbsd", &["nc"], true, false),
        ("/usr/bin/python3.11", &["python3", "/srv/app.py"], false, false),
        ("/usr/bin/python3.11", &["python3", "/usr/bin/aws", "s3"], false, false),
        ("/opt/app", &["app"], false, false),
    ] {
        let process = process(exe, args);
        assert_eq!(is_command_line_tool(&process), is_tool, "{exe} {args:?}");
        assert_eq!(drops_empty_headers(&process), drops, "{exe} {args:?}");
    }
}

#[test]
fn each_file_and_title_is_that_of_one_row() {
    for list in [
        |entry: &SdkEntry| entry.programs,
        |entry: &SdkEntry| entry.paths,
        |entry: &SdkEntry| entry.scripts,
        |entry: &SdkEntry| entry.titles,
    ] {
        let mut names: Vec<_> = entries().flat_map(list).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{names:?}");
    }
}
