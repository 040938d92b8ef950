//! A connection over which no request was sent.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Network, Process, Time};

/// A connection over which no request was sent.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ConnectionEvent {
    /// When it was opened.
    pub time: Time,
    /// What became of it.
    pub connection: Connection,
    /// Its way.
    pub network: Network,
    /// Who opened it.
    pub process: Arc<Process>,
}

/// What became of a connection.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Connection {
    /// The service's address and port.
    pub endpoint: String,
    /// How the attempt ended.
    pub fate: ConnectionFate,
    /// How long it was open or tried.
    pub duration_us: Option<u64>,
}

/// How an attempt to connect ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionFate {
    /// The service accepted it.
    Accepted,
    /// It was reset.
    Refused,
    /// Nothing came back.
    Unanswered,
    /// It cannot be said.
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
