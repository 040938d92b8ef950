//! Callers as OCSF Detection Findings (class 2004), one JSON object per line.
//!
//! Only attributes that OCSF 1.1.0 has, so that consumers of 1.1 (Security Lake's custom sources)
//! and of 1.6 (Security Hub) take the same lines.

use serde_json::{Value, json};

use crate::aggregate::readiness::{CallerReport, CallerStatus, Report};
use crate::event::{Resource, Time};
use crate::text::terminal;

/// The version of OCSF.
const VERSION: &str = "1.1.0";

/// Renders a finding for each caller that made requests without a token.
///
/// # Errors
/// Returns an error if a finding cannot be rendered.
pub(crate) fn render(report: &Report) -> Result<String, serde_json::Error> {
    let mut lines = String::new();
    for caller in report.callers.iter().filter(|caller| caller.status != CallerStatus::V2) {
        lines.push_str(&serde_json::to_string(&finding(report, caller))?);
        lines.push('\n');
    }
    Ok(lines)
}

fn finding(report: &Report, caller: &CallerReport) -> Value {
    let fixes: Vec<String> = caller
        .advice
        .iter()
        .map(|advice| match &advice.advice.command {
            Some(command) => format!("{}: {command}", advice.advice.text),
            None => advice.advice.text.clone(),
        })
        .map(|fix| terminal::escape(&fix))
        .collect();
    let reasons: Vec<String> =
        caller.advice.iter().map(|advice| terminal::escape(&advice.advice.reason)).collect();
    let (severity_id, severity) = severity(caller);
    let seen = caller.last_without_token.or(caller.last).or(report.window.to);
    let mut finding = json!({
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": 2004,
        "class_name": "Detection Finding",
        "activity_id": 1,
        "activity_name": "Create",
        "type_uid": 200_401,
        "type_name": "Detection Finding: Create",
        "time": seen.map_or(0, milliseconds),
        "severity_id": severity_id,
        "severity": severity,
        "status_id": 1,
        "status": "New",
        "message": format!("{} {}", terminal::escape(&caller.title), caller.status.text()),
        "count": i32::try_from(caller.without_token).unwrap_or(i32::MAX),
        "metadata": {
            "version": VERSION,
            "product": {
                "name": "imds-audit",
                "vendor_name": "imds-audit",
                "version": report.version,
            },
        },
        "finding_info": {
            "uid": caller.id,
            "title": "A caller uses IMDSv1",
            "desc": reasons.join("; "),
            "types": ["EC2.8", "ec2-imdsv2-check"],
        },
        "remediation": { "desc": fixes.join("\n") },
        "resources": caller.example_hosts.iter().map(|host| {
            json!({"type": "AWS::EC2::Instance", "uid": terminal::escape(host)})
        }).collect::<Vec<_>>(),
        "unmapped": {
            "caller": { "title": caller.title, "home": caller.home },
            "requests_without_token": caller.without_token,
            "requests": caller.requests,
            "hosts": caller.hosts,
        },
    });
    for (name, time) in
        [("first_seen_time", caller.first), ("last_seen_time", caller.last_without_token)]
    {
        if let Some((time, info)) = time.zip(finding.get_mut("finding_info")) {
            info[name] = milliseconds(time).into();
        }
    }
    finding
}

/// Returns OCSF's severity: high for a caller in the way that asks for credentials, medium for
/// another one in the way, low for one that goes on working.
fn severity(caller: &CallerReport) -> (u8, &'static str) {
    match (caller.status.is_in_the_way(), caller.resources.contains(&Resource::Credentials)) {
        (true, true) => (4, "High"),
        (true, false) => (3, "Medium"),
        (false, _) => (2, "Low"),
    }
}

fn milliseconds(time: Time) -> i64 {
    time.0.as_millisecond()
}
