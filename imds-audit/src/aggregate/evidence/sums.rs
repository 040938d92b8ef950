//! Sums over the requests and losses of one run.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use super::caller::{CauseCounts, Slot};
use super::timeline::Timeline;
use crate::aggregate::callers::{add, count};
use crate::event::{CallerTally, Class, Classes, LossUnit, Outcome, Time};

/// The number of different losses that are told apart in a run.
const MAX_LOSSES: usize = 64;

/// Counts of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sums {
    /// Requests by class and outcome.
    pub classes: Classes,
    /// Losses by reason and unit.
    pub losses: BTreeMap<(String, LossUnit), u64>,
    /// Requests by caller, whose number is its place in the evidence.
    pub callers: HashMap<u32, Counts>,
    /// Requests of callers beyond the bound.
    pub others: Classes,
    /// Requests over time.
    pub timeline: Timeline,
}

/// Requests of a caller in a run.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    /// Requests by class and outcome.
    pub classes: Vec<(Class, Outcome, u64)>,
    /// Requests by cause.
    pub causes: CauseCounts,
    /// The first request.
    pub first: Time,
    /// The last request.
    pub last: Time,
    /// The last request without a token.
    pub last_without_token: Option<Time>,
}

impl Counts {
    /// Makes empty counts of a caller that was seen at this time.
    pub(super) const fn new(time: Time) -> Self {
        Self {
            classes: Vec::new(),
            causes: CauseCounts::new(),
            first: time,
            last: time,
            last_without_token: None,
        }
    }

    /// Counts requests.
    pub(super) fn add(&mut self, class: Class, outcome: Outcome, requests: u64) {
        match self.classes.iter_mut().find(|(c, o, _)| (*c, *o) == (class, outcome)) {
            Some((_, _, count)) => *count = count.saturating_add(requests),
            None => self.classes.push((class, outcome, requests)),
        }
    }

    /// Makes the counts of a window, with its requests by cause.
    pub(super) fn of_tally(tally: &CallerTally, causes: CauseCounts) -> Self {
        let mut counts = Self::new(tally.first);
        counts.causes = causes;
        counts.last = tally.last;
        counts.last_without_token = tally.last_without_token;
        for (&class, outcomes) in &tally.classes {
            for (&outcome, &requests) in outcomes {
                counts.add(class, outcome, requests);
            }
        }
        counts
    }

    /// Adds other counts of the same caller.
    pub(crate) fn merge(&mut self, other: &Self) {
        for &(class, outcome, requests) in &other.classes {
            self.add(class, outcome, requests);
        }
        self.causes.merge(&other.causes);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.last_without_token = self.last_without_token.max(other.last_without_token);
    }
}

impl Sums {
    /// Counts a loss.
    pub(super) fn add_loss(&mut self, reason: &str, what: LossUnit, count: u64) {
        let mut key = (reason.to_owned(), what);
        if self.losses.len() >= MAX_LOSSES && !self.losses.contains_key(&key) {
            key.0 = "other".to_owned();
        }
        let sum = self.losses.entry(key).or_default();
        *sum = sum.saturating_add(count);
    }

    /// Adds other sums of the same run.
    pub(super) fn merge(&mut self, other: Self) {
        add(&mut self.classes, &other.classes);
        add(&mut self.others, &other.others);
        for ((reason, what), count) in other.losses {
            self.add_loss(&reason, what, count);
        }
        for (caller, counts) in other.callers {
            match self.callers.entry(caller) {
                Entry::Occupied(mut known) => {
                    known.get_mut().merge(&counts);
                }
                Entry::Vacant(free) => {
                    free.insert(counts);
                }
            }
        }
        self.timeline.merge(&other.timeline);
    }

    /// Renumbers callers and the slots of their causes.
    pub(super) fn renumber(&mut self, indexes: &[Option<(u32, Vec<Slot>)>]) {
        for (caller, mut counts) in std::mem::take(&mut self.callers) {
            match indexes.get(caller as usize).and_then(Option::as_ref) {
                Some((caller, slots)) => {
                    counts.causes.renumber(slots);
                    self.callers.insert(*caller, counts);
                }
                None => {
                    for (class, outcome, requests) in counts.classes {
                        count(&mut self.others, class, outcome, requests);
                    }
                }
            }
        }
    }
}
