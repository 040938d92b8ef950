//! The callers of a report as CSV, one row for each cause and client.

use csv::WriterBuilder;

use crate::aggregate::readiness::{CallerReport, Report};
use crate::event::{CallerAdvice, Time};
use crate::text::terminal;

/// The columns.
const COLUMNS: [&str; 18] = [
    "id",
    "title",
    "home",
    "status",
    "requests",
    "without_token",
    "hosts",
    "example_hosts",
    "first",
    "last",
    "last_without_token",
    "resources",
    "cause",
    "client",
    "client_version",
    "reason",
    "fix",
    "command",
];

/// Renders the callers of a report as CSV with a header line (RFC 4180, with line feeds).
///
/// A spreadsheet takes a cell for a formula that begins with `=`, `+`, `-`, `@`, a tab or a
/// carriage return (OWASP, "CSV Injection"): such a cell begins with an apostrophe here. Control
/// characters are escaped.
///
/// # Errors
/// Returns an error if a row cannot be rendered.
pub(crate) fn render(report: &Report) -> Result<String, csv::Error> {
    let mut writer = WriterBuilder::new().from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    for caller in &report.callers {
        if caller.advice.is_empty() {
            writer.write_record(row(caller, None).map(|cell| safe(&cell)))?;
        }
        for advice in &caller.advice {
            writer.write_record(row(caller, Some(advice)).map(|cell| safe(&cell)))?;
        }
    }
    let bytes = writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn row(caller: &CallerReport, advice: Option<&CallerAdvice>) -> [String; 18] {
    let time = |time: Option<Time>| time.map(|time| time.to_string()).unwrap_or_default();
    let name = |value: Option<serde_json::Value>| {
        value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let client = advice.and_then(|advice| advice.client.as_ref());
    let resources: Vec<_> = caller.resources.iter().map(|resource| resource.name()).collect();
    [
        caller.id.clone(),
        caller.title.clone(),
        caller.home.clone().unwrap_or_default(),
        name(serde_json::to_value(caller.status).ok()),
        caller.requests.to_string(),
        caller.without_token.to_string(),
        caller.hosts.to_string(),
        caller.example_hosts.join(" "),
        time(caller.first),
        time(caller.last),
        time(caller.last_without_token),
        resources.join(" "),
        name(advice.and_then(|advice| serde_json::to_value(advice.advice.cause).ok())),
        client.map(|client| client.name.clone()).unwrap_or_default(),
        client.and_then(|client| client.version.clone()).unwrap_or_default(),
        advice.map(|advice| advice.advice.reason.clone()).unwrap_or_default(),
        advice.map(|advice| advice.advice.text.clone()).unwrap_or_default(),
        advice.and_then(|advice| advice.advice.command.clone()).unwrap_or_default(),
    ]
}

fn safe(cell: &str) -> String {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']);
    let escaped = terminal::escape(cell);
    if is_formula { format!("'{escaped}") } else { escaped }
}
