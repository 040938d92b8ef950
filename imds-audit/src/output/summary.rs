//! The closing summary: who still uses IMDSv1, why, and what was not seen.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::{self, Write};
use std::time::Duration;

use super::hops::Hops;
use super::sharing::Sharing;
use super::tally::Tally;
use super::{printable, who};
use crate::audit::advice::Advice;
use crate::audit::class::{Class, Outcome, Resource};
use crate::audit::event::{Body, Event, Loss, Process, RequestEvent, Time, Totals};

/// The number of callers that are told apart; requests of others are counted together.
pub const MAX_CALLERS: usize = 4096;
/// The columns of a caller's title, which tell one caller from another.
const TITLE: usize = 120;

/// Collects what passes and tells it at the end.
#[derive(Debug, Default)]
pub struct Summary {
    tally: Tally,
    callers: HashMap<CallerKey, Caller>,
    /// Requests by callers beyond [`MAX_CALLERS`], and those of them that were IMDSv1.
    others: u64,
    others_v1: u64,
    others_v1_served: u64,
    hops: Hops,
    sharing: Sharing,
}

/// What makes a caller one line of the summary.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct CallerKey {
    title: String,
    home: Option<String>,
}

#[derive(Debug)]
struct Caller {
    classes: BTreeMap<Class, BTreeMap<Outcome, u64>>,
    v1_served: u64,
    resources: BTreeSet<Resource>,
    first: Time,
    last: Time,
    /// The latest, of an IMDSv1 request where it made one.
    advice: Option<Advice>,
}

impl Summary {
    /// Takes in an event, written or not.
    pub fn add(&mut self, event: &Event) {
        self.tally.add(&event.body);
        match &event.body {
            Body::Request(request) => self.add_request(request),
            Body::Start(_) | Body::Connection(_) | Body::Loss(_) | Body::Stop(_) => {}
        }
    }

    /// Takes in a loss that had no event of its own.
    pub fn add_loss(&mut self, loss: &Loss) {
        self.tally.add_loss(loss);
    }

    /// Takes in how many callers were forgotten, so that advice for them may be wrong.
    pub const fn set_forgotten(&mut self, callers: u64) {
        self.tally.set_forgotten(callers);
    }

    /// Returns what was seen, for the `stop` event.
    pub const fn totals(&self) -> &Totals {
        self.tally.totals()
    }

    /// Returns what was lost, for the `stop` event.
    pub fn losses(&self) -> Vec<Loss> {
        self.tally.losses()
    }

    /// Tells everything, after an audit of this length.
    pub fn render(&self, observed: Duration) -> String {
        let mut page = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut page, observed);
        page
    }

    fn add_request(&mut self, event: &RequestEvent) {
        self.hops.add(event);
        self.sharing.add(event);
        let key = CallerKey::new(&event.process);
        let v1 = event.imds.class == Class::V1;
        let served = v1 && event.imds.outcome == Outcome::Served;
        if self.callers.len() >= MAX_CALLERS && !self.callers.contains_key(&key) {
            self.others = self.others.saturating_add(1);
            self.others_v1 = self.others_v1.saturating_add(u64::from(v1));
            self.others_v1_served = self.others_v1_served.saturating_add(u64::from(served));
            return;
        }
        let caller = self.callers.entry(key).or_insert_with(|| Caller {
            classes: BTreeMap::new(),
            v1_served: 0,
            resources: BTreeSet::new(),
            first: event.time,
            last: event.time,
            advice: None,
        });
        let outcomes = caller.classes.entry(event.imds.class).or_default();
        let count = outcomes.entry(event.imds.outcome).or_default();
        *count = count.saturating_add(1);
        caller.v1_served = caller.v1_served.saturating_add(u64::from(served));
        caller.resources.extend(event.imds.resource);
        caller.first = caller.first.min(event.time);
        caller.last = caller.last.max(event.time);
        if event.advice.is_some() && (v1 || caller.of_class(Class::V1) == 0) {
            caller.advice.clone_from(&event.advice);
        }
    }

    fn write(&self, page: &mut String, observed: Duration) -> fmt::Result {
        self.write_totals(page)?;
        self.write_callers(page)?;
        write!(page, "{}{}", self.hops, self.sharing)?;
        for loss in self.losses() {
            writeln!(page, "lost: {}", printable::loss(&loss))?;
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
        let mut callers: Vec<_> = self.callers.iter().collect();
        let rank = |caller: &Caller| {
            let of = |class| std::cmp::Reverse(caller.of_class(class));
            (of(Class::V1), of(Class::V2EmptyToken), of(Class::Unknown))
        };
        callers.sort_by(|(a, x), (b, y)| rank(x).cmp(&rank(y)).then_with(|| a.cmp(b)));
        if !callers.is_empty() {
            writeln!(page, "callers:")?;
        }
        for (key, caller) in callers {
            self.write_caller(page, key, caller)?;
        }
        if self.others > 0 {
            let (all, v1) = (self.others, self.others_v1);
            writeln!(page, "  other callers: {all} requests, {v1} of them v1")?;
        }
        let forgotten = self.totals().forgotten_callers;
        if forgotten > 0 {
            writeln!(
                page,
                "  forgotten: token requests of {forgotten} processes and programs, the oldest; \
                 \"never asks for a token\" may be wrong of them"
            )?;
        }
        Ok(())
    }

    fn write_caller(&self, page: &mut String, key: &CallerKey, caller: &Caller) -> fmt::Result {
        let home = key.home.as_ref().map(|home| format!("  ({home})")).unwrap_or_default();
        writeln!(page, "  {}{home}", key.title)?;
        let classes: Vec<String> = Class::ALL
            .into_iter()
            .filter_map(|class| Some((class, caller.classes.get(&class)?)))
            .map(|(class, outcomes)| {
                let counts: Vec<String> =
                    outcomes.iter().map(|(outcome, count)| format!("{outcome} {count}")).collect();
                format!("{class}: {}", counts.join(", "))
            })
            .collect();
        let resources: Vec<&str> = caller.resources.iter().map(|r| r.name()).collect();
        let resources = match resources.as_slice() {
            [] => String::new(),
            names => format!("; {}", names.join(", ")),
        };
        let (first, last) = (short(caller.first), short(caller.last));
        let seen = if first == last { first } else { format!("{first} to {last}") };
        writeln!(page, "    {}{resources}; {seen}", classes.join("; "))?;
        let Some(advice) = &caller.advice else { return Ok(()) };
        writeln!(page, "    {}", printable::escape(&advice.reason))?;
        writeln!(page, "    → {}", printable::escape(&advice.text))?;
        match &advice.command {
            Some(command) => writeln!(page, "      {}", printable::escape(command)),
            None => Ok(()),
        }
    }

    /// Says whether IMDSv2 can be enforced, as far as this audit can say it.
    fn verdict(&self, observed: Duration) -> String {
        let served = self.totals().counters.metadata_no_token;
        let length = humantime::format_duration(Duration::from_secs(observed.as_secs()));
        let callers = self.callers.values().filter(|caller| caller.v1_served > 0).count();
        let more = if self.others_v1_served > 0 { "more than " } else { "" };
        let start = match served {
            0 => format!("in {length} no IMDSv1 request was served"),
            1 => format!("in {length} 1 IMDSv1 request was served"),
            _ => format!("in {length} {served} IMDSv1 requests were served"),
        };
        let by = match (served, callers) {
            (0, _) => String::new(),
            (_, 1) => format!(", to {more}1 caller"),
            _ => format!(", to {more}{callers} callers"),
        };
        format!("{start}{by}; {}", self.unobserved())
    }

    fn unobserved(&self) -> String {
        let lost = self.losses().iter().fold(0_u64, |sum, loss| sum.saturating_add(loss.count));
        let unknown = self.tally.of_class(Class::Unknown);
        let open = self.totals().classes.get(&Class::V1).and_then(|o| o.get(&Outcome::Unobserved));
        let open = open.copied().unwrap_or(0);
        let mut parts = Vec::new();
        for (count, what) in [
            (lost, "losses"),
            (unknown, "requests of unknown class"),
            (open, "IMDSv1 requests whose response was not observed"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        match parts.as_slice() {
            [] => "nothing was lost or unobserved".to_owned(),
            parts => format!("not certain: {}", parts.join(", ")),
        }
    }
}

impl Caller {
    fn of_class(&self, class: Class) -> u64 {
        let outcomes = self.classes.get(&class).map(BTreeMap::values);
        outcomes.into_iter().flatten().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

impl CallerKey {
    fn new(process: &Process) -> Self {
        let title = printable::shorten(&who::title(process), TITLE);
        Self { title, home: who::home(process) }
    }
}

/// Returns a time to the second.
fn short(time: Time) -> String {
    format!("{:.0}", time.0)
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
