//! The conditions of `--fail-on`.

use std::str::FromStr;

use crate::event::{Body, Event};
use crate::output::filter::ClassFilter;

/// What ends a run with exit code 3: a request of one of these classes, or a loss.
///
/// Parsed from a list such as `v1,loss`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    classes: Option<ClassFilter>,
    loss: bool,
}

/// A list of conditions that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no condition: use v1, v2-empty-token, v2, v2-token, foreign, unknown or loss, with \
     commas"
)]
pub(crate) struct ConditionError(String);

impl Condition {
    /// Returns whether an event meets it.
    pub(crate) fn is_met_by(&self, event: &Event) -> bool {
        match &event.body {
            body @ Body::Request(_) => {
                self.classes.as_ref().is_some_and(|classes| classes.admits(body))
            }
            Body::Loss(_) => self.loss,
            Body::Connection(_)
            | Body::Start(_)
            | Body::Stop(_)
            | Body::Tally(_)
            | Body::Rehearsal(_)
            | Body::Other => false,
        }
    }
}

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        let names: Vec<&str> = list.split(',').map(str::trim).collect();
        let classes: Vec<&str> = names.iter().copied().filter(|name| *name != "loss").collect();
        let loss = classes.len() < names.len();
        for name in &classes {
            name.parse::<ClassFilter>().map_err(|_| ConditionError((*name).to_owned()))?;
        }
        let classes = match classes.as_slice() {
            [] => None,
            classes => {
                let list = classes.join(",");
                Some(list.parse().map_err(|_| ConditionError(list))?)
            }
        };
        Ok(Self { classes, loss })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Class, Loss, LossEvent, LossUnit, tests::example};

    #[test]
    fn requests_of_a_class_and_losses_are_conditions_of_their_own() {
        let request = |class| {
            let mut event = example();
            event.imds.class = class;
            Event::from(event)
        };
        let loss =
            Loss { reason: "request".into(), what: LossUnit::Requests, count: 1, process: None };
        let loss = Event::from(LossEvent { time: example().time, loss, window: None });
        for (list, v1, v2, lost) in [
            ("v1", true, false, false),
            ("v1, loss", true, false, true),
            ("loss", false, false, true),
            ("loss,v2,v1", true, true, true),
        ] {
            let condition: Condition = list.parse().unwrap();
            assert_eq!(condition.is_met_by(&request(Class::V1)), v1, "{list}");
            assert_eq!(condition.is_met_by(&request(Class::V2)), v2, "{list}");
            assert_eq!(condition.is_met_by(&loss), lost, "{list}");
        }
    }

    #[test]
    fn a_name_that_is_no_condition_is_refused() {
        for list in ["", "v1,", "losses", "V1", "v1,v3"] {
            let error = list.parse::<Condition>().unwrap_err().to_string();
            assert!(error.contains("or loss"), "{list}: {error}");
        }
    }
}
