use std::io::ErrorKind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::*;

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
    let report = |lost| format!("lost {lost}\n").into_bytes();
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
        queue.push(&line(1000));
        queue.flush().unwrap();
    }
    let held: usize = queue.shared.lock().pieces.iter().map(|piece| piece.bytes.capacity()).sum();
    assert!(held <= CAPACITY + CAPACITY / 16, "{held}");
    assert!(queue.unwritten() == LINES && queue.trouble().unwrap() == UNREAD);
    // Somebody reads again.
    for _ in 0..200 {
        reader.send(Word::Take).unwrap();
    }
    assert!(queue.settle());
    assert_eq!(queue.unwritten(), 0);
    let reported = queue.flush().unwrap();
    let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
    let (reports, lines): (Vec<_>, Vec<_>) =
        written.lines().partition(|line| line.starts_with("lost"));
    let told: u64 = reports.iter().map(|report| report[5..].parse::<u64>().unwrap()).sum();
    assert!(told > 0 && told == reported, "{reports:?}");
    assert_eq!(lines.len() as u64 + told, LINES);
    assert!(lines.iter().all(|line| line.len() == 999));
}

#[test]
fn waiting_for_a_pipe_that_nobody_reads_is_given_up() {
    let (queue, reader, _) = pipe();
    queue.push(b"a\n");
    assert!(!queue.settle());
    assert_eq!((queue.hush(), queue.unwritten()), (0, 1));
    assert_eq!(queue.trouble().unwrap(), UNREAD);
    drop(reader);
}

#[test]
fn a_reader_that_goes_away_is_noticed_and_nothing_counts_as_unwritten() {
    let (queue, reader, _) = pipe();
    reader.send(Word::Leave).unwrap();
    queue.push(b"a\n");
    assert!(queue.settle());
    assert!(matches!(queue.flush(), Err(WriterError::Closed)));
    queue.push(b"b\n");
    assert_eq!((queue.unwritten(), queue.trouble()), (0, None));
}

#[test]
fn nothing_follows_the_last_line_that_tells_what_was_lost() {
    let (queue, reader, written) = pipe();
    queue.lose();
    assert_eq!(queue.hush(), 1);
    queue.push(b"stop\n");
    reader.send(Word::Take).unwrap();
    reader.send(Word::Take).unwrap();
    assert!(queue.settle());
    assert_eq!(written.lock().unwrap().as_slice(), b"stop\n");
    assert_eq!(queue.unwritten(), 0);
}

#[test]
fn lines_that_wait_are_written_when_it_is_dropped() {
    let (queue, reader, written) = pipe();
    reader.send(Word::Take).unwrap();
    queue.push(b"a\n");
    drop(queue);
    assert_eq!(written.lock().unwrap().as_slice(), b"a\n");
}

proptest::proptest! {
    #[test]
    fn pieces_are_whole_lines_and_all_of_them(
        lengths in proptest::collection::vec(1_usize..(2 * PIECE), 0..8),
    ) {
        let mut state = State::default();
        let mut bytes = Vec::new();
        for length in lengths {
            state.add(&line(length));
            bytes.extend_from_slice(&line(length));
            proptest::prop_assert_eq!(state.size, bytes.len());
        }
        let mut taken = Vec::new();
        while !state.pieces.is_empty() {
            let piece = state.take();
            proptest::prop_assert!(piece.bytes.ends_with(b"\n"));
            let lines = piece.bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
            proptest::prop_assert_eq!(lines, piece.lines);
            proptest::prop_assert!(piece.bytes.len() <= PIECE || lines == 1);
            proptest::prop_assert_eq!(state.asked, !state.pieces.is_empty());
            taken.extend_from_slice(&piece.bytes);
            state.reuse(piece);
        }
        proptest::prop_assert_eq!(taken, bytes);
        proptest::prop_assert_eq!((state.size, state.waiting), (0, 0));
    }
}
