//! Evidence about one caller, on all hosts.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};

use crate::aggregate::callers::is_newer;
use crate::aggregate::causes::is_without_token;
use crate::aggregate::causes::{self, MAX_ADVICE};
use crate::event::reader::{CallerLine, RequestLine};
use crate::event::{
    Advice, AskedClient, Caller, CallerAdvice, CallerTally, Class, Client, Outcome, Resource, Time,
};

/// The place of a cause and client in the evidence about their caller, under which runs count.
pub(crate) type Slot = u8;

/// The slot of requests with more advice than is kept.
const DROPPED: Slot = Slot::MAX;
/// The slot of requests without a token that no advice explains.
const UNEXPLAINED: Slot = Slot::MAX - 1;

/// A caller, on all hosts and in all runs.
#[derive(Clone, Debug)]
pub(crate) struct CallerEvidence {
    caller: Caller,
    seen: Time,
    /// The advice on each cause and client, as the newest line has it; runs count the requests.
    advice: Vec<Known>,
    asked: Vec<AskedClient>,
    /// What it asked for.
    pub resources: BTreeSet<Resource>,
    /// What rehearsals showed.
    pub rehearsed: Rehearsed,
}

/// Advice on a cause and client.
#[derive(Clone, Debug)]
struct Known {
    advice: CallerAdvice,
    /// The hash of the JSON that it was read from, so that the same one is not read again.
    json: Option<u64>,
}

/// Requests by slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct CauseCounts(Vec<(Slot, u64)>);

impl CauseCounts {
    /// Makes empty counts.
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Counts requests.
    pub(crate) fn add(&mut self, slot: Slot, requests: u64) {
        if requests == 0 {
            return;
        }
        match self.0.iter_mut().find(|(known, _)| *known == slot) {
            Some((_, count)) => *count = count.saturating_add(requests),
            None => self.0.push((slot, requests)),
        }
    }

    /// Adds other counts.
    pub(crate) fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(slot, requests)| self.add(*slot, *requests));
    }

    /// Gives each slot its number in other evidence.
    pub(crate) fn renumber(&mut self, slots: &[Slot]) {
        for (slot, requests) in std::mem::take(&mut self.0) {
            let renumbered = match slot {
                DROPPED | UNEXPLAINED => slot,
                _ => slots.get(usize::from(slot)).copied().unwrap_or(DROPPED),
            };
            self.add(renumbered, requests);
        }
    }

    /// Returns the requests with more advice than is kept.
    pub(crate) fn dropped(&self) -> u64 {
        self.of(DROPPED)
    }

    /// Returns the requests without a token that no advice explains.
    pub(crate) fn unexplained(&self) -> u64 {
        self.of(UNEXPLAINED)
    }

    fn of(&self, slot: Slot) -> u64 {
        self.0.iter().find(|(known, _)| *known == slot).map_or(0, |(_, requests)| *requests)
    }
}

/// What rehearsals showed of a caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rehearsed {
    /// Requests without a token, which were refused.
    pub refused: u64,
    /// The first of them.
    pub first_refused: Option<Time>,
    /// The last request with a token that was served.
    pub last_served: Option<Time>,
}

impl Rehearsed {
    /// Returns whether the caller went on with a token after it was refused; `None` if no
    /// rehearsal refused it.
    pub(crate) fn adapts(self) -> Option<bool> {
        let refused = self.first_refused?;
        Some(self.last_served.is_some_and(|served| served >= refused))
    }

    fn merge(&mut self, other: Self) {
        self.refused = self.refused.saturating_add(other.refused);
        self.first_refused = match (self.first_refused, other.first_refused) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.last_served = self.last_served.max(other.last_served);
    }
}

impl CallerEvidence {
    /// Makes the evidence of a caller that was seen at this time.
    pub(crate) const fn new(caller: Caller, seen: Time) -> Self {
        Self {
            caller,
            seen,
            advice: Vec::new(),
            asked: Vec::new(),
            resources: BTreeSet::new(),
            rehearsed: Rehearsed { refused: 0, first_refused: None, last_served: None },
        }
    }

    /// Returns the caller, with the newest title.
    pub(crate) const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Returns when it was seen last.
    pub(crate) const fn seen(&self) -> Time {
        self.seen
    }

    /// Returns the advice on the causes of these counts, one entry for each cause and client, that
    /// of most requests first.
    pub(crate) fn advice(&self, counts: &CauseCounts) -> Vec<CallerAdvice> {
        let counted = counts.0.iter().filter_map(|(slot, requests)| {
            let known = self.advice.get(usize::from(*slot))?;
            Some(CallerAdvice { requests: *requests, ..known.advice.clone() })
        });
        causes::folded(&counted.collect::<Vec<_>>(), &self.asked)
    }

    /// Returns whether the caller goes on working when IMDSv2 is enforced, by the causes of these
    /// counts: all of its requests without a token are explained by harmless ones.
    pub(crate) fn is_harmless(&self, counts: &CauseCounts) -> bool {
        counts.dropped() == 0
            && counts.unexplained() == 0
            && causes::are_harmless(&self.advice(counts))
    }

    /// Takes note of the caller as a line names it; the newest title stays as the example.
    pub(crate) fn see(&mut self, caller: &Caller, time: Time) {
        if is_newer(caller, time, &self.caller, self.seen) && self.caller != *caller {
            self.caller.clone_from(caller);
        }
        self.seen = self.seen.max(time);
    }

    /// Takes note of a line that names the caller as it is known. Returns whether it does so.
    pub(crate) fn see_same(&mut self, line: &CallerLine<'_>, time: Time) -> bool {
        let is_same =
            line.title == Some(&*self.caller.title) && line.home == self.caller.home.as_deref();
        if is_same {
            self.seen = self.seen.max(time);
        }
        is_same
    }

    /// Adds a request. Returns the slot of its cause, if it has one.
    pub(crate) fn add(&mut self, request: &RequestLine<'_>, hasher: &RandomState) -> Option<Slot> {
        self.resources.extend(request.resource);
        if request.class == Class::V2Token {
            let client = request.client.and_then(|json| serde_json::from_str::<Client>(json).ok());
            let name = client.as_ref().map(|client| client.name.as_str());
            causes::ask(&mut self.asked, name, request.time);
        }
        match request.advice {
            Some(json) => Some(self.slot_of(json, request, hasher)),
            None => is_without_token(request.class).then_some(UNEXPLAINED),
        }
    }

    fn slot_of(&mut self, json: &str, request: &RequestLine<'_>, hasher: &RandomState) -> Slot {
        let hash = hasher.hash_one((json, request.client));
        let is_same = |known: &Known| known.json == Some(hash);
        if let Some(slot) = self.advice.iter().position(is_same)
            && let Some(known) = self.advice.get_mut(slot)
        {
            known.advice.last = known.advice.last.max(Some(request.time));
            return Slot::try_from(slot).unwrap_or(DROPPED);
        }
        // Damaged advice explains nothing.
        let Ok(advice) = serde_json::from_str::<Advice>(json) else {
            return UNEXPLAINED;
        };
        let client = request.client.and_then(|json| serde_json::from_str::<Client>(json).ok());
        let new = CallerAdvice { client, advice, requests: 0, last: Some(request.time) };
        self.put(new, Some(hash))
    }

    /// Adds a request of a rehearsal.
    pub(crate) fn rehearse(&mut self, request: &RequestLine<'_>) {
        let rehearsed = &mut self.rehearsed;
        if is_without_token(request.class) {
            rehearsed.refused = rehearsed.refused.saturating_add(1);
            rehearsed.first_refused =
                Some(rehearsed.first_refused.map_or(request.time, |first| first.min(request.time)));
        } else if request.class == Class::V2 && request.outcome == Outcome::Served {
            rehearsed.last_served = rehearsed.last_served.max(Some(request.time));
        }
    }

    /// Adds what a window says of the caller. Returns its requests by slot.
    pub(crate) fn add_tally(&mut self, tally: &CallerTally) -> CauseCounts {
        self.resources.extend(&tally.resources);
        for AskedClient { client, last } in &tally.asked {
            causes::ask(&mut self.asked, client.as_deref(), *last);
        }
        let mut counts = CauseCounts::default();
        for advice in &tally.advice {
            let new = CallerAdvice { last: advice.last.or(Some(tally.last)), ..advice.clone() };
            counts.add(self.put(new, None), advice.requests);
        }
        counts.add(DROPPED, tally.advice_dropped);
        counts.add(UNEXPLAINED, tally.unexplained);
        counts
    }

    /// Puts advice in place of older advice on the same cause and client. Returns its slot.
    fn put(&mut self, new: CallerAdvice, json: Option<u64>) -> Slot {
        let is_same = |known: &Known| causes::is_same(&known.advice, &new);
        let slot = self.advice.iter().position(is_same);
        let known = slot.and_then(|slot| self.advice.get_mut(slot));
        if let Some(known) = known {
            if causes::renew(&mut known.advice, new) {
                known.json = json;
            }
        } else if self.advice.len() < MAX_ADVICE {
            self.advice.push(Known { advice: new, json });
        } else {
            return DROPPED;
        }
        Slot::try_from(slot.unwrap_or(self.advice.len() - 1)).unwrap_or(DROPPED)
    }

    /// Adds evidence about the same caller. Returns the number here of each slot there.
    pub(crate) fn merge(&mut self, other: Self) -> Vec<Slot> {
        self.see(&other.caller, other.seen);
        self.resources.extend(other.resources);
        self.rehearsed.merge(other.rehearsed);
        for AskedClient { client, last } in other.asked {
            causes::ask(&mut self.asked, client.as_deref(), last);
        }
        other.advice.into_iter().map(|known| self.put(known.advice, known.json)).collect()
    }
}
