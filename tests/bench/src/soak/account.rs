//! Sums over the agent's files, to compare with the requests that were sent.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::Sent;
use crate::agent::files;
use crate::rows::Rows;

/// The sums over an agent's files.
#[derive(Debug, Default)]
pub(super) struct Account {
    written: u64,
    tallied: u64,
    lost_requests: u64,
    lost_events: u64,
    tallies: Vec<Window>,
    started: Option<String>,
    stopped: Option<String>,
}

/// A tally's window.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Window {
    number: u64,
    from: String,
    to: String,
    is_last: bool,
}

/// What is read of a line.
#[derive(Deserialize)]
struct Line {
    kind: String,
    time: String,
    from: Option<String>,
    window: Option<u64>,
    #[serde(default)]
    last: bool,
    totals: Option<Totals>,
    #[serde(default)]
    losses: Vec<Loss>,
}

#[derive(Deserialize)]
struct Totals {
    requests: u64,
}

#[derive(Deserialize)]
struct Loss {
    what: String,
    count: u64,
}

impl Account {
    /// Reads every file of a name, compressed ones too.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read, or a line is none.
    pub(super) fn read(folder: &Path, name: &str) -> Result<Self> {
        let mut account = Self::default();
        for path in files(folder, name)? {
            let read = || path.display().to_string();
            let mut gzip = Command::new("gzip");
            gzip.arg("-dcf").arg(&path).stdin(Stdio::null()).stdout(Stdio::piped());
            let mut gzip = gzip.spawn().context("cannot run gzip")?;
            for line in BufReader::new(gzip.stdout.take().context("no output")?).lines() {
                let line = line.with_context(read)?;
                account.add(serde_json::from_str(&line).with_context(read)?)?;
            }
            ensure!(gzip.wait()?.success(), "gzip cannot read {}", path.display());
        }
        account.tallies.sort();
        Ok(account)
    }

    fn add(&mut self, line: Line) -> Result<()> {
        match &*line.kind {
            "request" => self.written += 1,
            "start" => {
                ensure!(self.started.replace(line.time).is_none(), "it was started again");
            }
            "tally" => {
                self.tallied += line.totals.context("a tally without totals")?.requests;
                self.tallies.push(Window {
                    number: line.window.context("a tally without a number")?,
                    from: line.from.context("a tally without a beginning")?,
                    to: line.time,
                    is_last: line.last,
                });
            }
            "stop" => {
                self.stopped = Some(line.time);
                let sum = |what: &str| -> u64 {
                    let of_unit = line.losses.iter().filter(|loss| loss.what == what);
                    of_unit.map(|loss| loss.count).sum()
                };
                (self.lost_requests, self.lost_events) = (sum("requests"), sum("events"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Checks that every request is in the tallies or counted as lost, that every request whose
    /// class is written has its line or is counted, and that no time is without a tally.
    ///
    /// # Errors
    /// Returns an error if something is missing.
    pub(super) fn check(&self, sent: Sent) -> Result<()> {
        let all = sent.with_token + sent.without_token;
        let tallied = self.tallied + self.lost_requests;
        ensure!(tallied == all, "{all} requests were sent, {tallied} tallied or lost: {self}");
        let written = self.written + self.lost_requests + self.lost_events;
        let wanted = sent.without_token;
        ensure!(written == wanted, "{wanted} lines were due, {written} written or lost: {self}");
        let mut end = self.started.as_ref();
        for (number, tally) in (0..).zip(&self.tallies) {
            ensure!(
                tally.number == number && Some(&tally.from) == end,
                "a gap before {tally:?}: the one before ends at {end:?}"
            );
            end = Some(&tally.to);
        }
        let last = self.tallies.last();
        ensure!(
            last.is_some_and(|last| last.is_last) && end == self.stopped.as_ref(),
            "the last tally is {last:?}, the end at {:?}",
            self.stopped
        );
        Ok(())
    }

    /// Returns how many tallies there are.
    pub(super) fn tallies(&self) -> u64 {
        u64::try_from(self.tallies.len()).unwrap_or(u64::MAX)
    }

    /// Adds the sums to the rows.
    pub(super) fn add_to(&self, rows: &mut Rows, column: &str) {
        for (row, count) in [
            ("requests with a line of their own", self.written),
            ("requests in tallies", self.tallied),
            ("tallies without a gap", self.tallies()),
            ("requests lost", self.lost_requests + self.lost_events),
        ] {
            rows.add(row, "", column, count as f64);
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { written, tallied, lost_requests, lost_events, .. } = self;
        let tallies = self.tallies();
        write!(
            f,
            "{written} requests written, {tallied} in {tallies} tallies, {lost_requests} requests \
             and {lost_events} events lost"
        )
    }
}
