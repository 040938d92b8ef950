//! The latest token requests of one caller.

use super::diagnosis::{Refusal, TokenFault};
use super::facts::Facts;
use crate::event::{Outcome, RequestEvent, Time};
use crate::segment::Timestamp;

/// The token requests that are remembered of a caller. A request without a token is explained by
/// the newest one before it, and responses arrive out of order.
const MAX_REQUESTS: usize = 4;

/// A token request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TokenRequest {
    /// When its first byte passed, since boot.
    pub started: Timestamp,
    /// The same as a time of day.
    pub time: Time,
    /// Its outcome.
    pub outcome: TokenOutcome,
}

/// The outcome of a token request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenOutcome {
    /// A token came.
    Served,
    /// No response came, or none has come yet.
    Unanswered {
        /// Whether the service ended the connection while the caller waited.
        is_closed: bool,
    },
    /// It was refused.
    Refused(Refusal),
    /// The outcome was not observed.
    Unobserved,
}

impl TokenOutcome {
    /// Returns the outcome of a token request.
    pub(super) fn of(event: &RequestEvent, facts: &Facts<'_>) -> Self {
        match event.imds.outcome {
            Outcome::Served => Self::Served,
            Outcome::NoResponse => Self::Unanswered { is_closed: facts.is_closed_by_service },
            Outcome::Unobserved => Self::Unobserved,
            outcome => {
                let fault = TokenFault::of(event, facts.traits);
                Self::Refused(Refusal { outcome, fault })
            }
        }
    }
}

/// The latest token requests of a caller, and whether it makes them only after a rejection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TokenRequestState {
    /// In the order of their own times, the newest first.
    requests: [Option<TokenRequest>; MAX_REQUESTS],
    /// The path of a request that was rejected for want of a token before the first token request,
    /// as a hash.
    rejected: Option<u64>,
    prefers_v1: bool,
    reads: bool,
}

impl TokenRequestState {
    /// Takes a token request. One that was pending is replaced.
    pub(super) fn note(&mut self, request: TokenRequest) {
        let known = self.requests.iter().flatten().filter(|known| known.started != request.started);
        let mut requests: Vec<_> = known.copied().chain([request]).collect();
        requests.sort_by_key(|request| std::cmp::Reverse(request.started));
        self.requests = [None; MAX_REQUESTS];
        for (slot, request) in self.requests.iter_mut().zip(requests) {
            *slot = Some(request);
        }
    }

    /// Takes a request without a token that was rejected, by the hash of its path.
    pub(super) fn note_rejected(&mut self, path: u64) {
        self.rejected = Some(path);
    }

    /// Takes a request with a token. Returns whether it repeats one that was rejected, so that the
    /// caller asks for a token only then; this is said once.
    pub(super) fn note_repeated(&mut self, path: u64) -> bool {
        let is_new = self.rejected == Some(path) && !self.prefers_v1;
        self.prefers_v1 |= is_new;
        is_new
    }

    /// Takes note that the caller made another request than for a token.
    pub(super) fn note_read(&mut self) {
        self.reads = true;
    }

    /// Returns whether the caller made token requests only: its tokens are for somebody else.
    pub(super) fn only_requests_tokens(&self) -> bool {
        !self.reads
    }

    /// Returns whether the caller asks for a token only after a rejection.
    pub(super) const fn prefers_v1(&self) -> bool {
        self.prefers_v1
    }

    /// Returns the newest token request before a point in time.
    pub(super) fn newest_before(&self, time: Timestamp) -> Option<TokenRequest> {
        self.requests.iter().flatten().find(|request| request.started <= time).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::example;

    fn request(started: u64, outcome: TokenOutcome) -> TokenRequest {
        TokenRequest { started: Timestamp(started), time: example().time, outcome }
    }

    const PENDING: TokenOutcome = TokenOutcome::Unanswered { is_closed: false };

    #[test]
    fn the_newest_before_a_request_counts_whenever_its_outcome_became_known() {
        let mut state = TokenRequestState::default();
        let mut note = |started, outcome| state.note(request(started, outcome));
        note(20, TokenOutcome::Served);
        note(10, PENDING);
        note(40, PENDING);
        note(40, TokenOutcome::Unobserved);
        let before = |time| state.newest_before(Timestamp(time)).map(|found| found.outcome);
        assert_eq!(before(5), None);
        assert_eq!(before(15), Some(PENDING));
        assert_eq!(before(30), Some(TokenOutcome::Served));
        assert_eq!(before(50), Some(TokenOutcome::Unobserved));
    }

    #[test]
    fn only_the_newest_are_kept() {
        let mut state = TokenRequestState::default();
        for started in 0..100 {
            state.note(request(started, TokenOutcome::Served));
        }
        assert_eq!(state.newest_before(Timestamp(95)), None);
        assert!(state.newest_before(Timestamp(96)).is_some());
    }

    #[test]
    fn a_caller_that_repeats_a_rejected_request_with_a_token_prefers_imdsv1() {
        let mut state = TokenRequestState::default();
        assert!(!state.note_repeated(1));
        state.note_rejected(1);
        assert!(!state.note_repeated(2));
        assert!(state.note_repeated(1));
        assert!(!state.note_repeated(1));
        assert!(state.prefers_v1());
    }
}
