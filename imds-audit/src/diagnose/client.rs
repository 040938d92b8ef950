//! Recognition of the software that makes a request, as a hint for people.
//!
//! A user agent proves nothing and is often absent (the JavaScript SDKs and many Rust clients
//! send none), a file can be named anything: no class ever depends on it.

mod sdk_entry;
mod sdk_table;

use std::borrow::Cow;
use std::cmp::Ordering;

use sdk_entry::SdkEntry;
pub(super) use sdk_entry::{Support, Update, V1Fallback};

use crate::event::{Client, Hint, Process};
use crate::redact;
use crate::text::bounded::{self, bound};

/// Names that stand for every program in a language: what else hints at the client says more.
const GENERIC: [&str; 15] = [
    "Python-urllib",
    "python-requests",
    "Go-http-client",
    "Java",
    "Ruby",
    "node",
    "HTTP-Tiny",
    "libwww-perl",
    "aws-sdk-crt",
    "ansible-httpget",
    "sh",
    "bash",
    "zsh",
    "ksh",
    "BusyBox",
];
/// The number of arguments that are looked at.
const ARGUMENTS: usize = 64;
/// The number of processes above a tool that are looked at for the script that runs it.
const SUBSHELLS: usize = 3;

/// Recognises the client from what hints at it: a user agent that is known, else the executable,
/// else an argument, else the user agent's first product.
///
/// At most [`bound::USER_AGENT`] bytes of the user agent are looked at.
pub(crate) fn recognise(
    user_agent: Option<&[u8]>,
    exe: Option<&str>,
    args: Option<&[String]>,
) -> Option<Client> {
    let agent = user_agent.and_then(from_user_agent);
    let is_specific =
        |client: &Client| known(client).is_some_and(|entry| !GENERIC.contains(&entry.agent));
    if agent.as_ref().is_some_and(is_specific) {
        return agent;
    }
    let program = exe.and_then(from_executable);
    if program.as_ref().is_some_and(is_specific) {
        return program;
    }
    let argument = args.and_then(from_arguments);
    let (recognised, other) = match agent {
        Some(agent) if known(&agent).is_some() => (Some(agent), None),
        other => (None, other),
    };
    argument.or(recognised).or(program).or(other)
}

/// Recognises a script that has a tool make its requests: the nearest one above the tool, through
/// its subshells.
pub(crate) fn script_above(process: &Process) -> Option<Client> {
    if !is_command_line_tool(process) {
        return None;
    }
    let above = process.ancestors.iter().take(SUBSHELLS);
    let entry = above.filter_map(|ancestor| of_script(ancestor.args.as_deref()?)).next()?;
    entry.runs_tools.then(|| client(entry.agent, None, Hint::CommandLine))
}

/// Returns what is known of a client.
pub(super) fn known(client: &Client) -> Option<&'static SdkEntry> {
    let major = client.version.as_deref().and_then(|version| version.split('.').next());
    sdk_table::entries().find(|entry| {
        is_named(entry, &client.name)
            && (entry.major.is_none() || major.is_none() || entry.major == major)
    })
}

fn is_named(entry: &SdkEntry, name: &str) -> bool {
    let start = name.split_at_checked(entry.agent.len());
    start.is_some_and(|(start, rest)| {
        start.eq_ignore_ascii_case(entry.agent)
            && (rest.is_empty() || (entry.has_suffix && rest.starts_with('-')))
    })
}

/// Returns whether a client's version is at least another; `None` where one of them is not known.
pub(super) fn is_at_least(client: &Client, version: &str) -> Option<bool> {
    Some(compare(client.version.as_deref()?, version)?.is_ge())
}

/// Returns whether a client makes its token requests within its own process.
pub(super) fn requests_tokens_itself(client: &Client) -> bool {
    known(client).is_some_and(|entry| entry.support != Support::ByCaller && !entry.runs_tools)
}

/// Returns whether a client's version is known to ask for a token only after a rejection.
pub(super) fn asks_after_refusal(client: &Client) -> bool {
    match known(client).map(|entry| entry.support) {
        Some(Support::AfterRefusal { since, first }) => {
            let asks_first = first.and_then(|first| is_at_least(client, first));
            is_at_least(client, since) == Some(true)
                && (first.is_none() || asks_first == Some(false))
        }
        _ => false,
    }
}

/// Returns whether a client's version is known never to fall back to IMDSv1.
pub(super) fn never_falls_back(client: &Client) -> bool {
    match known(client).map(|entry| (entry.support, entry.fallback)) {
        Some((Support::ByCaller, _)) | None => false,
        Some((_, V1Fallback::Never)) => true,
        Some((_, V1Fallback::NeverSince(version))) => is_at_least(client, version) == Some(true),
        Some(_) => false,
    }
}

/// Returns the call of a client that sends no token, where this version speaks IMDSv2 otherwise.
pub(super) fn plain_call(client: &Client) -> Option<&'static str> {
    let entry = known(client)?;
    let speaks = match entry.support {
        Support::Since(first) => is_at_least(client, first) != Some(false),
        _ => false,
    };
    entry.plain_call.filter(|_| speaks)
}

/// Returns whether a process is a command-line tool that sends the requests that its arguments
/// say: its token request and its reads are then processes of their own.
pub(super) fn is_command_line_tool(process: &Process) -> bool {
    let by_caller = |entry: &&SdkEntry| entry.support == Support::ByCaller;
    tool(process).filter(by_caller).is_some()
}

/// Returns whether a process is a tool that leaves out a header without a value.
pub(super) fn drops_empty_headers(process: &Process) -> bool {
    tool(process).is_some_and(|entry| matches!(entry.agent, "curl" | "HTTPie"))
}

/// Returns the row of the program or the script that a process runs.
fn tool(process: &Process) -> Option<&'static SdkEntry> {
    let program = process.exe.as_deref().or(process.name.as_deref())?;
    let script = || process.args.as_deref().and_then(of_script);
    of_file(program, |entry| entry.programs).or_else(script)
}

/// Reads the client from a user agent: its first product that is known, else its first.
fn from_user_agent(user_agent: &[u8]) -> Option<Client> {
    let cut = user_agent.get(..bound::USER_AGENT).unwrap_or(user_agent);
    let clean = redact::text(cut);
    // A name with blanks in it.
    let mut whole = sdk_table::entries().filter(|entry| entry.agent.contains(' '));
    if let Some(entry) = whole.find(|entry| clean.starts_with(entry.agent.as_bytes())) {
        return Some(client(entry.agent, None, Hint::UserAgent));
    }
    let mut products = clean.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let first = product(products.next()?)?;
    if known(&first).is_some() {
        return Some(first);
    }
    let later = products.filter_map(product).find(|client| known(client).is_some());
    Some(later.unwrap_or(first))
}

fn from_executable(exe: &str) -> Option<Client> {
    let is_path = |end: &&str| exe.ends_with(end);
    let by_path = || sdk_table::entries().find(|entry| entry.paths.iter().any(&is_path));
    let entry = of_file(exe, |entry| entry.programs).or_else(by_path)?;
    // The installer of version 2 of the AWS CLI: …/aws-cli/v2/2.15.0/dist/aws.
    let version = exe.split_once("/aws-cli/v2/").and_then(|(_, rest)| rest.split('/').next());
    let version = match version.filter(|version| is_version(version)) {
        // Its first version is a script and no executable.
        None => entry.major,
        version => version,
    };
    Some(client(entry.agent, version, Hint::Executable))
}

fn from_arguments(args: &[String]) -> Option<Client> {
    let found = |agent, version| Some(client(agent, version, Hint::CommandLine));
    if let Some(entry) = of_script(args).or_else(|| of_title(args)) {
        return found(entry.agent, None);
    }
    let mut first = None;
    let words = args.iter().take(ARGUMENTS).flat_map(|arg| arg.split(':'));
    for word in words {
        if let Some(entry) = of_class(word) {
            return found(entry.agent, None);
        }
        let Some((name, version)) = jar(word) else { continue };
        match name {
            // hadoop-aws-3.2.0.jar: the SDK beside it says more than its own version.
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

fn product(word: &[u8]) -> Option<Client> {
    let mut parts = word.splitn(2, |byte| *byte == b'/');
    let name = parts.next().filter(|name| !name.is_empty())?;
    let version = parts.next().filter(|version| !version.is_empty());
    let version = version.map(|version| bounded::text(version, bound::NAME));
    Some(client(&bounded::text(name, bound::NAME), version.as_deref(), Hint::UserAgent))
}

fn client(name: &str, version: Option<&str>, hint: Hint) -> Client {
    let mut client = Client {
        name: name.to_owned(),
        version: version.map(str::to_owned),
        hint,
        imdsv2_since: None,
        falls_back_on: Cow::Borrowed(&[]),
    };
    let Some(entry) = known(&client) else { return client };
    let speaks = match entry.support {
        Support::Since(first) | Support::AfterRefusal { since: first, .. } => {
            client.imdsv2_since = Some(Cow::Borrowed(first));
            is_at_least(&client, first) != Some(false)
        }
        Support::Always | Support::ByLibrary => true,
        Support::ByCaller => false,
    };
    if let V1Fallback::On(triggers) = entry.fallback
        && speaks
    {
        client.falls_back_on = Cow::Borrowed(triggers);
    }
    client
}

/// Returns the row that has a path's file name in one of its lists.
fn of_file(
    path: &str,
    list: impl Fn(&SdkEntry) -> &'static [&'static str],
) -> Option<&'static SdkEntry> {
    let file = path.rsplit('/').next()?;
    sdk_table::entries().find(|entry| list(entry).contains(&file))
}

/// Returns the row of the script that an interpreter runs: it stands in the place of the program
/// where its file is the interpreter's.
fn of_script(args: &[String]) -> Option<&'static SdkEntry> {
    let scripts = args.iter().take(3).filter(|arg| arg.starts_with('/'));
    scripts.filter_map(|arg| of_file(arg, |entry| entry.scripts)).next()
}

/// Returns the row of a process that gives itself a title.
fn of_title(args: &[String]) -> Option<&'static SdkEntry> {
    let title = args.first()?;
    let is_start = |start: &&str| title.starts_with(start);
    sdk_table::entries().find(|entry| entry.titles.iter().any(&is_start))
}

/// Returns the row of a Java class, which has a package's name before its own, and perhaps a
/// module's.
fn of_class(word: &str) -> Option<&'static SdkEntry> {
    let is_class = word.contains('.') && !word.starts_with(['/', '.']);
    is_class.then(|| of_file(word, |entry| entry.scripts)).flatten()
}

/// Splits a library's file name: `…/aws-java-sdk-core-1.11.375.jar` into name and version.
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
mod tests;
