//! Adds up what passes.

use std::collections::BTreeMap;

use crate::event::{Body, Loss, LossProcess, LossUnit, RelayPart, RequestEvent, Totals};
use crate::event::{Class, Outcome};

/// The number of different losses that are told apart; further ones are added to `other`.
const MAX_LOSSES: usize = 64;

/// The number of processes and reasons together that are told apart; of further processes what
/// they lost is added to that of nobody in particular.
const MAX_LOSERS: usize = 256;

/// Why, of what, and whose.
type LossKey = (String, LossUnit, Option<LossProcess>);

/// What was seen and what was lost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    totals: Totals,
    losses: BTreeMap<LossKey, u64>,
}

impl Tally {
    /// Counts an event.
    pub(crate) fn add(&mut self, body: &Body) {
        match body {
            Body::Request(event) => self.add_request(event),
            Body::Connection(event) => {
                let count = event.connection.count;
                self.totals.connections = self.totals.connections.saturating_add(count);
            }
            Body::Loss(event) => self.add_loss(&event.loss),
            Body::Start(_) | Body::Stop(_) | Body::Tally(_) | Body::Rehearsal(_) | Body::Other => {}
        }
    }

    /// Counts a loss.
    pub(crate) fn add_loss(&mut self, loss: &Loss) {
        let mut key = (loss.reason.to_string(), loss.what, loss.process.clone());
        if self.losses.len() >= MAX_LOSERS && !self.losses.contains_key(&key) {
            key.2 = None;
        }
        if self.losses.len() >= MAX_LOSERS + MAX_LOSSES && !self.losses.contains_key(&key) {
            key.0 = "other".to_owned();
        }
        let count = self.losses.entry(key).or_default();
        *count = count.saturating_add(loss.count);
    }

    /// Sets how many callers were forgotten.
    pub(crate) const fn set_forgotten(&mut self, callers: u64) {
        self.totals.forgotten_callers = callers;
    }

    /// Returns what was seen.
    pub(crate) const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Returns what was lost, in all.
    pub(crate) fn losses(&self) -> Vec<Loss> {
        let loss = |((reason, what, process), count): (&LossKey, &u64)| Loss {
            reason: reason.clone().into(),
            what: *what,
            count: *count,
            process: process.clone(),
        };
        self.losses.iter().map(loss).collect()
    }

    /// Returns the requests of a class, whatever came of them.
    pub(crate) fn of_class(&self, class: Class) -> u64 {
        let outcomes = self.totals.classes.get(&class);
        outcomes.map_or(0, |outcomes| outcomes.values().sum())
    }

    fn add_request(&mut self, event: &RequestEvent) {
        if event.relay == Some(RelayPart::Repetition) {
            return;
        }
        let totals = &mut self.totals;
        totals.requests = totals.requests.saturating_add(1);
        let outcomes = totals.classes.entry(event.imds.class).or_default();
        let count = outcomes.entry(event.imds.outcome).or_default();
        *count = count.saturating_add(1);
        let counters = &mut totals.counters;
        let counter = match (event.imds.class, event.imds.outcome) {
            (Class::V1, Outcome::Served) => &mut counters.metadata_no_token,
            (Class::V1, Outcome::Rejected) => &mut counters.metadata_no_token_rejected,
            _ => return,
        };
        *counter = counter.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::example;

    fn request(class: Class, outcome: Outcome) -> Body {
        let mut event = example();
        event.imds.class = class;
        event.imds.outcome = outcome;
        Body::from(event)
    }

    #[test]
    fn the_counters_of_cloudwatch_count_what_it_counts() {
        let mut tally = Tally::default();
        for (class, outcome) in [
            (Class::V1, Outcome::Served),
            (Class::V1, Outcome::Served),
            (Class::V1, Outcome::Rejected),
            (Class::V1, Outcome::NotFound),
            (Class::V2, Outcome::Served),
            (Class::V2, Outcome::Rejected),
            (Class::V2EmptyToken, Outcome::Rejected),
            (Class::Foreign, Outcome::NotFound),
        ] {
            tally.add(&request(class, outcome));
        }
        let totals = serde_json::to_value(tally.totals()).unwrap();
        assert_eq!(totals["requests"], 8);
        assert_eq!(totals["counters"]["MetadataNoToken"], 2);
        assert_eq!(totals["counters"]["MetadataNoTokenRejected"], 1);
        assert_eq!(totals["classes"]["v1"]["not-found"], 1);
        assert_eq!(tally.of_class(Class::V1), 4);
    }

    #[test]
    fn a_request_that_a_relay_repeats_counts_once() {
        let mut tally = Tally::default();
        for relay in [None, Some(RelayPart::Relayed), Some(RelayPart::Repetition)] {
            tally.add(&Body::from(RequestEvent { relay, ..example() }));
        }
        assert_eq!(tally.totals().requests, 2);
        assert_eq!(tally.totals().counters.metadata_no_token, 2);
    }

    #[test]
    fn a_flood_of_reasons_is_bounded_and_still_counted() {
        let mut tally = Tally::default();
        for number in 0..1000 {
            let reason = number.to_string().into();
            tally.add_loss(&Loss { reason, what: LossUnit::Bytes, count: 2, process: None });
        }
        assert!(tally.losses().len() <= MAX_LOSERS + MAX_LOSSES + 1);
        assert_eq!(tally.losses().iter().map(|loss| loss.count).sum::<u64>(), 2000);
    }

    #[test]
    fn a_flood_of_processes_keeps_the_reason_of_what_they_lost() {
        let mut tally = Tally::default();
        for pid in 0..1000 {
            let process = Some(LossProcess { pid, name: None });
            let what = LossUnit::Requests;
            tally.add_loss(&Loss { reason: "request".into(), what, count: 1, process });
        }
        let losses = tally.losses();
        assert_eq!(losses.len(), MAX_LOSERS + 1);
        assert!(losses.iter().all(|loss| loss.reason == "request"));
        assert_eq!(losses.iter().map(|loss| loss.count).sum::<u64>(), 1000);
    }
}
