//! Descriptions: builds the events of requests and connections, and the process in them.
//!
//! Everything that leaves this module has been redacted and bounded by the [`Sanitizer`].

mod process_part;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use process_part::{ProcessPart, loss_process};

use super::clock::Clock;
use super::sanitizer::Sanitizer;
use super::token::TokenHasher;
use crate::classify::{self, TOKEN_HEADER, Verdict};
use crate::diagnose::{recognise, script_above};
use crate::event::{
    Class, Connection, ConnectionEvent, ConnectionFate, Family, Http, Imds, Network, Outcome,
    Process, RequestEvent, UnknownReason,
};
use crate::flow::{ConnectResult, IdleConnection, Request, RequestHead, Response, Unreadable};
use crate::redact::Known;
use crate::segment::{EndpointPair, Timestamp};
use crate::text::bounded::bound;
use crate::text::socket_addr;

/// A header's name and value.
type Header<'a> = (&'a [u8], &'a [u8]);

/// Builds events from what was observed.
#[derive(Debug)]
pub(crate) struct Describer {
    /// The conversion of times; the time of day may be set while the audit runs.
    pub clock: Clock,
    /// The host's network namespace, which tells who is behind a hop; `None` where it is not
    /// known.
    pub host_netns: Option<u32>,
    hasher: TokenHasher,
}

impl Describer {
    /// Creates a describer with a fresh key for tokens' hashes.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, host_netns: None, hasher: TokenHasher::new() }
    }

    /// Describes a request and its response, without advice.
    ///
    /// `secrets` are those of the request's own headers: they are removed from the target, the
    /// user agent and the host, as they must have been from `part`.
    pub(crate) fn request(
        &self,
        ends: &EndpointPair,
        request: &Request,
        response: &Response,
        part: ProcessPart,
        secrets: &Known<'_>,
    ) -> RequestEvent {
        let ProcessPart { process, caller } = part;
        let clean = Sanitizer { secrets };
        let head = request.head.as_ref().ok();
        let headers: Vec<Header<'_>> = head.into_iter().flat_map(RequestHead::headers).collect();
        let verdict = head.map_or(Verdict::UNKNOWN, |head| {
            classify::classify(head.method(), head.target(), headers.iter().copied())
        });
        // Its sender may have made it IMDSv1 after it was read here. The reverse gains nothing.
        let is_unproven = request.shared && head.is_some() && verdict.class != Class::V1;
        let verdict = if is_unproven { Verdict::UNKNOWN } else { verdict };
        let reason = match &request.head {
            Err(why) => Some(reason(*why)),
            Ok(_) => is_unproven.then_some(UnknownReason::SharedPages),
        };
        let (status, outcome, ttl, answered) = match response {
            Response::Answered { time, head, ttl } => {
                let status = head.status();
                (Some(status), Outcome::of_status(status), *ttl, Some(*time))
            }
            Response::None { time, .. } => (None, Outcome::NoResponse, None, Some(*time)),
            Response::Unobserved => (None, Outcome::Unobserved, None, None),
        };
        let user_agent = header(&headers, b"User-Agent");
        let own = || {
            recognise(
                user_agent.map(|agent| secrets.remove(agent)).as_deref(),
                process.exe.as_deref(),
                process.args.as_deref(),
            )
        };
        let client = script_above(&process).or_else(own);
        RequestEvent {
            time: self.clock.time(request.started),
            imds: Imds {
                class: verdict.class,
                version: verdict.class.version(),
                operation: verdict.operation,
                resource: verdict.resource,
                outcome,
                duration_us: answered.map(|time| microseconds(request.started, time)),
                endpoint: socket_addr::text(ends.endpoint),
                token: self.hasher.hash(token(&headers)),
                reason,
            },
            http: head.map(|head| Http {
                method: clean.text(head.method(), bound::METHOD),
                path: clean.text(head.target(), bound::PATH),
                status,
                host: header(&headers, b"Host").map(|host| clean.text(host, bound::HOST)),
                user_agent: user_agent.map(|agent| clean.text(agent, bound::USER_AGENT)),
                forwarded_for: classify::forwarded_for(headers.iter().copied())
                    .map(|address| address.to_string()),
            }),
            network: self.network(ends, ttl),
            process,
            caller,
            client,
            relay: None,
            advice: None,
            window: None,
        }
    }

    /// Describes a connection over which no request was sent.
    pub(crate) fn connection(
        &self,
        idle: &IdleConnection,
        process: Arc<Process>,
    ) -> ConnectionEvent {
        ConnectionEvent {
            time: self.clock.time(idle.opened),
            connection: Connection {
                endpoint: socket_addr::text(idle.ends.endpoint),
                fate: fate(idle.result),
                duration_us: Some(microseconds(idle.opened, idle.ended)),
                count: 1,
                last: None,
            },
            network: self.network(&idle.ends, None),
            process,
        }
    }

    fn network(&self, ends: &EndpointPair, ttl: Option<u8>) -> Network {
        let EndpointPair { source, endpoint, mapped, netns } = *ends;
        Network {
            family: family(endpoint),
            source: source.map(socket_addr::text),
            response_ttl: ttl,
            netns,
            host_network: netns.zip(self.host_netns).map(|(caller, host)| caller == host),
            mapped,
        }
    }
}

/// Returns the secrets that a request's headers carry.
pub(crate) fn secrets(request: &Request) -> Known<'_> {
    Known::of_headers(request.head.iter().flat_map(RequestHead::headers))
}

/// Returns the value of the first header with a name.
fn header<'a>(headers: &[Header<'a>], wanted: &[u8]) -> Option<&'a [u8]> {
    headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value)
}

/// Returns the token that a request carries: the first one that is not empty, or nothing.
fn token<'a>(headers: &[Header<'a>]) -> &'a [u8] {
    headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(TOKEN_HEADER))
        .map(|(_, value)| value.trim_ascii())
        .find(|value| !value.is_empty())
        .unwrap_or_default()
}

fn family(endpoint: SocketAddr) -> Family {
    if endpoint.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }
}

fn fate(result: ConnectResult) -> ConnectionFate {
    match result {
        ConnectResult::Accepted => ConnectionFate::Accepted,
        ConnectResult::Refused => ConnectionFate::Refused,
        ConnectResult::Unanswered => ConnectionFate::Unanswered,
        ConnectResult::Unobserved => ConnectionFate::Unobserved,
    }
}

fn reason(why: Unreadable) -> UnknownReason {
    match why {
        Unreadable::NotHttp => UnknownReason::NotHttp,
        Unreadable::Cut => UnknownReason::Cut,
        Unreadable::Lost => UnknownReason::Lost,
        Unreadable::TooLong => UnknownReason::TooLong,
        Unreadable::Urgent => UnknownReason::Urgent,
    }
}

/// Returns whole microseconds between two times, 0 where the second is the earlier one.
fn microseconds(from: Timestamp, to: Timestamp) -> u64 {
    let duration = Duration::from_nanos(to.0.saturating_sub(from.0));
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
