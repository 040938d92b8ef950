//! An audit's start and end.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Checkpoint, Class, Loss, Outcome, Time, is_zero};

/// Everything is attached: what happens from here on is audited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StartEvent {
    /// When the last program was attached.
    pub time: Time,
    /// When the host was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<Time>,
    /// When the container was started that the audit runs in, if it runs in one with processes of
    /// its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_start: Option<Time>,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// The machine, such as `x86_64`.
    pub architecture: Option<String>,
    /// The version of this program.
    pub version: String,
    /// What was attached.
    pub programs: Vec<String>,
    /// The addresses and ports that are audited.
    pub endpoints: Vec<String>,
    /// What this host does not allow and what stands in for it.
    pub fallbacks: Vec<Fallback>,
    /// The inode number of the auditor's network namespace.
    pub netns: Option<u32>,
}

/// Something that the host does not allow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fallback {
    /// What is missing.
    pub name: String,
    /// Why.
    pub reason: String,
    /// What that costs.
    pub consequence: String,
}

/// The audit's end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StopEvent {
    /// When it ended.
    pub time: Time,
    /// Why it ended.
    pub reason: StopReason,
    /// How long everything was attached.
    pub duration_us: u64,
    /// What was seen.
    pub totals: Totals,
    /// What was lost, in all.
    pub losses: Vec<Loss>,
    /// The last line so far of every output that seals its lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub checkpoints: Vec<Checkpoint>,
}

/// Why the audit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// A signal asked for it.
    Signal,
    /// The time that was asked for is over.
    Duration,
    /// The input is at its end.
    EndOfInput,
    /// Nobody reads the output any more.
    OutputClosed,
    /// A condition of the user's is met.
    Condition,
    /// Something failed.
    #[serde(other)]
    Failure,
}

impl StopReason {
    /// Returns the name that events carry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Duration => "duration",
            Self::EndOfInput => "end-of-input",
            Self::OutputClosed => "output-closed",
            Self::Condition => "condition",
            Self::Failure => "failure",
        }
    }
}

/// What was seen in all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Totals {
    /// Requests.
    pub requests: u64,
    /// Connections without a request.
    pub connections: u64,
    /// Requests by class, then by outcome.
    pub classes: BTreeMap<Class, BTreeMap<Outcome, u64>>,
    /// The counters that CloudWatch keeps too.
    pub counters: Counters,
    /// Processes and programs whose token requests were forgotten, because too many others came
    /// after them; the advice for one of them may say that it never asks for a token.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(default)]
    pub forgotten_callers: u64,
}

/// The counters that CloudWatch keeps under the same names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Counters {
    /// IMDSv1 requests that were served.
    pub metadata_no_token: u64,
    /// IMDSv1 requests that were rejected with 401.
    pub metadata_no_token_rejected: u64,
}
