//! JSON lines.

use crate::audit::event::Event;

/// Appends an event to `line` as one JSON object and a line feed.
///
/// JSON escapes every control character, so one event is always one line. On an error `line`
/// is as it was before.
pub fn render(event: &Event, line: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let before = line.len();
    let written = serde_json::to_writer(&mut *line, event);
    match written {
        Ok(()) => line.push(b'\n'),
        Err(_) => line.truncate(before),
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::event::tests::request;

    #[test]
    fn an_event_is_one_line_whatever_its_arguments() {
        let mut line = Vec::new();
        render(&Event::from(request(&[], &[b"a\nb\r\x1b\xff\xe2\x80\xa8"])), &mut line).unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert!(line.ends_with(b"}\n"));
        assert!(serde_json::from_slice::<serde_json::Value>(&line).is_ok());
    }
}
