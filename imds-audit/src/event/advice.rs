//! Causes of IMDSv1 use, and the fix for each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a caller makes a request without a token, or why its token request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It never asks for a token.
    NeverAsks,
    /// It asks and gets no answer; most clients then fall back.
    Unanswered,
    /// It asks and is refused; most clients then fall back.
    Refused,
    /// It sends an empty token.
    EmptyToken,
    /// It was given a token and does not use it for all of its requests.
    Unused,
    /// It asks only after a request without a token is rejected: it goes on working when IMDSv2
    /// is enforced.
    PrefersV1,
    /// It sends a token in a header that the service does not know.
    WrongHeader,
    /// It looks for another cloud's service: harmless.
    OtherCloudProbe,
    /// A cause that this version does not know; only read, never written.
    #[serde(other)]
    Unknown,
}

impl Cause {
    /// Returns the name that events carry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NeverAsks => "never-asks",
            Self::Unanswered => "unanswered",
            Self::Refused => "refused",
            Self::EmptyToken => "empty-token",
            Self::Unused => "unused",
            Self::PrefersV1 => "prefers-v1",
            Self::WrongHeader => "wrong-header",
            Self::OtherCloudProbe => "other-cloud-probe",
            Self::Unknown => "unknown",
        }
    }
}

/// What to do so that a caller no longer uses IMDSv1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Advice {
    /// Why it uses IMDSv1.
    pub cause: Cause,
    /// The same in words, of the caller.
    pub reason: String,
    /// What to do, in one sentence.
    pub text: String,
    /// A command that does it or shows how; its words are quoted for a shell, and what was
    /// redacted or is to be filled in stands in capital letters or angle brackets.
    pub command: Option<String>,
}
