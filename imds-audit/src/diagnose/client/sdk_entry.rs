//! Row of the table of clients.

use crate::event::Trigger;

/// What is known of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct SdkEntry {
    /// The name in the user agent, ASCII case ignored; a name of ours where it has none.
    pub agent: &'static str,
    /// Whether more may stand behind the name and a hyphen.
    pub has_suffix: bool,
    /// What it is called in advice, where that is not its name in the user agent.
    pub title: Option<&'static str>,
    /// The version's first part, where one name stands for several lines of development.
    pub major: Option<&'static str>,
    /// The file names of its executables.
    pub programs: &'static [&'static str],
    /// The ends of its executables' paths, where the file name alone is a common one.
    pub paths: &'static [&'static str],
    /// The file names of scripts that an interpreter runs as it, and Java classes.
    pub scripts: &'static [&'static str],
    /// The starts of the title that its process gives itself.
    pub titles: &'static [&'static str],
    /// How it speaks IMDSv2.
    pub support: Support,
    /// Whether it falls back to IMDSv1.
    pub fallback: V1Fallback,
    /// Whether it stays with IMDSv1 after one token request that failed, until it is started again
    /// or rejected.
    pub is_sticky: bool,
    /// The setting that forbids it IMDSv1.
    pub switch: Option<Switch>,
    /// The setting that makes it ask for a token first, where it has one of its own.
    pub setting: Option<&'static str>,
    /// A call of it that sends no token in any version.
    pub plain_call: Option<&'static str>,
    /// How it is updated.
    pub update: Option<Update>,
    /// Whether it is a script that has a tool such as curl make its requests.
    pub runs_tools: bool,
    /// The source of these facts.
    pub source: &'static str,
}

/// How a client speaks IMDSv2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Support {
    /// By itself, from this version on.
    Since(&'static str),
    /// After a request without a token is rejected from one version on; before its first request
    /// from a later one on.
    AfterRefusal {
        /// The first version that asks for a token after a rejection.
        since: &'static str,
        /// The first version that asks for a token first, if one does.
        first: Option<&'static str>,
    },
    /// In every version.
    Always,
    /// As the SDK does that it was built with.
    ByLibrary,
    /// Only if the script or program that uses it asks for a token and sends it.
    ByCaller,
}

/// Whether a client that speaks IMDSv2 falls back to IMDSv1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum V1Fallback {
    /// When this happens to its token request.
    On(&'static [Trigger]),
    /// No version does.
    Never,
    /// From this version on it does not; it is not known when earlier ones do.
    NeverSince(&'static str),
    /// It is not known.
    Unknown,
}

/// A setting that forbids a client to use IMDSv1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Switch {
    /// The setting; `None` for that of the AWS SDKs, `AWS_EC2_METADATA_V1_DISABLED=true` in the
    /// environment (AWS SDKs and Tools Reference Guide, "IMDS credential provider").
    pub setting: Option<&'static str>,
    /// The first version that has it, where it is known.
    pub since: Option<&'static str>,
    /// The property of the JVM that does it too.
    pub property: Option<&'static str>,
}

/// How a client is updated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Update {
    /// With pip, by this name.
    Pip(&'static str),
    /// With npm, by this name, within this first part of the version.
    Npm(&'static str, &'static str),
    /// With `gem`, by this name.
    Gem(&'static str),
    /// With `go get`, by this module.
    Go(&'static str),
    /// With composer, by this name.
    Composer(&'static str),
    /// With `dotnet`, by this package.
    Nuget(&'static str),
}
