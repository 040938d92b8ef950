use std::{
    io::{self, ErrorKind, Write},
    sync::Mutex,
};

use super::*;
use crate::{
    event::tests::example,
    output::{filter::EventFilter, sink::Format, writer::Writer},
};

#[derive(Clone, Default)]
struct Stream(Arc<Mutex<(Vec<u8>, Option<ErrorKind>)>>);

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.0.lock().unwrap();
        if let Some(error) = inner.1 {
            return Err(error.into());
        }
        inner.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream {
    fn lines(&self) -> usize {
        self.0.lock().unwrap().0.iter().filter(|byte| **byte == b'\n').count()
    }

    fn output(&self) -> Sink {
        Sink::start(Format::Json, EventFilter::default(), Writer::new(self.clone())).unwrap()
    }
}

fn output_loss(count: u64) -> Loss {
    LostLines { unwritten: count, ..LostLines::default() }.losses().next().unwrap()
}

#[test]
fn each_output_gets_each_event_and_one_that_is_closed_does_not_end_the_others() {
    let (one, two) = (Stream::default(), Stream::default());
    let mut sink = EventSink::new(Origin::default(), vec![one.output(), two.output()]);
    let mut seen = 0;
    sink.emit(Event::from(example()), &mut |_| seen += 1);
    sink.drain(&mut |_| {});
    assert_eq!((one.lines(), two.lines()), (1, 1));
    one.0.lock().unwrap().1 = Some(ErrorKind::BrokenPipe);
    for _ in 0..2 {
        sink.emit(Event::from(example()), &mut |_| seen += 1);
        sink.drain(&mut |_| {});
    }
    assert!(!sink.is_closed());
    assert_eq!((one.lines(), two.lines(), seen), (1, 3, 3));
    two.0.lock().unwrap().1 = Some(ErrorKind::BrokenPipe);
    sink.emit(Event::from(example()), &mut |_| {});
    sink.drain(&mut |_| {});
    assert!(sink.is_closed());
}

#[test]
fn windows_count_what_is_written_nowhere() {
    let stream = Stream::default();
    let mut sink = EventSink::new(Origin::default(), vec![stream.output()]);
    let time = example().time;
    sink.sum_windows(&Event::from(example()));

    stream.0.lock().unwrap().1 = Some(ErrorKind::StorageFull);
    sink.emit(Event::from(example()), &mut |_| {});
    sink.drain(&mut |_| {});
    stream.0.lock().unwrap().1 = None;
    let mut tallies = Vec::new();
    sink.freeze_losses(&mut |_| {});
    sink.close_window(time, true, &mut |event| {
        if let Body::Tally(tally) = &event.body {
            tallies.push((tally.totals.requests, tally.losses.clone()));
        }
    });
    assert_eq!(tallies, [(2, vec![output_loss(1)])]);
}

#[test]
fn the_observer_sees_what_an_output_lost() {
    let stream = Stream::default();
    let mut sink = EventSink::new(Origin::default(), vec![stream.output()]);
    stream.0.lock().unwrap().1 = Some(ErrorKind::StorageFull);
    sink.emit(Event::from(example()), &mut |_| {});
    sink.drain(&mut |_| {});
    let mut losses = Vec::new();
    sink.freeze_losses(&mut |event| {
        if let Body::Loss(event) = &event.body {
            losses.push(event.loss.clone());
        }
    });
    assert_eq!(losses, [output_loss(1)]);
}

#[test]
fn outputs_without_one_are_not_closed() {
    let mut sink = EventSink::new(Origin::default(), Vec::new());
    sink.flush(&mut |_| {});
    assert!(!sink.is_closed());
}
