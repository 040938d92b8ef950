//! A request, with what came of it.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Advice, Caller, Class, Client, Operation, Outcome, Process, Resource, Time, TokenHash, Version,
    is_false,
};

/// A request, with what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// The caller that it belongs to.
    #[serde(default)]
    pub caller: Arc<Caller>,
    /// The software: a hint, on which nothing else here is based but the advice.
    pub client: Option<Client>,
    /// Its part where a relay on this host repeats requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay: Option<RelayPart>,
    /// What to do about a request without a token, or about a token request that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<Advice>,
    /// The number of the time window whose `tally` event counts it; absent in runs without them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u64>,
}

/// What a request was to the metadata service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
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
    /// The bytes lie in pages that the caller can still change (sendfile, splice, `MSG_ZEROCOPY`),
    /// so the service may have received others than were read.
    SharedPages,
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
            Self::SharedPages => "shared-pages",
        }
    }
}

/// A request's HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// The address for which a relay sent the request (`X-Forwarded-For`, its last entry).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarded_for: Option<String>,
}

/// A request's part where a relay on this host repeats requests to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RelayPart {
    /// It is a relay's repetition of a request that has an event of its own, and is left out of
    /// every total.
    Repetition,
    /// A relay on this host repeated it and sent its response, whose time to live says nothing
    /// about the hop limit.
    Relayed,
    /// A part that this version does not know; only read, never written.
    #[serde(other)]
    Unknown,
}

/// The way of a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    #[serde(default, skip_serializing_if = "is_false")]
    #[schemars(default)]
    pub mapped: bool,
}

/// A family of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}
