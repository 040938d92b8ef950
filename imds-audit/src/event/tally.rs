//! Totals of a time window.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Advice, Caller, Checkpoint, Class, Client, Fallback, Loss, Outcome, Resource, Time, Totals,
    is_false, is_zero,
};

/// Requests by class, then by outcome.
pub type Classes = BTreeMap<Class, BTreeMap<Outcome, u64>>;

/// Totals of a time window. The windows of a run are contiguous: each begins where the one before
/// it ended, the first with the `start` event, and the last ends with the `stop` event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TallyEvent {
    /// When the window ended; equal to `to`.
    pub time: Time,
    /// When the window began.
    pub from: Time,
    /// When the window ended. An event belongs to the window in which it was handed on, which may
    /// be later than its own time by as long as a response was waited for.
    pub to: Time,
    /// The number of this window in its run, from 0.
    pub window: u64,
    /// The run ended with this window.
    #[serde(default, skip_serializing_if = "is_false")]
    pub last: bool,
    /// Counts of the window.
    pub totals: Totals,
    /// Counts per caller, the most urgent first.
    #[serde(default)]
    pub callers: Vec<CallerTally>,
    /// Requests of callers beyond the bound on callers.
    #[serde(default, skip_serializing_if = "OtherCallers::is_empty")]
    pub others: OtherCallers,
    /// Losses of the window.
    #[serde(default)]
    pub losses: Vec<Loss>,
    /// Limitations of the host that were in force.
    #[serde(default)]
    pub fallbacks: Vec<Fallback>,
    /// The instance's `HttpPutResponseHopLimit`, as token responses showed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop_limit: Option<u8>,
    /// The last line so far of every output that seals its lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub checkpoints: Vec<Checkpoint>,
}

/// Counts of one caller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallerTally {
    /// The caller.
    pub caller: Caller,
    /// Its requests by class, then by outcome.
    pub classes: Classes,
    /// The time of its first request in the window.
    pub first: Time,
    /// The time of its last request in the window.
    pub last: Time,
    /// The time of its last request without a token (`v1` or `v2-empty-token`) in the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_without_token: Option<Time>,
    /// Resources that it asked for.
    #[serde(default)]
    pub resources: BTreeSet<Resource>,
    /// Why it uses IMDSv1 and what to do: one entry for each cause and client.
    #[serde(default)]
    pub advice: Vec<CallerAdvice>,
    /// Requests with more advice than is kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub advice_dropped: u64,
    /// Requests without a token that no advice explains.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unexplained: u64,
    /// Its clients that requested a token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<AskedClient>,
}

/// A client that requested a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AskedClient {
    /// The name of the client software.
    #[serde(default)]
    pub client: Option<String>,
    /// The time of its last token request.
    pub last: Time,
}

/// Advice for a caller, of one cause and one client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallerAdvice {
    /// The client software.
    #[serde(default)]
    pub client: Option<Client>,
    /// The latest advice.
    #[serde(flatten)]
    pub advice: Advice,
    /// The number of requests with it.
    pub requests: u64,
    /// The time of the last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Time>,
}

/// Requests of callers beyond the bound on callers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OtherCallers {
    /// Their requests by class, then by outcome.
    #[serde(default)]
    pub classes: Classes,
}

impl OtherCallers {
    /// Returns whether no request was counted here.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }
}
