//! The metadata service's own terms: classes, versions, operations, resources and outcomes.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What protocol a request spoke.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Any other HTTP request: it has no token.
    V1,
    /// The token's header is there and empty: IMDSv2 was meant, the token was missing.
    V2EmptyToken,
    /// The request carries a token.
    V2,
    /// The request for a token.
    V2Token,
    /// Another cloud's protocol on the same address.
    Foreign,
    /// Not HTTP, or not seen up to the end of its headers.
    #[serde(other)]
    Unknown,
}

impl Class {
    /// Every class, those that matter most to a migration first.
    pub const ALL: [Self; 6] =
        [Self::V1, Self::V2EmptyToken, Self::V2, Self::V2Token, Self::Foreign, Self::Unknown];

    /// Returns the name that events carry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2EmptyToken => "v2-empty-token",
            Self::V2 => "v2",
            Self::V2Token => "v2-token",
            Self::Foreign => "foreign",
            Self::Unknown => "unknown",
        }
    }

    /// Returns the version of the protocol, none where the class is not EC2's or not known.
    pub const fn version(self) -> Option<Version> {
        match self {
            Self::V1 => Some(Version::V1),
            Self::V2 | Self::V2EmptyToken | Self::V2Token => Some(Version::V2),
            Self::Foreign | Self::Unknown => None,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A version of the service's protocol, the numbers 1 and 2 in an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// Requests without a token.
    V1,
    /// Requests for a token and with one.
    V2,
}

impl Version {
    /// Returns the number that events carry.
    pub const fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.number())
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            1 => Ok(Self::V1),
            2 => Ok(Self::V2),
            other => Err(D::Error::custom(format_args!("no version of the protocol: {other}"))),
        }
    }
}

impl JsonSchema for Version {
    fn schema_name() -> Cow<'static, str> {
        "Version".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A version of the service's protocol.",
            "type": "integer",
            "enum": [1, 2]
        })
    }
}

/// What a request wanted to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// `PUT` of the token path.
    TokenRequest,
    /// `GET` or `HEAD`.
    Read,
    /// Any other method; the service knows none.
    #[serde(other)]
    Other,
}

/// What a request asked for, in groups that matter to people.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// A token, whatever the method.
    Token,
    /// The keys of a role or of the instance's own identity.
    Credentials,
    /// The signed identity document and its signatures.
    Identity,
    /// The user data, which often holds secrets.
    UserData,
    /// Everything else, the bare list of roles included.
    #[serde(other)]
    Metadata,
}

impl Resource {
    /// Returns the name that events carry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Credentials => "credentials",
            Self::Identity => "identity",
            Self::UserData => "user-data",
            Self::Metadata => "metadata",
        }
    }
}

/// What came of a request.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// 2xx.
    Served,
    /// 3xx. The service is not known to send it; a proxy in its place may.
    Redirected,
    /// 401: no token where one is required, or a bad one.
    Rejected,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 405.
    RefusedMethod,
    /// Any other 4xx.
    ClientError,
    /// 5xx, and a number that is no HTTP status (RFC 9110, section 15, treats it as 5xx).
    ServerError,
    /// The connection ended, or 30 s passed, without a status line.
    NoResponse,
    /// It cannot be said: bytes were lost, the audit ended, or only an interim 1xx was seen.
    #[serde(other)]
    Unobserved,
}

impl Outcome {
    /// Returns what a final status says.
    pub const fn of_status(status: u16) -> Self {
        match status {
            100..=199 => Self::Unobserved,
            200..=299 => Self::Served,
            300..=399 => Self::Redirected,
            401 => Self::Rejected,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            405 => Self::RefusedMethod,
            400..=499 => Self::ClientError,
            _ => Self::ServerError,
        }
    }

    /// Returns the name that events carry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Redirected => "redirected",
            Self::Rejected => "rejected",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::RefusedMethod => "refused-method",
            Self::ClientError => "client-error",
            Self::ServerError => "server-error",
            Self::NoResponse => "no-response",
            Self::Unobserved => "unobserved",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
