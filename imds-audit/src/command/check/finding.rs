//! One thing that was looked at.

use serde::Serialize;

/// What an item allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    /// As it should be.
    Ok,
    /// The audit runs, and does without something.
    Degraded,
    /// The audit cannot run.
    Missing,
    /// Not tried, because something before it is missing.
    Untested,
}

/// One thing that was looked at.
///
/// The field names, the item names and the statuses are stable; the sentences are for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Item {
    /// Its stable name.
    pub name: String,
    /// What it allows.
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What that costs; `None` where it costs nothing.
    pub consequence: Option<String>,
    /// What to do about it; `None` where there is nothing to be done, or another item says it.
    pub remedy: Option<String>,
    /// The verifier's whole output, where it refused a program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verifier_log: Option<String>,
}

impl Item {
    /// Makes an item that is as it should be.
    pub(crate) fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            status: Status::Ok,
            found: found.into(),
            consequence: None,
            remedy: None,
            verifier_log: None,
        }
    }

    /// Makes an item that costs something.
    pub(crate) fn lacking(
        name: impl Into<String>,
        status: Status,
        found: impl Into<String>,
        consequence: impl Into<String>,
    ) -> Self {
        Self { status, consequence: Some(consequence.into()), ..Self::ok(name, found) }
    }

    /// Makes an item that was not tried.
    pub(crate) fn untested(name: impl Into<String>, why: &str) -> Self {
        Self { status: Status::Untested, ..Self::ok(name, format!("not tried: {why}")) }
    }

    /// Adds what to do about it.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}
