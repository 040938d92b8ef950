//! Commands that a person can paste into a POSIX shell.
//!
//! Words from outside are quoted so that a shell takes them for one word, whatever is in them; a
//! word that cannot be shown on one line makes no command.

use super::safe_options;
use crate::diagnose::header_argument;
use crate::event::RequestEvent;
use crate::text::bounded::{CUT, hides};

/// The longest command, in bytes; beyond it the request alone is shown.
const MAX_COMMAND: usize = 1500;
/// The header that carries a token, with the shell's variable for it; in double quotes.
const TOKEN: &str = "\"X-aws-ec2-metadata-token: $TOKEN\"";
const TTL: &str = "'X-aws-ec2-metadata-token-ttl-seconds: 21600'";

/// Returns the IMDSv2 form of a request: the token's request, and the caller's own command with
/// the token where curl or wget made it, else curl's command for the same.
pub(super) fn imdsv2_command(event: &RequestEvent) -> Option<String> {
    own_command(event).or_else(|| plain_command(event))
}

/// Returns a token request that stops its script where it fails.
pub(super) fn token_command_with_check(event: &RequestEvent) -> Option<String> {
    Some(format!("{} || exit 1", token_command(event)?))
}

/// Returns text as one word of a shell's command line; `None` for text that holds a control
/// character or another one that hides, or that was cut.
pub(super) fn word(text: &str) -> Option<String> {
    if hides(text) || text.contains(CUT) {
        return None;
    }
    let needs_none = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'_' | b'.' | b'/' | b':' | b'=' | b'@' | b'%' | b'+' | b',')
    };
    if !text.is_empty() && text.bytes().all(needs_none) {
        return Some(text.to_owned());
    }
    Some(format!("'{}'", text.replace('\'', r"'\''")))
}

/// The caller's own arguments behind the token's header, where they only send a request.
fn own_command(event: &RequestEvent) -> Option<String> {
    let process = &event.process;
    if process.args_truncated {
        return None;
    }
    let args = process.args.as_deref()?.get(1..)?;
    if args.iter().any(|arg| header_argument::mentions_token_header(arg)) {
        return None;
    }
    // By its file: BusyBox has a wget that sends GET and POST only.
    let file = process.exe.as_deref()?.rsplit('/').next()?;
    if !safe_options::is_read_only_command(file, args, &service(event)) {
        return None;
    }
    let (token, program) = match file {
        "curl" => (token_command(event)?, format!("curl -H {TOKEN}")),
        "wget" => (token_by_wget(event)?, format!("wget --header {TOKEN}")),
        _ => return None,
    };
    let words = args.iter().map(|arg| word(arg)).collect::<Option<Vec<_>>>()?;
    let command = format!("{token} && {program} {}", words.join(" "));
    (command.len() <= MAX_COMMAND).then_some(command)
}

/// The same request, by curl.
fn plain_command(event: &RequestEvent) -> Option<String> {
    let http = event.http.as_ref()?;
    let head = match http.method.as_str() {
        "GET" => "",
        "HEAD" => " -I",
        _ => return None,
    };
    // An absolute form names the service itself, and a proxy's form names nothing of ours.
    let path = http.path.starts_with('/').then_some(&http.path)?;
    let url = word(&format!("{}{path}", service(event)))?;
    let command = format!("{} && curl -s{head} -H {TOKEN} {url}", token_command(event)?);
    (command.len() <= MAX_COMMAND).then_some(command)
}

/// Returns a token request, by curl.
pub(super) fn token_command(event: &RequestEvent) -> Option<String> {
    let url = word(&format!("{}/latest/api/token", service(event)))?;
    Some(format!("TOKEN=$(curl -sf -X PUT -H {TTL} {url})"))
}

fn token_by_wget(event: &RequestEvent) -> Option<String> {
    let url = word(&format!("{}/latest/api/token", service(event)))?;
    Some(format!("TOKEN=$(wget -q -O - --method=PUT --header {TTL} {url})"))
}

/// The service's address as a URL.
fn service(event: &RequestEvent) -> String {
    let endpoint = &event.imds.endpoint;
    format!("http://{}", endpoint.strip_suffix(":80").unwrap_or(endpoint))
}
