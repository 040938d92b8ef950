//! Events of a run, read back as the program's own types.

use std::ops::Deref;
use std::path::Path;

use imds_audit::event::{
    Body, ConnectionEvent, Event, Loss, RehearsalEvent, RequestEvent, StartEvent, StopEvent,
    TallyEvent,
};
use serde_json::Value;

use super::wait::written_so_far;

/// The events of a run, in the order of their lines.
#[derive(Clone, Debug, PartialEq)]
pub struct Events(Vec<Event>);

impl Deref for Events {
    type Target = [Event];

    fn deref(&self) -> &[Event] {
        &self.0
    }
}

impl IntoIterator for Events {
    type Item = Event;
    type IntoIter = std::vec::IntoIter<Event>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Events {
    /// Reads the lines of an output as the program's own reader does. Panics if an event that is
    /// written again differs from its line.
    pub fn read(output: &str) -> Self {
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON, {error}: {line}"))
        };
        Self(whole_lines(output).map(parse).map(typed).collect())
    }

    /// As [`Events::read`], of an output whose writing broke off at times: half a line is no event.
    pub fn read_whole_lines(output: &str) -> Self {
        let values = whole_lines(output).filter_map(|line| serde_json::from_str(line).ok());
        Self(values.map(typed).collect())
    }

    /// Reads the events in a file so far; there are none in one that is not there.
    pub fn read_file(path: &Path) -> Self {
        Self::read(&written_so_far(path))
    }

    /// Keeps the events of callers in a network namespace.
    pub(crate) fn retain_namespace(&mut self, namespace: u64) {
        self.0.retain(|event| is_in(&event.body, namespace));
    }

    /// Returns the requests.
    pub fn requests(&self) -> Vec<RequestEvent> {
        self.select(|body| if let Body::Request(request) = body { Some(*request) } else { None })
    }

    /// Returns the connections without a request.
    pub fn connections(&self) -> Vec<ConnectionEvent> {
        self.select(|body| if let Body::Connection(event) = body { Some(*event) } else { None })
    }

    /// Returns the losses as they were reported, without those that `stop` adds up.
    pub fn losses(&self) -> Vec<Loss> {
        self.select(|body| if let Body::Loss(event) = body { Some(event.loss) } else { None })
    }

    /// Returns the tallies.
    pub fn tallies(&self) -> Vec<TallyEvent> {
        self.select(|body| if let Body::Tally(event) = body { Some(*event) } else { None })
    }

    /// Returns the start. Panics unless it is the first event.
    pub fn start(&self) -> StartEvent {
        let first = self.first().map(|event| &event.body);
        let Some(Body::Start(start)) = first else { panic!("not a start: {first:#?}") };
        *start.clone()
    }

    /// Returns the stop. Panics unless it is the last event.
    pub fn stop(&self) -> StopEvent {
        let last = self.last().map(|event| &event.body);
        let Some(Body::Stop(stop)) = last else { panic!("not a stop: {last:#?}") };
        *stop.clone()
    }

    /// Returns the result of a rehearsal, if there is one.
    pub fn rehearsal(&self) -> Option<RehearsalEvent> {
        let kind = |body| if let Body::Rehearsal(event) = body { Some(*event) } else { None };
        self.select(kind).into_iter().next()
    }

    /// Returns the names of the events' kinds, in order.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.iter().map(|event| kind(&event.body)).collect()
    }

    /// Counts the events of a kind.
    pub fn count(&self, name: &str) -> u64 {
        self.iter().filter(|event| kind(&event.body) == name).count() as u64
    }

    fn select<T>(&self, kind: impl Fn(Body) -> Option<T>) -> Vec<T> {
        self.iter().filter_map(|event| kind(event.body.clone())).collect()
    }
}

/// Reads an event. Panics if it is another when it is written again.
fn typed(value: Value) -> Event {
    let event: Event =
        serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value:#}"));
    assert_eq!(serde_json::to_value(&event).unwrap(), value, "read and written again");
    event
}

/// Tells whether an event is of a caller in a network namespace.
fn is_in(body: &Body, namespace: u64) -> bool {
    let network = match body {
        Body::Request(request) => &request.network,
        Body::Connection(connection) => &connection.network,
        _ => return false,
    };
    network.netns.map(u64::from) == Some(namespace)
}

/// Returns the name of an event's kind, as its line carries it.
const fn kind(body: &Body) -> &'static str {
    match body {
        Body::Request(_) => "request",
        Body::Connection(_) => "connection",
        Body::Loss(_) => "loss",
        Body::Start(_) => "start",
        Body::Stop(_) => "stop",
        Body::Tally(_) => "tally",
        Body::Rehearsal(_) => "rehearsal",
        Body::Other => "unknown",
    }
}

/// Gives the lines of a file that may be being written to.
pub(crate) fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'))
}
