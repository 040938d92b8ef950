//! The closing summary: who still uses IMDSv1, why, and what was not seen.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::Duration;

use crate::aggregate::callers::of_class;
use crate::aggregate::causes;
use crate::aggregate::token_reuse::Sharing;
use crate::aggregate::window::Window;
use crate::event::{
    Body, CallerAdvice, CallerTally, Class, Classes, Event, Loss, Outcome, Time, Totals,
};
use crate::text::terminal;

/// The columns of a caller's title.
const TITLE: usize = 120;

/// The closing summary of a run.
#[derive(Debug, Default)]
pub struct Summary {
    window: Window,
    sharing: Sharing,
}

impl Summary {
    /// Adds an event, written or not.
    pub fn add(&mut self, event: &Event) {
        self.window.add(event);
        if let Body::Request(request) = &event.body {
            self.sharing.add(request);
        }
    }

    /// Adds a loss that has no event of its own.
    pub fn add_loss(&mut self, loss: &Loss) {
        self.window.add_loss(loss);
    }

    /// Sets how many callers the diagnosis has forgotten, so that advice for them may be wrong.
    pub const fn set_forgotten(&mut self, callers: u64) {
        self.window.totals.set_forgotten(callers);
    }

    /// Returns the totals, for the `stop` event.
    pub const fn totals(&self) -> &Totals {
        self.window.totals.totals()
    }

    /// Returns the losses, for the `stop` event.
    pub fn losses(&self) -> Vec<Loss> {
        self.window.totals.losses()
    }

    /// Renders the summary of an audit of this length.
    pub fn render(&self, observed: Duration) -> String {
        let mut page = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut page, observed);
        page
    }

    fn write(&self, page: &mut String, observed: Duration) -> fmt::Result {
        self.write_totals(page)?;
        self.write_callers(page)?;
        write!(page, "{}{}", self.window.hops, self.sharing)?;
        for loss in self.losses() {
            writeln!(page, "lost: {}", super::loss::describe(&loss))?;
        }
        writeln!(page, "{}", self.verdict(observed))
    }

    fn write_totals(&self, page: &mut String) -> fmt::Result {
        let totals = self.totals();
        writeln!(page, "requests: {}", totals.requests)?;
        for (class, outcomes) in &totals.classes {
            let parts: Vec<String> =
                outcomes.iter().map(|(outcome, count)| format!("{outcome} {count}")).collect();
            writeln!(page, "  {class:<14}  {}", parts.join(", "))?;
        }
        if totals.connections > 0 {
            writeln!(page, "connections without a request: {}", totals.connections)?;
        }
        writeln!(page, "MetadataNoToken: {}", totals.counters.metadata_no_token)?;
        writeln!(page, "MetadataNoTokenRejected: {}", totals.counters.metadata_no_token_rejected)
    }

    fn write_callers(&self, page: &mut String) -> fmt::Result {
        let callers = self.window.callers.sorted();
        if !callers.is_empty() {
            writeln!(page, "callers:")?;
        }
        for tally in callers {
            write_caller(page, tally)?;
        }
        let others = &self.window.callers.others().classes;
        let all = Class::ALL.iter().fold(0_u64, |sum, &class| sum + of_class(others, class));
        if all > 0 {
            let v1 = of_class(others, Class::V1);
            writeln!(page, "  other callers: {all} requests, {v1} of them v1")?;
        }
        let forgotten = self.totals().forgotten_callers;
        if forgotten > 0 {
            writeln!(
                page,
                "  forgotten: token requests of {forgotten} processes and programs, the oldest; \
                 the diagnosis \"never asks for a token\" may be wrong for them"
            )?;
        }
        Ok(())
    }

    /// Says whether IMDSv2 can be enforced, as far as this audit can say it.
    fn verdict(&self, observed: Duration) -> String {
        let length = humantime::format_duration(Duration::from_secs(observed.as_secs()));
        let mut sentence = format!("in {length} {}", self.without_token());
        if let Some(empty) = self.made(Class::V2EmptyToken, |_| true) {
            let _ = write!(
                sentence,
                "; {}",
                empty.clause("request had an empty token", "requests had an empty token")
            );
        }
        format!("{sentence}; {}", self.unobserved())
    }

    /// Says how many IMDSv1 requests were served, and how many were made without being served.
    fn without_token(&self) -> String {
        let served = self.made(Class::V1, |outcome| outcome == Outcome::Served);
        let others = self.made(Class::V1, |outcome| outcome != Outcome::Served);
        match (served, others) {
            (None, None) => "no IMDSv1 request was made".to_owned(),
            (None, Some(made)) => {
                format!(
                    "no IMDSv1 request was served, but {}",
                    made.clause("was made", "were made")
                )
            }
            (Some(served), others) => {
                let (count, callers) = (served.requests, served.callers());
                let requests =
                    if count == 1 { "IMDSv1 request was" } else { "IMDSv1 requests were" };
                let more = others
                    .map(|made| format!(", and {}", made.clause("more was made", "more were made")))
                    .unwrap_or_default();
                format!("{count} {requests} served, to {callers}{more}")
            }
        }
    }

    /// Counts the requests of a class with these outcomes; `None` if there were none.
    fn made(&self, class: Class, is_meant: impl Fn(Outcome) -> bool) -> Option<Made> {
        let meant = |classes: &Classes| -> BTreeMap<Outcome, u64> {
            let outcomes = classes.get(&class).into_iter().flatten();
            outcomes
                .filter(|(outcome, _)| is_meant(**outcome))
                .map(|(&o, &count)| (o, count))
                .collect()
        };
        let outcomes = meant(&self.totals().classes);
        let callers = self.window.callers.sorted();
        Some(Made {
            requests: outcomes.values().fold(0, |sum, count| sum.saturating_add(*count)),
            callers: callers.iter().filter(|tally| !meant(&tally.classes).is_empty()).count(),
            are_more: !meant(&self.window.callers.others().classes).is_empty(),
            outcomes,
        })
        .filter(|made| made.requests > 0)
    }

    fn unobserved(&self) -> String {
        let lost = self.losses().iter().fold(0_u64, |sum, loss| sum.saturating_add(loss.count));
        let unknown = self.window.totals.of_class(Class::Unknown);
        let mut parts = Vec::new();
        if lost > 0 {
            parts.push(counted(lost, "loss", "losses"));
        }
        if unknown > 0 {
            parts.push(counted(unknown, "request of unknown class", "requests of unknown class"));
        }
        // Unknown requests are counted already, whatever their outcome.
        for class in Class::ALL.into_iter().filter(|class| *class != Class::Unknown) {
            let outcomes = self.totals().classes.get(&class);
            let count = outcomes.and_then(|outcomes| outcomes.get(&Outcome::Unobserved)).copied();
            if let Some(count) = count.filter(|count| *count > 0) {
                let one = format!("{class} request whose response was not observed");
                let many = format!("{class} requests whose response was not observed");
                parts.push(counted(count, &one, &many));
            }
        }
        match parts.as_slice() {
            [] => "nothing was lost or unobserved".to_owned(),
            parts => format!("not certain: {}", parts.join(", ")),
        }
    }
}

/// Requests of one kind.
struct Made {
    requests: u64,
    outcomes: BTreeMap<Outcome, u64>,
    callers: usize,
    /// Some of them are of callers beyond the bound on callers.
    are_more: bool,
}

impl Made {
    fn callers(&self) -> String {
        let more = if self.are_more { "more than " } else { "" };
        format!("{more}{}", counted(self.callers as u64, "caller", "callers"))
    }

    fn clause(&self, one: &str, many: &str) -> String {
        let outcomes: Vec<String> =
            self.outcomes.iter().map(|(outcome, count)| format!("{outcome} {count}")).collect();
        format!(
            "{}, by {} ({})",
            counted(self.requests, one, many),
            self.callers(),
            outcomes.join(", ")
        )
    }
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn write_caller(page: &mut String, tally: &CallerTally) -> fmt::Result {
    let home = tally.caller.home.as_ref().map(|home| format!("  ({home})")).unwrap_or_default();
    writeln!(page, "  {}{home}", terminal::shorten(&tally.caller.title, TITLE))?;
    let classes: Vec<String> = Class::ALL
        .into_iter()
        .filter_map(|class| Some((class, tally.classes.get(&class)?)))
        .map(|(class, outcomes)| {
            let counts: Vec<String> =
                outcomes.iter().map(|(outcome, count)| format!("{outcome} {count}")).collect();
            format!("{class}: {}", counts.join(", "))
        })
        .collect();
    let resources: Vec<&str> = tally.resources.iter().map(|r| r.name()).collect();
    let resources = match resources.as_slice() {
        [] => String::new(),
        names => format!("; {}", names.join(", ")),
    };
    let (first, last) = (short(tally.first), short(tally.last));
    let seen = if first == last { first } else { format!("{first} to {last}") };
    writeln!(page, "    {}{resources}; {seen}", classes.join("; "))?;
    if let Some(last) = tally.last_without_token.filter(|last| *last != tally.last) {
        writeln!(page, "    last request without a token: {}", short(last))?;
    }
    for CallerAdvice { advice, .. } in &causes::folded(&tally.advice, &tally.asked) {
        writeln!(page, "    {}", terminal::escape(&advice.reason))?;
        writeln!(page, "    → {}", terminal::escape(&advice.text))?;
        if let Some(command) = &advice.command {
            writeln!(page, "      {}", terminal::escape(command))?;
        }
    }
    if tally.advice_dropped > 0 {
        writeln!(page, "    and more causes, of {} requests", tally.advice_dropped)?;
    }
    Ok(())
}

/// Returns a time to the second.
fn short(time: Time) -> String {
    format!("{:.0}", time.0)
}

#[cfg(test)]
mod tests;
