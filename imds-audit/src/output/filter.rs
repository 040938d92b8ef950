//! Filter of events by class.

use std::str::FromStr;

use crate::event::Body;
use crate::event::Class;

/// The classes of requests that are written; every other kind of event always is.
///
/// Parsed from a list such as `v1,v2-empty-token`. The summary counts all requests, written or
/// not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassFilter {
    /// Empty: all.
    classes: Vec<Class>,
}

/// A list of classes that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no class: use v1, v2-empty-token, v2, v2-token, foreign or unknown, with commas")]
pub struct ClassFilterError(String);

impl ClassFilter {
    /// Returns a filter that admits these classes, or all if there are none.
    pub const fn of(classes: Vec<Class>) -> Self {
        Self { classes }
    }

    /// Returns whether an event is written.
    pub fn admits(&self, body: &Body) -> bool {
        match body {
            Body::Request(request) => {
                self.classes.is_empty() || self.classes.contains(&request.imds.class)
            }
            Body::Connection(_)
            | Body::Loss(_)
            | Body::Start(_)
            | Body::Stop(_)
            | Body::Tally(_)
            | Body::Rehearsal(_)
            | Body::Other => true,
        }
    }
}

/// A kind of event.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, serde::Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// Requests.
    Request,
    /// Connections without a request.
    Connection,
    /// Losses.
    Loss,
    /// The start of an audit.
    Start,
    /// The end of an audit.
    Stop,
    /// Totals of a time window.
    Tally,
    /// The result of a rehearsal.
    Rehearsal,
}

impl EventKind {
    const fn of(body: &Body) -> Option<Self> {
        Some(match body {
            Body::Request(_) => Self::Request,
            Body::Connection(_) => Self::Connection,
            Body::Loss(_) => Self::Loss,
            Body::Start(_) => Self::Start,
            Body::Stop(_) => Self::Stop,
            Body::Tally(_) => Self::Tally,
            Body::Rehearsal(_) => Self::Rehearsal,
            Body::Other => return None,
        })
    }
}

/// The events that an output is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// The classes of requests.
    pub classes: ClassFilter,
    /// The kinds of events; empty: all.
    pub kinds: Vec<EventKind>,
}

impl EventFilter {
    /// Returns whether an event is written.
    pub fn admits(&self, body: &Body) -> bool {
        let is_of_kind = EventKind::of(body)
            .is_some_and(|kind| self.kinds.is_empty() || self.kinds.contains(&kind));
        is_of_kind && self.classes.admits(body)
    }
}

impl From<ClassFilter> for EventFilter {
    fn from(classes: ClassFilter) -> Self {
        Self { classes, kinds: Vec::new() }
    }
}

impl FromStr for ClassFilter {
    type Err = ClassFilterError;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        let class = |name: &str| {
            let name = name.trim();
            Class::ALL
                .into_iter()
                .find(|class| class.name() == name)
                .ok_or_else(|| ClassFilterError(name.to_owned()))
        };
        Ok(Self { classes: list.split(',').map(class).collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Loss, LossEvent, LossUnit, tests::example};

    #[test]
    fn only_requests_are_filtered() {
        let request = Body::from(example());
        let loss = Body::from(LossEvent {
            time: request.time().unwrap(),
            loss: Loss { reason: "output".into(), what: LossUnit::Events, count: 1, process: None },
            window: None,
        });
        let v2: ClassFilter = "v2, v2-token".parse().unwrap();
        assert!(!v2.admits(&request));
        assert!(v2.admits(&loss));
        assert!("unknown,v1".parse::<ClassFilter>().unwrap().admits(&request));
        assert!(ClassFilter::default().admits(&request));
    }

    #[test]
    fn a_name_that_is_no_class_is_refused() {
        for list in ["", "v1,", "V1", "v3"] {
            assert!(list.parse::<ClassFilter>().is_err(), "{list}");
        }
    }
}
