//! Readers of JSON lines: from files to lines, from lines to events.
//!
//! Whatever a file holds is hostile: a line has a bound, a line that is no event is counted and
//! never fatal, kinds and values that this version does not know are read as unknown.

mod files;
mod line;
mod members;

pub use files::{FileError, MAX_LINE, Source, find, is_compressed};
pub(crate) use line::CallerLine;
pub use line::{DamagedLine, Line, LineKind, RequestLine};

use super::Event;

/// A line of a file.
#[derive(Debug)]
pub enum Parsed {
    /// An event, perhaps of a kind that this version does not know.
    Event(Box<Event>),
    /// Not an event of this program.
    Foreign,
    /// An event of this program that is damaged, with the reason.
    Malformed(String),
}

/// Reads one line.
///
/// Text before the event is skipped: the kubelet and other collectors put a time in front.
pub fn parse(line: &[u8]) -> Parsed {
    let Some(json) = event_part(line) else { return Parsed::Foreign };
    match serde_json::from_slice(json) {
        Ok(event) => Parsed::Event(Box::new(event)),
        Err(error) => Parsed::Malformed(error.to_string()),
    }
}

/// Returns the part of a line that may be an event; `None` if there is none.
fn event_part(line: &[u8]) -> Option<&[u8]> {
    const START: &[u8] = br#"{"schema":"#;
    let line = line.trim_ascii();
    if line.starts_with(START) {
        return Some(line);
    }
    if let Some(place) = memchr::memmem::find(line, START) {
        return line.get(place..);
    }
    // Another writer may have ordered the members or spaced them otherwise.
    let has_schema = line.starts_with(b"{") && memchr::memmem::find(line, br#""schema""#).is_some();
    has_schema.then_some(line)
}

#[cfg(test)]
mod tests;
