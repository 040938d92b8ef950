//! The report: what is known of hosts and callers, and what follows.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::caller::CallerReport;
use crate::aggregate::evidence::Input;
use crate::event::{Classes, Loss, SourceKind, Time};

/// Whether IMDSv2 can be enforced. The worst comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Verdict {
    /// Somebody still uses IMDSv1 who breaks when IMDSv2 is enforced.
    NotReady,
    /// Nobody was seen who breaks, but the evidence is incomplete.
    NotProven,
    /// Every host was covered, and nobody was seen who breaks.
    Ready,
}

impl Verdict {
    /// Returns the verdict for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NotReady => "NOT READY",
            Self::NotProven => "NOT PROVEN",
            Self::Ready => "READY",
        }
    }

    /// Returns the verdict that follows from these reasons.
    pub(crate) fn of(reasons: &[Reason]) -> Self {
        reasons.iter().map(|reason| reason.code.verdict()).min().unwrap_or(Self::Ready)
    }
}

/// What a verdict is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scope {
    /// Everything on the hosts.
    #[default]
    Host,
    /// The container that each audit ran in; whoever asks has no say in the rest of its host.
    Container,
}

impl Scope {
    /// Returns the limitations that hide nobody within the scope, beside those that never do.
    pub(crate) const fn excuses(self) -> &'static [&'static str] {
        match self {
            Self::Host => &[],
            Self::Container => &["partial-cgroup", "own-network-only"],
        }
    }

    /// Returns what was not looked at, for people; `None` where nothing was left out.
    pub(crate) const fn text(self) -> Option<&'static str> {
        match self {
            Self::Host => None,
            Self::Container => Some(
                "Scope: the container that each audit ran in. What runs on its host outside of \
                 that container was not seen.",
            ),
        }
    }
}

/// Why hosts are not ready, or not proven to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ReasonCode {
    /// Callers use IMDSv1 and would break.
    V1,
    /// Requests without a token were counted whose callers no line names.
    UnlistedV1,
    /// Nothing was read.
    NoEvidence,
    /// The host was covered for less than the window.
    ShortCoverage,
    /// The host was not covered for some time.
    Gap,
    /// The host's coverage ends before the window does.
    StoppedReporting,
    /// The host's clock was set, so that times cannot be trusted.
    ClockStep,
    /// Requests, records or events were lost.
    Losses,
    /// The host has a limitation that can hide callers.
    Fallback,
    /// The class of requests is not known.
    UnknownRequests,
    /// Files or lines are damaged.
    DamagedInput,
    /// There are more hosts, runs or callers than are told apart.
    TooMany,
}

impl ReasonCode {
    /// Returns the verdict that this reason leads to.
    pub(crate) const fn verdict(self) -> Verdict {
        match self {
            Self::V1 | Self::UnlistedV1 => Verdict::NotReady,
            Self::NoEvidence
            | Self::ShortCoverage
            | Self::Gap
            | Self::StoppedReporting
            | Self::ClockStep
            | Self::Losses
            | Self::Fallback
            | Self::UnknownRequests
            | Self::DamagedInput
            | Self::TooMany => Verdict::NotProven,
        }
    }

    /// Returns the reason in general.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::V1 => "callers still use IMDSv1",
            Self::UnlistedV1 => "requests without a token whose callers no line names",
            Self::NoEvidence => "no evidence",
            Self::ShortCoverage => "covered for less than the window",
            Self::Gap => "not covered for some time",
            Self::StoppedReporting => "stopped reporting before the end of the window",
            Self::ClockStep => "the clock was set",
            Self::Losses => "losses",
            Self::Fallback => "limitations that can hide callers",
            Self::UnknownRequests => "requests of unknown class",
            Self::DamagedInput => "damaged input",
            Self::TooMany => "more than is told apart",
        }
    }
}

/// A reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Reason {
    /// The kind.
    pub code: ReasonCode,
    /// The reason in words.
    pub text: String,
    /// The number of hosts with it; 0 for what was read.
    pub hosts: usize,
}

impl Reason {
    /// Makes a reason that is not one of hosts.
    pub(crate) fn new(code: ReasonCode, text: &str) -> Self {
        Self { code, text: text.to_owned(), hosts: 0 }
    }
}

/// The report on any number of hosts.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "Report")]
pub(crate) struct Report {
    /// The version of this form.
    pub schema: u32,
    /// The version of the program that made it.
    pub version: String,
    /// Whether IMDSv2 can be enforced on all of the hosts.
    pub verdict: Verdict,
    /// What the verdicts are about.
    pub scope: Scope,
    /// Why not, or why that is not proven.
    pub reasons: Vec<Reason>,
    /// The time that was looked at.
    pub window: WindowReport,
    /// Requests.
    pub requests: u64,
    /// Requests without a token: IMDSv1 and empty tokens.
    pub without_token: u64,
    /// Requests by class, then by outcome.
    pub classes: Classes,
    /// Losses.
    pub losses: Vec<Loss>,
    /// The hop limits that token responses showed.
    pub hop_limits: BTreeSet<u8>,
    /// The label that hosts are grouped by.
    pub by: Option<String>,
    /// Hosts by the value of that label.
    pub groups: Vec<GroupReport>,
    /// Hosts, the worst first.
    pub hosts: Vec<HostReport>,
    /// Callers, the most urgent first.
    pub callers: Vec<CallerReport>,
    /// Requests of callers beyond the bound on callers.
    pub unnamed: Classes,
    /// The width of the timeline's entries, in seconds.
    pub timeline_seconds: i64,
    /// Requests over time. Entries without requests are left out.
    pub timeline: Vec<TimelineEntry>,
    /// What was read.
    pub input: Input,
}

/// The time that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct WindowReport {
    /// Its first moment.
    pub from: Option<Time>,
    /// The moment behind its last.
    pub to: Option<Time>,
    /// The length that was asked for, in seconds.
    pub asked_seconds: Option<u64>,
}

/// Requests in a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct TimelineEntry {
    /// When it begins.
    pub start: Time,
    /// Requests without a token.
    pub without_token: u64,
    /// Requests with a token, and for one.
    pub with_token: u64,
    /// Other requests.
    pub other: u64,
}

/// Hosts with the same value of a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct GroupReport {
    /// The value; empty for hosts without the label.
    pub value: String,
    /// Whether IMDSv2 can be enforced on these hosts.
    pub verdict: Verdict,
    /// Why not, or why that is not proven.
    pub reasons: Vec<Reason>,
    /// The number of hosts.
    pub hosts: usize,
    /// The number of hosts that are ready.
    pub ready: usize,
    /// Their requests without a token.
    pub without_token: u64,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct HostReport {
    /// Its name.
    pub name: Option<String>,
    /// Its instance id.
    pub id: Option<String>,
    /// Its labels, the newest of each name.
    pub labels: BTreeMap<String, String>,
    /// Whether IMDSv2 can be enforced on it.
    pub verdict: Verdict,
    /// Why not, or why that is not proven.
    pub reasons: Vec<Reason>,
    /// How its requests were observed.
    pub sources: BTreeSet<SourceKind>,
    /// Requests.
    pub requests: u64,
    /// Requests without a token.
    pub without_token: u64,
    /// Those of them by callers that are in the way.
    pub blocking: u64,
    /// The first moment that was covered.
    pub first: Option<Time>,
    /// The last moment that was covered.
    pub last: Option<Time>,
    /// The share of the window that was covered, from 0 to 1.
    pub coverage: f64,
    /// Runs of the program that another one covers; their requests are left out, because both
    /// have them.
    pub runs_left_out: usize,
    /// Runs that overlap in time, so that requests may count twice.
    pub overlapping_runs: usize,
}

impl HostReport {
    /// Returns the host's name, else its id.
    pub(crate) fn title(&self) -> String {
        match (&self.name, &self.id) {
            (Some(name), Some(id)) => format!("{name} ({id})"),
            (Some(name), None) => name.clone(),
            (None, Some(id)) => id.clone(),
            (None, None) => "host without a name".to_owned(),
        }
    }
}
