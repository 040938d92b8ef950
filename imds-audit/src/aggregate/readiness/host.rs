//! The evidence of one host, and the verdict on it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{CallerStatus, HostReport, Question, Reason, ReasonCode, Scope, Verdict, total};
use crate::aggregate::callers::add;
use crate::aggregate::causes::is_without_token;
use crate::aggregate::coverage::{Coverage, Span};
use crate::aggregate::evidence::{Counts, Evidence, Run, Timeline};
use crate::event::{Class, Classes, Fallback, HostIdentity, LossUnit, SourceKind, Time};

/// Limitations that cost names and details, and hide nobody.
const HIDES_NOBODY: [&str; 9] = [
    "no-btf",
    "no-kernel-reads",
    "no-member",
    "no-exec",
    "no-cgroup-names",
    "no-ptrace",
    "pid-namespace",
    // What stands in for them says what it hides.
    "no-ebpf",
    "status-lines-only",
];

/// Losses that cost names and details, and hide no request.
const LOSES_DETAILS: [LossUnit; 1] = [LossUnit::Processes];

/// Gaps that a reason names.
const MAX_GAPS: usize = 3;

/// The runs of a host, without those that another one covers.
#[derive(Debug)]
pub(super) struct HostEvidence {
    identity: HostIdentity,
    labels: BTreeMap<String, String>,
    sources: BTreeSet<SourceKind>,
    fallbacks: BTreeMap<String, Fallback>,
    clock_steps: BTreeSet<Time>,
    unlisted: u64,
    boot: Option<Time>,
    container_start: Option<Time>,
    ended: Option<Time>,
    runs_left_out: usize,
    overlapping_runs: usize,
    /// The time that any run covers.
    pub coverage: Coverage,
    /// Requests by class and outcome.
    pub classes: Classes,
    /// Requests of callers beyond the bound.
    pub others: Classes,
    /// Requests by the number of their caller.
    pub callers: HashMap<u32, Counts>,
    /// Losses by reason and unit.
    pub losses: BTreeMap<(String, LossUnit), u64>,
    /// Requests over time.
    pub timeline: Timeline,
    /// The hop limit, and when it was seen.
    pub hop_limit: Option<(Time, u8)>,
}

/// Returns the hosts of the evidence.
pub(super) fn of(evidence: &Evidence) -> Vec<HostEvidence> {
    let mut runs: Vec<Vec<&Run>> = evidence.hosts.iter().map(|_| Vec::new()).collect();
    for (host, run) in &evidence.runs {
        if let Some(runs) = runs.get_mut(*host as usize) {
            runs.push(run);
        }
    }
    let hosts = evidence.hosts.iter().zip(runs).filter(|(_, runs)| !runs.is_empty());
    hosts.map(|(identity, runs)| HostEvidence::new(identity.clone(), runs)).collect()
}

impl HostEvidence {
    fn new(identity: HostIdentity, runs: Vec<&Run>) -> Self {
        let mut host = Self {
            identity,
            labels: BTreeMap::new(),
            sources: BTreeSet::new(),
            fallbacks: BTreeMap::new(),
            clock_steps: BTreeSet::new(),
            unlisted: 0,
            boot: None,
            container_start: None,
            ended: None,
            runs_left_out: 0,
            overlapping_runs: 0,
            coverage: Coverage::default(),
            classes: Classes::new(),
            others: Classes::new(),
            callers: HashMap::new(),
            losses: BTreeMap::new(),
            timeline: Timeline::default(),
            hop_limit: None,
        };
        let mut runs: Vec<(Option<Span>, &Run)> =
            runs.into_iter().map(|run| (run.coverage().hull(), run)).collect();
        // The longest first, so that a run comes behind every one that covers it.
        runs.sort_by_key(|(span, _)| {
            (std::cmp::Reverse(span.map(Span::seconds)), span.map(|span| span.from))
        });
        let mut kept: Vec<Span> = Vec::new();
        for (span, run) in runs {
            host.describe(run);
            if let Some(span) = span {
                if kept.iter().any(|other| other.contains(span)) && !kept.is_empty() {
                    host.runs_left_out += 1;
                    continue;
                }
                host.overlapping_runs += usize::from(kept.iter().any(|other| other.overlaps(span)));
                kept.push(span);
            }
            host.count(run);
        }
        host
    }

    /// Takes what a run says of the host, whether its requests count or not.
    fn describe(&mut self, run: &Run) {
        self.labels.extend(run.labels.clone());
        self.sources.extend(run.source);
        self.fallbacks.extend(run.fallbacks.clone());
        self.clock_steps.extend(run.all_clock_steps());
        self.coverage.merge(&run.coverage());
        // The host was started when its last run says; an earlier one was of an earlier start.
        self.boot = self.boot.max(run.boot);
        self.container_start = self.container_start.max(run.container_start);
        self.ended = self.ended.max(run.stop);
        self.hop_limit = self.hop_limit.max(run.hop_limit);
    }

    fn count(&mut self, run: &Run) {
        let sums = run.sums();
        add(&mut self.classes, &sums.classes);
        add(&mut self.others, &sums.others);
        for (caller, counts) in &sums.callers {
            match self.callers.get_mut(caller) {
                Some(known) => known.merge(counts),
                None => {
                    self.callers.insert(*caller, counts.clone());
                }
            }
        }
        for (key, count) in &sums.losses {
            let sum = self.losses.entry(key.clone()).or_default();
            *sum = sum.saturating_add(*count);
        }
        self.timeline.merge(&sums.timeline);
        self.unlisted = self.unlisted.saturating_add(run.unlisted());
    }

    /// Decides on the host.
    pub(super) fn report(
        &self,
        question: &Question,
        window: Option<Span>,
        statuses: &[CallerStatus],
    ) -> HostReport {
        let in_the_way =
            |caller: u32| statuses.get(caller as usize).is_none_or(|s| s.is_in_the_way());
        let without_token = |counts: &Counts| {
            let counts = counts.classes.iter().filter(|(class, _, _)| is_without_token(*class));
            counts.fold(0_u64, |sum, (_, _, count)| sum.saturating_add(*count))
        };
        let named = self.callers.iter().filter(|(caller, _)| in_the_way(**caller));
        let (mut blocking, mut callers) = (total(&self.others, is_without_token), 0_usize);
        for (_, counts) in named {
            let requests = without_token(counts);
            blocking = blocking.saturating_add(requests);
            callers += usize::from(requests > 0);
        }
        let mut reasons = Vec::new();
        let mut add = |code, text: String| reasons.push(Reason { code, text, hosts: 1 });
        if blocking > 0 {
            let more = if self.others.is_empty() { "" } else { " and more" };
            let of = |count: u64, what: &str| {
                format!("{count} {what}{}", if count == 1 { "" } else { "s" })
            };
            let (requests, callers) = (of(blocking, "request"), of(callers as u64, "caller"));
            add(ReasonCode::V1, format!("{requests} without a token by {callers}{more}"));
        }
        if self.unlisted > 0 {
            add(
                ReasonCode::UnlistedV1,
                format!("{} requests without a token whose callers no line names", self.unlisted),
            );
        }
        self.judge_coverage(question, window, &mut add);
        if let Some(step) = self.clock_steps.first() {
            add(
                ReasonCode::ClockStep,
                format!(
                    "the clock was set, {} times, first at {:.0}",
                    self.clock_steps.len(),
                    step.0
                ),
            );
        }
        self.judge_details(question.scope, &mut add);
        let hull = self.coverage.hull();
        HostReport {
            name: self.identity.name.clone(),
            id: self.identity.id.clone(),
            labels: self.labels.clone(),
            verdict: Verdict::of(&reasons),
            reasons,
            sources: self.sources.clone(),
            requests: total(&self.classes, |_| true),
            without_token: total(&self.classes, is_without_token).saturating_add(self.unlisted),
            blocking,
            first: hull.map(|hull| hull.from),
            last: hull.map(|hull| hull.to),
            coverage: self.share(window),
            runs_left_out: self.runs_left_out,
            overlapping_runs: self.overlapping_runs,
        }
    }

    fn judge_coverage(
        &self,
        question: &Question,
        window: Option<Span>,
        add: &mut impl FnMut(ReasonCode, String),
    ) {
        let Some(window) = window else { return };
        let (needed, hull) = (self.needed(question, window), self.coverage.hull());
        let gaps: Vec<Span> = self
            .coverage
            .gaps(needed)
            .into_iter()
            .filter(|gap| gap.seconds() > question.max_gap)
            .collect();
        let last = hull.map(|hull| hull.to);
        let (mut inner, mut leading, mut trailing) = (Vec::new(), None, None);
        for gap in gaps {
            if gap.from == needed.from {
                leading = Some(gap);
            } else if Some(gap.from) == last {
                trailing = Some(gap);
            } else {
                inner.push(gap);
            }
        }
        if let Some(gap) = leading {
            let covered = needed.seconds().saturating_sub(gap.seconds());
            add(
                ReasonCode::ShortCoverage,
                format!("covered for {} of {}", duration(covered), duration(needed.seconds())),
            );
        }
        if !inner.is_empty() {
            let named: Vec<String> = inner
                .iter()
                .take(MAX_GAPS)
                .map(|gap| format!("{:.0} for {}", gap.from.0, duration(gap.seconds())))
                .collect();
            let more = inner.len().saturating_sub(MAX_GAPS);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            add(ReasonCode::Gap, format!("not covered from {}{more}", named.join(", from ")));
        }
        if let Some(gap) = trailing {
            add(
                ReasonCode::StoppedReporting,
                format!(
                    "stopped reporting at {:.0}, {} before the end of the window",
                    gap.from.0,
                    duration(gap.seconds())
                ),
            );
        }
    }

    /// Returns the part of the window that the host must be covered for: from when it was
    /// started, and to when it is gone, if a run that ended in order says so.
    fn needed(&self, question: &Question, window: Span) -> Span {
        let covered = self.coverage.hull();
        let started = match question.scope {
            Scope::Host => self.boot,
            Scope::Container => self.container_start.or(self.boot),
        };
        // A restart of the host within its coverage says nothing of when it was first started.
        let boot = started.filter(|boot| covered.is_none_or(|hull| *boot <= hull.from));
        let from = boot.map_or(window.from, |boot| boot.clamp(window.from, window.to));
        let ended = self.ended.filter(|ended| {
            question.ended_hosts_are_gone && covered.is_some_and(|hull| *ended >= hull.to)
        });
        let to = ended.map_or(window.to, |ended| ended.clamp(from, window.to));
        Span { from, to }
    }

    fn judge_details(&self, scope: Scope, add: &mut impl FnMut(ReasonCode, String)) {
        let lost: BTreeMap<_, _> =
            self.losses.iter().filter(|((_, what), _)| !LOSES_DETAILS.contains(what)).collect();
        if !lost.is_empty() {
            let lost: Vec<String> = lost
                .into_iter()
                .map(|((reason, what), count)| format!("{count} {} ({reason})", what.name()))
                .collect();
            add(ReasonCode::Losses, format!("lost: {}", lost.join(", ")));
        }
        let hides = |name: &str| !HIDES_NOBODY.contains(&name) && !scope.excuses().contains(&name);
        let mut hiding: Vec<String> = self
            .fallbacks
            .values()
            .filter(|fallback| hides(&fallback.name))
            .map(|fallback| format!("{} ({})", fallback.name, fallback.consequence))
            .collect();
        let sees_one_network = self.sources.contains(&SourceKind::Packet);
        if sees_one_network && scope == Scope::Host && hiding.is_empty() {
            hiding.push("the packet source sees one network namespace only".to_owned());
        }
        if !hiding.is_empty() {
            add(ReasonCode::Fallback, format!("can hide callers: {}", hiding.join(", ")));
        }
        let unknown = total(&self.classes, |class| class == Class::Unknown);
        if unknown > 0 {
            add(ReasonCode::UnknownRequests, format!("{unknown} requests of unknown class"));
        }
    }

    /// Returns the share of the window that was covered.
    fn share(&self, window: Option<Span>) -> f64 {
        let Some(window) = window else { return 0.0 };
        let missing: u64 = self.coverage.gaps(window).into_iter().map(Span::seconds).sum();
        #[expect(clippy::cast_precision_loss, reason = "seconds stay far below 2^52")]
        let (missing, all) = (missing as f64, window.seconds() as f64);
        if all > 0.0 { (1.0 - missing / all).clamp(0.0, 1.0) } else { 1.0 }
    }
}

/// Returns a length of time for people: its two largest units.
fn duration(seconds: u64) -> String {
    let text = humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}
