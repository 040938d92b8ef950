//! Recognises the software that makes a request, as a hint for people.
//!
//! A user agent proves nothing and is often absent (the JavaScript SDKs and many Rust clients
//! send none), a file can be named anything: no class ever depends on it.

mod table;

use std::cmp::Ordering;

use schemars::JsonSchema;
use serde::Serialize;

use super::limit::{self, bound};
use super::redact;

/// The software that a request hints at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Client {
    /// Its name, as its user agent writes it.
    pub name: String,
    /// Its version, if that is told.
    pub version: Option<String>,
    /// What hints at it.
    pub hint: Hint,
    /// The first version that speaks IMDSv2 by itself, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imdsv2_since: Option<&'static str>,
    /// Where this version falls back to IMDSv1, what makes it.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schemars(default)]
    pub falls_back_on: &'static [Trigger],
}

/// What hints at a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// No answer in time.
    NoAnswer,
    /// 403, 404 or 405.
    Refused,
    /// 5xx.
    ServerError,
}

/// A row of the table: what is known of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The name in the user agent, ASCII case ignored; a name of ours where it has none.
    pub agent: &'static str,
    /// The version's first part, where one name stands for several lines of development.
    pub major: Option<&'static str>,
    /// The file names of its executables.
    pub programs: &'static [&'static str],
    /// The file names of scripts that an interpreter runs as it.
    pub scripts: &'static [&'static str],
    /// How it speaks IMDSv2.
    pub support: Support,
    /// Whether it falls back to IMDSv1.
    pub fallback: Fallback,
    /// What forbids that.
    pub switch: Option<Switch>,
    /// How it is updated.
    pub update: Option<Update>,
    /// Where that is known from.
    pub source: &'static str,
}

/// How a client speaks IMDSv2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// By itself, from this version on.
    Since(&'static str),
    /// In every version.
    Always,
    /// As the SDK does that it was built with.
    ByLibrary,
    /// Only if the script or program that uses it asks for a token and sends it.
    ByCaller,
}

/// Whether a client that speaks IMDSv2 falls back to IMDSv1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// When this happens to its token request.
    On(&'static [Trigger]),
    /// No version does.
    Never,
    /// From this version on it does not; on what it did before is not known.
    NeverSince(&'static str),
    /// It is not known.
    Unknown,
}

/// What forbids a client to use IMDSv1: `AWS_EC2_METADATA_V1_DISABLED=true` in its environment.
///
/// AWS SDKs and Tools Reference Guide, "IMDS credential provider".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch {
    /// The first version that has it, where it is known.
    pub since: Option<&'static str>,
    /// The property of the JVM that does it too.
    pub property: Option<&'static str>,
}

/// How a client is updated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
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

/// Names that stand for every program in a language: what else hints at the client says more.
const GENERIC: [&str; 9] = [
    "Python-urllib",
    "python-requests",
    "Go-http-client",
    "Java",
    "sh",
    "bash",
    "zsh",
    "ksh",
    "BusyBox",
];
/// The arguments that are looked at.
const ARGUMENTS: usize = 64;

impl Client {
    /// Recognises the client from what hints at it: a user agent that is known, else the
    /// executable, else an argument, else the user agent's first product.
    ///
    /// At most [`bound::USER_AGENT`] bytes of the user agent are looked at.
    pub fn recognise(
        user_agent: Option<&[u8]>,
        exe: Option<&str>,
        args: Option<&[String]>,
    ) -> Option<Self> {
        let agent = user_agent.and_then(Self::from_user_agent);
        let is_told =
            |client: &Self| client.known().is_some_and(|known| !GENERIC.contains(&known.agent));
        if agent.as_ref().is_some_and(is_told) {
            return agent;
        }
        let program = exe.and_then(Self::from_executable);
        if program.as_ref().is_some_and(is_told) {
            return program;
        }
        let argument = args.and_then(Self::from_arguments);
        let (told, other) = match agent {
            Some(agent) if agent.known().is_some() => (Some(agent), None),
            other => (None, other),
        };
        argument.or(told).or(program).or(other)
    }

    /// Reads the client from a user agent: its first product that is known, else its first.
    pub(crate) fn from_user_agent(user_agent: &[u8]) -> Option<Self> {
        let cut = user_agent.get(..bound::USER_AGENT).unwrap_or(user_agent);
        let clean = redact::text(cut);
        let mut products = clean.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let first = Self::product(products.next()?)?;
        if first.known().is_some() {
            return Some(first);
        }
        let later = products.filter_map(Self::product).find(|client| client.known().is_some());
        Some(later.unwrap_or(first))
    }

    fn from_executable(exe: &str) -> Option<Self> {
        let known = of_file(exe, |known| known.programs)?;
        // The installer of version 2 of the AWS CLI: …/aws-cli/v2/2.15.0/dist/aws.
        let version = exe.split_once("/aws-cli/v2/").and_then(|(_, rest)| rest.split('/').next());
        let version = match version.filter(|version| is_version(version)) {
            // Its first version is a script and no executable.
            None => known.major,
            version => version,
        };
        Some(Self::new(known.agent, version, Hint::Executable))
    }

    fn from_arguments(args: &[String]) -> Option<Self> {
        let found = |agent, version| Some(Self::new(agent, version, Hint::CommandLine));
        let args: Vec<&str> = args.iter().take(ARGUMENTS).map(String::as_str).collect();
        // A script stands in the place of the program where its file is the interpreter's.
        let scripts = args.iter().take(3).filter(|arg| arg.starts_with('/'));
        if let Some(known) = scripts.filter_map(|arg| of_file(arg, |known| known.scripts)).next() {
            return found(known.agent, None);
        }
        let mut first = None;
        for (name, version) in args.iter().flat_map(|arg| arg.split(':')).filter_map(jar) {
            match name {
                // hadoop-aws-3.2.0.jar: which SDK is beside it tells more than its own version.
                "hadoop-aws" if first.is_none() => first = found("Hadoop S3A", Some(version)),
                _ if name.starts_with("aws-java-sdk-") => {
                    return found("aws-sdk-java", Some(version));
                }
                // The second line's parts, and all of them in one, as Hadoop ships it.
                "aws-core" | "bundle" if version.starts_with("2.") => {
                    return found("aws-sdk-java", Some(version));
                }
                _ => {}
            }
        }
        first
    }

    /// Returns what is known of the client.
    pub fn known(&self) -> Option<&'static Known> {
        let major = self.version.as_deref().and_then(|version| version.split('.').next());
        table::KNOWN.iter().find(|known| {
            known.agent.eq_ignore_ascii_case(&self.name)
                && (known.major.is_none() || major.is_none() || known.major == major)
        })
    }

    /// Says whether its version is at least another; `None` where one of them is not told.
    pub fn is_at_least(&self, version: &str) -> Option<bool> {
        Some(compare(self.version.as_deref()?, version)?.is_ge())
    }

    fn product(word: &[u8]) -> Option<Self> {
        let mut parts = word.splitn(2, |byte| *byte == b'/');
        let name = parts.next().filter(|name| !name.is_empty())?;
        let version = parts.next().filter(|version| !version.is_empty());
        let version = version.map(|version| limit::text(version, bound::NAME));
        Some(Self::new(&limit::text(name, bound::NAME), version.as_deref(), Hint::UserAgent))
    }

    fn new(name: &str, version: Option<&str>, hint: Hint) -> Self {
        let mut client = Self {
            name: name.to_owned(),
            version: version.map(str::to_owned),
            hint,
            imdsv2_since: None,
            falls_back_on: &[],
        };
        let Some(known) = client.known() else { return client };
        let speaks = match known.support {
            Support::Since(first) => {
                client.imdsv2_since = Some(first);
                client.is_at_least(first) != Some(false)
            }
            Support::Always | Support::ByLibrary => true,
            Support::ByCaller => false,
        };
        if let Fallback::On(triggers) = known.fallback
            && speaks
        {
            client.falls_back_on = triggers;
        }
        client
    }
}

/// Finds the row that has a path's file name in one of its lists.
fn of_file(path: &str, list: impl Fn(&Known) -> &'static [&'static str]) -> Option<&'static Known> {
    let file = path.rsplit('/').next()?;
    table::KNOWN.iter().find(|known| list(known).contains(&file))
}

/// Takes a library's file apart: `…/aws-java-sdk-core-1.11.375.jar` into name and version.
fn jar(path: &str) -> Option<(&str, &str)> {
    let file = path.rsplit('/').next()?.strip_suffix(".jar")?;
    let (name, version) = file.rsplit_once('-')?;
    is_version(version).then_some((name, version))
}

fn is_version(text: &str) -> bool {
    text.len() <= bound::NAME
        && text.starts_with(|first: char| first.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || ".+~".contains(c))
}

/// Compares two versions by their numbers, as far as both have them; what follows the numbers
/// does not count. `None` where one starts with none.
fn compare(a: &str, b: &str) -> Option<Ordering> {
    let numbers = |version: &str| -> Vec<u64> {
        let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
        let numbers = version.get(..end).unwrap_or_default();
        numbers.split('.').map_while(|number| number.parse().ok()).collect()
    };
    let (mut a, mut b) = (numbers(a), numbers(b));
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let length = a.len().max(b.len());
    a.resize(length, 0);
    b.resize(length, 0);
    Some(a.cmp(&b))
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
