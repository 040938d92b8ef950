//! Requests that a relay on this host repeats, so that each counts once.
//!
//! A relay (kube2iam, slirp4netns, a sidecar proxy) takes a caller's request and sends it to the
//! service over a connection of its own. Both are seen; CloudWatch counts one. The caller's
//! request is the one that counts here, since it names the software to change.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use crate::diagnose;
use crate::event::{RelayPart, RequestEvent};
use crate::flow::{Request, RequestHead, WaitingHead};
use crate::segment::{ConnectionId, EndpointPair, Timestamp};

/// The number of answered requests, and of waiting ones, among which the original is looked for.
/// A relay answers its caller within milliseconds of the service's own answer.
const MAX_CANDIDATES: usize = 256;
/// The longest time between a request and its repetition, in nanoseconds.
const MAX_DELAY_NS: u64 = 30_000_000_000;

/// Matches the requests of relays with those that they repeat.
#[derive(Debug, Default)]
pub(super) struct RelayMatcher {
    hasher: RandomState,
    /// The newest at the front.
    answered: VecDeque<Candidate>,
    /// The requests that still wait for their response and were repeated already.
    repeated: VecDeque<(ConnectionId, Timestamp)>,
}

/// A request that a relay may have repeated.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    connection: ConnectionId,
    started: Timestamp,
    pid: Option<u32>,
    source: Option<IpAddr>,
    /// The method and the target.
    request: u64,
    is_repeated: bool,
}

impl RelayMatcher {
    /// Returns the part that a request has in a relay. `waiting` are the requests without a
    /// response, those of the connections that were active last first.
    pub(super) fn part<'a>(
        &mut self,
        event: &RequestEvent,
        connection: ConnectionId,
        ends: &EndpointPair,
        request: &Request,
        waiting: impl Iterator<Item = WaitingHead<'a>>,
    ) -> Option<RelayPart> {
        let head = request.head.as_ref().ok()?;
        let own = Candidate {
            connection,
            started: request.started,
            pid: event.process.pid,
            source: ends.source.map(|source| source.ip()),
            request: self.hash(head),
            is_repeated: false,
        };
        let forwarded_for = event.http.as_ref().and_then(|http| http.forwarded_for.as_deref());
        let forwarded_for = forwarded_for.and_then(|address| address.parse().ok());
        if forwarded_for.is_some() || diagnose::is_relay(&event.process) {
            let is_original = |original: &Candidate| own.repeats(original, forwarded_for);
            let hasher = &self.hasher;
            let candidate = |head: WaitingHead<'a>| Candidate::waiting(&head, hasher);
            let repeated = &self.repeated;
            let original = waiting
                .take(MAX_CANDIDATES)
                .map(candidate)
                .filter(|found| !repeated.contains(&(found.connection, found.started)))
                .find(is_original);
            if let Some(original) = original {
                self.repeated.push_front((original.connection, original.started));
                self.repeated.truncate(MAX_CANDIDATES);
                return Some(RelayPart::Repetition);
            }
            if let Some(original) = self.answered.iter_mut().find(|found| is_original(found)) {
                original.is_repeated = true;
                return Some(RelayPart::Repetition);
            }
        }
        let place = self.repeated.iter().position(|found| *found == (connection, own.started));
        let is_repeated = place.and_then(|place| self.repeated.remove(place)).is_some();
        self.answered.push_front(Candidate { is_repeated, ..own });
        self.answered.truncate(MAX_CANDIDATES);
        is_repeated.then_some(RelayPart::Relayed)
    }

    fn hash(&self, head: &RequestHead) -> u64 {
        hash(&self.hasher, head)
    }
}

fn hash(hasher: &RandomState, head: &RequestHead) -> u64 {
    hasher.hash_one((head.method(), head.target()))
}

impl Candidate {
    fn waiting(waiting: &WaitingHead<'_>, hasher: &RandomState) -> Self {
        Self {
            connection: waiting.connection,
            started: waiting.started,
            pid: waiting.writer.map(|task| task.pid),
            source: waiting.source.map(|source| source.ip()),
            request: hash(hasher, waiting.head),
            is_repeated: false,
        }
    }

    /// Returns whether this request of a relay repeats another process's: the same request, made
    /// before it, from the address that it is forwarded for where it says one.
    fn repeats(&self, original: &Self, forwarded_for: Option<IpAddr>) -> bool {
        !original.is_repeated
            && original.connection != self.connection
            && original.request == self.request
            && original.pid != self.pid
            && original.started <= self.started
            && self.started.0 - original.started.0 <= MAX_DELAY_NS
            && forwarded_for.is_none_or(|address| original.source == Some(address))
    }
}

#[cfg(test)]
mod tests;
