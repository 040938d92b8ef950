//! What is known of the software that asks the metadata service.
//!
//! Every row has its source; "the guide" is the EC2 User Guide's page "Use a supported SDK version
//! for IMDSv2", "the reference" the AWS SDKs and Tools Reference Guide's "IMDS credential
//! provider". What no source tells is left out.

use super::{Fallback, Known, Support, Switch, Trigger, Update};

use Trigger::{NoAnswer, Refused, ServerError};

/// Measured: what it sends, with a simulated service.
const MEASURED: &str = "its request to a simulated service";

/// Falls back whatever goes wrong, but for 400.
const ON_EVERYTHING: Fallback = Fallback::On(&[NoAnswer, Refused, ServerError]);
const ON_SILENCE_AND_REFUSAL: Fallback = Fallback::On(&[NoAnswer, Refused]);

/// A row about which nothing is known but its name.
const PLAIN: Known = Known {
    agent: "",
    major: None,
    programs: &[],
    scripts: &[],
    support: Support::ByCaller,
    fallback: Fallback::Unknown,
    switch: None,
    update: None,
    source: MEASURED,
};

/// A tool that sends what it is told to.
const fn by_caller(agent: &'static str, programs: &'static [&'static str]) -> Known {
    Known { agent, programs, fallback: Fallback::Never, ..PLAIN }
}

const fn environment(since: &'static str) -> Option<Switch> {
    Some(Switch { since: Some(since), property: None })
}

/// The clients that are told apart, an application before the library it names behind it.
pub(super) const KNOWN: [Known; 34] = [
    Known {
        agent: "aws-cli",
        major: Some("1"),
        scripts: &["aws"],
        support: Support::Since("1.16.289"),
        fallback: ON_EVERYTHING,
        switch: environment("1.30.4"),
        update: Some(Update::Pip("awscli")),
        // 1.30.4 is the first with botocore 1.32.4: setup.cfg of its tag.
        source: "the guide; aws/aws-cli setup.cfg 1.16.289, 1.30.4",
        ..PLAIN
    },
    Known {
        agent: "aws-cli",
        major: Some("2"),
        programs: &["aws"],
        support: Support::Always,
        fallback: ON_EVERYTHING,
        switch: environment("2.15.1"),
        source: "aws/aws-cli v2: awscli/botocore/utils.py of each tag, class IMDSFetcher",
        ..PLAIN
    },
    Known {
        agent: "Boto3",
        support: Support::Since("1.12.6"),
        fallback: ON_EVERYTHING,
        switch: environment("1.29.4"),
        update: Some(Update::Pip("boto3")),
        // A boto3 has the version of its botocore less three in the second place.
        source: "the guide; boto/botocore CHANGELOG 1.32.4",
        ..PLAIN
    },
    Known {
        agent: "Botocore",
        support: Support::Since("1.13.25"),
        fallback: ON_EVERYTHING,
        switch: environment("1.32.4"),
        update: Some(Update::Pip("botocore")),
        source: "the guide; boto/botocore CHANGELOG 1.13.25, 1.32.4, utils.py",
        ..PLAIN
    },
    Known {
        agent: "Hadoop S3A",
        support: Support::ByLibrary,
        fallback: Fallback::Unknown,
        source: "apache/hadoop HADOOP-17343, HADOOP-18073: the AWS SDK for Java beside it decides",
        ..PLAIN
    },
    Known {
        agent: "aws-sdk-java",
        major: Some("1"),
        support: Support::Since("1.11.678"),
        fallback: ON_SILENCE_AND_REFUSAL,
        switch: Some(Switch {
            since: None,
            property: Some("com.amazonaws.sdk.disableEc2MetadataV1"),
        }),
        source: "the guide, the reference; aws/aws-sdk-java EC2ResourceFetcher.java",
        ..PLAIN
    },
    Known {
        agent: "aws-sdk-java",
        major: Some("2"),
        support: Support::Since("2.10.21"),
        fallback: ON_EVERYTHING,
        switch: Some(Switch { since: Some("2.23.17"), property: Some("aws.disableEc2MetadataV1") }),
        source: "the guide; aws/aws-sdk-java-v2 changelogs/2.23.x-CHANGELOG.md, \
                 InstanceProfileCredentialsProvider.java",
        ..PLAIN
    },
    Known {
        agent: "aws-sdk-go",
        support: Support::Since("1.25.38"),
        fallback: ON_EVERYTHING,
        switch: environment("1.47.2"),
        update: Some(Update::Go("github.com/aws/aws-sdk-go")),
        source: "aws/aws-sdk-go CHANGELOG 1.25.38, 1.47.2, aws/ec2metadata/token_provider.go",
        ..PLAIN
    },
    Known {
        agent: "aws-sdk-go-v2",
        support: Support::Since("0.19.0"),
        fallback: ON_EVERYTHING,
        // Its parts have versions of their own: it came with config 1.22.0.
        switch: Some(Switch { since: None, property: None }),
        source: "the guide; aws/aws-sdk-go-v2 config CHANGELOG 1.22.0",
        ..PLAIN
    },
    Known {
        agent: "aws-sdk-nodejs",
        // The guide says 2.722.0; the token requests came with this release.
        support: Support::Since("2.575.0"),
        fallback: ON_SILENCE_AND_REFUSAL,
        switch: environment("2.1488.0"),
        update: Some(Update::Npm("aws-sdk", "2")),
        source: "aws/aws-sdk-js CHANGELOG 2.575.0, 2.1488.0, lib/metadata_service.js",
        ..PLAIN
    },
    Known {
        agent: "aws-sdk-php",
        support: Support::Since("3.147.7"),
        fallback: ON_SILENCE_AND_REFUSAL,
        switch: Some(Switch { since: None, property: None }),
        update: Some(Update::Composer("aws/aws-sdk-php")),
        source: "the guide, the reference; aws/aws-sdk-php InstanceProfileProvider.php",
        ..PLAIN
    },
    Known {
        agent: "aws-sdk-ruby3",
        support: Support::Since("3.79.0"),
        fallback: ON_EVERYTHING,
        switch: environment("3.186.0"),
        update: Some(Update::Gem("aws-sdk-core")),
        source: "aws/aws-sdk-ruby aws-sdk-core CHANGELOG 3.79.0, 3.186.0",
        ..PLAIN
    },
    Known {
        agent: "aws-sdk-cpp",
        support: Support::Since("1.7.229"),
        fallback: ON_EVERYTHING,
        switch: Some(Switch { since: None, property: None }),
        source: "the guide, the reference; aws/aws-sdk-cpp AWSHttpResourceClient.cpp",
        ..PLAIN
    },
    Known {
        // Its core's version, which stands behind that of the service: the SDK's release
        // 3.3.634.1, which the guide names, has core 3.3.103.66.
        agent: "aws-sdk-dotnet-core",
        support: Support::Since("3.3.103.66"),
        fallback: ON_EVERYTHING,
        switch: environment("3.7.302.11"),
        update: Some(Update::Nuget("AWSSDK.Core")),
        source: "aws/aws-sdk-net SDK.CHANGELOG 3.3.634.1, 3.7.749.0, InternalSDKUtils.cs",
        ..PLAIN
    },
    Known {
        agent: "aws-sdk-rust",
        support: Support::Always,
        fallback: Fallback::Never,
        source: "awslabs/aws-sdk-rust aws-config, imds/mod.rs: \"IMDSv2 Client\"",
        ..PLAIN
    },
    Known {
        agent: "aws-sdk-kotlin",
        support: Support::Since("1.1.4"),
        fallback: Fallback::Never,
        source: "the guide, the reference",
        ..PLAIN
    },
    Known {
        agent: "Cloud-Init",
        scripts: &["cloud-init"],
        support: Support::Since("19.4"),
        fallback: Fallback::NeverSince("20.2"),
        source: "canonical/cloud-init 4bc399e0c (19.4), 1f860e5ac (20.2), url_helper.py",
        ..PLAIN
    },
    Known {
        agent: "amazon-ssm-agent",
        programs: &["amazon-ssm-agent", "ssm-agent-worker", "ssm-document-worker"],
        support: Support::Since("2.3.814.0"),
        fallback: Fallback::NeverSince("3.2.1041.0"),
        source: "aws/amazon-ssm-agent RELEASENOTES 2.3.814.0, 3.2.1041.0, issue 277",
        ..PLAIN
    },
    Known {
        agent: "amazon-cloudwatch-agent",
        programs: &["amazon-cloudwatch-agent", "config-downloader"],
        // "Try using IMDSv2 only first before using client with fallback" is of 1.300028.0; what
        // came before is that of its SDK.
        support: Support::ByLibrary,
        fallback: ON_EVERYTHING,
        source: "aws/amazon-cloudwatch-agent RELEASE_NOTES 1.300028.0",
        ..PLAIN
    },
    Known {
        agent: "amazon-ecs-agent",
        programs: &["amazon-ecs-agent", "amazon-ecs-init"],
        support: Support::ByLibrary,
        source: "aws/containers-roadmap issue 670: as its aws-sdk-go does",
        ..PLAIN
    },
    Known {
        agent: "kube2iam",
        programs: &["kube2iam"],
        support: Support::Since("0.12.0"),
        source: "jtblin/kube2iam 0bf7505 (PR 344), first in tag 0.12.0",
        ..PLAIN
    },
    Known {
        agent: "kiam",
        programs: &["kiam"],
        support: Support::Since("3.6"),
        source: "uswitch/kiam CHANGELOG 3.6 (PR 381)",
        ..PLAIN
    },
    by_caller("curl", &["curl"]),
    by_caller("Wget", &["wget"]),
    by_caller("sh", &["sh", "dash", "ash"]),
    by_caller("bash", &["bash"]),
    by_caller("zsh", &["zsh"]),
    by_caller("ksh", &["ksh"]),
    by_caller("BusyBox", &["busybox"]),
    by_caller("Python-urllib", &[]),
    by_caller("python-requests", &[]),
    by_caller("Go-http-client", &[]),
    by_caller("Java", &[]),
    by_caller("ureq", &[]),
];
