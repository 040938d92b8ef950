//! Sums of hosts as CloudWatch embedded metrics, one JSON object per host.
//!
//! CloudWatch User Guide, "Specification: Embedded metric format".

use serde_json::{Value, json};

use crate::aggregate::readiness::{HostReport, Report, Verdict};
use crate::event::{Class, Outcome};
use crate::text::terminal;

/// The namespace of the metrics.
const NAMESPACE: &str = "ImdsAudit";

/// Renders the metrics of each host, and those of all hosts together, which have no dimension.
///
/// # Errors
/// Returns an error if a document cannot be rendered.
pub(crate) fn render(report: &Report) -> Result<String, serde_json::Error> {
    let mut lines = String::new();
    let documents =
        std::iter::once(all(report)).chain(report.hosts.iter().map(|h| host(report, h)));
    for document in documents {
        lines.push_str(&serde_json::to_string(&document)?);
        lines.push('\n');
    }
    Ok(lines)
}

fn all(report: &Report) -> Value {
    let count = |outcome| {
        report
            .classes
            .get(&Class::V1)
            .and_then(|outcomes| outcomes.get(&outcome))
            .copied()
            .unwrap_or(0)
    };
    let in_the_way = report.callers.iter().filter(|caller| caller.status.is_in_the_way()).count();
    let ready = report.hosts.iter().filter(|host| host.verdict == Verdict::Ready).count();
    let mut document = document(
        report,
        &[],
        &[
            "MetadataNoToken",
            "MetadataNoTokenRejected",
            "RequestsWithoutToken",
            "Requests",
            "CallersInTheWay",
            "Hosts",
            "HostsReady",
            "Losses",
        ],
    );
    document["MetadataNoToken"] = count(Outcome::Served).into();
    document["MetadataNoTokenRejected"] = count(Outcome::Rejected).into();
    document["RequestsWithoutToken"] = report.without_token.into();
    document["Requests"] = report.requests.into();
    document["CallersInTheWay"] = in_the_way.into();
    document["Hosts"] = report.hosts.len().into();
    document["HostsReady"] = ready.into();
    document["Losses"] = report.losses.iter().map(|loss| loss.count).sum::<u64>().into();
    document["verdict"] = report.verdict.name().into();
    document
}

fn host(report: &Report, host: &HostReport) -> Value {
    let mut document = document(report, &["InstanceId"], &["RequestsWithoutToken", "Requests"]);
    let id = host.id.clone().unwrap_or_else(|| host.title());
    document["InstanceId"] = terminal::escape(&id).into();
    document["RequestsWithoutToken"] = host.without_token.into();
    document["Requests"] = host.requests.into();
    document["verdict"] = host.verdict.name().into();
    document
}

fn document(report: &Report, dimensions: &[&str], metrics: &[&str]) -> Value {
    let metrics: Vec<Value> =
        metrics.iter().map(|name| json!({"Name": name, "Unit": "Count"})).collect();
    json!({
        "_aws": {
            "Timestamp": report.window.to.map_or(0, |time| time.0.as_millisecond()),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [dimensions],
                "Metrics": metrics,
            }],
        },
    })
}
