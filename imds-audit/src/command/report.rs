//! `imds-audit report`: who still uses IMDSv1, and whether IMDSv2 can be enforced.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use rustix::termios;

use super::{ExitStatus, print};
use crate::aggregate::evidence::{Bounds, MAX_CALLERS};
use crate::aggregate::readiness::{Question, Report, Scope, Verdict};
use crate::event::Time;
use crate::report::input::{self, Progress, Read};
use crate::report::text::TextStyle;
use crate::report::{csv, emf, html, json, ocsf, text};
use crate::text::terminal;

/// The options of `imds-audit report`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReportArguments {
    /// JSON lines of `run` or `agent`, plain, gzip or zstd, or folders of them
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// The form of the report
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub format: ReportFormat,

    /// Write the report to FILE instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Group hosts by the value of this label
    #[arg(long, value_name = "LABEL")]
    pub by: Option<String>,

    /// The time for which each host must have been audited, such as 7d; without it the time from
    /// the first event of any host to the last one
    #[arg(long, value_name = "TIME", value_parser = parse_time_span)]
    pub window: Option<Duration>,

    /// Leave out what was before this time, such as 2026-11-22 or 2026-11-22T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub since: Option<Time>,

    /// Leave out what was at or after this time; the window ends there
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub until: Option<Time>,

    /// The longest interruption of an audit that counts as none: a restart of the agent
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = parse_time_span)]
    pub max_gap: Duration,

    /// Take a host whose last run ended in order for one that is gone, as the nodes of clusters
    /// are that come and go
    #[arg(long)]
    pub ended_hosts_are_gone: bool,

    /// What the verdicts are about
    #[arg(long, value_enum, default_value_t = ReportScope::Host)]
    pub scope: ReportScope,

    /// End with exit code 3 unless the verdict is READY
    #[arg(long)]
    pub fail_unless_ready: bool,

    /// Callers that are told apart; requests of others are counted together
    #[arg(long, value_name = "COUNT", default_value_t = MAX_CALLERS)]
    pub max_callers: usize,
}

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For a terminal
    Text,
    /// One page for a browser, in one file
    Html,
    /// The callers, one row for each cause and client
    Csv,
    /// Everything
    Json,
    /// A Detection Finding (OCSF 2004) for each caller that uses IMDSv1, one a line
    Ocsf,
    /// CloudWatch embedded metrics, one document for all hosts and one for each
    Emf,
}

/// What the verdicts are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportScope {
    /// Everything on the hosts
    Host,
    /// The container that each audit ran in, as on a platform whose hosts are not yours
    Container,
}

impl From<ReportScope> for Scope {
    fn from(scope: ReportScope) -> Self {
        match scope {
            ReportScope::Host => Self::Host,
            ReportScope::Container => Self::Container,
        }
    }
}

/// Reads the files, and writes the report.
///
/// # Errors
/// Returns an error if a path cannot be read or the report cannot be written.
pub(super) fn run(arguments: &ReportArguments) -> Result<ExitStatus> {
    if arguments.since.zip(arguments.until).is_some_and(|(since, until)| since >= until) {
        bail!("--since must be before --until");
    }
    let read = read(arguments)?;
    for error in &read.damaged {
        let path = terminal::word(&error.path.to_string_lossy());
        print(format_args!("imds-audit: {path} could be read in part only: {}\n", error.source));
    }
    let question = Question {
        window: arguments.window.map(|window| window.as_secs()),
        until: arguments.until,
        since: arguments.since,
        max_gap: arguments.max_gap.as_secs(),
        ended_hosts_are_gone: arguments.ended_hosts_are_gone,
        by: arguments.by.clone(),
        scope: arguments.scope.into(),
    };
    let report = question.answer(&read.evidence);
    write(arguments, &render(arguments, &report)?)?;
    let fails = arguments.fail_unless_ready && report.verdict != Verdict::Ready;
    Ok(if fails { ExitStatus::Condition } else { ExitStatus::Done })
}

fn read(arguments: &ReportArguments) -> Result<Read> {
    // A window ends at --until; what is older than the window needs no look.
    let window = arguments.window.zip(arguments.until).and_then(|(window, until)| {
        let window = jiff::SignedDuration::try_from(window).ok()?;
        until.0.checked_sub(window).ok().map(Time)
    });
    let bounds = Bounds { since: arguments.since.max(window), until: arguments.until };
    let (progress, is_done) = (Progress::default(), AtomicBool::new(false));
    let read = thread::scope(|scope| {
        if io::stderr().is_terminal() {
            scope.spawn(|| show(&progress, &is_done));
        }
        let read = input::read(&arguments.paths, bounds, arguments.max_callers, &progress);
        is_done.store(true, Ordering::Relaxed);
        read
    });
    let read = read.map_err(|error| {
        let path = error.path.display().to_string();
        anyhow::Error::new(error.source).context(format!("cannot read {}", terminal::word(&path)))
    })?;
    Ok(read)
}

/// Shows how far reading has come, until it is done.
fn show(progress: &Progress, is_done: &AtomicBool) {
    const TICK: Duration = Duration::from_millis(100);
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("reading {bar:40} {bytes} of {total_bytes}") {
        bar.set_style(style);
    }
    while !is_done.load(Ordering::Relaxed) {
        bar.set_length(progress.total.load(Ordering::Relaxed));
        bar.set_position(progress.done.load(Ordering::Relaxed));
        thread::sleep(TICK);
    }
    bar.finish_and_clear();
}

fn render(arguments: &ReportArguments, report: &Report) -> Result<String> {
    Ok(match arguments.format {
        ReportFormat::Text => text::render(report, style(arguments.output.is_none())),
        ReportFormat::Html => html::render(report)?,
        ReportFormat::Csv => csv::render(report)?,
        ReportFormat::Json => json::render(report)?,
        ReportFormat::Ocsf => ocsf::render(report)?,
        ReportFormat::Emf => emf::render(report)?,
    })
}

/// Returns how text looks where it goes: colours and the width are the terminal's.
fn style(to_stdout: bool) -> TextStyle {
    let plain = TextStyle::default();
    if !to_stdout {
        return plain;
    }
    let colour = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
    let size = termios::tcgetwinsize(io::stdout()).ok();
    let width = size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0);
    TextStyle { colour, width: width.unwrap_or(plain.width) }
}

/// Writes the report. A closed pipe is no error.
fn write(arguments: &ReportArguments, page: &str) -> Result<()> {
    if let Some(path) = &arguments.output {
        return std::fs::write(path, page)
            .with_context(|| format!("cannot write {}", path.display()));
    }
    let mut stdout = io::stdout().lock();
    match stdout.write_all(page.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

fn parse_time_span(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; use a number with a unit, such as 90s, 10m or 7d"))
}

/// Reads a date, which begins at 00:00 UTC, or a time.
fn parse_moment(text: &str) -> Result<Time, String> {
    let date = text.parse::<jiff::civil::Date>().ok().filter(|_| !text.contains('T'));
    let midnight = date.and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC).ok());
    match midnight {
        Some(midnight) => Ok(Time(midnight.timestamp())),
        None => text
            .parse()
            .map(Time)
            .map_err(|_| "not a date or a time; use 2026-11-22 or 2026-11-22T08:00:00Z".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_and_a_time_are_moments() {
        let day = parse_moment("2026-11-22").unwrap();
        assert_eq!(day, parse_moment("2026-11-22T00:00:00Z").unwrap());
        assert_eq!(parse_moment("2026-11-22T01:00:00+01:00").unwrap(), day);
        assert!(parse_moment("yesterday").unwrap_err().contains("2026-11-22"));
    }
}
