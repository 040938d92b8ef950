//! JSON lines.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Serializer, ser::Formatter};

use crate::event::Event;
use crate::text::bounded::{is_hidden, is_plain};

/// Appends an event to `line` as one JSON object and a line feed.
///
/// Every character is escaped that separates lines, moves something on a terminal or hides: one
/// event is always one line, for whoever reads it. On an error `line` is as it was before.
pub fn render(event: &Event, line: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let before = line.len();
    let mut written = event.serialize(&mut Serializer::new(&mut *line));
    // Most lines have nothing to escape beyond what JSON asks for, and one look says so.
    if written.is_ok() && !line.get(before..).is_some_and(is_plain) {
        line.truncate(before);
        written = event.serialize(&mut Serializer::with_formatter(&mut *line, Escaping));
    }
    match written {
        Ok(()) => line.push(b'\n'),
        Err(_) => line.truncate(before),
    }
    written
}

/// Writes compact JSON that escapes what JSON need not (RFC 8259, section 7): a terminal takes
/// U+009B for the start of a command and U+202E for an order to write from right to left, and
/// there are readers whose lines end at U+2028.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut written = 0;
        for (at, hidden) in fragment.match_indices(is_hidden) {
            writer.write_all(fragment.get(written..at).unwrap_or_default().as_bytes())?;
            // One beyond U+FFFF is two halves.
            for unit in hidden.encode_utf16() {
                write!(writer, "\\u{unit:04x}")?;
            }
            written = at + hidden.len();
        }
        writer.write_all(fragment.get(written..).unwrap_or_default().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture::request;

    #[test]
    fn an_event_is_one_line_whatever_its_arguments() {
        let mut line = Vec::new();
        render(&Event::from(request(&[], &[b"a\nb\r\x1b\xff\xe2\x80\xa8"])), &mut line).unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert!(line.ends_with(b"}\n"));
        assert!(serde_json::from_slice::<serde_json::Value>(&line).is_ok());
    }

    #[test]
    fn no_control_character_comes_through_and_none_is_lost() {
        let argument = "a\u{7f}\u{9b}2J\u{80}\u{9f}é\u{a0}\u{1b}\u{202e}\u{2028}\u{3164}\u{e0001}b";
        let mut line = Vec::new();
        render(&Event::from(request(&[], &[argument.as_bytes()])), &mut line).unwrap();
        let text = std::str::from_utf8(&line).unwrap();
        assert!(!text.trim_end().contains(is_hidden), "{text:?}");
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(value["process"]["args"][0], argument);
    }
}
