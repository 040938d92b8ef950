//! The readiness of hosts for enforcing IMDSv2: a three-valued function of the evidence.

mod caller;
mod host;
mod types;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use caller::{CallerReport, CallerStatus};
pub(crate) use types::{
    GroupReport, HostReport, Reason, ReasonCode, Report, Scope, TimelineEntry, Verdict,
    WindowReport,
};

use super::causes::is_without_token;
use super::coverage::Span;
use super::evidence::{CallerEvidence, CauseCounts, Evidence, Timeline};
use crate::event::{Class, Classes, Loss, Time};
use host::HostEvidence;

/// The version of the report's form.
pub(crate) const REPORT_SCHEMA: u32 = 1;

/// Hosts and gaps that a reason names; of further ones it gives the number.
const MAX_NAMED: usize = 5;

/// What is asked of the evidence.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// How long a host must have been covered, in seconds; `None` for the whole time that any
    /// host was.
    pub window: Option<u64>,
    /// The end of the window; `None` for the last moment that any host was covered.
    pub until: Option<Time>,
    /// The first moment that was asked for.
    pub since: Option<Time>,
    /// The longest time without an audit that counts as none, in seconds: a restart of the agent.
    pub max_gap: u64,
    /// A host whose last run ended in order is gone, and need not have been covered since.
    pub ended_hosts_are_gone: bool,
    /// The label to group hosts by.
    pub by: Option<String>,
    /// What the verdicts are about.
    pub scope: Scope,
}

impl Default for Question {
    fn default() -> Self {
        Self {
            window: None,
            until: None,
            since: None,
            max_gap: 60,
            ended_hosts_are_gone: false,
            by: None,
            scope: Scope::default(),
        }
    }
}

impl Question {
    /// Decides on the evidence.
    pub(crate) fn answer(&self, evidence: &Evidence) -> Report {
        let hosts = host::of(evidence);
        let window = self.window(&hosts);
        let causes = causes(evidence, &hosts);
        let known = evidence.callers.iter().zip(&causes);
        let statuses: Vec<CallerStatus> =
            known.map(|(caller, causes)| status(caller, causes)).collect();
        let mut hosts: Vec<(HostReport, HostEvidence)> =
            hosts.into_iter().map(|host| (host.report(self, window, &statuses), host)).collect();
        hosts.sort_by(|(a, _), (b, _)| {
            (a.verdict, std::cmp::Reverse(a.without_token), &a.name, &a.id).cmp(&(
                b.verdict,
                std::cmp::Reverse(b.without_token),
                &b.name,
                &b.id,
            ))
        });
        let callers = callers(evidence, &hosts, &causes, &statuses);
        let mut reasons = summed(hosts.iter().map(|(report, _)| report));
        if hosts.is_empty() {
            reasons.push(Reason::new(ReasonCode::NoEvidence, "no event of any host was read"));
        }
        reasons.extend(of_input(evidence));
        reasons.sort_by_key(|reason| reason.code);
        let (reports, hosts): (Vec<_>, Vec<_>) = hosts.into_iter().unzip();
        let mut classes = Classes::new();
        let (mut timeline, mut others) = (Timeline::default(), Classes::new());
        for host in &hosts {
            super::callers::add(&mut classes, &host.classes);
            super::callers::add(&mut others, &host.others);
            timeline.merge(&host.timeline);
        }
        Report {
            schema: REPORT_SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            verdict: Verdict::of(&reasons),
            scope: self.scope,
            reasons,
            window: WindowReport {
                from: window.map(|window| window.from),
                to: window.map(|window| window.to),
                asked_seconds: self.window,
            },
            requests: total(&classes, |_| true),
            without_token: total(&classes, is_without_token),
            classes,
            losses: losses(&hosts),
            hop_limits: hosts
                .iter()
                .filter_map(|host| host.hop_limit.map(|(_, limit)| limit))
                .collect(),
            groups: self.groups(&reports),
            by: self.by.clone(),
            hosts: reports,
            callers,
            unnamed: others,
            timeline_seconds: timeline.width(),
            timeline: timeline
                .buckets()
                .map(|(start, bucket)| TimelineEntry {
                    start: Time(jiff::Timestamp::from_second(start).unwrap_or_default()),
                    without_token: bucket.without_token,
                    with_token: bucket.with_token,
                    other: bucket.other,
                })
                .collect(),
            input: evidence.input.clone(),
        }
    }

    /// Returns the time for which hosts must be covered.
    fn window(&self, hosts: &[HostEvidence]) -> Option<Span> {
        let hulls = || hosts.iter().filter_map(|host| host.coverage.hull());
        let to = self.until.or_else(|| hulls().map(|hull| hull.to).max())?;
        let from = match self.window {
            Some(seconds) => {
                let length = i128::from(seconds).saturating_mul(1_000_000_000);
                let start = to.0.as_nanosecond().saturating_sub(length);
                Time(jiff::Timestamp::from_nanosecond(start).unwrap_or(jiff::Timestamp::MIN))
            }
            None => self.since.or_else(|| hulls().map(|hull| hull.from).min())?,
        };
        Some(Span { from: from.min(to), to })
    }

    fn groups(&self, hosts: &[HostReport]) -> Vec<GroupReport> {
        let Some(by) = &self.by else { return Vec::new() };
        let mut groups: BTreeMap<&str, Vec<&HostReport>> = BTreeMap::new();
        for host in hosts {
            groups.entry(host.labels.get(by).map_or("", String::as_str)).or_default().push(host);
        }
        let mut groups: Vec<GroupReport> = groups
            .into_iter()
            .map(|(value, hosts)| {
                let reasons = summed(hosts.iter().copied());
                GroupReport {
                    value: value.to_owned(),
                    verdict: Verdict::of(&reasons),
                    hosts: hosts.len(),
                    ready: hosts.iter().filter(|host| host.verdict == Verdict::Ready).count(),
                    without_token: hosts.iter().map(|host| host.without_token).sum(),
                    reasons,
                }
            })
            .collect();
        groups.sort_by(|a, b| {
            (a.verdict, std::cmp::Reverse(a.without_token), &a.value).cmp(&(
                b.verdict,
                std::cmp::Reverse(b.without_token),
                &b.value,
            ))
        });
        groups
    }
}

/// Returns what stands between a caller and enforcement, apart from how often it asked.
///
/// A caller that asks for a token once it is refused goes on working: its cause is `prefers-v1`,
/// or a rehearsal saw it adapt. What a rehearsal broke stays in the way whatever its cause.
fn status(caller: &CallerEvidence, causes: &CauseCounts) -> CallerStatus {
    match caller.rehearsed.adapts() {
        Some(true) => CallerStatus::Adapts,
        Some(false) => CallerStatus::Breaks,
        None if caller.is_harmless(causes) => CallerStatus::PrefersV1,
        None => CallerStatus::Blocks,
    }
}

/// Returns the causes of each caller's requests, on all hosts.
fn causes(evidence: &Evidence, hosts: &[HostEvidence]) -> Vec<CauseCounts> {
    let mut causes = vec![CauseCounts::default(); evidence.callers.len()];
    for (caller, counts) in hosts.iter().flat_map(|host| &host.callers) {
        if let Some(sum) = causes.get_mut(*caller as usize) {
            sum.merge(&counts.causes);
        }
    }
    causes
}

/// Returns the requests of the classes that are meant.
fn total(classes: &Classes, is_meant: impl Fn(Class) -> bool) -> u64 {
    let meant = classes.iter().filter(|(class, _)| is_meant(**class));
    meant
        .flat_map(|(_, outcomes)| outcomes.values())
        .fold(0, |sum, count| sum.saturating_add(*count))
}

/// Joins the reasons of hosts: one for each code, which names some of the hosts.
fn summed<'a>(hosts: impl Iterator<Item = &'a HostReport>) -> Vec<Reason> {
    let mut by_code: BTreeMap<ReasonCode, Vec<(&HostReport, &Reason)>> = BTreeMap::new();
    for host in hosts {
        for reason in &host.reasons {
            by_code.entry(reason.code).or_default().push((host, reason));
        }
    }
    by_code
        .into_iter()
        .map(|(code, found)| {
            let names: BTreeSet<String> = found.iter().map(|(host, _)| host.title()).collect();
            let text = match found.as_slice() {
                [(host, reason)] => format!("{}: {}", host.title(), reason.text),
                _ => {
                    let named: Vec<&str> =
                        names.iter().take(MAX_NAMED).map(String::as_str).collect();
                    let more = names.len().saturating_sub(MAX_NAMED);
                    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                    let hosts = if names.len() == 1 { "host" } else { "hosts" };
                    format!("{}: {} {hosts} ({}{more})", code.text(), names.len(), named.join(", "))
                }
            };
            Reason { code, text, hosts: names.len() }
        })
        .collect()
}

/// Returns why what was read proves less than it might.
fn of_input(evidence: &Evidence) -> Vec<Reason> {
    let input = &evidence.input;
    let mut reasons = Vec::new();
    let damaged = input.malformed + input.too_long;
    if input.damaged_files > 0 {
        let text = format!("{} files could be read in part only", input.damaged_files);
        reasons.push(Reason::new(ReasonCode::DamagedInput, &text));
    } else if damaged > input.files {
        // One torn line at the end of each file is what a killed run leaves.
        let text = format!("{damaged} damaged lines in {} files", input.files);
        reasons.push(Reason::new(ReasonCode::DamagedInput, &text));
    }
    if input.beyond_bounds > 0 {
        let text =
            format!("{} events of more hosts or runs than are told apart", input.beyond_bounds);
        reasons.push(Reason::new(ReasonCode::TooMany, &text));
    }
    reasons
}

fn losses(hosts: &[HostEvidence]) -> Vec<Loss> {
    let mut sums = BTreeMap::new();
    for ((reason, what), count) in hosts.iter().flat_map(|host| &host.losses) {
        let sum: &mut u64 = sums.entry((reason.clone(), *what)).or_default();
        *sum = sum.saturating_add(*count);
    }
    sums.into_iter()
        .map(|((reason, what), count)| Loss { reason: reason.into(), what, count, process: None })
        .collect()
}

/// Returns the callers, the most urgent first: those in the way by their requests without a token,
/// credentials first.
fn callers(
    evidence: &Evidence,
    hosts: &[(HostReport, HostEvidence)],
    causes: &[CauseCounts],
    statuses: &[CallerStatus],
) -> Vec<CallerReport> {
    let mut reports: Vec<Option<CallerReport>> = evidence.callers.iter().map(|_| None).collect();
    for (host, found) in hosts {
        for (caller, counts) in &found.callers {
            let index = *caller as usize;
            let (Some(known), Some(place)) = (evidence.callers.get(index), reports.get_mut(index))
            else {
                continue;
            };
            let (Some(causes), Some(status)) = (causes.get(index), statuses.get(index)) else {
                continue;
            };
            let report =
                place.get_or_insert_with(|| CallerReport::new(known, causes, *status, counts));
            report.add(host, counts);
        }
    }
    // Seen in rehearsals only.
    for ((known, place), status) in evidence.callers.iter().zip(&mut reports).zip(statuses) {
        if place.is_none() && known.rehearsed.refused > 0 {
            *place = Some(CallerReport::rehearsed(known, *status));
        }
    }
    let mut reports: Vec<_> = reports.into_iter().flatten().collect();
    for report in &mut reports {
        report.finish();
    }
    reports.sort_by(|a, b| a.rank().cmp(&b.rank()));
    reports
}

#[cfg(test)]
mod tests;
