//! Where events go: through the filter, in one of two forms, to a writer.

use std::io::{self, Write};

use super::filter::Only;
use super::queue::Queue;
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

impl Format {
    /// Appends an event's line.
    fn render(self, event: &Event, line: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        match self {
            Self::Text(look) => {
                text::render(event, look, line);
                Ok(())
            }
            Self::Json => json::render(event, line),
        }
    }
}

/// Takes events and has them written.
///
/// Events that could not be written are reported, by a `loss` with the reason `output`, as soon
/// as writing works again.
#[derive(Debug)]
pub struct Sink {
    format: Format,
    only: Only,
    queue: Queue,
    line: Vec<u8>,
}

impl Sink {
    /// Makes a sink, and starts the thread that writes.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn start<W>(format: Format, only: Only, writer: Writer<W>) -> io::Result<Self>
    where
        W: Write + Send + 'static,
    {
        let queue = Queue::start(writer, move |lost| {
            let time = Time(jiff::Timestamp::now());
            let loss = Event::from(Body::Loss(LossEvent { time, loss: output_loss(lost) }));
            let mut line = Vec::new();
            if let Err(error) = format.render(&loss, &mut line) {
                log::warn!("cannot render a loss error={error}");
            }
            line
        })?;
        Ok(Self { format, only, queue, line: Vec::new() })
    }

    /// Takes an event; it is written at the next [`flush`](Self::flush), or when enough has come
    /// together.
    pub fn write(&mut self, event: &Event) {
        if !self.only.admits(&event.body) {
            return;
        }
        self.line.clear();
        match self.format.render(event, &mut self.line) {
            Ok(()) => self.queue.push(&self.line),
            Err(error) => {
                log::warn!("cannot render an event error={error}");
                self.queue.lose();
            }
        }
    }

    /// Has written what was held back, to be called when the queue is empty. Returns a loss that
    /// has been reported, for the summary.
    ///
    /// # Errors
    /// Where nobody reads any more.
    pub fn flush(&self) -> Result<Option<Loss>, WriterError> {
        let reported = self.queue.flush()?;
        Ok((reported > 0).then(|| output_loss(reported)))
    }

    /// Gives what is behind it, for the end.
    pub const fn queue(&self) -> &Queue {
        &self.queue
    }
}

/// Makes the loss of events that could not be written.
pub const fn output_loss(count: u64) -> Loss {
    let reason = std::borrow::Cow::Borrowed("output");
    Loss { reason, what: LossUnit::Events, count, process: None }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::audit::event::tests::example;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<(Vec<u8>, bool)>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut inner = self.0.lock().unwrap();
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
        let mut sink =
            Sink::start(Format::Json, Only::default(), Writer::new(output.clone())).unwrap();
        let event = Event::from(example());
        output.0.lock().unwrap().1 = true;
        for _ in 0..3 {
            sink.write(&event);
            assert_eq!(sink.flush().unwrap(), None);
            assert!(sink.queue().settle());
        }
        assert_eq!(sink.queue().unwritten(), 3);
        assert!(sink.queue().trouble().unwrap().contains("storage"), "{:?}", sink.queue());
        output.0.lock().unwrap().1 = false;
        sink.write(&event);
        assert!(sink.queue().settle());
        assert_eq!(sink.flush().unwrap(), Some(output_loss(3)));
        let written = String::from_utf8(output.0.lock().unwrap().0.clone()).unwrap();
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[1].ends_with(r#""loss":{"reason":"output","what":"events","count":3}}"#));
        assert_eq!(sink.queue().unwritten(), 0);
    }

    #[test]
    fn a_filtered_request_is_not_written() {
        let output = Shared::default();
        let only = "v2".parse().unwrap();
        let format = Format::Text(Look::default());
        let mut sink = Sink::start(format, only, Writer::new(output.clone())).unwrap();
        sink.write(&Event::from(example()));
        assert!(sink.queue().settle());
        assert!(output.0.lock().unwrap().0.is_empty());
    }
}
