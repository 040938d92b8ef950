//! Evidence of one run on one host.

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::caller::{CauseCounts, Slot};
use super::sums::{Counts, Sums};
use crate::aggregate::callers::{add, count};
use crate::aggregate::causes::is_without_token;
use crate::aggregate::coverage::{Coverage, Span};
use crate::event::reader::RequestLine;
use crate::event::{
    Class, Fallback, LossEvent, SourceKind, StartEvent, StopEvent, TallyEvent, Time,
};

/// The number of windows of a run whose numbers are kept.
const MAX_WINDOWS: usize = 100_000;
/// The number of windows whose events are kept apart until their tally is read. In a file each tally
/// comes behind the events of its window, so one is open at a time; several are where tallies lie in
/// files of their own.
const MAX_OPEN: usize = 8;
/// How far two clocks may differ before one was set, in seconds.
const CLOCK_TOLERANCE: u64 = 60;

/// One run of the program on one host.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The source of its requests.
    pub source: Option<SourceKind>,
    /// The limitations of the host, by name.
    pub fallbacks: BTreeMap<String, Fallback>,
    /// When it started.
    pub start: Option<Time>,
    /// When the host was started.
    pub boot: Option<Time>,
    /// When the container was started that the audit ran in.
    pub container_start: Option<Time>,
    /// When it ended.
    pub stop: Option<Time>,
    /// Times at which the host's clock was set.
    pub clock_steps: BTreeSet<Time>,
    /// IMDSv1 requests and empty tokens, as the `stop` event has them.
    pub stop_without_token: u64,
    /// The instance's hop limit, and when it was seen.
    pub hop_limit: Option<(Time, u8)>,
    windows: BTreeMap<u64, Span>,
    first: Option<Time>,
    last: Option<Time>,
    /// Events whose tally was not read, by the number of their window: of a run without windows, or
    /// behind the last one. Beyond [`MAX_OPEN`] windows the oldest ones have the number of the last
    /// of them.
    open: BTreeMap<Option<u64>, OpenWindow>,
    tallied: Sums,
}

/// Events of a window whose tally was not read.
#[derive(Clone, Debug, Default)]
struct OpenWindow {
    sums: Sums,
    /// The time of the last event.
    last: Option<Time>,
}

impl OpenWindow {
    fn merge(&mut self, other: Self) {
        self.sums.merge(other.sums);
        self.last = self.last.max(other.last);
    }
}

impl Run {
    /// Makes the evidence of a run with these labels.
    pub(crate) fn new(labels: BTreeMap<String, String>) -> Self {
        Self {
            labels,
            source: None,
            fallbacks: BTreeMap::new(),
            start: None,
            boot: None,
            container_start: None,
            stop: None,
            clock_steps: BTreeSet::new(),
            stop_without_token: 0,
            hop_limit: None,
            windows: BTreeMap::new(),
            first: None,
            last: None,
            open: BTreeMap::new(),
            tallied: Sums::default(),
        }
    }

    /// Adds a request of a caller, whose number is `None` beyond the bound on callers, with the slot
    /// of its cause there.
    pub(crate) fn add_request(
        &mut self,
        caller: Option<u32>,
        cause: Option<Slot>,
        request: &RequestLine<'_>,
    ) {
        let (class, outcome, time) = (request.class, request.outcome, request.time);
        self.see(time);
        let Some(sums) = self.open(request.window, time) else { return };
        count(&mut sums.classes, class, outcome, 1);
        sums.timeline.add(time, class, 1);
        let Some(caller) = caller else {
            count(&mut sums.others, class, outcome, 1);
            return;
        };
        let counts = sums.callers.entry(caller).or_insert_with(|| Counts::new(time));
        counts.add(class, outcome, 1);
        if let Some(cause) = cause {
            counts.causes.add(cause, 1);
        }
        counts.first = counts.first.min(time);
        counts.last = counts.last.max(time);
        if is_without_token(class) {
            counts.last_without_token = counts.last_without_token.max(Some(time));
        }
    }

    /// Takes note of the hop limit as it was at a time.
    pub(crate) fn see_hop_limit(&mut self, time: Time, limit: u8) {
        self.hop_limit = self.hop_limit.max(Some((time, limit)));
    }

    /// Returns the sums for an event of a window; `None` if the window's tally has it.
    fn open(&mut self, window: Option<u64>, time: Time) -> Option<&mut Sums> {
        if window.is_some_and(|window| self.windows.contains_key(&window)) {
            return None;
        }
        if let Entry::Vacant(place) = self.open.entry(window) {
            place.insert(OpenWindow::default());
            self.join_open();
        }
        // A window that was joined has the number of a later one.
        let open = match window {
            None => self.open.get_mut(&None),
            Some(_) => self.open.range_mut(window..).next().map(|(_, open)| open),
        };
        open.map(|open| {
            open.last = open.last.max(Some(time));
            &mut open.sums
        })
    }

    /// Joins the oldest open windows until the bound holds.
    fn join_open(&mut self) {
        while self.open.len() > MAX_OPEN {
            let mut numbers = self.open.keys().copied().flatten();
            let (Some(oldest), Some(next)) = (numbers.next(), numbers.next()) else { return };
            if let Some(joined) = self.open.remove(&Some(oldest)) {
                self.open.entry(Some(next)).or_default().merge(joined);
            }
        }
    }

    /// Adds a window that was not there yet, with the numbers of its callers and their causes.
    pub(crate) fn add_tally(
        &mut self,
        tally: &TallyEvent,
        callers: Vec<Option<(u32, CauseCounts)>>,
    ) {
        if self.windows.len() < MAX_WINDOWS {
            self.windows.insert(tally.window, Span { from: tally.from, to: tally.to });
        }
        self.drop_what_windows_hold();
        self.add_fallbacks(&tally.fallbacks);
        if let Some(limit) = tally.hop_limit {
            self.see_hop_limit(tally.to, limit);
        }
        let sums = &mut self.tallied;
        add(&mut sums.classes, &tally.totals.classes);
        add(&mut sums.others, &tally.others.classes);
        for (&class, outcomes) in &tally.totals.classes {
            let requests = outcomes.values().fold(0, |sum: u64, count| sum.saturating_add(*count));
            sums.timeline.add(tally.from, class, requests);
        }
        for loss in &tally.losses {
            sums.add_loss(&loss.reason, loss.what, loss.count);
        }
        for (counts, caller) in tally.callers.iter().zip(callers) {
            let Some((caller, causes)) = caller else {
                add(&mut sums.others, &counts.classes);
                continue;
            };
            let known = sums.callers.entry(caller).or_insert_with(|| Counts::new(counts.first));
            known.merge(&Counts::of_tally(counts, causes));
        }
    }

    /// Adds the beginning.
    pub(crate) fn add_start(&mut self, start: &StartEvent, source: Option<SourceKind>) {
        self.see(start.time);
        self.start = Some(start.time);
        self.boot = start.boot;
        self.container_start = start.container_start;
        self.source = source.or(self.source);
        self.add_fallbacks(&start.fallbacks);
    }

    /// Adds the end.
    pub(crate) fn add_stop(&mut self, stop: &StopEvent) {
        self.see(stop.time);
        self.stop = Some(stop.time);
        self.stop_without_token = [Class::V1, Class::V2EmptyToken]
            .iter()
            .filter_map(|class| stop.totals.classes.get(class))
            .flat_map(BTreeMap::values)
            .fold(0, |sum, count| sum.saturating_add(*count));
        if let Some(start) = self.start {
            let reported = Span { from: start, to: stop.time }.seconds();
            let measured = stop.duration_us.div_ceil(1_000_000);
            if reported.abs_diff(measured) > CLOCK_TOLERANCE || stop.time < start {
                self.clock_steps.insert(stop.time);
            }
        }
    }

    /// Adds a loss.
    pub(crate) fn add_loss(&mut self, event: &LossEvent) {
        self.see(event.time);
        if let Some(sums) = self.open(event.window, event.time) {
            sums.add_loss(&event.loss.reason, event.loss.what, event.loss.count);
        }
    }

    /// Returns the counts of the run: those of its windows, and those of events that no window has,
    /// as a run leaves them that was killed.
    pub(crate) fn sums(&self) -> Cow<'_, Sums> {
        let mut open = self.open.values();
        match (self.windows.is_empty(), open.next(), open.next()) {
            (_, None, _) => Cow::Borrowed(&self.tallied),
            (true, Some(only), None) => Cow::Borrowed(&only.sums),
            _ => {
                let mut sums = self.tallied.clone();
                self.open.values().for_each(|open| sums.merge(open.sums.clone()));
                Cow::Owned(sums)
            }
        }
    }

    /// Forgets events that a window holds.
    fn drop_what_windows_hold(&mut self) {
        let (mut open, closed) = (std::mem::take(&mut self.open), self.closed());
        open.retain(|window, open| self.is_open(*window, open.last, closed));
        self.open = open;
    }

    /// Returns whether no window holds the events of this one; `last` is the time of its last. An
    /// event without the number of its window is handed on before the window is closed that counts
    /// it.
    fn is_open(&self, window: Option<u64>, last: Option<Time>, closed: Option<Time>) -> bool {
        match window {
            Some(window) => !self.windows.contains_key(&window),
            None => last > closed,
        }
    }

    /// Returns the end of the last window.
    fn closed(&self) -> Option<Time> {
        self.windows.values().map(|span| span.to).max()
    }

    /// Returns requests without a token that the run saw at its end and that no line names.
    pub(crate) fn unlisted(&self) -> u64 {
        // With windows the stop event counts also what windows outside the time asked for had.
        if !self.windows.is_empty() {
            return 0;
        }
        let classes = self.open.values().flat_map(|open| &open.sums.classes);
        let listed = classes
            .filter(|(class, _)| is_without_token(**class))
            .flat_map(|(_, outcomes)| outcomes.values())
            .fold(0, |sum: u64, count| sum.saturating_add(*count));
        self.stop_without_token.saturating_sub(listed)
    }

    /// Returns the time that the run audited.
    ///
    /// Windows prove it. Without them a run counts from its start, or its first event, to its end,
    /// or its last event.
    pub(crate) fn coverage(&self) -> Coverage {
        let mut coverage = Coverage::default();
        if self.windows.is_empty() {
            let from = self.start.or(self.first);
            let to = self.stop.or(self.last);
            if let Some((from, to)) = from.zip(to) {
                coverage.add(Span { from, to });
            }
        }
        self.windows.values().for_each(|span| coverage.add(*span));
        coverage
    }

    /// Returns the times at which the host's clock was set: where one window does not begin at
    /// the end of the one before it, and where the length of the run contradicts its end.
    pub(crate) fn all_clock_steps(&self) -> BTreeSet<Time> {
        let mut steps = self.clock_steps.clone();
        for ((number, before), (next, after)) in
            self.windows.iter().zip(self.windows.iter().skip(1))
        {
            if number + 1 == *next && before.to != after.from {
                steps.insert(after.from);
            }
        }
        steps
    }

    /// Renumbers callers and the slots of their causes.
    pub(crate) fn renumbered(mut self, indexes: &[Option<(u32, Vec<Slot>)>]) -> Self {
        self.tallied.renumber(indexes);
        self.open.values_mut().for_each(|open| open.sums.renumber(indexes));
        self
    }

    /// Adds more evidence of the same run, with other lines of it.
    pub(crate) fn merge(&mut self, other: Self) {
        self.labels.extend(other.labels);
        self.source = self.source.or(other.source);
        self.fallbacks.extend(other.fallbacks);
        self.start = self.start.or(other.start);
        self.boot = self.boot.or(other.boot);
        self.container_start = self.container_start.or(other.container_start);
        self.stop = self.stop.or(other.stop);
        self.clock_steps.extend(other.clock_steps);
        self.stop_without_token = self.stop_without_token.max(other.stop_without_token);
        self.hop_limit = self.hop_limit.max(other.hop_limit);
        self.first = [self.first, other.first].into_iter().flatten().min();
        self.last = self.last.max(other.last);
        self.windows.extend(&other.windows);
        self.tallied.merge(other.tallied);
        self.drop_what_windows_hold();
        let closed = self.closed();
        for (window, open) in other.open {
            if self.is_open(window, open.last, closed) {
                self.open.entry(window).or_default().merge(open);
            }
        }
        self.join_open();
    }

    fn see(&mut self, time: Time) {
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        self.last = self.last.max(Some(time));
    }

    fn add_fallbacks(&mut self, fallbacks: &[Fallback]) {
        for fallback in fallbacks {
            if !self.fallbacks.contains_key(&fallback.name) {
                self.fallbacks.insert(fallback.name.clone(), fallback.clone());
            }
        }
    }
}
