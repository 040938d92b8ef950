//! The report as text, for a terminal.

use anstyle::{AnsiColor, Style};

use super::next_steps;
use crate::aggregate::callers::of_class;
use crate::aggregate::causes::is_without_token;
use crate::aggregate::readiness::{CallerReport, CallerStatus, Report, Verdict};
use crate::event::{Class, Time};
use crate::text::terminal;

/// Hosts that are listed; of further ones the number stands there.
const MAX_HOSTS: usize = 20;
/// Callers that are listed with their fixes; of further ones the number stands there.
const MAX_CALLERS: usize = 50;
/// The width of a column with a verdict.
const VERDICT: usize = 12;

/// How the text looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextStyle {
    /// Whether it has colours.
    pub colour: bool,
    /// The width of the terminal, in columns.
    pub width: usize,
}

impl Default for TextStyle {
    fn default() -> Self {
        Self { colour: false, width: 100 }
    }
}

/// Renders a report.
pub(crate) fn render(report: &Report, style: TextStyle) -> String {
    let mut page = Page { style, text: String::new() };
    page.verdict(report);
    page.groups(report);
    page.hosts(report);
    page.callers(report);
    page.next_steps(report);
    page.input(report);
    page.text
}

struct Page {
    style: TextStyle,
    text: String,
}

impl Page {
    fn verdict(&mut self, report: &Report) {
        let window = match (report.window.from, report.window.to) {
            (Some(from), Some(to)) => format!("{} to {}", minute(from), minute(to)),
            _ => "no time".to_owned(),
        };
        let facts = format!(
            "{window}; {}, {}, {} without a token",
            counted(report.hosts.len() as u64, "host", "hosts"),
            counted(report.requests, "request", "requests"),
            report.without_token
        );
        let name = self.paint(of_verdict(report.verdict).bold(), report.verdict.name());
        self.wrapped(&format!("{name}  "), "  ", &facts);
        for reason in &report.reasons {
            let colour = of_verdict(reason.code.verdict());
            let mark = self.paint(colour, "•");
            self.wrapped(&format!("  {mark} "), "    ", &reason.text);
        }
        if report.verdict == Verdict::Ready {
            self.wrapped(
                "  ",
                "  ",
                "every host was covered for the window, and no request without a token was seen \
                 that would fail. A job that runs less often than the window is long cannot be \
                 seen in it.",
            );
        }
        if let Some(scope) = report.scope.text() {
            self.wrapped("  ", "  ", scope);
        }
    }

    fn groups(&mut self, report: &Report) {
        let Some(by) = report.by.as_ref().filter(|_| !report.groups.is_empty()) else { return };
        self.title(&format!("by {}", terminal::word(by)));
        for group in &report.groups {
            let value = if group.value.is_empty() {
                format!("(no {})", terminal::word(by))
            } else {
                terminal::word(&group.value)
            };
            let facts = format!(
                "{value}: {} of {} ready, {} without a token",
                group.ready,
                counted(group.hosts as u64, "host", "hosts"),
                counted(group.without_token, "request", "requests"),
            );
            self.row(group.verdict, &facts);
            for reason in group.reasons.iter().filter(|_| group.verdict != Verdict::Ready) {
                self.wrapped("                ", "                ", &reason.text);
            }
        }
    }

    fn hosts(&mut self, report: &Report) {
        let of = |verdict| report.hosts.iter().filter(|host| host.verdict == verdict).count();
        self.title(&format!(
            "hosts: {} not ready, {} not proven, {} ready",
            of(Verdict::NotReady),
            of(Verdict::NotProven),
            of(Verdict::Ready)
        ));
        for host in report.hosts.iter().take(MAX_HOSTS) {
            let reasons: Vec<&str> = host.reasons.iter().map(|r| r.text.as_str()).collect();
            let mut facts = terminal::escape(&host.title());
            if !reasons.is_empty() {
                facts.push_str(": ");
                facts.push_str(&reasons.join("; "));
            }
            if host.overlapping_runs > 0 {
                facts.push_str("; runs overlap, so that requests may count twice");
            }
            self.row(host.verdict, &facts);
        }
        self.more(report.hosts.len(), MAX_HOSTS, "hosts");
    }

    fn callers(&mut self, report: &Report) {
        let in_the_way: Vec<_> =
            report.callers.iter().filter(|c| c.status.is_in_the_way()).collect();
        self.title(&format!("callers in the way: {}", in_the_way.len()));
        for caller in in_the_way.iter().take(MAX_CALLERS) {
            self.caller(caller);
        }
        self.more(in_the_way.len(), MAX_CALLERS, "callers");
        let unnamed: u64 = Class::ALL
            .into_iter()
            .filter(|class| is_without_token(*class))
            .map(|class| of_class(&report.unnamed, class))
            .sum();
        if unnamed > 0 {
            let text = format!(
                "{} without a token by callers beyond the bound: raise --max-callers",
                counted(unnamed, "request", "requests")
            );
            self.wrapped("  ", "  ", &text);
        }
        let working: Vec<_> = report
            .callers
            .iter()
            .filter(|c| matches!(c.status, CallerStatus::PrefersV1 | CallerStatus::Adapts))
            .collect();
        if !working.is_empty() {
            self.title(&format!("callers that use IMDSv1 and keep working: {}", working.len()));
            for caller in working.iter().take(MAX_CALLERS) {
                self.caller(caller);
            }
            self.more(working.len(), MAX_CALLERS, "callers");
        }
        let v2 = report.callers.iter().filter(|c| c.status == CallerStatus::V2).count();
        if v2 > 0 {
            self.title(&format!("callers without IMDSv1: {v2}"));
        }
    }

    fn caller(&mut self, caller: &CallerReport) {
        let home = caller.home.as_ref().map(|home| format!("  ({home})")).unwrap_or_default();
        let title = terminal::escape(&format!("{}{home}", caller.title));
        let title = terminal::shorten(&title, self.style.width.saturating_sub(2).max(40));
        let title = self.paint(Style::new().bold(), &title);
        self.line(&format!("  {title}"));
        self.wrapped("    ", "    ", &facts(caller));
        for advice in &caller.advice {
            let client = advice.client.as_ref().map(|client| {
                let version = client.version.as_deref().unwrap_or_default();
                format!("{} {version}", client.name).trim_end().to_owned()
            });
            let client = client.map(|client| format!("{}: ", terminal::escape(&client)));
            let client = client.unwrap_or_default();
            let reason = terminal::escape(&advice.advice.reason);
            self.wrapped("    ", "    ", &format!("{client}{reason}"));
            self.wrapped("    → ", "      ", &terminal::escape(&advice.advice.text));
            // A command is never wrapped: it is there to be pasted.
            if let Some(command) = &advice.advice.command {
                let command = self.paint(Style::new().dimmed(), &terminal::escape(command));
                self.line(&format!("      {command}"));
            }
        }
        for (count, what) in [
            (caller.advice_dropped, "of further causes"),
            (caller.unexplained, "without a token that nothing explains"),
        ] {
            if count > 0 {
                let text = format!("and {} {what}", counted(count, "request", "requests"));
                self.wrapped("    ", "    ", &text);
            }
        }
    }

    fn next_steps(&mut self, report: &Report) {
        self.title("next steps");
        for (number, step) in next_steps(report).iter().enumerate() {
            let front = format!("  {}. ", number + 1);
            self.wrapped(&front, "     ", &format!("{}. {}", step.title, step.text));
            if let Some(command) = &step.command {
                let command = self.paint(Style::new().dimmed(), command);
                self.line(&format!("     {command}"));
            }
        }
    }

    fn input(&mut self, report: &Report) {
        let input = &report.input;
        let mut facts =
            vec![counted(input.files, "file", "files"), counted(input.events, "event", "events")];
        for (count, one, many) in [
            (input.duplicate_files, "copy of a file left out", "copies of files left out"),
            (input.duplicates, "window read before", "windows read before"),
            (input.rehearsed, "request in a rehearsal", "requests in rehearsals"),
            (input.outside, "event outside the time", "events outside the time"),
            (input.foreign, "line of another program", "lines of other programs"),
            (input.malformed, "damaged line", "damaged lines"),
            (input.too_long, "line too long", "lines too long"),
            (input.damaged_files, "damaged file", "damaged files"),
            (input.beyond_bounds, "event beyond the bounds", "events beyond the bounds"),
        ] {
            if count > 0 {
                facts.push(counted(count, one, many));
            }
        }
        self.line("");
        self.wrapped("read: ", "      ", &facts.join(", "));
    }

    fn title(&mut self, text: &str) {
        let text = self.paint(Style::new().bold().underline(), text);
        self.line("");
        self.line(&text);
    }

    fn row(&mut self, verdict: Verdict, facts: &str) {
        let name = self.paint(of_verdict(verdict), &terminal::pad(verdict.name(), VERDICT));
        self.wrapped(&format!("  {name}  "), "                ", facts);
    }

    fn more(&mut self, all: usize, shown: usize, what: &str) {
        if all > shown {
            let text =
                format!("  and {} more {what}: --format json or html lists all", all - shown);
            self.line(&text);
        }
    }

    /// Writes text behind `front`, broken between words at the terminal's width; lines behind the
    /// first one are indented by `indent`.
    fn wrapped(&mut self, front: &str, indent: &str, text: &str) {
        let width = self.style.width.saturating_sub(terminal::columns(indent)).max(30);
        let (mut line, mut is_first) = (String::new(), true);
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            if !line.is_empty() && terminal::columns(&line) + 1 + terminal::columns(word) > width {
                self.line(&format!("{}{line}", if is_first { front } else { indent }));
                (is_first, line) = (false, String::new());
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(&format!("{}{line}", if is_first { front } else { indent }));
    }

    fn line(&mut self, text: &str) {
        self.text.push_str(text.trim_end());
        self.text.push('\n');
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.style.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Returns what is known of a caller, in one sentence.
fn facts(caller: &CallerReport) -> String {
    let mut facts = Vec::new();
    if caller.requests > 0 {
        facts.push(format!(
            "{}: {} of {} without a token",
            caller.status.text(),
            caller.without_token,
            counted(caller.requests, "request", "requests"),
        ));
    } else {
        facts.push(caller.status.text().to_owned());
    }
    if !caller.resources.is_empty() {
        let resources: Vec<&str> = caller.resources.iter().map(|r| r.name()).collect();
        facts.push(resources.join(", "));
    }
    if caller.hosts > 0 {
        let mut hosts: Vec<String> =
            caller.example_hosts.iter().map(|host| terminal::escape(host)).collect();
        if caller.hosts > hosts.len() {
            hosts.push("…".to_owned());
        }
        let count = counted(caller.hosts as u64, "host", "hosts");
        facts.push(format!("{count} ({})", hosts.join(", ")));
    }
    if let Some((first, last)) = caller.first.zip(caller.last_without_token.or(caller.last)) {
        let (first, last) = (minute(first), minute(last));
        facts.push(if first == last { first } else { format!("{first} to {last}") });
    }
    facts.join("; ")
}

fn of_verdict(verdict: Verdict) -> Style {
    match verdict {
        Verdict::NotReady => AnsiColor::Red.on_default(),
        Verdict::NotProven => AnsiColor::Yellow.on_default(),
        Verdict::Ready => AnsiColor::Green.on_default(),
    }
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Returns a time to the minute, UTC.
fn minute(time: Time) -> String {
    time.0.strftime("%Y-%m-%d %H:%MZ").to_string()
}
