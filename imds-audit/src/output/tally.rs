//! Adds up what passes.

use std::collections::BTreeMap;

use crate::audit::class::{Class, Outcome};
use crate::audit::event::{Body, Loss, LossUnit, RequestEvent, Totals};

/// The number of different losses that are told apart; further ones are added to `other`.
const MAX_LOSSES: usize = 64;

/// What was seen and what was lost.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    totals: Totals,
    losses: BTreeMap<(String, LossUnit), u64>,
}

impl Tally {
    /// Counts an event.
    pub fn add(&mut self, body: &Body) {
        match body {
            Body::Request(event) => self.add_request(event),
            Body::Connection(_) => {
                self.totals.connections = self.totals.connections.saturating_add(1);
            }
            Body::Loss(event) => self.add_loss(&event.loss),
            Body::Start(_) | Body::Stop(_) => {}
        }
    }

    /// Counts a loss.
    pub fn add_loss(&mut self, loss: &Loss) {
        let mut key = (loss.reason.to_string(), loss.what);
        if self.losses.len() >= MAX_LOSSES && !self.losses.contains_key(&key) {
            key.0 = "other".to_owned();
        }
        let count = self.losses.entry(key).or_default();
        *count = count.saturating_add(loss.count);
    }

    /// Returns what was seen.
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Returns what was lost, in all.
    pub fn losses(&self) -> Vec<Loss> {
        let loss = |((reason, what), count): (&(String, LossUnit), &u64)| Loss {
            reason: reason.clone().into(),
            what: *what,
            count: *count,
        };
        self.losses.iter().map(loss).collect()
    }

    /// Returns the requests of a class, whatever came of them.
    pub fn of_class(&self, class: Class) -> u64 {
        let outcomes = self.totals.classes.get(&class);
        outcomes.map_or(0, |outcomes| outcomes.values().sum())
    }

    fn add_request(&mut self, event: &RequestEvent) {
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
    use crate::audit::event::tests::example;

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
    fn a_flood_of_reasons_is_bounded_and_still_counted() {
        let mut tally = Tally::default();
        for number in 0..1000 {
            let reason = number.to_string().into();
            tally.add_loss(&Loss { reason, what: LossUnit::Bytes, count: 2 });
        }
        assert!(tally.losses().len() <= MAX_LOSSES + 1);
        assert_eq!(tally.losses().iter().map(|loss| loss.count).sum::<u64>(), 2000);
    }
}
