//! Where events go: through the filter, in one of two forms, to a writer.

use std::io::Write;

use super::filter::Only;
use super::text::Look;
use super::writer::{Writer, WriterError};
use super::{json, text};
use crate::audit::event::{Body, Event, Loss, LossEvent, LossUnit, Time};

/// The form of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text(Look),
    /// For machines.
    Json,
}

/// Takes events and writes them.
///
/// Events that could not be written are reported, by a `loss` with the reason `output`, as soon
/// as writing works again.
#[derive(Debug)]
pub struct Sink<W> {
    format: Format,
    only: Only,
    writer: Writer<W>,
    /// Events that have no JSON form.
    unwritable: u64,
    unreported: u64,
    line: Vec<u8>,
}

impl<W: Write> Sink<W> {
    /// Makes a sink.
    pub const fn new(format: Format, only: Only, writer: Writer<W>) -> Self {
        Self { format, only, writer, unwritable: 0, unreported: 0, line: Vec::new() }
    }

    /// Takes an event; it is written when the queue is empty, or when enough has come together.
    pub fn write(&mut self, event: &Event) -> Result<(), WriterError> {
        if !self.only.admits(&event.body) {
            return Ok(());
        }
        self.line.clear();
        match self.format {
            Format::Text(look) => text::render(event, look, &mut self.line),
            Format::Json => {
                if let Err(error) = json::render(event, &mut self.line) {
                    log::warn!("cannot render an event error={error}");
                    self.unwritable = self.unwritable.saturating_add(1);
                    return Ok(());
                }
            }
        }
        self.writer.write(&self.line)
    }

    /// Writes what was held back, to be called when the queue is empty. Returns the loss that
    /// it reported, for the summary.
    pub fn flush(&mut self, now: Time) -> Result<Option<Loss>, WriterError> {
        self.writer.flush()?;
        if self.writer.is_failing() {
            return Ok(None);
        }
        let lost = self.writer.take_lost().saturating_add(std::mem::take(&mut self.unwritable));
        self.unreported = self.unreported.saturating_add(lost);
        if self.unreported == 0 {
            return Ok(None);
        }
        let loss = output_loss(self.unreported);
        self.write(&Event::from(Body::Loss(LossEvent { time: now, loss: loss.clone() })))?;
        self.writer.flush()?;
        // The report itself is no event that was lost; the next attempt repeats it.
        if self.writer.take_lost() > 0 {
            return Ok(None);
        }
        self.unreported = 0;
        Ok(Some(loss))
    }

    /// Returns what the system said when the output last failed.
    pub fn trouble(&self) -> Option<&str> {
        self.writer.trouble()
    }

    /// Returns how many events could not be written and are not yet reported.
    pub const fn unreported(&self) -> u64 {
        self.unreported.saturating_add(self.writer.lost()).saturating_add(self.unwritable)
    }
}

/// Makes the loss of events that could not be written.
pub const fn output_loss(count: u64) -> Loss {
    let reason = std::borrow::Cow::Borrowed("output");
    Loss { reason, what: LossUnit::Events, count, process: None }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io::{self, ErrorKind};
    use std::rc::Rc;

    use super::*;
    use crate::audit::event::tests::example;

    #[derive(Clone, Default)]
    struct Shared(Rc<RefCell<(Vec<u8>, bool)>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut inner = self.0.borrow_mut();
            if inner.1 {
                return Err(ErrorKind::StorageFull.into());
            }
            inner.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn events_lost_on_a_full_disk_are_reported_when_there_is_room_again() {
        let output = Shared::default();
        let mut sink = Sink::new(Format::Json, Only::default(), Writer::new(output.clone()));
        let event = Event::from(example());
        let now = event.body.time();
        output.0.borrow_mut().1 = true;
        for _ in 0..3 {
            sink.write(&event).unwrap();
            sink.flush(now).unwrap();
        }
        output.0.borrow_mut().1 = false;
        sink.write(&event).unwrap();
        assert_eq!(sink.flush(now).unwrap(), Some(output_loss(2 + 1)));
        let written = String::from_utf8(output.0.borrow().0.clone()).unwrap();
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[1].ends_with(r#""loss":{"reason":"output","what":"events","count":3}}"#));
        assert_eq!(sink.unreported(), 0);
    }

    #[test]
    fn a_filtered_request_is_not_written() {
        let output = Shared::default();
        let only = "v2".parse().unwrap();
        let mut sink = Sink::new(Format::Text(Look::default()), only, Writer::new(output.clone()));
        let event = Event::from(example());
        sink.write(&event).unwrap();
        sink.flush(event.body.time()).unwrap();
        assert!(output.0.borrow().0.is_empty());
    }
}
