//! Agents, daemons and programs other than SDKs.

use super::{ON_EVERYTHING, PLAIN};
use crate::diagnose::client::sdk_entry::{SdkEntry, Support, Switch, Update, V1Fallback};

/// The agents and programs.
pub(super) const AGENTS: [SdkEntry; 24] = [
    SdkEntry {
        agent: "Cloud-Init",
        scripts: &["cloud-init"],
        support: Support::Since("19.4"),
        fallback: V1Fallback::NeverSince("20.2"),
        source: "canonical/cloud-init 4bc399e0c (19.4), 1f860e5ac (20.2), url_helper.py",
        ..PLAIN
    },
    SdkEntry {
        agent: "amazon-ssm-agent",
        programs: &["amazon-ssm-agent", "ssm-agent-worker", "ssm-document-worker"],
        support: Support::AfterRefusal { since: "2.3.814.0", first: Some("3.0.413.0") },
        fallback: V1Fallback::NeverSince("3.2.1041.0"),
        source: "aws/amazon-ssm-agent RELEASENOTES 2.3.814.0, 3.0.413.0, 3.2.1041.0, issue 319",
        ..PLAIN
    },
    SdkEntry {
        agent: "amazon-cloudwatch-agent",
        programs: &["amazon-cloudwatch-agent", "config-downloader"],
        // "Try using IMDSv2 only first before using client with fallback" is of 1.300028.0; what
        // came before is that of its SDK.
        support: Support::ByLibrary,
        fallback: ON_EVERYTHING,
        source: "aws/amazon-cloudwatch-agent RELEASE_NOTES 1.300028.0",
        ..PLAIN
    },
    SdkEntry {
        agent: "amazon-ecs-agent",
        programs: &["amazon-ecs-agent", "amazon-ecs-init"],
        support: Support::ByLibrary,
        source: "aws/containers-roadmap issue 670: as its aws-sdk-go does",
        ..PLAIN
    },
    SdkEntry {
        agent: "kube2iam",
        programs: &["kube2iam"],
        support: Support::Since("0.12.0"),
        source: "jtblin/kube2iam 0bf7505 (PR 344), first in tag 0.12.0",
        ..PLAIN
    },
    SdkEntry {
        agent: "kiam",
        programs: &["kiam"],
        support: Support::Since("3.6"),
        source: "uswitch/kiam CHANGELOG 3.6 (PR 381)",
        ..PLAIN
    },
    SdkEntry {
        agent: "datadog-agent",
        title: Some("the Datadog Agent"),
        // A file called `agent` may be anybody's.
        paths: &["/datadog-agent/bin/agent/agent"],
        support: Support::AfterRefusal { since: "7.18.0", first: Some("7.64.0") },
        setting: Some("DD_EC2_PREFER_IMDSV2=true"),
        source: "DataDog/datadog-agent pull request 4857; Datadog documentation, \"IMDSv2 \
                 Enablement by Default\"",
        ..PLAIN
    },
    SdkEntry {
        // aws-fluent-bit-plugin-… on Windows and with a suffix of the user's.
        agent: "aws-fluent-bit-plugin",
        has_suffix: true,
        title: Some("Fluent Bit"),
        programs: &["fluent-bit"],
        support: Support::Since("1.8.8"),
        source: "aws/aws-for-fluent-bit issue 207, release 2.21.0; fluent/fluent-bit dc695daea",
        ..PLAIN
    },
    SdkEntry {
        agent: "facter",
        title: Some("Facter"),
        scripts: &["facter", "puppet"],
        support: Support::Since("4.2.1"),
        update: Some(Update::Gem("facter")),
        source: "puppetlabs/facter FACT-3042, first in tag 4.2.1",
        ..PLAIN
    },
    SdkEntry {
        agent: "ohai",
        title: Some("Ohai, a part of Chef Infra Client,"),
        scripts: &["ohai", "chef-client", "chef-solo"],
        support: Support::Since("17.0.42"),
        update: Some(Update::Gem("ohai")),
        source: "chef/ohai CHANGELOG 17.0.42 (pull requests 1457, 1520)",
        ..PLAIN
    },
    SdkEntry {
        agent: "codedeploy-agent",
        title: Some("the CodeDeploy agent"),
        titles: &["codedeploy-agent: "],
        support: Support::Since("1.3.1"),
        fallback: ON_EVERYTHING,
        switch: Some(Switch {
            setting: Some(":disable_imds_v1: true in codedeployagent.yml"),
            since: Some("1.7.0"),
            property: None,
        }),
        source: "aws/aws-codedeploy-agent 49c1c45, dd40b2f, release notes 1.7.0",
        ..PLAIN
    },
    SdkEntry {
        agent: "ansible-httpget",
        title: Some("the Ansible collection amazon.aws"),
        support: Support::Since("1.5.0"),
        source: "ansible-collections/amazon.aws CHANGELOG 1.5.0 (pull request 43)",
        ..PLAIN
    },
    SdkEntry {
        agent: "efs-utils",
        scripts: &["mount.efs", "amazon-efs-mount-watchdog"],
        support: Support::AfterRefusal { since: "1.22", first: Some("1.31.1") },
        source: "aws/efs-utils amazon-efs-utils.spec 1.24.3, 1.31.1, release notes 1.22",
        ..PLAIN
    },
    SdkEntry {
        agent: "s3fs",
        programs: &["s3fs"],
        // 1.88 has it, and cannot read the role with it.
        support: Support::Since("1.91"),
        source: "s3fs-fuse/s3fs-fuse ChangeLog 1.88, 1.91 (issue 1760)",
        ..PLAIN
    },
    SdkEntry {
        agent: "s3cmd",
        scripts: &["s3cmd"],
        support: Support::Since("2.3.0"),
        update: Some(Update::Pip("s3cmd")),
        source: "s3tools/s3cmd NEWS 2.3.0",
        ..PLAIN
    },
    SdkEntry {
        agent: "ec2metadata",
        title: Some("cloud-utils"),
        scripts: &["ec2metadata"],
        support: Support::Since("0.32"),
        source: "canonical/cloud-utils ChangeLog 0.32",
        ..PLAIN
    },
    SdkEntry {
        agent: "amazon-ec2-net-utils",
        support: Support::Since("1.3"),
        source: "amazonlinux/amazon-ec2-net-utils be8a530, first in tag ec2-net-utils-1.3",
        ..PLAIN
    },
    SdkEntry {
        agent: "afterburn",
        title: Some("Afterburn"),
        programs: &["afterburn"],
        support: Support::Since("4.4.1"),
        source: "coreos/afterburn release notes 4.4.1",
        ..PLAIN
    },
    SdkEntry {
        agent: "Ignition",
        // 2.4.0 has it, and does not work with it where IMDSv1 is disabled.
        support: Support::Since("2.10.0"),
        source: "coreos/ignition release notes 2.4.0, 2.10.0",
        ..PLAIN
    },
    SdkEntry {
        agent: "node-termination-handler",
        title: Some("the AWS Node Termination Handler"),
        programs: &["node-termination-handler"],
        support: Support::Since("1.3.0"),
        source: "aws/aws-node-termination-handler 216afec (pull request 87), after tag 1.2.0",
        ..PLAIN
    },
    SdkEntry {
        agent: "newrelic-infra",
        title: Some("the New Relic infrastructure agent"),
        programs: &["newrelic-infra"],
        support: Support::Since("1.11.42"),
        source: "New Relic infrastructure agent release notes 1.11.42",
        ..PLAIN
    },
    SdkEntry {
        agent: "osquery",
        programs: &["osqueryd"],
        support: Support::Since("4.9.0"),
        source: "osquery/osquery CHANGELOG 4.9.0 (pull request 7084)",
        ..PLAIN
    },
    SdkEntry {
        agent: "ec2-metadata",
        title: Some("amazon-ec2-utils"),
        scripts: &["ec2-metadata"],
        support: Support::Since("1.1"),
        fallback: V1Fallback::Never,
        runs_tools: true,
        source: "amazonlinux/amazon-ec2-utils amazon-ec2-utils.spec 1.1-1, commit 3dad9c1",
        ..PLAIN
    },
    SdkEntry {
        agent: "elasticsearch",
        title: Some("Elasticsearch with its plugin discovery-ec2"),
        scripts: &["org.elasticsearch.bootstrap.Elasticsearch"],
        support: Support::Since("8.2.0"),
        source: "elastic/elasticsearch release notes 8.2.0 (pull request 84410)",
        ..PLAIN
    },
];
