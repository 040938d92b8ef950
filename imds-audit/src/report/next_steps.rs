//! Next steps after the report: instance and account settings, in their order.

use schemars::JsonSchema;
use serde::Serialize;

use crate::aggregate::readiness::{Report, Verdict};

/// A step towards enforcement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct NextStep {
    /// What to do.
    pub title: String,
    /// Why, and what to look out for.
    pub text: String,
    /// The command that does it; what is to be filled in stands in capital letters.
    pub command: Option<String>,
}

/// Returns the steps that follow from a report, in their order.
///
/// Sources: EC2 User Guide, "Transition to using Instance Metadata Service Version 2" and
/// "Configure the instance metadata options"; EC2 API, `ModifyInstanceMetadataDefaults` and
/// `HttpTokensEnforced`.
pub(crate) fn next_steps(report: &Report) -> Vec<NextStep> {
    let mut steps = Vec::new();
    if report.verdict == Verdict::NotReady {
        steps.push(step(
            "Fix the callers",
            "Each caller has its cause and its fix in this report. Rehearse one before you enforce: \
             nothing on the instance changes.",
            Some("imds-audit rehearse --unit UNIT"),
        ));
    }
    if report.verdict != Verdict::Ready {
        steps.push(step(
            "Prove the rest",
            "Audit every host for the whole window. No window shows a job that runs once a month: \
             look for such jobs in crontabs, timers and schedulers.",
            None,
        ));
    }
    steps.push(step(
        "Compare with CloudWatch",
        "The counter of each instance must be 0 over the same window. Without an instance id the \
         query returns nothing and proves nothing.",
        Some(
            "aws cloudwatch get-metric-statistics --namespace AWS/EC2 --metric-name MetadataNoToken \
             --dimensions Name=InstanceId,Value=INSTANCE_ID --start-time FROM --end-time TO \
             --period 3600 --statistics Sum",
        ),
    ));
    let hops = report.hop_limits.iter().max().copied().unwrap_or(1).max(2);
    steps.push(step(
        "Set the hop limit",
        "Containers in a network of their own are one hop away, or more: their token responses \
         need a limit of 2 or higher. This never lowers a limit that was seen.",
        Some(&format!(
            "aws ec2 modify-instance-metadata-options --instance-id INSTANCE_ID \
             --http-put-response-hop-limit {hops}"
        )),
    ));
    steps.push(step(
        "Require tokens on one instance",
        "Start with one that is ready, and watch MetadataNoTokenRejected.",
        Some(
            "aws ec2 modify-instance-metadata-options --instance-id INSTANCE_ID --http-tokens required",
        ),
    ));
    steps.push(step(
        "Require tokens for what is launched",
        "Account and region defaults, launch templates, images (ImdsSupport v2.0).",
        Some("aws ec2 modify-instance-metadata-defaults --region REGION --http-tokens required"),
    ));
    steps.push(step(
        "Forbid the way back",
        "With HttpTokensEnforced no instance of the account can be launched or changed to accept \
         IMDSv1.",
        Some(
            "aws ec2 modify-instance-metadata-defaults --region REGION --http-tokens-enforced enabled",
        ),
    ));
    steps.push(step(
        "Close the finding",
        "This satisfies AWS Security Hub EC2.8 (AWS Foundational Security Best Practices) and the \
         AWS Config rule ec2-imdsv2-check.",
        None,
    ));
    steps
}

fn step(title: &str, text: &str, command: Option<&str>) -> NextStep {
    NextStep { title: title.to_owned(), text: text.to_owned(), command: command.map(str::to_owned) }
}
