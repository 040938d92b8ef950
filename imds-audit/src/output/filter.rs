//! Which requests are written.

use std::str::FromStr;

use crate::audit::class::Class;
use crate::audit::event::Body;

/// The classes of requests that are written; every other kind of event always is.
///
/// Parsed from a list such as `v1,v2-empty-token`. The summary counts all requests, written or
/// not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Only {
    /// Empty: all.
    classes: Vec<Class>,
}

/// A list of classes that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no class: use v1, v2-empty-token, v2, v2-token, foreign or unknown, with commas")]
pub struct OnlyError(String);

impl Only {
    /// Returns whether an event is written.
    pub fn admits(&self, body: &Body) -> bool {
        match body {
            Body::Request(request) => {
                self.classes.is_empty() || self.classes.contains(&request.imds.class)
            }
            Body::Connection(_) | Body::Loss(_) | Body::Start(_) | Body::Stop(_) => true,
        }
    }
}

impl FromStr for Only {
    type Err = OnlyError;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        let class = |name: &str| {
            let name = name.trim();
            Class::ALL
                .into_iter()
                .find(|class| class.name() == name)
                .ok_or_else(|| OnlyError(name.to_owned()))
        };
        Ok(Self { classes: list.split(',').map(class).collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::event::{Loss, LossEvent, LossUnit, tests::example};

    #[test]
    fn only_requests_are_filtered() {
        let request = Body::from(example());
        let loss = Body::from(LossEvent {
            time: request.time(),
            loss: Loss { reason: "output".into(), what: LossUnit::Events, count: 1, process: None },
        });
        let v2: Only = "v2, v2-token".parse().unwrap();
        assert!(!v2.admits(&request));
        assert!(v2.admits(&loss));
        assert!("unknown,v1".parse::<Only>().unwrap().admits(&request));
        assert!(Only::default().admits(&request));
    }

    #[test]
    fn a_name_that_is_no_class_is_refused() {
        for list in ["", "v1,", "V1", "v3"] {
            assert!(list.parse::<Only>().is_err(), "{list}");
        }
    }
}
