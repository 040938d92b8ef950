//! The software behind a request: a hint.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The software that a request hints at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Client {
    /// Its name, as its user agent writes it.
    pub name: String,
    /// Its version, if it is known.
    pub version: Option<String>,
    /// What hints at it.
    pub hint: Hint,
    /// The first version that speaks IMDSv2 by itself, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imdsv2_since: Option<Cow<'static, str>>,
    /// Where this version falls back to IMDSv1, what makes it.
    #[serde(default, skip_serializing_if = "no_triggers")]
    #[schemars(default)]
    pub falls_back_on: Cow<'static, [Trigger]>,
}

/// What hints at a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Hint {
    /// The user agent of the request.
    UserAgent,
    /// The name of the process's executable.
    Executable,
    /// An argument of the process: a script or a library.
    CommandLine,
}

/// What makes a client fall back to IMDSv1 when it asks for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// No answer in time.
    NoAnswer,
    /// 403, 404 or 405.
    Refused,
    /// 5xx.
    ServerError,
}

fn no_triggers(triggers: &[Trigger]) -> bool {
    triggers.is_empty()
}
