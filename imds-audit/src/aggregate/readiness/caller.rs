//! Callers in the report: what is known of each, on all hosts.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use super::{HostReport, total};
use crate::aggregate::callers::count;
use crate::aggregate::causes::is_without_token;
use crate::aggregate::evidence::{CallerEvidence, CauseCounts, Counts};
use crate::event::{CallerAdvice, Classes, Resource, Time};

/// The number of hosts that a caller names.
const MAX_EXAMPLES: usize = 5;

/// What stands between a caller and enforcement. The worst comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CallerStatus {
    /// A rehearsal broke it.
    Breaks,
    /// It makes requests without a token, and is not known to be able to do otherwise.
    Blocks,
    /// It uses IMDSv1 first and asks for a token when it is refused: it goes on working.
    PrefersV1,
    /// A rehearsal saw it go on with a token.
    Adapts,
    /// It made no request without a token.
    V2,
}

impl CallerStatus {
    /// Returns whether enforcement breaks the caller, as far as is known.
    pub(crate) const fn is_in_the_way(self) -> bool {
        matches!(self, Self::Breaks | Self::Blocks)
    }

    /// Returns the status for people.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Breaks => "breaks (rehearsed)",
            Self::Blocks => "uses IMDSv1",
            Self::PrefersV1 => "prefers IMDSv1, keeps working",
            Self::Adapts => "adapts (rehearsed)",
            Self::V2 => "uses IMDSv2",
        }
    }
}

/// A caller, on all hosts.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct CallerReport {
    /// The id that events carry.
    pub id: String,
    /// Its script or command line, the newest one.
    pub title: String,
    /// The place it runs in.
    pub home: Option<String>,
    /// What stands between it and enforcement.
    pub status: CallerStatus,
    /// Its requests.
    pub requests: u64,
    /// Its requests without a token.
    pub without_token: u64,
    /// Its requests by class, then by outcome.
    pub classes: Classes,
    /// The number of hosts on which it made requests without a token; for a caller that made none,
    /// the number of hosts on which it was seen.
    pub hosts: usize,
    /// Some of them: those with most requests without a token.
    pub example_hosts: Vec<String>,
    /// Its first request.
    pub first: Option<Time>,
    /// Its last request.
    pub last: Option<Time>,
    /// Its last request without a token.
    pub last_without_token: Option<Time>,
    /// Resources that it asked for.
    pub resources: BTreeSet<Resource>,
    /// Why it uses IMDSv1 and what to do: one entry for each cause and client.
    pub advice: Vec<CallerAdvice>,
    /// Requests with more advice than is kept.
    pub advice_dropped: u64,
    /// Requests without a token that no advice explains.
    pub unexplained: u64,
    #[serde(skip)]
    examples: Vec<(u64, String)>,
    #[serde(skip)]
    hosts_without_token: usize,
}

impl CallerReport {
    /// Makes a report without requests.
    pub(crate) fn new(
        known: &CallerEvidence,
        causes: &CauseCounts,
        status: CallerStatus,
        counts: &Counts,
    ) -> Self {
        Self {
            first: Some(counts.first),
            last: Some(counts.last),
            advice: known.advice(causes),
            advice_dropped: causes.dropped(),
            unexplained: causes.unexplained(),
            ..Self::rehearsed(known, status)
        }
    }

    /// Makes a report of a caller that was seen in rehearsals only.
    pub(crate) fn rehearsed(known: &CallerEvidence, status: CallerStatus) -> Self {
        let caller = known.caller();
        Self {
            id: caller.id.clone(),
            title: caller.title.clone(),
            home: caller.home.clone(),
            status,
            requests: 0,
            without_token: 0,
            classes: Classes::new(),
            hosts: 0,
            example_hosts: Vec::new(),
            first: None,
            last: None,
            last_without_token: None,
            resources: known.resources.clone(),
            advice: Vec::new(),
            advice_dropped: 0,
            unexplained: 0,
            examples: Vec::new(),
            hosts_without_token: 0,
        }
    }

    /// Adds the requests on a host.
    pub(crate) fn add(&mut self, host: &HostReport, counts: &Counts) {
        let mut without_token = 0;
        for &(class, outcome, requests) in &counts.classes {
            count(&mut self.classes, class, outcome, requests);
            if is_without_token(class) {
                without_token += requests;
            }
        }
        self.hosts += 1;
        self.hosts_without_token += usize::from(without_token > 0);
        self.first = self.first.map(|first| first.min(counts.first));
        self.last = self.last.max(Some(counts.last));
        self.last_without_token = self.last_without_token.max(counts.last_without_token);
        let place = self.examples.partition_point(|(requests, _)| *requests >= without_token);
        if place < MAX_EXAMPLES {
            self.examples.insert(place, (without_token, host.title()));
            self.examples.truncate(MAX_EXAMPLES);
        }
    }

    /// Adds up what the hosts have.
    pub(crate) fn finish(&mut self) {
        self.requests = total(&self.classes, |_| true);
        self.without_token = total(&self.classes, is_without_token);
        let is_rehearsed = matches!(self.status, CallerStatus::Breaks | CallerStatus::Adapts);
        if self.without_token == 0 && !is_rehearsed {
            self.status = CallerStatus::V2;
        }
        if self.without_token > 0 {
            self.hosts = self.hosts_without_token;
            self.examples.retain(|(requests, _)| *requests > 0);
        }
        self.example_hosts = self.examples.drain(..).map(|(_, host)| host).collect();
    }

    /// Returns the place among callers: status, then credentials, then requests without a token.
    pub(crate) fn rank(&self) -> impl Ord + use<'_> {
        let asks_for_credentials = self.resources.contains(&Resource::Credentials);
        let group = if self.status.is_in_the_way() { 0 } else { self.status as u8 };
        (
            group,
            Reverse(asks_for_credentials),
            Reverse(self.without_token),
            Reverse(self.requests),
            &self.title,
            &self.id,
        )
    }
}
