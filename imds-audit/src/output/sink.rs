//! An output: a filter, a line format, and the queue before a writer.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    destination::Destination,
    filter::EventFilter,
    json,
    loss::LostLines,
    queue::Queue,
    text::{self, TextStyle},
    writer::{Writer, WriterError},
};
use crate::event::{Body, Event, LossEvent, Origin, Time};

/// The form of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text(TextStyle),
    /// For machines.
    Json,
}

impl Format {
    /// Appends an event's line.
    fn render(self, event: &Event, line: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        match self {
            Self::Text(style) => {
                text::render(event, style, line);
                Ok(())
            }
            Self::Json => json::render(event, line),
        }
    }
}

/// An output of events.
///
/// Events that could not be written are reported, by a `loss` with the reason `output`, as soon
/// as writing works again; those that were removed with a rotated file for want of free space, by one
/// with the reason `removed`.
#[derive(Debug)]
pub struct Sink {
    format: Format,
    filter: EventFilter,
    queue: Queue,
    line: Vec<u8>,
    name: String,
    /// The origin of what the thread that writes reports.
    origin: Arc<Mutex<Arc<Origin>>>,
    /// Tells callers apart for the queue; nobody can choose a name that falls together with another's.
    hasher: RandomState,
}

impl Sink {
    /// Starts an output and the thread that writes.
    ///
    /// # Errors
    /// Returns an error if the thread cannot be started.
    pub fn start<D>(format: Format, filter: EventFilter, writer: Writer<D>) -> io::Result<Self>
    where
        D: Destination + 'static,
    {
        let origin = Arc::<Mutex<Arc<Origin>>>::default();
        let current = Arc::clone(&origin);
        let queue = Queue::start(writer, move |lost| {
            let time = Time(jiff::Timestamp::now());
            let origin = Arc::clone(&current.lock().unwrap_or_else(PoisonError::into_inner));
            let mut line = Vec::new();
            for loss in lost.losses() {
                let body = Body::Loss(LossEvent { time, loss, window: None });
                let event = Event { origin: Arc::clone(&origin), ..Event::from(body) };
                if let Err(error) = format.render(&event, &mut line) {
                    log::warn!("cannot render a loss error={error}");
                }
            }
            line
        })?;
        let (line, name, hasher) = (Vec::new(), String::new(), RandomState::new());
        Ok(Self { format, filter, queue, line, name, origin, hasher })
    }

    /// Gives what the thread that writes reports this origin from now on.
    pub(crate) fn set_origin(&self, origin: &Arc<Origin>) {
        *self.origin.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(origin);
    }

    /// Takes an event; it is written at the next [`flush`](Self::flush), or when a chunk is full.
    pub fn write(&mut self, event: &Event) {
        if !self.filter.admits(&event.body) {
            return;
        }
        self.line.clear();
        match self.format.render(event, &mut self.line) {
            Ok(()) => self.queue.push(&self.line, self.caller(&event.body)),
            Err(error) => {
                log::warn!("cannot render an event error={error}");
                self.queue.count_unrenderable();
            }
        }
    }

    /// Returns whose line an event's is, if it is of a caller. Those of connections, whose processes
    /// may change their names at will, share one.
    fn caller(&self, body: &Body) -> Option<u64> {
        match body {
            Body::Request(request) => Some(self.hasher.hash_one(&request.caller.id)),
            Body::Connection(_) => Some(0),
            Body::Loss(_)
            | Body::Start(_)
            | Body::Stop(_)
            | Body::Tally(_)
            | Body::Rehearsal(_)
            | Body::Other => None,
        }
    }

    /// Flushes buffered lines; to be called when no records are pending. Returns the losses that have
    /// been reported, for the summary.
    ///
    /// # Errors
    /// Returns an error if the output is closed.
    pub fn flush(&self) -> Result<LostLines, WriterError> {
        self.queue.flush()
    }

    /// Gives it a name.
    pub fn named(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the queue behind it.
    pub const fn queue(&self) -> &Queue {
        &self.queue
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{ErrorKind, Write},
        sync::{Arc, Mutex},
    };

    use super::*;
    use crate::{event::tests::example, output::filter::ClassFilter};

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
            Sink::start(Format::Json, EventFilter::default(), Writer::new(output.clone())).unwrap();
        let event = Event::from(example());
        let origin = Arc::new(Origin {
            run: Some("7".repeat(32)),
            labels: [("role".to_owned(), "worker".to_owned())].into(),
            ..Origin::default()
        });
        sink.set_origin(&origin);
        output.0.lock().unwrap().1 = true;
        for _ in 0..3 {
            sink.write(&event);
            assert_eq!(sink.flush().unwrap(), LostLines::default());
            assert!(sink.queue().drain());
        }
        assert_eq!(sink.queue().unwritten(), 3);
        assert!(sink.queue().last_error().unwrap().contains("storage"), "{:?}", sink.queue());
        output.0.lock().unwrap().1 = false;
        sink.write(&event);
        assert!(sink.queue().drain());
        assert_eq!(sink.flush().unwrap(), LostLines { unwritten: 3, removed: 0 });
        let written = String::from_utf8(output.0.lock().unwrap().0.clone()).unwrap();
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[1].contains(r#""loss":{"reason":"output","what":"events","count":3}"#));
        // It says where it comes from, as every event does.
        let loss: Event = serde_json::from_str(lines[1]).unwrap();
        assert_eq!(loss.origin, origin);
        assert_eq!(sink.queue().unwritten(), 0);
    }

    #[test]
    fn a_filtered_request_is_not_written() {
        let output = Shared::default();
        let filter = "v2".parse::<ClassFilter>().unwrap().into();
        let format = Format::Text(TextStyle::default());
        let mut sink = Sink::start(format, filter, Writer::new(output.clone())).unwrap();
        sink.write(&Event::from(example()));
        assert!(sink.queue().drain());
        assert!(output.0.lock().unwrap().0.is_empty());
    }
}
