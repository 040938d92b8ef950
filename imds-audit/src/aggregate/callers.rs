//! Counts per caller, bounded.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::causes::{self, is_without_token};
use crate::event::{
    Caller, CallerTally, Class, Classes, OtherCallers, Outcome, RelayPart, RequestEvent, Time,
};

/// The number of callers that are told apart; requests of others are counted together.
pub(crate) const MAX_CALLERS: usize = 4096;

/// Requests by caller.
///
/// Keeps [`MAX_CALLERS`] callers, unless it was made [`with_capacity`](Self::with_capacity) of
/// another number, and [`MAX_ADVICE`](causes::MAX_ADVICE) pieces of advice of each. Requests of
/// further callers are counted without a name.
#[derive(Clone, Debug)]
pub(crate) struct Callers {
    capacity: usize,
    callers: HashMap<String, CallerTally>,
    others: OtherCallers,
}

impl Default for Callers {
    fn default() -> Self {
        Self::with_capacity(MAX_CALLERS)
    }
}

impl Callers {
    /// Makes an empty count that tells this many callers apart.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { capacity, callers: HashMap::new(), others: OtherCallers::default() }
    }

    /// Counts a request. A relay's repetition of one is not another request.
    pub(crate) fn add(&mut self, event: &RequestEvent) {
        if event.relay == Some(RelayPart::Repetition) {
            return;
        }
        let (class, outcome) = (event.imds.class, event.imds.outcome);
        let Some(tally) = self.entry(&event.caller, event) else {
            count(&mut self.others.classes, class, outcome, 1);
            return;
        };
        count(&mut tally.classes, class, outcome, 1);
        tally.resources.extend(event.imds.resource);
        tally.first = tally.first.min(event.time);
        // The newest title stays as the example.
        if is_newer(&event.caller, event.time, &tally.caller, tally.last) {
            tally.caller.clone_from(&event.caller);
        }
        tally.last = tally.last.max(event.time);
        if is_without_token(class) {
            tally.last_without_token = tally.last_without_token.max(Some(event.time));
        }
        causes::add(tally, event);
    }

    /// Returns the callers, the most urgent first: by IMDSv1 requests, then empty tokens, then
    /// requests of unknown class.
    pub(crate) fn sorted(&self) -> Vec<&CallerTally> {
        let mut callers: Vec<_> = self.callers.values().collect();
        let rank = |tally: &CallerTally| {
            let of = |class| Reverse(of_class(&tally.classes, class));
            (of(Class::V1), of(Class::V2EmptyToken), of(Class::Unknown))
        };
        callers.sort_by(|a, b| {
            (rank(a), &a.caller.title, &a.caller.id).cmp(&(rank(b), &b.caller.title, &b.caller.id))
        });
        callers
    }

    /// Returns the requests of callers beyond the bound.
    pub(crate) const fn others(&self) -> &OtherCallers {
        &self.others
    }

    fn entry(&mut self, caller: &Caller, event: &RequestEvent) -> Option<&mut CallerTally> {
        if !self.callers.contains_key(&caller.id) {
            if self.callers.len() >= self.capacity {
                return None;
            }
            let tally = CallerTally {
                caller: caller.clone(),
                classes: BTreeMap::new(),
                first: event.time,
                last: event.time,
                last_without_token: None,
                resources: BTreeSet::new(),
                advice: Vec::new(),
                advice_dropped: 0,
                unexplained: 0,
                asked: Vec::new(),
            };
            self.callers.insert(caller.id.clone(), tally);
        }
        self.callers.get_mut(&caller.id)
    }
}

/// Returns whether a caller as a later line names it is the newer one. Of two at the same time the
/// same one is, whichever came first.
pub(crate) fn is_newer(new: &Caller, time: Time, known: &Caller, known_time: Time) -> bool {
    (time, &new.title, &new.home) > (known_time, &known.title, &known.home)
}

/// Returns the requests of a class, whatever their outcome.
pub(crate) fn of_class(classes: &Classes, class: Class) -> u64 {
    let outcomes = classes.get(&class).map(BTreeMap::values);
    outcomes.into_iter().flatten().fold(0, |sum, count| sum.saturating_add(*count))
}

/// Adds to the count of a class and an outcome.
pub(crate) fn count(classes: &mut Classes, class: Class, outcome: Outcome, requests: u64) {
    let count = classes.entry(class).or_default().entry(outcome).or_default();
    *count = count.saturating_add(requests);
}

/// Adds counts by class and outcome to others.
pub(crate) fn add(classes: &mut Classes, more: &Classes) {
    for (&class, outcomes) in more {
        for (&outcome, &requests) in outcomes {
            count(classes, class, outcome, requests);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::tests::example;

    fn request(id: &str, class: Class) -> RequestEvent {
        let caller = Caller { id: id.to_owned(), title: id.to_owned(), home: None };
        let mut event = example();
        event.imds.class = class;
        RequestEvent { caller: Arc::new(caller), ..event }
    }

    #[test]
    fn callers_beyond_the_bound_are_counted_without_a_name() {
        let mut callers = Callers::with_capacity(2);
        for number in 0..10 {
            callers.add(&request(&number.to_string(), Class::V1));
        }
        assert_eq!(callers.sorted().len(), 2);
        assert_eq!(of_class(&callers.others().classes, Class::V1), 8);
    }
}
