use std::{
    io::{ErrorKind, Write},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
};

use super::{state::CHUNK, *};

/// A pipe that takes one write for each word of its reader's.
struct Pipe {
    words: Receiver<Word>,
    written: Arc<Mutex<Vec<u8>>>,
}

/// What a reader does.
enum Word {
    /// Takes what was written.
    Take,
    /// Goes away.
    Leave,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.words.recv() {
            Ok(Word::Take) => {
                self.written.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            Ok(Word::Leave) => Err(ErrorKind::BrokenPipe.into()),
            // The test is over.
            Err(_) => Err(ErrorKind::Other.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn pipe() -> (Queue, SyncSender<Word>, Arc<Mutex<Vec<u8>>>) {
    let (reader, words) = sync_channel(1000);
    let written = Arc::<Mutex<Vec<u8>>>::default();
    let pipe = Pipe { words, written: Arc::clone(&written) };
    let report = |lost: LostLines| format!("lost {}\n", lost.unwritten).into_bytes();
    (Queue::start(Writer::new(pipe), report).unwrap(), reader, written)
}

fn line(length: usize) -> Vec<u8> {
    let mut line = vec![b'x'; length - 1];
    line.push(b'\n');
    line
}

#[test]
fn a_pipe_that_nobody_reads_holds_nobody_up_and_memory_stays_bounded() {
    let (queue, reader, written) = pipe();
    const LINES: u64 = 5000;
    for _ in 0..LINES {
        queue.push(&line(1000), None);
        queue.flush().unwrap();
    }
    let held: usize = queue.shared.lock().chunks.iter().map(|chunk| chunk.bytes.capacity()).sum();
    assert!(held <= CAPACITY + CAPACITY / 16, "{held}");
    assert!(queue.unwritten() == LINES && queue.last_error().unwrap() == UNREAD);
    // Somebody reads again.
    for _ in 0..200 {
        reader.send(Word::Take).unwrap();
    }
    assert!(queue.drain());
    assert_eq!(queue.unwritten(), 0);
    let reported = queue.flush().unwrap();
    let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
    let (reports, lines): (Vec<_>, Vec<_>) =
        written.lines().partition(|line| line.starts_with("lost"));
    let counted: u64 = reports.iter().map(|report| report[5..].parse::<u64>().unwrap()).sum();
    assert!(counted > 0 && counted == reported.unwritten, "{reports:?}");
    assert_eq!(lines.len() as u64 + counted, LINES);
    assert!(lines.iter().all(|line| line.len() == 999));
}

#[test]
fn a_caller_that_floods_an_output_that_is_slow_leaves_room_for_the_others() {
    let mut state = State::default();
    let mut push = |caller: u64| {
        let has_room = state.has_room(1000, Some(caller));
        if has_room {
            state.add(&line(1000), Some(caller));
        }
        has_room
    };
    let flood = (0..10_000).filter(|_| push(1)).count();
    assert_eq!(flood, CAPACITY * 3 / 4 / 1000);
    // Ten more who flood leave room for one who does not: each holds at most three times what is left,
    // so with the first a part in 1 + 3 × 10 of the last quarter is left, and of that three quarters
    // are one caller's.
    for number in 0..100_000 {
        push(2 + number % 10);
    }
    let room = CAPACITY / 4 / (1 + 3 * 10) * 3 / 4 / 1000;
    assert!(room >= 10 && (0..room).all(|_| push(100)));
    assert!(state.has_room(1000, None));
    // What was written is room again, for whoever had it.
    while !state.chunks.is_empty() {
        state.take();
    }
    assert!(state.callers.is_empty() && state.has_room(CAPACITY / 2, Some(1)));
}

#[test]
fn waiting_for_a_pipe_that_nobody_reads_is_given_up() {
    let (queue, reader, _) = pipe();
    queue.push(b"a\n", None);
    assert!(!queue.drain());
    assert_eq!((queue.freeze_losses(), queue.unwritten()), (LostLines::default(), 1));
    assert_eq!(queue.last_error().unwrap(), UNREAD);
    drop(reader);
}

#[test]
fn a_reader_that_goes_away_is_noticed_and_nothing_counts_as_unwritten() {
    let (queue, reader, _) = pipe();
    reader.send(Word::Leave).unwrap();
    queue.push(b"a\n", None);
    assert!(queue.drain());
    assert!(matches!(queue.flush(), Err(WriterError::Closed)));
    queue.push(b"b\n", None);
    assert_eq!((queue.unwritten(), queue.last_error()), (0, None));
}

#[test]
fn nothing_follows_the_last_line_which_reports_the_losses() {
    let (queue, reader, written) = pipe();
    queue.count_unrenderable();
    assert_eq!(queue.freeze_losses().unwritten, 1);
    queue.push(b"stop\n", None);
    reader.send(Word::Take).unwrap();
    reader.send(Word::Take).unwrap();
    assert!(queue.drain());
    assert_eq!(written.lock().unwrap().as_slice(), b"stop\n");
    assert_eq!(queue.unwritten(), 0);
}

#[test]
fn lines_that_wait_are_written_when_it_is_dropped() {
    let (queue, reader, written) = pipe();
    reader.send(Word::Take).unwrap();
    queue.push(b"a\n", None);
    drop(queue);
    assert_eq!(written.lock().unwrap().as_slice(), b"a\n");
}

proptest::proptest! {
    #[test]
    fn chunks_are_whole_lines_and_all_of_them(
        lengths in proptest::collection::vec(1_usize..(2 * CHUNK), 0..8),
    ) {
        let mut state = State::default();
        let mut bytes = Vec::new();
        for length in lengths {
            state.add(&line(length), Some(length as u64 % 3));
            bytes.extend_from_slice(&line(length));
            proptest::prop_assert_eq!(state.size, bytes.len());
        }
        let mut taken = Vec::new();
        while !state.chunks.is_empty() {
            let chunk = state.take();
            proptest::prop_assert!(chunk.bytes.ends_with(b"\n"));
            let lines = chunk.bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
            proptest::prop_assert_eq!(lines, chunk.lines);
            proptest::prop_assert!(chunk.bytes.len() <= CHUNK || lines == 1);
            proptest::prop_assert_eq!(state.flush_requested, !state.chunks.is_empty());
            taken.extend_from_slice(&chunk.bytes);
            state.reuse(chunk);
        }
        proptest::prop_assert_eq!(taken, bytes);
        proptest::prop_assert_eq!((state.size, state.waiting), (0, 0));
        proptest::prop_assert!(state.callers.is_empty());
    }
}
