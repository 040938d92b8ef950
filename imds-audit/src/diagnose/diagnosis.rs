//! Causes of requests without a token, with the evidence for each.

use std::fmt;

use crate::aggregate::hop_limit::Needed;
use crate::classify::{Lifetime, Traits};
use crate::event::{Cause, Outcome, RequestEvent, Time};

/// The cause of a request without a token, or of a token request that failed, with its evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Diagnosis {
    /// The caller never requests a token.
    NeverAsks,
    /// The SDK requests tokens, but the call that was made sends none in any version.
    PlainCall {
        /// The call.
        call: &'static str,
    },
    /// The caller relays the request of another.
    Relayed {
        /// The address that it relays for, where it says so.
        address: Option<String>,
    },
    /// The caller requests a token only after a request without one was rejected.
    PrefersV1 {
        /// Whether that was seen, rather than known of its version.
        is_observed: bool,
    },
    /// Its token request got no response.
    Unanswered {
        /// Why there was none.
        silence: Silence,
        /// When the token request was made, where this is about a later request.
        at: Option<Time>,
    },
    /// Its token request was refused.
    Refused {
        /// How it was refused.
        refusal: Refusal,
        /// When the token request was made, where this is about a later request.
        at: Option<Time>,
    },
    /// It sends an empty token.
    EmptyToken {
        /// The token request that should have given it one.
        token_request: TokenLoss,
    },
    /// It was given a token and does not use it for all of its requests.
    Unused,
    /// It sends a token in a header that the service does not know.
    WrongHeader(HeaderMistake),
    /// It looks for another cloud's service.
    OtherCloudProbe,
}

/// The reason for which a token request got no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The service, or a proxy, ended the connection while the caller waited: no response was
    /// lost on its way.
    Closed,
    /// Token responses reach the caller's network: this one was too late for the caller.
    TooLate,
    /// The caller shares the host's network, where no hop takes anything off.
    HostNetwork,
    /// The response may have been lost on its way.
    HopLimit {
        /// Whether the caller is known to be in a network of its own.
        is_own_network: bool,
        /// The hop limit, where it is known.
        limit: Option<u8>,
        /// The hop limit that the caller needs.
        needed: Needed,
    },
}

/// The refusal of a token request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// How it was refused.
    pub outcome: Outcome,
    /// The fault of the token request itself that explains it.
    pub fault: Option<TokenFault>,
}

/// A fault of a token request for which the service refuses it.
///
/// Sources: EC2 User Guide, "Use the Instance Metadata Service"; jtblin/kube2iam issue 279 (403
/// for `X-Forwarded-For`), aws-beam/aws_credentials issue 47 (403 for a trailing slash),
/// s3fs-fuse issue 1765 (400 without a lifetime), awslabs/aws-c-auth pull request 203 (417).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenFault {
    /// Its method is not PUT.
    Method,
    /// It was forwarded.
    Forwarded,
    /// Its path ends in a slash.
    TrailingSlash,
    /// Its path has a date for a version.
    DatedPath,
    /// It sets no lifetime.
    NoLifetime,
    /// It sets a lifetime that the service does not accept.
    BadLifetime,
    /// It expects an interim response.
    Expect,
    /// It names no host.
    NoHost,
}

/// The token request that should have given a caller the token that it sends empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenLoss {
    /// None was observed, or not its response.
    NotObserved,
    /// It was served.
    Served,
    /// It got no response.
    Unanswered(Silence),
    /// It was refused.
    Refused(Refusal),
}

/// A mistake in the header that carries a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeaderMistake {
    /// It has another name.
    Misnamed(String),
    /// It has the name of the header for a token's lifetime.
    Lifetime,
    /// The shell splits it: its quotes stand inside a variable.
    Split,
    /// It has no colon, so the tool leaves it out.
    NoColon,
}

impl TokenFault {
    /// Returns the fault of a token request that explains its refusal.
    pub(crate) fn of(event: &RequestEvent, traits: &Traits) -> Option<Self> {
        let http = event.http.as_ref()?;
        if http.method != "PUT" {
            return Some(Self::Method);
        }
        let status = http.status?;
        match status {
            400 if !traits.has_host => Some(Self::NoHost),
            400 if traits.lifetime == Lifetime::Absent => Some(Self::NoLifetime),
            400 if traits.lifetime == Lifetime::Invalid => Some(Self::BadLifetime),
            400 | 403 if traits.is_forwarded => Some(Self::Forwarded),
            403..=405 if traits.has_trailing_slash => Some(Self::TrailingSlash),
            403..=405 if traits.is_dated => Some(Self::DatedPath),
            417 if traits.has_expect => Some(Self::Expect),
            _ => None,
        }
    }

    /// Returns what is wrong with the token request, as a clause.
    const fn describe(self) -> &'static str {
        match self {
            Self::Method => "its method is not PUT",
            Self::Forwarded => {
                "it carries X-Forwarded-For, and the service refuses token requests that were \
                 forwarded"
            }
            Self::TrailingSlash => "its path ends in a slash",
            Self::DatedPath => "its path has a date in the place of latest",
            Self::NoLifetime => "it has no header X-aws-ec2-metadata-token-ttl-seconds",
            Self::BadLifetime => "its lifetime is not between 1 and 21600 seconds",
            Self::Expect => "it expects 100-continue, which the service does not support",
            Self::NoHost => "it has no Host header",
        }
    }
}

impl Diagnosis {
    /// Returns the cause without its evidence.
    pub(crate) const fn cause(&self) -> Cause {
        match self {
            Self::NeverAsks | Self::PlainCall { .. } | Self::Relayed { .. } => Cause::NeverAsks,
            Self::PrefersV1 { .. } => Cause::PrefersV1,
            Self::Unanswered { .. } => Cause::Unanswered,
            Self::Refused { .. } => Cause::Refused,
            Self::EmptyToken { .. } => Cause::EmptyToken,
            Self::Unused => Cause::Unused,
            Self::WrongHeader(_) => Cause::WrongHeader,
            Self::OtherCloudProbe => Cause::OtherCloudProbe,
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverAsks => f.write_str("never asks for a token"),
            Self::PlainCall { call } => {
                write!(f, "never asks for a token in {call}, which sends none in any version")
            }
            Self::Relayed { address: Some(address) } => {
                write!(f, "relays a request without a token for {address}")
            }
            Self::Relayed { address: None } => {
                f.write_str("relays a request without a token for another program")
            }
            Self::PrefersV1 { .. } => f.write_str(
                "asks for a token only after a request without one is rejected: it goes on \
                 working when IMDSv2 is enforced, and uses IMDSv1 until then",
            ),
            Self::Unanswered { silence, at } => {
                unanswered(f, *silence, at.map_or("", |_| " and falls back"))
            }
            Self::Refused { refusal: Refusal { outcome, fault }, at } => {
                let falls_back = at.map_or("", |_| " and falls back");
                write!(f, "asks for a token, is refused ({outcome}){falls_back}")?;
                fault.map_or(Ok(()), |fault| write!(f, ": {}", fault.describe()))
            }
            Self::EmptyToken { token_request } => empty_token(f, token_request),
            Self::Unused => f.write_str("is given a token, and makes requests without it"),
            Self::WrongHeader(mistake) => wrong_header(f, mistake),
            Self::OtherCloudProbe => f.write_str(
                "looks for another cloud's metadata service; enforcing IMDSv2 changes nothing \
                 for it",
            ),
        }
    }
}

fn unanswered(f: &mut fmt::Formatter<'_>, silence: Silence, falls_back: &str) -> fmt::Result {
    match silence {
        Silence::Closed => {
            write!(f, "asks for a token, has its connection closed without an answer{falls_back}")
        }
        Silence::TooLate => write!(
            f,
            "asks for a token, does not wait for the answer{falls_back}: token responses do reach \
             its network"
        ),
        Silence::HopLimit { is_own_network: true, .. } => write!(
            f,
            "asks for a token, gets no answer{falls_back}: it runs in its own network namespace, \
             so the token response may exceed the hop limit"
        ),
        Silence::HostNetwork | Silence::HopLimit { .. } => {
            write!(f, "asks for a token, gets no answer{falls_back}")
        }
    }
}

fn empty_token(f: &mut fmt::Formatter<'_>, token_request: &TokenLoss) -> fmt::Result {
    f.write_str("sends an empty token: ")?;
    match token_request {
        TokenLoss::NotObserved => f.write_str("its token request failed, or it made none"),
        TokenLoss::Served => {
            f.write_str("its token request was served, and the token lost on its way")
        }
        TokenLoss::Unanswered(Silence::Closed) => {
            f.write_str("the connection of its token request was closed without an answer")
        }
        TokenLoss::Unanswered(Silence::HopLimit { is_own_network: true, .. }) => f.write_str(
            "its token request got no answer; it runs in its own network namespace, so the \
             response may exceed the hop limit",
        ),
        TokenLoss::Unanswered(Silence::TooLate) => f.write_str(
            "its token request got no answer in time; token responses do reach its network",
        ),
        TokenLoss::Unanswered(_) => f.write_str("its token request got no answer"),
        TokenLoss::Refused(Refusal { outcome, fault }) => {
            write!(f, "its token request was refused ({outcome})")?;
            fault.map_or(Ok(()), |fault| write!(f, ": {}", fault.describe()))
        }
    }
}

fn wrong_header(f: &mut fmt::Formatter<'_>, mistake: &HeaderMistake) -> fmt::Result {
    match mistake {
        HeaderMistake::Misnamed(name) => {
            write!(f, "sends its token in a header named '{name}', which the service ignores")
        }
        HeaderMistake::Lifetime => f.write_str(
            "sends the header for a token's lifetime (X-aws-ec2-metadata-token-ttl-seconds) in \
             the place of the token's own",
        ),
        HeaderMistake::Split => f.write_str(
            "loses its token's header: the shell splits it at its blank, since quotes inside a \
             variable do not hold it together",
        ),
        HeaderMistake::NoColon => f.write_str(
            "loses its token's header: without a colon behind the name the tool leaves it out",
        ),
    }
}
