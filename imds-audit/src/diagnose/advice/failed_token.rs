//! Advice on token requests that failed.

use super::remedy::{Remedy, forbid, sticky};
use super::shell_command;
use crate::aggregate::hop_limit::Needed;
use crate::diagnose::client::{self, Support};
use crate::diagnose::diagnosis::{Refusal, Silence, TokenFault, TokenLoss};
use crate::event::{Class, Outcome, RequestEvent, Time};

/// The advice on every script that goes on without a token.
const STOP: &str = "let the script stop when its token request fails";

/// Returns the advice on a token request without a response; `at` is its time where a later
/// request is advised on.
pub(super) fn unanswered(event: &RequestEvent, silence: Silence, at: Option<Time>) -> Remedy {
    let end = fall_back(event, at);
    match silence {
        Silence::Closed => (
            format!(
                "the connection is closed without an answer, so the hop limit is not the cause: \
                 look for a proxy or a packet filter that ends it{end}"
            ),
            None,
        ),
        Silence::TooLate => (
            format!(
                "token responses do reach the caller's network, so the hop limit is not the \
                 cause: use one token for many requests, since the service delays its answers to \
                 too many, and let the caller wait longer{end}"
            ),
            None,
        ),
        Silence::HostNetwork => (
            format!(
                "the caller shares the host's network, so the hop limit is not the cause: look \
                 for a packet filter or a proxy that drops the answer to PUT{}",
                sticky(event, at)
            ),
            None,
        ),
        Silence::HopLimit { needed: Needed::Unreachable, .. } => (
            format!(
                "token responses arrive with the time to live of the highest hop limit or of a \
                 relay on this host, so raising the limit does not help: look for a packet filter \
                 or a proxy that drops the answer to PUT{end}"
            ),
            None,
        ),
        Silence::HopLimit { is_own_network, limit, needed: Needed::AtLeast(more) } => {
            let now = limit.map(|limit| format!(", now {limit},")).unwrap_or_default();
            let raise = format!(
                "raise the instance's HttpPutResponseHopLimit{now} to {more} or more, or give the \
                 caller the host's network"
            );
            let text = if is_own_network {
                format!("{raise}{end}")
            } else {
                format!(
                    "if the caller is in a network of its own, {raise}; in the host's, look for a \
                     packet filter or a proxy{end}"
                )
            };
            let command = format!(
                "aws ec2 modify-instance-metadata-options --instance-id INSTANCE_ID \
                 --http-put-response-hop-limit {more}"
            );
            (text, Some(command))
        }
    }
}

/// Returns the advice on a token request that was refused; `at` is its time where a later request
/// is advised on.
pub(super) fn refused(event: &RequestEvent, refusal: Refusal, at: Option<Time>) -> Remedy {
    let end = fall_back(event, at);
    if let Some(fault) = refusal.fault {
        return (format!("{}{end}", correction(fault)), corrected(event, fault));
    }
    let text = match (refusal.outcome, event.imds.outcome) {
        (Outcome::Forbidden, Outcome::Forbidden) => {
            let command = "aws ec2 modify-instance-metadata-options --instance-id INSTANCE_ID \
                --http-endpoint enabled";
            let text = "the service refuses whatever it is asked: enable the instance's metadata \
                endpoint, or find the proxy that forbids it";
            return (text.to_owned(), Some(command.to_owned()));
        }
        (Outcome::Forbidden | Outcome::NotFound | Outcome::RefusedMethod, _) => format!(
            "update or remove the proxy in between, which does not know token requests \
             (kube2iam learned them with 0.12.0, kiam with 3.6){end}"
        ),
        _ => format!("find out why the token request fails, in the service or in a proxy{end}"),
    };
    (text, None)
}

/// Returns the advice on a caller that sends an empty token.
pub(super) fn empty_token(event: &RequestEvent, token_request: &TokenLoss) -> Remedy {
    let checked = || shell_command::token_command_with_check(event);
    match token_request {
        TokenLoss::NotObserved => (format!("{STOP}, and find out why it fails"), checked()),
        TokenLoss::Served => {
            (format!("{STOP}, and look at how it keeps the token that it is given"), checked())
        }
        TokenLoss::Unanswered(silence) => {
            let (text, command) = unanswered(event, *silence, None);
            (format!("{STOP}; {text}"), command.or_else(checked))
        }
        TokenLoss::Refused(Refusal { fault: Some(fault), .. }) => {
            (format!("{STOP}, and {}", correction(*fault)), checked())
        }
        TokenLoss::Refused(Refusal { fault: None, .. }) => (
            format!("{STOP}, and find out why it is refused, by the service or by a proxy"),
            checked(),
        ),
    }
}

const fn correction(fault: TokenFault) -> &'static str {
    match fault {
        TokenFault::Method => "send the token request with PUT",
        TokenFault::Forwarded => {
            "let the proxy that forwards the token request leave out X-Forwarded-For, or let the \
             caller reach the service without it"
        }
        TokenFault::TrailingSlash => {
            "send the token request to /latest/api/token, without a slash at its end"
        }
        TokenFault::DatedPath => "send the token request to /latest/api/token, whatever the date",
        TokenFault::NoLifetime => {
            "send the header X-aws-ec2-metadata-token-ttl-seconds with the token request"
        }
        TokenFault::BadLifetime => {
            "set a lifetime from 1 to 21600 seconds in X-aws-ec2-metadata-token-ttl-seconds"
        }
        TokenFault::Expect => "send the token request without an Expect header",
        TokenFault::NoHost => "send a Host header with the token request",
    }
}

/// Returns the token request as it should be, for a caller whose command line makes it.
fn corrected(event: &RequestEvent, fault: TokenFault) -> Option<String> {
    let known = event.client.as_ref().and_then(client::known);
    let is_script = known.is_none_or(|known| known.support == Support::ByCaller);
    if fault == TokenFault::Forwarded || !is_script {
        return None;
    }
    if fault == TokenFault::Method || event.imds.class == Class::V2Token {
        return shell_command::token_command(event);
    }
    shell_command::imdsv2_command(event)
}

/// Returns how a client that falls back is kept from it, and what it takes to make it ask again.
fn fall_back(event: &RequestEvent, at: Option<Time>) -> String {
    if at.is_none() {
        return String::new();
    }
    let forbid = forbid(event.client.as_ref()).unwrap_or_default();
    format!("{}{forbid}", sticky(event, at))
}
