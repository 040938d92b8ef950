//! A request, with what came of it.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Process, Time, is_false};
use crate::audit::advice::Advice;
use crate::audit::class::{Class, Operation, Outcome, Resource, Version};
use crate::audit::client::Client;
use crate::audit::token::TokenHash;

/// A request, with what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct RequestEvent {
    /// When its first byte passed.
    pub time: Time,
    /// What it was to the metadata service.
    pub imds: Imds,
    /// Its HTTP; null where the class is `unknown`.
    pub http: Option<Http>,
    /// Its way.
    pub network: Network,
    /// Who made it.
    pub process: Arc<Process>,
    /// The software: a hint, on which nothing else here is based but the advice.
    pub client: Option<Client>,
    /// What to do about a request that was made without a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<Advice>,
}

/// What a request was to the metadata service.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Imds {
    /// The protocol that it spoke.
    pub class: Class,
    /// The version of the protocol; null where the class is `foreign` or `unknown`.
    pub version: Option<Version>,
    /// What it wanted to do.
    pub operation: Option<Operation>,
    /// What it asked for.
    pub resource: Option<Resource>,
    /// What came of it.
    pub outcome: Outcome,
    /// From the request's first byte to the status line's, or to when it was certain that none
    /// would come.
    pub duration_us: Option<u64>,
    /// The service's address and port.
    pub endpoint: String,
    /// A keyed hash of the token that it carried; comparable within one run only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenHash>,
    /// Why the class is `unknown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<UnknownReason>,
}

/// Why nothing can be said of a request's class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownReason {
    /// The bytes are no HTTP request.
    NotHttp,
    /// The connection or the audit ended before the headers did.
    Cut,
    /// Bytes in between were lost on their way to the audit.
    Lost,
    /// The headers are longer than the audit keeps.
    TooLong,
    /// The connection has urgent bytes (`MSG_OOB`), which a service may read in their place or not.
    Urgent,
}

impl UnknownReason {
    /// Returns the name that events carry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotHttp => "not-http",
            Self::Cut => "cut",
            Self::Lost => "lost",
            Self::TooLong => "too-long",
            Self::Urgent => "urgent",
        }
    }
}

/// A request's HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Http {
    /// The method.
    pub method: String,
    /// The target as it was sent, with its query.
    pub path: String,
    /// The response's status.
    pub status: Option<u16>,
    /// The host header.
    pub host: Option<String>,
    /// The user agent.
    pub user_agent: Option<String>,
}

/// The way of a connection.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Network {
    /// The family of the packets.
    pub family: Family,
    /// The caller's address and port.
    pub source: Option<String>,
    /// The IP time to live (hop limit) of the response as it arrived.
    pub response_ttl: Option<u8>,
    /// The inode number of the caller's network namespace.
    pub netns: Option<u32>,
    /// Whether that is the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_network: Option<bool>,
    /// The socket is an IPv6 one that carries IPv4, as Java's are.
    #[serde(skip_serializing_if = "is_false")]
    #[schemars(default)]
    pub mapped: bool,
}

/// A family of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}
