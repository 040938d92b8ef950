//! Advice on a diagnosis: one sentence, and one command where there is one.
//!
//! Everything is made from an event, so its texts have been redacted and bounded.

mod failed_token;
mod remedy;
mod safe_options;
mod shell_command;
mod update;

use remedy::{Remedy, forbid};

use super::client::{self, Support};
use super::diagnosis::{Diagnosis, HeaderMistake};
use crate::event::{Advice, Client, RequestEvent};

/// The setting that Databricks documents for "Enforce AWS Instance Metadata Service v2 on a
/// workspace".
const GLUE: &str = "spark.databricks.hive.metastore.glueCatalog.isolation.enabled false";
/// The advice on a library that is not known.
const UPDATE: &str = "update the SDK that the library which asks was built with";

/// Returns the advice on a request with this diagnosis.
pub(crate) fn advise(diagnosis: &Diagnosis, event: &RequestEvent) -> Advice {
    let (text, command) = match diagnosis {
        Diagnosis::NeverAsks => never_asks(event),
        Diagnosis::PlainCall { call } => (
            format!(
                "let the program ask for a token and send it with the request, or use a call of \
                 the SDK that does: {call} never will"
            ),
            shell_command::imdsv2_command(event),
        ),
        Diagnosis::Relayed { address } => {
            let place = address.as_ref().map_or_else(
                || {
                    "behind the relay, in the container or virtual machine that it serves"
                        .to_owned()
                },
                |address| format!("at {address}"),
            );
            (format!("look for the software {place}: the relay only repeats its request"), None)
        }
        Diagnosis::PrefersV1 { .. } => prefers_v1(event),
        Diagnosis::Unanswered { silence, at } => failed_token::unanswered(event, *silence, *at),
        Diagnosis::Refused { refusal, at } => failed_token::refused(event, *refusal, *at),
        Diagnosis::EmptyToken { token_request } => failed_token::empty_token(event, token_request),
        Diagnosis::Unused => (
            "send the token with this request too".to_owned(),
            shell_command::imdsv2_command(event),
        ),
        Diagnosis::WrongHeader(mistake) => wrong_header(event, mistake),
        Diagnosis::OtherCloudProbe => (
            "do nothing for IMDSv2: the software finds out which cloud it is in, and takes a \
             rejection for an answer"
                .to_owned(),
            None,
        ),
    };
    Advice { cause: diagnosis.cause(), reason: diagnosis.to_string(), text, command }
}

fn never_asks(event: &RequestEvent) -> Remedy {
    let Some((client, known)) = event.client.as_ref().and_then(|c| Some((c, client::known(c)?)))
    else {
        let text = "the software is not recognised: let it ask for a token and send it with each \
            request, as the command does, or update the SDK that it uses";
        let advice = (text.to_owned(), shell_command::imdsv2_command(event));
        return glue(event, UPDATE).unwrap_or(advice);
    };
    let name = known.title.unwrap_or(&client.name);
    let setting = known.setting.map(|setting| format!(", and set {setting}")).unwrap_or_default();
    let older_than = |first| client::is_at_least(client, first) != Some(true);
    match known.support {
        Support::Since(first) if older_than(first) => {
            let from = from(client);
            let text = format!(
                "update {name}{from} to {first} or newer, the first that speaks IMDSv2{setting}{}",
                update::environment(known.update, event)
            );
            let command = known.update.map(|update| update::command(update, first));
            glue(event, &text).unwrap_or((text, command))
        }
        Support::AfterRefusal { since, first: Some(first) } if older_than(first) => {
            let from = from(client);
            let setting =
                known.setting.map(|setting| format!(", or set {setting}")).unwrap_or_default();
            let text = format!(
                "update {name}{from} to {first} or newer, which asks for a token before its first \
                 request{setting}; from {since} on it asks after a rejection{}",
                update::environment(known.update, event)
            );
            (text, known.update.map(|update| update::command(update, first)))
        }
        Support::AfterRefusal { since, first: None } if older_than(since) => {
            let text = format!(
                "update {name}{} to {since} or newer, which asks for a token after a rejection; no \
                 version does before its first request",
                from(client)
            );
            (text, known.update.map(|update| update::command(update, since)))
        }
        Support::Since(_) if known.setting.is_some() => {
            (format!("let {name} ask for tokens: set {}", known.setting.unwrap_or_default()), None)
        }
        Support::Since(_) | Support::AfterRefusal { .. } | Support::Always => {
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
            glue(event, UPDATE).unwrap_or_else(|| (text, shell_command::imdsv2_command(event)))
        }
    }
}

fn from(client: &Client) -> String {
    client.version.as_ref().map(|version| format!(" from {version}")).unwrap_or_default()
}

fn prefers_v1(event: &RequestEvent) -> Remedy {
    let found = event.client.as_ref().and_then(|c| Some((c, client::known(c)?)));
    let Some((client, known)) = found else {
        let text = "update the software, or let it ask for a token before its first request: it \
            does so already when it is rejected";
        return (text.to_owned(), None);
    };
    let name = known.title.unwrap_or(&client.name);
    let setting = known.setting.map(|setting| format!(", or set {setting}")).unwrap_or_default();
    match known.support {
        Support::AfterRefusal { first: Some(first), .. } => {
            let text = format!(
                "update {name}{} to {first} or newer, which asks for a token before its first \
                 request{setting}",
                from(client)
            );
            (text, known.update.map(|update| update::command(update, first)))
        }
        Support::AfterRefusal { first: None, .. } => (
            format!(
                "leave {name} as it is: no version asks for a token before its first request, and \
                 this one asks after a rejection"
            ),
            None,
        ),
        Support::ByCaller => {
            (format!("let what uses {name} ask for a token before its first request"), None)
        }
        _ => (
            format!("update {name}, or let it ask for a token before its first request{setting}"),
            None,
        ),
    }
}

fn wrong_header(event: &RequestEvent, mistake: &HeaderMistake) -> Remedy {
    let text = match mistake {
        HeaderMistake::Misnamed(_) | HeaderMistake::Lifetime => {
            "send the token in the header X-aws-ec2-metadata-token, spelled exactly so"
        }
        HeaderMistake::Split => {
            "write the header on the command line itself, in double quotes, and keep only the \
             token in the variable"
        }
        HeaderMistake::NoColon => "put a colon between the header's name and the token",
    };
    (text.to_owned(), shell_command::imdsv2_command(event))
}

/// Puts the setting of the isolated Glue catalog before other advice where a Databricks JVM asks.
fn glue(event: &RequestEvent, otherwise: &str) -> Option<Remedy> {
    if !is_databricks(event) {
        return None;
    }
    let text = format!(
        "on Databricks with the AWS Glue catalog, whose isolated library speaks only IMDSv1, put \
         the command's setting into the cluster's Spark configuration; otherwise {otherwise}"
    );
    Some((text, Some(GLUE.to_owned())))
}

/// Returns whether a process is a JVM on Databricks: by the cluster that its environment names, or
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
