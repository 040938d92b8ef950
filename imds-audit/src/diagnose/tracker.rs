//! Token requests of each caller, and the diagnosis of its other requests by them.

use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroUsize;

use lru::LruCache;

use super::client;
use super::diagnosis::{Diagnosis, HeaderMistake, Refusal, Silence, TokenFault, TokenLoss};
use super::facts::{Facts, ProcessInstance};
use super::header_argument::{self, DroppedHeader};
use super::relay;
use super::token_requests::{TokenOutcome, TokenRequest, TokenRequestState};
use super::tool_group::{ScriptCalls, ToolGroup};
use crate::aggregate::hop_limit::Hops;
use crate::classify::{self, Traits};
use crate::event::{Class, Outcome, RequestEvent, Trigger};

/// The number of processes, of groups of tools and of network namespaces that are remembered;
/// beyond it the one that was silent for longest is forgotten and starts anew.
pub(crate) const MAX_CALLERS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// Follows each caller from its token requests to a diagnosis of its other requests.
///
/// A process is explained by its own token requests. A command-line tool (curl, wget) that made
/// none is explained by those of other tools that the same process is responsible for: a script's
/// token request and its reads are processes of their own, in subshells and functions too. A
/// program that makes its own token requests never lends them to another one. A script that makes
/// nothing but token requests lends them to the script that called it.
#[derive(Debug)]
pub(crate) struct DiagnosisTracker {
    processes: LruCache<ProcessInstance, TokenRequestState>,
    tools: LruCache<ToolGroup, TokenRequestState>,
    /// The tools of the script that was called last to fetch a token, by the script that called it.
    helpers: LruCache<u64, ToolGroup>,
    calls: ScriptCalls,
    /// The network namespaces that token responses reached.
    reached: LruCache<u32, ()>,
    hops: Hops,
    /// Whether a request was ever rejected for want of a token.
    has_rejections: bool,
    path_hasher: RandomState,
    evicted: u64,
}

impl Default for DiagnosisTracker {
    fn default() -> Self {
        Self {
            processes: LruCache::new(MAX_CALLERS),
            tools: LruCache::new(MAX_CALLERS),
            helpers: LruCache::new(MAX_CALLERS),
            calls: ScriptCalls::default(),
            reached: LruCache::new(MAX_CALLERS),
            hops: Hops::default(),
            has_rejections: false,
            path_hasher: RandomState::new(),
            evicted: 0,
        }
    }
}

impl DiagnosisTracker {
    /// Returns how many processes and groups of tools were forgotten because there were too many.
    pub(crate) const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Takes a token request whose response its caller may not wait for, until
    /// [`observe`](Self::observe) has its outcome: the fall-back comes first.
    pub(crate) fn token_pending(&mut self, event: &RequestEvent, facts: &Facts<'_>) {
        if event.imds.class == Class::V2Token {
            self.note_token_request(event, facts, TokenOutcome::Unanswered { is_closed: false });
        }
    }

    /// Takes a request with its outcome. Returns why it was made without a token, or why its token
    /// request failed, where that is so and what came before explains it.
    pub(crate) fn observe(&mut self, event: &RequestEvent, facts: &Facts<'_>) -> Option<Diagnosis> {
        if event.imds.class != Class::V2Token
            && let Some(state) = ToolGroup::of(event).and_then(|group| self.tools.get_mut(&group))
        {
            state.note_read();
        }
        match event.imds.class {
            Class::V2Token => self.observe_token_request(event, facts),
            Class::V2EmptyToken => Some(self.empty_token(event, facts)),
            Class::V1 => self.explain(event, facts),
            Class::V2 => self.observe_repetition(event, facts),
            Class::Foreign | Class::Unknown => None,
        }
    }

    /// Explains a request with a token that repeats a rejected one without.
    fn observe_repetition(&mut self, event: &RequestEvent, facts: &Facts<'_>) -> Option<Diagnosis> {
        if !self.has_rejections || event.imds.outcome == Outcome::Rejected {
            return None;
        }
        let path = self.path_hash(event);
        let own = facts.process.and_then(|process| self.processes.get_mut(&process));
        let is_own = own.is_some_and(|state| state.note_repeated(path));
        let group = ToolGroup::of(event);
        let tools = group.and_then(|group| self.tools.get_mut(&group));
        let is_tools = tools.is_some_and(|state| state.note_repeated(path));
        (is_own || is_tools).then_some(Diagnosis::PrefersV1 { is_observed: true })
    }

    fn path_hash(&self, event: &RequestEvent) -> u64 {
        self.path_hasher.hash_one(event.http.as_ref().map(|http| &http.path))
    }

    fn observe_token_request(
        &mut self,
        event: &RequestEvent,
        facts: &Facts<'_>,
    ) -> Option<Diagnosis> {
        self.hops.add(event);
        let outcome = TokenOutcome::of(event, facts);
        if outcome == TokenOutcome::Served
            && let Some(netns) = event.network.netns
        {
            self.reached.put(netns, ());
        }
        self.note_token_request(event, facts, outcome);
        self.failed_token_request(event, outcome)
    }

    /// Explains a token request that failed. One without an answer is explained whatever comes
    /// next: `AWS_EC2_METADATA_V1_DISABLED` and its like forbid a client to fall back. Of one that
    /// was refused, a client that falls back is explained by the request that it then makes.
    fn failed_token_request(
        &self,
        event: &RequestEvent,
        outcome: TokenOutcome,
    ) -> Option<Diagnosis> {
        let client = event.client.as_ref();
        let falls_back_on =
            |trigger| client.is_some_and(|client| client.falls_back_on.contains(&trigger));
        match outcome {
            // Whether it falls back is not known before it does: it may be forbidden to.
            TokenOutcome::Unanswered { is_closed } => {
                let silence = self.silence(event, is_closed);
                Some(Diagnosis::Unanswered { silence, at: None })
            }
            TokenOutcome::Refused(refusal)
                if !falls_back_on(Trigger::Refused)
                    && (refusal.fault.is_some()
                        || client.is_some_and(client::never_falls_back)) =>
            {
                Some(Diagnosis::Refused { refusal, at: None })
            }
            _ => None,
        }
    }

    /// Explains a request without a token.
    fn explain(&mut self, event: &RequestEvent, facts: &Facts<'_>) -> Option<Diagnosis> {
        let traits = facts.traits;
        let address = event.http.as_ref().and_then(|http| http.forwarded_for.clone());
        if address.is_some() || relay::is_transparent_relay(&event.process) {
            return Some(Diagnosis::Relayed { address });
        }
        if traits.is_token_path {
            let outcome = event.imds.outcome;
            let refusal = Refusal { outcome, fault: Some(TokenFault::Method) };
            self.note_token_request(event, facts, TokenOutcome::Refused(refusal));
            return Some(Diagnosis::Refused { refusal, at: None });
        }
        if traits.is_other_clouds {
            return Some(Diagnosis::OtherCloudProbe);
        }
        if let Some(name) = &traits.misnamed_header {
            let is_lifetime = classify::is_lifetime_header(name);
            let misnamed = || HeaderMistake::Misnamed(name.clone());
            let mistake = if is_lifetime { HeaderMistake::Lifetime } else { misnamed() };
            return Some(Diagnosis::WrongHeader(mistake));
        }
        if client::drops_empty_headers(&event.process) {
            let args = event.process.args.as_deref().unwrap_or_default();
            match header_argument::dropped(args) {
                Some(DroppedHeader::Empty) => return Some(self.empty_token(event, facts)),
                Some(DroppedHeader::Mistaken(mistake)) => {
                    return Some(Diagnosis::WrongHeader(mistake));
                }
                None => {}
            }
        }
        let (last, prefers_v1) = self.last_before(event, facts);
        if event.imds.outcome == Outcome::Rejected && last.is_none() {
            self.has_rejections = true;
            let path = self.path_hash(event);
            self.note(event, facts, |state| state.note_rejected(path));
        }
        if prefers_v1 {
            return Some(Diagnosis::PrefersV1 { is_observed: true });
        }
        match last {
            None => Some(unasked(event, traits)),
            Some(TokenRequest { outcome, time, .. }) => match outcome {
                TokenOutcome::Served => Some(Diagnosis::Unused),
                TokenOutcome::Unanswered { is_closed } => {
                    let silence = self.silence(event, is_closed);
                    Some(Diagnosis::Unanswered { silence, at: Some(time) })
                }
                TokenOutcome::Refused(refusal) => {
                    Some(Diagnosis::Refused { refusal, at: Some(time) })
                }
                TokenOutcome::Unobserved => None,
            },
        }
    }

    fn empty_token(&mut self, event: &RequestEvent, facts: &Facts<'_>) -> Diagnosis {
        let token_request = match self.last_before(event, facts).0.map(|last| last.outcome) {
            None | Some(TokenOutcome::Unobserved) => TokenLoss::NotObserved,
            Some(TokenOutcome::Served) => TokenLoss::Served,
            Some(TokenOutcome::Unanswered { is_closed }) => {
                TokenLoss::Unanswered(self.silence(event, is_closed))
            }
            Some(TokenOutcome::Refused(refusal)) => TokenLoss::Refused(refusal),
        };
        Diagnosis::EmptyToken { token_request }
    }

    fn silence(&self, event: &RequestEvent, is_closed: bool) -> Silence {
        let network = &event.network;
        if is_closed {
            Silence::Closed
        } else if network.netns.is_some_and(|netns| self.reached.contains(&netns)) {
            Silence::TooLate
        } else if network.host_network == Some(true) {
            Silence::HostNetwork
        } else {
            Silence::HopLimit {
                is_own_network: network.host_network == Some(false),
                limit: self.hops.limit(),
                needed: self.hops.needed(),
            }
        }
    }

    /// Returns the newest token request before a request, and whether its caller asks for tokens
    /// only after a rejection.
    fn last_before(
        &mut self,
        event: &RequestEvent,
        facts: &Facts<'_>,
    ) -> (Option<TokenRequest>, bool) {
        let before =
            |state: &TokenRequestState| (state.newest_before(facts.started), state.prefers_v1());
        let own = facts.process.and_then(|process| self.processes.get(&process)).map(before);
        let (own, prefers_v1) = own.unwrap_or_default();
        if own.is_some() {
            return (own, prefers_v1);
        }
        let group = ToolGroup::of(event).and_then(|group| self.tools.get(&group)).map(before);
        let (of_tools, tools_prefer_v1) = group.unwrap_or_default();
        let last = of_tools.or_else(|| self.fetched_before(event, facts));
        (last, prefers_v1 || tools_prefer_v1)
    }

    /// Returns the newest token request before a tool's request that another script made for its
    /// own.
    fn fetched_before(&mut self, event: &RequestEvent, facts: &Facts<'_>) -> Option<TokenRequest> {
        ToolGroup::of(event)?;
        let caller = self.calls.caller(event)?;
        let state = self.tools.get(self.helpers.get(&caller)?)?;
        state.newest_before(facts.started).filter(|_| state.only_requests_tokens())
    }

    fn note_token_request(
        &mut self,
        event: &RequestEvent,
        facts: &Facts<'_>,
        outcome: TokenOutcome,
    ) {
        let request = TokenRequest { started: facts.started, time: event.time, outcome };
        self.note(event, facts, |state| state.note(request));
        if let Some(group) = ToolGroup::of(event) {
            for caller in self.calls.callers(event) {
                self.helpers.put(caller, group.clone());
            }
        }
    }

    fn note(
        &mut self,
        event: &RequestEvent,
        facts: &Facts<'_>,
        mut change: impl FnMut(&mut TokenRequestState),
    ) {
        let Self { processes, tools, evicted, .. } = self;
        if let Some(process) = facts.process {
            change(remember(processes, process, evicted));
        }
        if let Some(group) = ToolGroup::of(event) {
            change(remember(tools, group, evicted));
        }
    }
}

/// Explains a request without a token by a caller that made no token request before it.
fn unasked(event: &RequestEvent, traits: &Traits) -> Diagnosis {
    let Some(client) = &event.client else { return Diagnosis::NeverAsks };
    if client::asks_after_refusal(client) {
        return Diagnosis::PrefersV1 { is_observed: false };
    }
    match client::plain_call(client) {
        Some(call) if !traits.is_credentials_path => Diagnosis::PlainCall { call },
        _ => Diagnosis::NeverAsks,
    }
}

/// Returns what is remembered of one; counts it where another has to be forgotten for that.
fn remember<'a, K: Hash + Eq>(
    known: &'a mut LruCache<K, TokenRequestState>,
    key: K,
    evicted: &mut u64,
) -> &'a mut TokenRequestState {
    if known.len() == known.cap().get() && !known.contains(&key) {
        *evicted = evicted.saturating_add(1);
    }
    known.get_or_insert_mut(key, TokenRequestState::default)
}

#[cfg(test)]
mod tests;
