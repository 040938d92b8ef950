//! Says what to do about a request that was made without a token: one sentence, and where there
//! is one, one command.
//!
//! Everything is made from an event, so what it is made from has been redacted and bounded.

mod own;
mod shell;

use schemars::JsonSchema;
use serde::Serialize;

use super::class::Outcome;
use super::client::{Client, Support, Update};
use super::diagnosis::{Cause, Diagnosis};
use super::event::RequestEvent;

/// What to do so that a caller no longer uses IMDSv1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
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

/// What forbids IMDSv1 to an SDK (AWS SDKs and Tools Reference Guide, "IMDS credential
/// provider").
const SWITCH: &str = "AWS_EC2_METADATA_V1_DISABLED=true";
/// What Databricks documents for "Enforce AWS Instance Metadata Service v2 on a workspace".
const GLUE: &str = "spark.databricks.hive.metastore.glueCatalog.isolation.enabled false";
/// What is said of a library that is not known.
const UPDATE: &str = "update the SDK that the library which asks was built with";
/// Folders in which root alone puts programs (Filesystem Hierarchy Standard 3.0).
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/", "/opt/"];
/// The instance option that a hop limit is, at most 64.
const MOST_HOPS: u8 = 64;

impl Advice {
    /// Says what to do about a request with this diagnosis.
    pub fn new(diagnosis: Diagnosis, event: &RequestEvent) -> Self {
        let (text, command) = match diagnosis {
            Diagnosis::NeverAsks => never_asks(event),
            Diagnosis::Unanswered { hop_limit, host_network } => {
                unanswered(event, hop_limit, host_network)
            }
            Diagnosis::Refused { outcome } => refused(event, outcome),
            Diagnosis::EmptyToken => (
                "let the script stop when its token request fails, and find out why it fails"
                    .to_owned(),
                shell::checked_token(event),
            ),
            Diagnosis::Unused => {
                ("send the token with this request too".to_owned(), shell::version_2(event))
            }
        };
        Self { cause: diagnosis.cause(), reason: diagnosis.to_string(), text, command }
    }
}

fn never_asks(event: &RequestEvent) -> (String, Option<String>) {
    let Some((client, known)) = event.client.as_ref().and_then(|c| c.known().map(|k| (c, k)))
    else {
        let text = "the software is not recognised: let it ask for a token and send it with each \
            request, as the command does, or update the SDK that it uses";
        let advice = (text.to_owned(), shell::version_2(event));
        return glue(event, UPDATE).unwrap_or(advice);
    };
    let name = &client.name;
    match known.support {
        Support::Since(first) if client.is_at_least(first) != Some(true) => {
            let from = match &client.version {
                Some(version) => format!(" from {version}"),
                None => String::new(),
            };
            let text =
                format!("update {name}{from} to {first} or newer, the first that speaks IMDSv2");
            let command = known.update.and_then(|update| update_command(update, first, event));
            glue(event, &text).unwrap_or((text, command))
        }
        Support::Since(_) | Support::Always => {
            let version = client.version.as_deref().unwrap_or_default();
            let text = format!(
                "{name} {version} speaks IMDSv2, so it fell back before it was observed: start it \
                 again and look for its token request{}",
                forbid(Some(client)).unwrap_or_default()
            );
            (text, None)
        }
        Support::ByLibrary => {
            let text = format!(
                "update {name}: it speaks IMDSv2 as the AWS SDK does that it is built with; which \
                 version of it is the first is not known"
            );
            glue(event, &text).unwrap_or((text, None))
        }
        Support::ByCaller => {
            let text = format!(
                "let what uses {name} ask for a token and send it with the request, as the \
                 command does"
            );
            glue(event, UPDATE).unwrap_or_else(|| (text, shell::version_2(event)))
        }
    }
}

/// Puts the setting of the isolated Glue catalog before other advice where a Databricks JVM asks.
fn glue(event: &RequestEvent, otherwise: &str) -> Option<(String, Option<String>)> {
    if !is_databricks(event) {
        return None;
    }
    let text = format!(
        "on Databricks with the AWS Glue catalog, whose isolated library speaks only IMDSv1, put \
         the command's setting into the cluster's Spark configuration; otherwise {otherwise}"
    );
    Some((text, Some(GLUE.to_owned())))
}

fn unanswered(
    event: &RequestEvent,
    hop_limit: Option<u8>,
    host_network: Option<bool>,
) -> (String, Option<String>) {
    if host_network == Some(true) {
        let text = "the caller shares the host's network, so the hop limit is not the cause: look \
            for a packet filter or a proxy that drops the answer to PUT";
        return (text.to_owned(), None);
    }
    let more = hop_limit.unwrap_or(1).saturating_add(1).min(MOST_HOPS);
    let now = match hop_limit {
        Some(limit) => format!(", now {limit},"),
        None => String::new(),
    };
    let text = format!(
        "raise the instance's HttpPutResponseHopLimit{now} to {more} or more, or give the caller \
         the host's network{}",
        forbid(event.client.as_ref()).unwrap_or_default()
    );
    let command = format!(
        "aws ec2 modify-instance-metadata-options --instance-id INSTANCE_ID \
         --http-put-response-hop-limit {more}"
    );
    (text, Some(command))
}

fn refused(event: &RequestEvent, outcome: Outcome) -> (String, Option<String>) {
    let forbid = forbid(event.client.as_ref()).unwrap_or_default();
    let text = match (outcome, event.imds.outcome) {
        (Outcome::Forbidden, Outcome::Forbidden) => {
            let command = "aws ec2 modify-instance-metadata-options --instance-id INSTANCE_ID \
                --http-endpoint enabled";
            let text = "the service refuses whatever it is asked: enable the instance's metadata \
                endpoint, or find the proxy that forbids it";
            return (text.to_owned(), Some(command.to_owned()));
        }
        (Outcome::Forbidden | Outcome::NotFound | Outcome::RefusedMethod, _) => format!(
            "update or remove the proxy in between, which does not know token requests \
             (kube2iam learned them with 0.12.0, kiam with 3.6){forbid}"
        ),
        _ => format!("find out why the token request fails, in the service or in a proxy{forbid}"),
    };
    (text, None)
}

/// Says how a client is kept from falling back, where it is known that it can be.
fn forbid(client: Option<&Client>) -> Option<String> {
    let Some(client) = client else {
        // The JavaScript SDKs and others send no user agent.
        return Some(format!("; then {SWITCH} forbids it IMDSv1, if it uses an AWS SDK"));
    };
    let switch = client.known()?.switch?;
    let java = switch.property.map(|name| format!(" or -D{name}=true")).unwrap_or_default();
    let since = match switch.since {
        Some(since) if client.is_at_least(since) == Some(true) => String::new(),
        Some(since) => format!(" (from {since} on)"),
        None => " (in newer versions)".to_owned(),
    };
    Some(format!("; then {SWITCH}{java}{since} forbids it IMDSv1"))
}

fn update_command(update: Update, first: &str, event: &RequestEvent) -> Option<String> {
    Some(match update {
        Update::Pip(name) => {
            // Whoever pastes the command runs this file, perhaps as root: a container's path names
            // another one here, and in most folders a caller can put what it likes.
            let is_here = event.process.container.is_none();
            let exe = event.process.exe.as_deref().filter(|_| is_here);
            let is_python = |exe: &&str| {
                SYSTEM_FOLDERS.iter().any(|folder| exe.starts_with(folder))
                    && !exe.contains("/../")
                    && exe.rsplit('/').next().is_some_and(|file| file.starts_with("python"))
            };
            let python = match exe.filter(is_python) {
                Some(exe) => shell::word(exe)?,
                None => "python3".to_owned(),
            };
            format!("{python} -m pip install --upgrade '{name}>={first}'")
        }
        Update::Npm(name, major) => format!("npm install {name}@{major}"),
        Update::Gem(name) => format!("gem install {name} --version '>= {first}'"),
        Update::Go(module) => format!("go get '{module}@>=v{first}'"),
        Update::Nuget(name) => format!("dotnet add package {name}"),
        Update::Composer(name) => format!("composer require '{name}:^{first}'"),
    })
}

/// Says whether a process is a JVM on Databricks: by the cluster that its environment names, or
/// by the folders and classes of the platform in its command line.
fn is_databricks(event: &RequestEvent) -> bool {
    let process = &event.process;
    let is_java = |name: Option<&str>| name == Some("java");
    let exe = process.exe.as_deref().and_then(|exe| exe.rsplit('/').next());
    if !is_java(process.name.as_deref()) && !is_java(exe) {
        return false;
    }
    let mut args = process.args.iter().flatten();
    process.databricks.is_some()
        || args.any(|arg| arg.contains("/databricks/") || arg.contains("com.databricks."))
}

#[cfg(test)]
mod tests;
