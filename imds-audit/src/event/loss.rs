//! Losses: requests, records and lines that were not observed or not written.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Time;

/// Something that was not observed or not written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LossEvent {
    /// When it was noticed.
    pub time: Time,
    /// The loss.
    pub loss: Loss,
    /// The number of the time window whose `tally` event counts it; absent in runs without them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u64>,
}

/// A loss: how much of what, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Loss {
    /// Why, such as `request` (the ring was full for a request's bytes), `output` or `procfs`.
    pub reason: Cow<'static, str>,
    /// What was lost.
    pub what: LossUnit,
    /// How many, since the last such event (in `stop`: in all).
    pub count: u64,
    /// The process that lost it, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<LossProcess>,
}

/// A process that lost something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct LossProcess {
    /// The process in the initial pid namespace.
    pub pid: u32,
    /// The name of the thread that acted.
    pub name: Option<String>,
}

/// What can be lost.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum LossUnit {
    /// Records of the eBPF programs.
    Records,
    /// Bytes of requests or responses.
    Bytes,
    /// Connections that could not be followed.
    Connections,
    /// Snapshots of processes, or what procfs would have added to them.
    Processes,
    /// Events that could not be written.
    Events,
    /// Requests that no event tells of. Several that were sent in one packet count once.
    Requests,
}

impl LossUnit {
    /// Returns the name that events carry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Bytes => "bytes",
            Self::Connections => "connections",
            Self::Processes => "processes",
            Self::Events => "events",
            Self::Requests => "requests",
        }
    }
}
