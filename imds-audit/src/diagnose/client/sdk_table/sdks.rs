//! The AWS SDKs and the AWS CLI.

use super::{ON_EVERYTHING, ON_SILENCE_AND_REFUSAL, PLAIN};
use crate::diagnose::client::sdk_entry::{SdkEntry, Support, Switch, Update, V1Fallback};

const fn environment(since: &'static str) -> Option<Switch> {
    Some(Switch { setting: None, since: Some(since), property: None })
}

/// The SDKs, an application before the library that it names behind itself.
pub(super) const SDKS: [SdkEntry; 20] = [
    SdkEntry {
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
    SdkEntry {
        agent: "aws-cli",
        major: Some("2"),
        programs: &["aws"],
        support: Support::Always,
        fallback: ON_EVERYTHING,
        switch: environment("2.15.1"),
        source: "aws/aws-cli v2: awscli/botocore/utils.py of each tag, class IMDSFetcher",
        ..PLAIN
    },
    SdkEntry {
        agent: "Boto3",
        support: Support::Since("1.12.6"),
        fallback: ON_EVERYTHING,
        switch: environment("1.29.4"),
        update: Some(Update::Pip("boto3")),
        // A boto3 has the version of its botocore less three in the second place.
        source: "the guide; boto/botocore CHANGELOG 1.32.4",
        ..PLAIN
    },
    SdkEntry {
        agent: "Botocore",
        support: Support::Since("1.13.25"),
        fallback: ON_EVERYTHING,
        switch: environment("1.32.4"),
        update: Some(Update::Pip("botocore")),
        source: "the guide; boto/botocore CHANGELOG 1.13.25, 1.32.4, utils.py",
        ..PLAIN
    },
    SdkEntry {
        agent: "Hadoop S3A",
        support: Support::ByLibrary,
        fallback: V1Fallback::Unknown,
        source: "apache/hadoop HADOOP-17343, HADOOP-18073: the AWS SDK for Java beside it decides",
        ..PLAIN
    },
    SdkEntry {
        agent: "aws-sdk-java",
        major: Some("1"),
        support: Support::Since("1.11.678"),
        fallback: ON_SILENCE_AND_REFUSAL,
        switch: Some(Switch {
            setting: None,
            since: None,
            property: Some("com.amazonaws.sdk.disableEc2MetadataV1"),
        }),
        source: "the guide, the reference; aws/aws-sdk-java EC2ResourceFetcher.java",
        ..PLAIN
    },
    SdkEntry {
        agent: "aws-sdk-java",
        major: Some("2"),
        support: Support::Since("2.10.21"),
        fallback: ON_EVERYTHING,
        switch: Some(Switch {
            setting: None,
            since: Some("2.23.17"),
            property: Some("aws.disableEc2MetadataV1"),
        }),
        source: "the guide; aws/aws-sdk-java-v2 changelogs/2.23.x-CHANGELOG.md, \
                 InstanceProfileCredentialsProvider.java",
        ..PLAIN
    },
    SdkEntry {
        agent: "aws-sdk-go",
        support: Support::Since("1.25.38"),
        fallback: ON_EVERYTHING,
        switch: environment("1.47.2"),
        update: Some(Update::Go("github.com/aws/aws-sdk-go")),
        source: "aws/aws-sdk-go CHANGELOG 1.25.38, 1.47.2, aws/ec2metadata/token_provider.go",
        ..PLAIN
    },
    SdkEntry {
        agent: "aws-sdk-go-v2",
        support: Support::Since("0.19.0"),
        fallback: ON_EVERYTHING,
        // Its parts have versions of their own: it came with config 1.22.0.
        switch: Some(Switch { setting: None, since: None, property: None }),
        source: "the guide; aws/aws-sdk-go-v2 config CHANGELOG 1.22.0",
        ..PLAIN
    },
    SdkEntry {
        agent: "aws-sdk-nodejs",
        // The guide says 2.722.0; the token requests came with this release.
        support: Support::Since("2.575.0"),
        fallback: ON_SILENCE_AND_REFUSAL,
        is_sticky: true,
        switch: environment("2.1488.0"),
        plain_call: Some("MetadataService.request()"),
        update: Some(Update::Npm("aws-sdk", "2")),
        source: "aws/aws-sdk-js CHANGELOG 2.575.0, 2.1488.0, lib/metadata_service.js, issue 3584",
        ..PLAIN
    },
    SdkEntry {
        agent: "aws-sdk-php",
        support: Support::Since("3.147.7"),
        fallback: ON_SILENCE_AND_REFUSAL,
        switch: Some(Switch { setting: None, since: None, property: None }),
        update: Some(Update::Composer("aws/aws-sdk-php")),
        source: "the guide, the reference; aws/aws-sdk-php InstanceProfileProvider.php",
        ..PLAIN
    },
    SdkEntry {
        agent: "aws-sdk-ruby3",
        support: Support::Since("3.79.0"),
        fallback: ON_EVERYTHING,
        switch: environment("3.186.0"),
        update: Some(Update::Gem("aws-sdk-core")),
        source: "aws/aws-sdk-ruby aws-sdk-core CHANGELOG 3.79.0, 3.186.0",
        ..PLAIN
    },
    SdkEntry {
        agent: "aws-sdk-ruby2",
        support: Support::Since("2.11.401"),
        fallback: ON_SILENCE_AND_REFUSAL,
        source: "aws/aws-sdk-ruby version-2 CHANGELOG 2.11.401, instance_profile_credentials.rb of \
                 its tag",
        ..PLAIN
    },
    SdkEntry {
        // The Perl one sends it without a version; its two providers come one after the other.
        agent: "AWS Perl SDK",
        title: Some("Paws"),
        support: Support::AfterRefusal { since: "0.45", first: None },
        source: "pplu/aws-sdk-perl Changes 0.45, lib/Paws/Credential/ProviderChain.pm",
        ..PLAIN
    },
    SdkEntry {
        // The R one.
        agent: "paws",
        title: Some("the R package paws.common"),
        support: Support::Since("0.5.2"),
        fallback: ON_EVERYTHING,
        source: "paws-r/paws paws.common NEWS 0.5.2, R/config.R, R/util.R",
        ..PLAIN
    },
    SdkEntry {
        agent: "aws-sdk-cpp",
        support: Support::Since("1.7.229"),
        fallback: ON_EVERYTHING,
        switch: Some(Switch { setting: None, since: None, property: None }),
        is_sticky: true,
        plain_call: Some("EC2MetadataClient::GetResource()"),
        source: "the guide, the reference; aws/aws-sdk-cpp AWSHttpResourceClient.cpp, issue 2282",
        ..PLAIN
    },
    SdkEntry {
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
    SdkEntry {
        agent: "aws-sdk-rust",
        support: Support::Always,
        fallback: V1Fallback::Never,
        source: "awslabs/aws-sdk-rust aws-config, imds/mod.rs: \"IMDSv2 Client\"",
        ..PLAIN
    },
    SdkEntry {
        agent: "aws-sdk-kotlin",
        support: Support::Since("1.1.4"),
        fallback: V1Fallback::Never,
        source: "the guide, the reference",
        ..PLAIN
    },
    SdkEntry {
        agent: "aws-sdk-crt",
        support: Support::Always,
        fallback: ON_EVERYTHING,
        switch: Some(Switch { setting: None, since: None, property: None }),
        source: "awslabs/aws-c-auth source/aws_imds_client.c, pull request 218",
        ..PLAIN
    },
];
