//! The report as text.

use std::fmt::Write;

use super::Report;
use super::finding::{Item, Status};
use crate::text::terminal::{columns, escape, pad, shorten};

/// The columns of the longest status.
const STATUS: usize = 8;
/// The most columns of a sentence; only `--json` has longer ones whole.
const SENTENCE: usize = 400;

/// Writes a line an item, with what it costs and what to do below it, and the verdict at the end.
///
/// A remedy that several findings share is printed once.
pub(super) fn render(report: &Report) -> String {
    let mut page = String::new();
    let host = &report.host;
    // Writing to a string does not fail.
    let _ = writeln!(
        page,
        "{}, Linux {}, {}\n",
        line(&host.name),
        line(&host.kernel),
        line(&host.architecture)
    );
    let width = report.items.iter().map(|item| columns(&item.name)).max().unwrap_or(0);
    let mut reported = Vec::new();
    for item in &report.items {
        write_item(&mut page, item, width, &mut reported);
    }
    let _ = writeln!(page, "\n{}", line(&report.summary));
    page
}

fn write_item<'a>(page: &mut String, item: &'a Item, width: usize, reported: &mut Vec<&'a str>) {
    let status = match item.status {
        Status::Ok => "ok",
        Status::Degraded => "DEGRADED",
        Status::Missing => "MISSING",
        Status::Untested => "untested",
    };
    let front = format!("{}  {}  ", pad(status, STATUS), pad(&escape(&item.name), width));
    let indent = " ".repeat(columns(&front));
    let _ = writeln!(page, "{front}{}", line(&item.found));
    if let Some(consequence) = &item.consequence {
        let _ = writeln!(page, "{indent}cost:  {}", line(consequence));
    }
    if let Some(remedy) = item.remedy.as_deref().filter(|remedy| !reported.contains(remedy)) {
        reported.push(remedy);
        let _ = writeln!(page, "{indent}to do: {}", line(remedy));
    }
}

/// Makes text one line that no control character can break out of.
fn line(text: &str) -> String {
    shorten(&escape(text), SENTENCE)
}
