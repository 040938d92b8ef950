mod callers;
mod coverage;
mod input;

use std::sync::Arc;

use super::*;
use crate::aggregate::evidence::{Bounds, KnownWindows, MAX_CALLERS};
use crate::aggregate::window::Windows;
use crate::event::{
    Body, Caller, Event, Fallback, HostIdentity, LossEvent, LossUnit, Origin, Outcome, Resource,
    StartEvent, StopEvent, StopReason, Totals, tests::example,
};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn time(second: i64) -> Time {
    Time(jiff::Timestamp::from_second(second).unwrap())
}

/// A run on a host, as a file has it.
struct Story {
    host: &'static str,
    run: &'static str,
    label: &'static str,
    windows: Windows,
    events: Vec<Event>,
}

impl Story {
    fn start(host: &'static str, run: &'static str, second: i64) -> Self {
        Self::start_with(host, run, second, &[])
    }

    fn start_with(host: &'static str, run: &'static str, second: i64, fallbacks: &[&str]) -> Self {
        let fallback = |name: &&str| Fallback {
            name: (*name).to_owned(),
            reason: "r".to_owned(),
            consequence: "c".to_owned(),
        };
        let start = StartEvent {
            time: time(second),
            boot: None,
            container_start: None,
            kernel: None,
            architecture: None,
            version: String::new(),
            programs: Vec::new(),
            endpoints: Vec::new(),
            fallbacks: fallbacks.iter().map(fallback).collect(),
            netns: None,
        };
        let mut story = Self {
            host,
            run,
            label: "etl",
            windows: Windows::new(time(second)),
            events: Vec::new(),
        };
        story.push(start);
        story
    }

    fn push(&mut self, body: impl Into<Body>) {
        let identity = HostIdentity { name: Some(self.host.to_owned()), id: None };
        let origin = Origin {
            host: Some(identity),
            run: Some(self.run.to_owned()),
            labels: [("cluster".to_owned(), self.label.to_owned())].into(),
            source: None,
            rehearsal: false,
        };
        let event = Event { origin: Arc::new(origin), ..Event::from(body.into()) };
        self.windows.add(&event);
        self.events.push(event);
    }

    fn request(&mut self, second: i64, class: Class, caller: &str) -> &mut Self {
        self.request_for(second, class, caller, Resource::Metadata)
    }

    fn request_for(
        &mut self,
        second: i64,
        class: Class,
        caller: &str,
        resource: Resource,
    ) -> &mut Self {
        let mut event = example();
        event.time = time(second);
        event.imds.class = class;
        event.imds.resource = Some(resource);
        event.imds.outcome = Outcome::Served;
        event.caller =
            Arc::new(Caller { id: caller.to_owned(), title: caller.to_owned(), home: None });
        self.push(event);
        self
    }

    fn loss(&mut self, second: i64, what: LossUnit) -> &mut Self {
        let loss = Loss { reason: "request".into(), what, count: 3, process: None };
        self.push(LossEvent { time: time(second), loss, window: None });
        self
    }

    /// Closes a window every hour from one second to another.
    fn tallies(&mut self, seconds: std::ops::RangeInclusive<i64>) -> &mut Self {
        for second in seconds.step_by(HOUR as usize) {
            let tally = self.windows.close(time(second), false);
            self.push(tally);
        }
        self
    }

    fn stop(&mut self, second: i64, duration: i64) -> &mut Self {
        self.push(StopEvent {
            time: time(second),
            reason: StopReason::Signal,
            duration_us: duration as u64 * 1_000_000,
            totals: Totals::default(),
            losses: Vec::new(),
            checkpoints: Vec::new(),
        });
        self
    }

    fn lines(&self) -> Vec<Vec<u8>> {
        self.events.iter().map(|event| serde_json::to_vec(event).unwrap()).collect()
    }
}

fn report(question: &Question, stories: &[&Story]) -> Report {
    let mut evidence = Evidence::new(Bounds::default(), MAX_CALLERS, KnownWindows::default());
    for line in stories.iter().flat_map(|story| story.lines()) {
        evidence.add(Some(&line));
    }
    question.answer(&evidence)
}

fn a_day() -> Question {
    Question { window: Some(DAY as u64), ..Question::default() }
}

/// The verdict on one host, and the codes of the reasons.
fn verdict(story: &Story) -> (Verdict, Vec<ReasonCode>) {
    let report = report(&a_day(), &[story]);
    (report.verdict, report.reasons.iter().map(|reason| reason.code).collect())
}

/// A host that was covered for a day, by windows of an hour.
fn covered() -> Story {
    let mut story = Story::start("a", "r", 0);
    story.request(10, Class::V2, "good").tallies(HOUR..=DAY);
    story
}
