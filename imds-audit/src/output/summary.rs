//! The closing summary: who still uses IMDSv1, why, and what was not seen.

use std::collections::{BTreeSet, HashMap};
use std::fmt::{self, Write};
use std::time::Duration;

use super::hops::Hops;
use super::sharing::Sharing;
use super::tally::Tally;
use super::{printable, text};
use crate::audit::advice::Advice;
use crate::audit::class::{Class, Outcome, Resource};
use crate::audit::event::{Body, Event, Loss, Process, RequestEvent, Time, Totals};

/// The number of callers that are told apart; requests of others are counted together.
pub const MAX_CALLERS: usize = 4096;
/// The columns of a command line that tell one caller from another.
const COMMAND: usize = 100;

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
    name: String,
    command: String,
    home: Option<String>,
}

#[derive(Debug)]
struct Caller {
    classes: HashMap<Class, u64>,
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
            Body::Start(start) => self.set_host_netns(start.netns),
            Body::Connection(_) | Body::Loss(_) | Body::Stop(_) => {}
        }
    }

    /// Sets which network namespace is the host's, as the `start` event does.
    pub const fn set_host_netns(&mut self, netns: Option<u32>) {
        self.hops.set_host_netns(netns);
    }

    /// Takes in a loss that had no event of its own.
    pub fn add_loss(&mut self, loss: &Loss) {
        self.tally.add_loss(loss);
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
            classes: HashMap::new(),
            v1_served: 0,
            resources: BTreeSet::new(),
            first: event.time,
            last: event.time,
            advice: None,
        });
        *caller.classes.entry(event.imds.class).or_default() += 1;
        caller.v1_served += u64::from(served);
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
        Ok(())
    }

    fn write_caller(&self, page: &mut String, key: &CallerKey, caller: &Caller) -> fmt::Result {
        let home = key.home.as_ref().map(|home| format!("  ({home})")).unwrap_or_default();
        writeln!(page, "  {}  {}{home}", key.name, key.command)?;
        let classes: Vec<String> = Class::ALL
            .into_iter()
            .map(|class| (class, caller.of_class(class)))
            .filter(|(_, count)| *count > 0)
            .map(|(class, count)| format!("{class} {count}"))
            .collect();
        let resources: Vec<&str> = caller.resources.iter().map(|r| r.name()).collect();
        let resources = match resources.as_slice() {
            [] => String::new(),
            names => format!("; {}", names.join(", ")),
        };
        let (first, last) = (short(caller.first), short(caller.last));
        writeln!(page, "    {}{resources}; {first} to {last}", classes.join(", "))?;
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
        self.classes.get(&class).copied().unwrap_or(0)
    }
}

impl CallerKey {
    fn new(process: &Process) -> Self {
        let home = text::home(process);
        let name = process.name.as_deref().map_or_else(|| "?".to_owned(), printable::word);
        let args = process.args.as_deref().unwrap_or_default();
        Self { name, command: printable::shorten(&printable::command(args), COMMAND), home }
    }
}

/// Returns a time to the second.
fn short(time: Time) -> String {
    format!("{:.0}", time.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::diagnosis::Diagnosis;
    use crate::audit::event::{LossEvent, LossUnit, tests};

    fn request(class: Class, outcome: Outcome, name: &str) -> Event {
        let mut event = tests::example();
        event.imds.class = class;
        event.imds.outcome = outcome;
        event.process.name = Some(name.to_owned());
        if class == Class::V1 {
            event.advice = Some(Advice::new(Diagnosis::NeverAsks, &event));
        }
        event.into()
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn the_summary_names_who_uses_version_1_and_what_to_do() {
        let mut summary = Summary::default();
        summary.add(&request(Class::V2, Outcome::Served, "java"));
        summary.add(&request(Class::V1, Outcome::Served, "curl"));
        summary.add(&request(Class::V1, Outcome::Rejected, "curl"));
        let expected = "\
requests: 3
  v1              served 1, rejected 1
  v2              served 1
MetadataNoToken: 1
MetadataNoTokenRejected: 1
callers:
  curl  curl -s http://169.254.169.254/x  (refresh.service)
    v1 2; credentials; 2026-11-22T01:02:03Z to 2026-11-22T01:02:03Z
    never asks for a token
    → let what uses curl ask for a token and send it with the request, as the command does
      TOKEN=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 21600' \
http://169.254.169.254/latest/api/token) && \
curl -H \"X-aws-ec2-metadata-token: $TOKEN\" -s http://169.254.169.254/x
  java  curl -s http://169.254.169.254/x  (refresh.service)
    v2 1; credentials; 2026-11-22T01:02:03Z to 2026-11-22T01:02:03Z
in 1h 1 IMDSv1 request was served, to 1 caller; nothing was lost or unobserved
";
        assert_eq!(summary.render(HOUR), expected);
    }

    #[test]
    fn losses_and_unknown_requests_make_the_verdict_uncertain() {
        let mut summary = Summary::default();
        summary.add(&request(Class::Unknown, Outcome::Unobserved, "x"));
        let time = tests::example().time;
        let loss =
            Loss { reason: "ring-full".into(), what: LossUnit::Records, count: 7, process: None };
        summary.add(&Event::from(Body::Loss(LossEvent { time, loss })));
        let page = summary.render(HOUR);
        assert!(page.contains("lost: 7 records (ring-full)\n"), "{page}");
        assert!(
            page.ends_with(
                "in 1h no IMDSv1 request was served; \
             not certain: 7 losses, 1 requests of unknown class\n"
            ),
            "{page}"
        );
    }

    #[test]
    fn advice_stands_once_a_caller_and_is_that_on_its_latest_v1_request() {
        let mut summary = Summary::default();
        summary.add(&request(Class::V1, Outcome::Served, "curl"));
        let Body::Request(mut fallback) = request(Class::V1, Outcome::Served, "curl").body else {
            unreachable!()
        };
        let refused = Diagnosis::Refused { outcome: Outcome::Forbidden };
        fallback.advice = Some(Advice::new(refused, &fallback));
        summary.add(&Event::from(Body::Request(fallback)));
        summary.add(&request(Class::V2, Outcome::Served, "curl"));
        let page = summary.render(HOUR);
        assert!(page.contains("is refused (forbidden) and falls back"), "{page}");
        assert_eq!(page.matches('→').count(), 1, "{page}");
    }

    #[test]
    fn no_advice_forges_a_line() {
        let mut summary = Summary::default();
        let Body::Request(mut event) = request(Class::V1, Outcome::Served, "curl").body else {
            unreachable!()
        };
        let forged = "x\nin 1h no IMDSv1 request was served";
        event.advice = event.advice.map(|advice| Advice {
            reason: forged.into(),
            text: forged.into(),
            command: Some(forged.into()),
            ..advice
        });
        summary.add(&Event::from(Body::Request(event)));
        let page = summary.render(HOUR);
        assert_eq!(page.matches(r"x\nin 1h no").count(), 3, "{page}");
        assert!(!page.lines().any(|line| line.starts_with("in 1h no")), "{page}");
    }

    #[test]
    fn a_flood_of_callers_is_counted_together() {
        let mut summary = Summary::default();
        for number in 0..MAX_CALLERS + 10 {
            summary.add(&request(Class::V1, Outcome::Served, &number.to_string()));
        }
        let page = summary.render(HOUR);
        assert!(page.contains("  other callers: 10 requests, 10 of them v1\n"));
        assert!(page.contains("to more than 4096 callers"));
    }

    #[test]
    fn no_name_forges_a_line() {
        let mut summary = Summary::default();
        summary.add(&request(Class::V2, Outcome::Served, "a\nin 1h no IMDSv1"));
        assert!(summary.render(HOUR).contains(r"  'a\nin 1h no IMDSv1'  curl"));
    }
}
