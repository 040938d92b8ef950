//! A connection over which no request was sent.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Network, Process, Time};

/// A connection over which no request was sent, or several of one process within a minute.
///
/// The first one of a process is reported by itself. Those that follow within a minute, with the
/// same endpoint and result, are reported together at its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConnectionEvent {
    /// When it was opened; the first one, if there are several.
    pub time: Time,
    /// The attempt to connect and its result.
    pub connection: Connection,
    /// Network addresses and namespace.
    pub network: Network,
    /// The process that opened it.
    pub process: Arc<Process>,
}

/// An attempt to connect, or several alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Connection {
    /// The service's address and port.
    pub endpoint: String,
    /// How the attempt ended.
    pub fate: ConnectionFate,
    /// How long it was open or tried; null if there are several.
    pub duration_us: Option<u64>,
    /// The number of connections that the event stands for; 1 if it is absent.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u64,
    /// When the last one was opened, if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Time>,
}

const fn one() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
const fn is_one(count: &u64) -> bool {
    *count == 1
}

/// How an attempt to connect ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionFate {
    /// The service accepted it.
    Accepted,
    /// It was reset.
    Refused,
    /// Nothing came back.
    Unanswered,
    /// It cannot be said.
    #[serde(other)]
    Unobserved,
}

impl ConnectionFate {
    /// Returns the name that events carry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
            Self::Unobserved => "unobserved",
        }
    }
}
