//! Parts that several pieces of advice share.

use crate::diagnose::client;
use crate::event::{Client, RequestEvent, Time};

/// A sentence and perhaps a command.
pub(super) type Remedy = (String, Option<String>);

/// The setting that keeps an AWS SDK from IMDSv1 (AWS SDKs and Tools Reference Guide, "IMDS
/// credential provider").
const SWITCH: &str = "AWS_EC2_METADATA_V1_DISABLED=true";

/// Returns how a client is kept from falling back, where it is known that it can be.
pub(super) fn forbid(client: Option<&Client>) -> Option<String> {
    let Some(client) = client else {
        // The JavaScript SDKs and others send no user agent.
        return Some(format!("; then {SWITCH} forbids it IMDSv1, if it uses an AWS SDK"));
    };
    let switch = client::known(client)?.switch?;
    let setting = switch.setting.unwrap_or(SWITCH);
    let java = switch.property.map(|name| format!(" or -D{name}=true")).unwrap_or_default();
    let since = match switch.since {
        Some(since) if client::is_at_least(client, since) == Some(true) => String::new(),
        Some(since) => format!(" (from {since} on)"),
        None => " (in newer versions)".to_owned(),
    };
    Some(format!("; then {setting}{java}{since} forbids it IMDSv1"))
}

/// Returns that a client has to be restarted, where it stays with IMDSv1 after one failure.
pub(super) fn sticky(event: &RequestEvent, at: Option<Time>) -> String {
    match (event.client.as_ref().and_then(client::known), at) {
        (Some(known), Some(at)) if known.is_sticky => format!(
            "; then start it again: it stays with IMDSv1 since its token request of {:.0} failed",
            at.0
        ),
        _ => String::new(),
    }
}
