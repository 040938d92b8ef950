//! Result of a rehearsal: what each caller did when it was refused.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Advice, Caller, Class, Outcome, Time, is_false, is_zero};

/// The result of a rehearsal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RehearsalEvent {
    /// When it ended.
    pub time: Time,
    /// The moment from which connects were redirected.
    pub from: Time,
    /// What was rehearsed, for people.
    pub target: String,
    /// Its path in the cgroup hierarchy.
    pub cgroup: Option<String>,
    /// The instance settings that were rehearsed.
    pub settings: RehearsedSettings,
    /// The command that ran under the rehearsal, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<RehearsedCommand>,
    /// Each caller, those that break first.
    pub callers: Vec<RehearsedCaller>,
    /// The number of callers beyond the bound on callers.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_callers: u64,
    /// Connects to the endpoints that led to the front.
    pub redirected: u64,
    /// Connects that passed unrehearsed, because their network namespace had no front.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub passed: u64,
    /// Connects that passed unrehearsed, because their socket is bound to a network device.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub passed_bound_to_device: u64,
    /// Connections to the endpoints that were open before, and were left alone.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub open_before: u64,
    /// Network namespaces that were left alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_alone: Vec<LeftAlone>,
}

impl RehearsalEvent {
    /// Makes the event of a rehearsal that has just begun.
    pub(crate) const fn begun(
        time: Time,
        target: String,
        cgroup: Option<String>,
        settings: RehearsedSettings,
    ) -> Self {
        Self {
            time,
            from: time,
            target,
            cgroup,
            settings,
            command: None,
            callers: Vec::new(),
            more_callers: 0,
            redirected: 0,
            passed: 0,
            passed_bound_to_device: 0,
            open_before: 0,
            left_alone: Vec::new(),
        }
    }
}

/// The instance settings that a rehearsal stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RehearsedSettings {
    /// `HttpEndpoint` was `disabled`, else `HttpTokens` was `required`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disabled: bool,
    /// The `HttpPutResponseHopLimit`, if another than the instance's was rehearsed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop_limit: Option<u8>,
}

/// A command that ran under a rehearsal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RehearsedCommand {
    /// Its command line, redacted.
    pub args: Vec<String>,
    /// Its exit status; null where a signal ended it, or it still runs.
    pub exit_status: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
}

/// A network namespace without a front.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeftAlone {
    /// Its inode number.
    pub netns: u64,
    /// Why it has none.
    pub reason: String,
}

/// What a caller did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RehearsedCaller {
    /// The caller.
    pub caller: Caller,
    /// What enforcement does to it.
    pub verdict: RehearsalVerdict,
    /// The same in words, with what it rests on.
    pub reason: String,
    /// Its requests that reached the front.
    pub requests: u64,
    /// Of these, how many were refused.
    pub refused: u64,
    /// Its requests that did not reach the front, over connections from before or from a network
    /// namespace without a front.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unrehearsed: u64,
    /// What it was refused and never got with a token, its paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// The first of its requests, in order.
    pub sequence: Vec<RehearsedRequest>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<Advice>,
}

/// What enforcement does to a caller.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum RehearsalVerdict {
    /// It was refused, and did not get with a token what it was refused.
    Breaks,
    /// Nothing that it did would have been refused or was: nothing is known.
    NotExercised,
    /// It used tokens: from the start, or after it was refused.
    Adapts,
}

impl RehearsalVerdict {
    /// Returns the name that events carry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Breaks => "breaks",
            Self::NotExercised => "not-exercised",
            Self::Adapts => "adapts",
        }
    }
}

/// A request of a caller under rehearsal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RehearsedRequest {
    /// When it was made.
    pub time: Time,
    /// Its class.
    pub class: Class,
    /// What came of it.
    pub outcome: Outcome,
    /// The response's status.
    pub status: Option<u16>,
    /// The method and the path.
    pub request: String,
    /// The process that made it.
    pub pid: Option<u32>,
}
