//! The report as one HTML page, which asks nothing of the network.

use std::collections::BTreeMap;

use askama::Template;

use super::{NextStep, next_steps};
use crate::aggregate::callers::of_class;
use crate::aggregate::causes::is_without_token;
use crate::aggregate::readiness::{
    CallerReport, CallerStatus, GroupReport, HostReport, Report, TimelineEntry, Verdict,
};
use crate::event::{Class, Time};
use crate::text::terminal;

/// The size of the chart, in units of its own.
const CHART_WIDTH: f64 = 1000.0;
/// The height of the chart.
const CHART_HEIGHT: f64 = 190.0;
/// The height of the axis; what is without a token stands above it.
const CHART_BASE: f64 = 95.0;

#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    verdict_name: &'static str,
    verdict_class: &'static str,
    headline: String,
    facts: String,
    scope: &'static str,
    reasons: Vec<ReasonItem>,
    numbers: Vec<Number>,
    bars: Vec<Bar>,
    chart_width: f64,
    chart_height: f64,
    chart_base: f64,
    chart_text: String,
    chart_from: String,
    chart_to: String,
    callers: Vec<CallerRow>,
    unnamed: String,
    by: String,
    groups: Vec<GroupRow>,
    hosts: Vec<HostRow>,
    hosts_text: String,
    steps: Vec<NextStep>,
    footer: String,
}

struct ReasonItem {
    class: &'static str,
    text: String,
}

struct Number {
    label: &'static str,
    value: String,
    alarming: bool,
}

struct Bar {
    title: String,
    x: String,
    width: String,
    without_y: String,
    without_height: String,
    with_y: String,
    with_height: String,
}

struct CallerRow {
    id: String,
    title: String,
    home: String,
    group: &'static str,
    status: &'static str,
    without_token: u64,
    requests: u64,
    hosts: usize,
    last: String,
    last_sort: String,
    resources: String,
    fixes: Vec<Fix>,
    examples: String,
}

struct Fix {
    client: String,
    reason: String,
    cause: String,
    text: String,
    command: String,
}

struct GroupRow {
    value: String,
    verdict: &'static str,
    class: &'static str,
    hosts: usize,
    ready: usize,
    without_token: u64,
}

struct HostRow {
    title: String,
    verdict: &'static str,
    class: &'static str,
    without_token: u64,
    coverage: String,
    reasons: String,
}

/// Renders a report as HTML. Every text is escaped for HTML, and control characters as on a
/// terminal.
///
/// # Errors
/// Returns an error if the page cannot be rendered.
pub(crate) fn render(report: &Report) -> Result<String, askama::Error> {
    page(report).render()
}

fn page(report: &Report) -> Page {
    let in_the_way = report.callers.iter().filter(|caller| caller.status.is_in_the_way()).count();
    let window = match (report.window.from, report.window.to) {
        (Some(from), Some(to)) => format!("{} to {} UTC", minute(from), minute(to)),
        _ => "no time".to_owned(),
    };
    let of = |verdict| report.hosts.iter().filter(|host| host.verdict == verdict).count();
    let widest = |value: fn(&TimelineEntry) -> u64| report.timeline.iter().map(value).max();
    let (without, with) = (widest(|entry| entry.without_token), widest(|entry| entry.with_token));
    let hours = report.timeline_seconds / 3600;
    let per = if hours == 1 { "an hour".to_owned() } else { format!("{hours} hours") };
    Page {
        verdict_name: report.verdict.name(),
        verdict_class: class_of(report.verdict),
        headline: headline(report, in_the_way),
        facts: window,
        scope: report.scope.text().unwrap_or_default(),
        reasons: report
            .reasons
            .iter()
            .map(|reason| ReasonItem {
                class: class_of(reason.code.verdict()),
                text: terminal::escape(&reason.text),
            })
            .collect(),
        numbers: vec![
            number("Hosts", report.hosts.len() as u64, false),
            number("Hosts ready", of(Verdict::Ready) as u64, false),
            number("Callers in the way", in_the_way as u64, in_the_way > 0),
            number("Requests without a token", report.without_token, report.without_token > 0),
            number("Requests", report.requests, false),
        ],
        bars: bars(report),
        chart_width: CHART_WIDTH,
        chart_height: CHART_HEIGHT,
        chart_base: CHART_BASE,
        chart_text: format!(
            "at most {} without a token and {} with one in {per}.",
            grouped(without.unwrap_or(0)),
            grouped(with.unwrap_or(0))
        ),
        chart_from: report.timeline.first().map(|entry| minute(entry.start)).unwrap_or_default(),
        chart_to: report.timeline.last().map(|entry| minute(entry.start)).unwrap_or_default(),
        callers: report.callers.iter().map(caller).collect(),
        unnamed: unnamed(report),
        by: report.by.as_deref().map(terminal::escape).unwrap_or_default(),
        groups: report.groups.iter().map(group).collect(),
        hosts: report.hosts.iter().map(host).collect(),
        hosts_text: format!(
            "{} not ready, {} not proven, {} ready",
            of(Verdict::NotReady),
            of(Verdict::NotProven),
            of(Verdict::Ready)
        ),
        steps: next_steps(report),
        footer: format!(
            "imds-audit {}; read {} events in {} files. What no window can show: a job that runs \
             less often than the window is long.",
            report.version,
            grouped(report.input.events),
            grouped(report.input.files)
        ),
    }
}

fn headline(report: &Report, in_the_way: usize) -> String {
    match report.verdict {
        Verdict::Ready => "IMDSv2 can be enforced on these hosts".to_owned(),
        Verdict::NotProven => "no caller is in the way, but the evidence is incomplete".to_owned(),
        Verdict::NotReady if in_the_way == 1 => "1 caller still uses IMDSv1".to_owned(),
        Verdict::NotReady => format!("{in_the_way} callers still use IMDSv1"),
    }
}

fn number(label: &'static str, value: u64, alarming: bool) -> Number {
    Number { label, value: grouped(value), alarming }
}

/// Draws the timeline: what is without a token above the axis, the rest below, each on a scale of
/// its own, because IMDSv1 is often a thousandth of the rest.
fn bars(report: &Report) -> Vec<Bar> {
    let width = report.timeline_seconds.max(1);
    let (Some(first), Some(last)) = (report.timeline.first(), report.timeline.last()) else {
        return Vec::new();
    };
    let start = first.start.0.as_second();
    let slots = (last.start.0.as_second() - start) / width + 1;
    #[expect(clippy::cast_precision_loss, reason = "a chart needs three digits")]
    let slot = CHART_WIDTH / slots.max(1) as f64;
    let most = |value: fn(&TimelineEntry) -> u64| {
        report.timeline.iter().map(value).max().unwrap_or(0).max(1)
    };
    let (most_without, most_with) =
        (most(|entry| entry.without_token), most(|entry| entry.with_token));
    #[expect(clippy::cast_precision_loss, reason = "a chart needs three digits")]
    let height = |value: u64, most: u64| {
        let room = CHART_BASE - 4.0;
        // What there is must be seen, however little it is.
        if value == 0 { 0.0 } else { (room * value as f64 / most as f64).max(1.5) }
    };
    report
        .timeline
        .iter()
        .map(|entry| {
            #[expect(clippy::cast_precision_loss, reason = "a chart needs three digits")]
            let x = ((entry.start.0.as_second() - start) / width) as f64 * slot;
            let without = height(entry.without_token, most_without);
            Bar {
                title: format!(
                    "{}: {} without a token, {} with one",
                    minute(entry.start),
                    grouped(entry.without_token),
                    grouped(entry.with_token)
                ),
                x: format!("{x:.2}"),
                width: format!("{:.2}", (slot * 0.86).max(0.5)),
                without_y: format!("{:.2}", CHART_BASE - without),
                without_height: format!("{without:.2}"),
                with_y: format!("{:.2}", CHART_BASE + 1.0),
                with_height: format!("{:.2}", height(entry.with_token, most_with)),
            }
        })
        .collect()
}

fn caller(caller: &CallerReport) -> CallerRow {
    let resources: Vec<&str> = caller.resources.iter().map(|resource| resource.name()).collect();
    let fixes = caller.advice.iter().map(|entry| {
        let version = |client: &crate::event::Client| {
            let version = client.version.as_deref().unwrap_or_default();
            format!("{} {version}", client.name).trim_end().to_owned()
        };
        Fix {
            client: entry
                .client
                .as_ref()
                .map(|c| terminal::escape(&version(c)))
                .unwrap_or_default(),
            reason: terminal::escape(&entry.advice.reason),
            cause: entry.advice.cause.name().to_owned(),
            text: terminal::escape(&entry.advice.text),
            command: entry.advice.command.as_deref().map(terminal::escape).unwrap_or_default(),
        }
    });
    let note = |count: u64, what: &str| {
        (count > 0).then(|| Fix {
            client: String::new(),
            reason: format!("{} requests {what}", grouped(count)),
            cause: String::new(),
            text: String::new(),
            command: String::new(),
        })
    };
    let fixes = fixes
        .chain(note(caller.advice_dropped, "of further causes"))
        .chain(note(caller.unexplained, "without a token that nothing explains"));
    let more = caller.hosts.saturating_sub(caller.example_hosts.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    CallerRow {
        id: terminal::escape(&caller.id),
        title: terminal::escape(&caller.title),
        home: caller.home.as_deref().map(terminal::escape).unwrap_or_default(),
        group: match caller.status {
            CallerStatus::Breaks | CallerStatus::Blocks => "in-the-way",
            CallerStatus::PrefersV1 | CallerStatus::Adapts => "works",
            CallerStatus::V2 => "v2",
        },
        status: caller.status.text(),
        without_token: caller.without_token,
        requests: caller.requests,
        hosts: caller.hosts,
        last: caller.last_without_token.map(minute).unwrap_or_default(),
        last_sort: caller.last_without_token.map(|time| time.to_string()).unwrap_or_default(),
        resources: resources.join(", "),
        fixes: fixes.collect(),
        examples: if caller.example_hosts.is_empty() {
            String::new()
        } else {
            terminal::escape(&format!("{}{more}", caller.example_hosts.join(", ")))
        },
    }
}

fn group(group: &GroupReport) -> GroupRow {
    let value = if group.value.is_empty() { "(none)" } else { &group.value };
    GroupRow {
        value: terminal::escape(value),
        verdict: group.verdict.name(),
        class: class_of(group.verdict),
        hosts: group.hosts,
        ready: group.ready,
        without_token: group.without_token,
    }
}

fn host(host: &HostReport) -> HostRow {
    let mut reasons: Vec<&str> = host.reasons.iter().map(|reason| reason.text.as_str()).collect();
    if host.overlapping_runs > 0 {
        reasons.push("runs overlap, so that requests may count twice");
    }
    HostRow {
        title: terminal::escape(&host.title()),
        verdict: host.verdict.name(),
        class: class_of(host.verdict),
        without_token: host.without_token,
        coverage: format!("{:.1} %", host.coverage * 100.0),
        reasons: terminal::escape(&reasons.join("; ")),
    }
}

fn unnamed(report: &Report) -> String {
    let counts: BTreeMap<Class, u64> =
        Class::ALL.into_iter().map(|class| (class, of_class(&report.unnamed, class))).collect();
    let without: u64 =
        counts.iter().filter(|(class, _)| is_without_token(**class)).map(|(_, n)| n).sum();
    let all: u64 = counts.values().sum();
    if all == 0 {
        return String::new();
    }
    format!(
        "{} requests, {} of them without a token, are of callers beyond the bound; --max-callers \
         raises it.",
        grouped(all),
        grouped(without)
    )
}

const fn class_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::NotReady => "not-ready",
        Verdict::NotProven => "not-proven",
        Verdict::Ready => "ready",
    }
}

/// Returns a number with thin spaces between groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Returns a time to the minute, UTC.
fn minute(time: Time) -> String {
    time.0.strftime("%Y-%m-%d %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_groups() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
    }
}
