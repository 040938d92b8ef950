//! Sums over the events of a time window.

use super::callers::Callers;
use super::hop_limit::Hops;
use super::totals::Tally;
use crate::event::{Body, Event, Fallback, Loss, TallyEvent, Time};

/// Sums over events: totals and losses, callers, the hop limit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    /// Requests by class and outcome, connections, losses.
    pub totals: Tally,
    /// Requests by caller.
    pub callers: Callers,
    /// The hop limit.
    pub hops: Hops,
}

impl Window {
    /// Adds an event.
    pub(crate) fn add(&mut self, event: &Event) {
        self.totals.add(&event.body);
        if let Body::Request(request) = &event.body {
            self.callers.add(request);
            self.hops.add(request);
        }
    }

    /// Adds a loss that has no event of its own.
    pub(crate) fn add_loss(&mut self, loss: &Loss) {
        self.totals.add_loss(loss);
    }
}

/// The contiguous windows of a run: each begins where the one before it ended.
#[derive(Clone, Debug)]
pub(crate) struct Windows {
    from: Time,
    number: u64,
    current: Window,
    fallbacks: Vec<Fallback>,
}

impl Windows {
    /// Makes the windows of a run that starts at this time.
    pub(crate) fn new(start: Time) -> Self {
        Self { from: start, number: 0, current: Window::default(), fallbacks: Vec::new() }
    }

    /// Adds an event to the open window. A `start` event sets the window's beginning and the
    /// limitations of the host that each window names.
    pub(crate) fn add(&mut self, event: &Event) {
        if let Body::Start(start) = &event.body {
            self.from = start.time;
            self.fallbacks.clone_from(&start.fallbacks);
        }
        self.current.add(event);
    }

    /// Gives a request or a loss the number of the open window, whose `tally` event counts it.
    pub(crate) fn number(&self, event: &mut Event) {
        match &mut event.body {
            Body::Request(request) => request.window = Some(self.number),
            Body::Loss(loss) => loss.window = Some(self.number),
            _ => {}
        }
    }

    /// Adds a loss that has no event of its own to the open window.
    pub(crate) fn add_loss(&mut self, loss: &Loss) {
        self.current.add_loss(loss);
    }

    /// Closes the open window at `to` and opens the next one there. A clock that was set back
    /// does not make a window of negative length: it ends where it began.
    pub(crate) fn close(&mut self, to: Time, last: bool) -> TallyEvent {
        let to = to.max(self.from);
        let window = std::mem::take(&mut self.current);
        let tally = TallyEvent {
            time: to,
            from: self.from,
            to,
            window: self.number,
            last,
            totals: window.totals.totals().clone(),
            callers: window.callers.sorted().into_iter().cloned().collect(),
            others: window.callers.others().clone(),
            losses: window.totals.losses(),
            fallbacks: self.fallbacks.clone(),
            hop_limit: window.hops.limit(),
            // Outputs are not known here.
            checkpoints: Vec::new(),
        };
        self.from = to;
        self.number = self.number.saturating_add(1);
        tally
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::aggregate::callers::{add, of_class};
    use crate::event::{Caller, Class, Classes, Outcome, Totals, tests::example};

    const OUTCOMES: [Outcome; 3] = [Outcome::Served, Outcome::Rejected, Outcome::NoResponse];

    fn request(class: usize, outcome: usize, caller: u8) -> Event {
        let mut event = example();
        event.imds.class = Class::ALL[class % Class::ALL.len()];
        event.imds.outcome = OUTCOMES[outcome % OUTCOMES.len()];
        let id = format!("{caller:016x}");
        event.caller = Arc::new(Caller { title: id.clone(), id, home: None });
        Event::from(event)
    }

    fn time(second: i64) -> Time {
        Time(jiff::Timestamp::from_second(second).unwrap())
    }

    proptest! {
        /// However a run is cut into windows, they are contiguous and add up to its requests.
        #[test]
        fn windows_are_contiguous_and_add_up_to_the_requests(
            requests in prop::collection::vec((0..6_usize, 0..3_usize, 0..9_u8, any::<bool>()), 0..80),
        ) {
            let mut windows = Windows::new(time(0));
            let (mut whole, mut tallies) = (Window::default(), Vec::new());
            for (second, (class, outcome, caller, closes)) in requests.into_iter().enumerate() {
                let event = request(class, outcome, caller);
                whole.add(&event);
                windows.add(&event);
                if closes {
                    tallies.push(windows.close(time(second as i64), false));
                }
            }
            tallies.push(windows.close(time(1000), true));
            let (mut from, mut requests, mut classes) = (time(0), 0, Classes::new());
            let mut callers = BTreeMap::<&str, Classes>::new();
            for (number, tally) in tallies.iter().enumerate() {
                prop_assert_eq!((tally.from, tally.window), (from, number as u64));
                from = tally.to;
                requests += tally.totals.requests;
                add(&mut classes, &tally.totals.classes);
                for caller in &tally.callers {
                    add(callers.entry(&caller.caller.id).or_default(), &caller.classes);
                }
                let of_callers: u64 = tally
                    .callers
                    .iter()
                    .map(|caller| Class::ALL.iter().map(|&c| of_class(&caller.classes, c)).sum::<u64>())
                    .sum();
                prop_assert_eq!(of_callers, tally.totals.requests);
            }
            let Totals { requests: expected, classes: by_class, .. } = whole.totals.totals();
            prop_assert_eq!(requests, *expected);
            prop_assert_eq!(&classes, by_class);
            let sorted = whole.callers.sorted();
            let of_whole = sorted.iter().map(|tally| (&*tally.caller.id, tally.classes.clone()));
            prop_assert_eq!(callers, of_whole.collect::<BTreeMap<_, _>>());
        }
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_window_of_negative_length() {
        let mut windows = Windows::new(time(100));
        let first = windows.close(time(50), false);
        assert_eq!((first.from, first.to), (time(100), time(100)));
        assert_eq!(windows.close(time(200), true).from, time(100));
    }
}
