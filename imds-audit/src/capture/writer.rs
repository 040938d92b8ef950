//! Thread that writes a capture's files, behind a bounded queue.
//!
//! A disk may be slow, and a network file system gone: a write then takes as long as it likes. The
//! audit reads its ring meanwhile. Packets beyond the bound are dropped and counted, like those
//! that a full disk refuses.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::blocks::WrittenPacket;
use super::pending_losses::PendingLosses;
use crate::event::Loss;

/// The most bytes of packets that wait to be written.
const CAPACITY: usize = 16 << 20;
/// What a packet takes beside its bytes and its comment.
const OVERHEAD: usize = 128;
/// The packets that are written at a time.
const CHUNK: usize = 256;
/// Time that the end waits for progress, per attempt; attempts without progress after which it
/// gives up; attempts in all.
const ATTEMPT: Duration = Duration::from_millis(100);
const IDLE_ATTEMPTS: u32 = 30;
const ATTEMPTS: u32 = 600;

/// The reason given where the disk is at fault, and not an error.
const TOO_SLOW: &str = "writing takes too long";

/// Files that packets are written to.
pub(super) trait PacketFiles: Send + 'static {
    /// Adds a packet of a network namespace, and what was lost before it; the number of its interface
    /// is set here.
    fn add(&mut self, netns: Option<u32>, packet: WrittenPacket<'_>, losses: Vec<Loss>);

    /// Writes what was added.
    fn flush(&mut self);

    /// Writes what was lost behind the last packet; `dropped` packets in all were not added.
    fn close(&mut self, losses: Vec<Loss>, dropped: u64);

    /// Returns what was done so far.
    fn progress(&self) -> FilesProgress;
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FilesProgress {
    /// Packets written.
    pub(super) packets: u64,
    /// Packets that could not be written.
    pub(super) lost: u64,
    /// The last error.
    pub(super) last_error: Option<String>,
    /// The files that are there, the oldest first.
    pub(super) files: Vec<PathBuf>,
}

/// A packet that waits, with its comment.
pub(super) struct QueuedPacket {
    /// Its network namespace.
    pub(super) netns: Option<u32>,
    /// When it passed, in nanoseconds since 1970.
    pub(super) time: u64,
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    /// How many it had.
    pub(super) wire_length: usize,
    /// Its comment.
    pub(super) comment: String,
    /// What was lost before it.
    pub(super) losses: Vec<Loss>,
}

/// A queue of packets on their way to files.
pub(super) struct CaptureWriter(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the thread.
    work: Condvar,
    /// Wakes whoever waits for its progress.
    done: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<QueuedPacket>,
    /// The size of what waits or is being written.
    size: usize,
    /// Packets that are being written.
    in_hand: u64,
    /// What waits is to be written now.
    is_due: bool,
    /// Nothing more comes.
    end: Option<Vec<Loss>>,
    has_exited: bool,
    /// Counts what the thread has done.
    steps: u64,
    /// Packets that had no room.
    dropped: u64,
    /// Those, and what was lost before them, since the last packet that had.
    losses: PendingLosses,
    files: FilesProgress,
}

impl QueuedPacket {
    fn size(&self) -> usize {
        self.bytes.len() + self.comment.len() + OVERHEAD
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes until the end.
    fn write(&self, mut files: impl PacketFiles) {
        loop {
            let mut state = self.lock();
            while !state.is_due && state.end.is_none() {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let count = state.waiting.len().min(CHUNK);
            let chunk: Vec<_> = state.waiting.drain(..count).collect();
            let size: usize = chunk.iter().map(QueuedPacket::size).sum();
            state.in_hand = count as u64;
            state.is_due = !state.waiting.is_empty();
            let end = state.end.clone().filter(|_| !state.is_due);
            let dropped = state.dropped;
            drop(state);

            for packet in chunk {
                let QueuedPacket { netns, time, bytes, wire_length, comment, losses } = packet;
                let (bytes, comment) = (bytes.as_slice(), comment.as_str());
                let written =
                    WrittenPacket { interface: 0, time, bytes, wire_length, comment, lost: None };
                files.add(netns, written, losses);
            }
            files.flush();
            let is_last = end.is_some();
            if let Some(losses) = end {
                files.close(losses, dropped);
            }
            let mut state = self.lock();
            state.size = state.size.saturating_sub(size);
            state.in_hand = 0;
            state.steps += 1;
            state.files = files.progress();
            state.has_exited = is_last;
            self.done.notify_all();
            if is_last {
                return;
            }
        }
    }
}

impl CaptureWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// Returns an error if the system has no thread to give.
    pub(super) fn start(files: impl PacketFiles) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        shared.lock().files = files.progress();
        let thread = Arc::clone(&shared);
        let builder = thread::Builder::new().name("capture-files".to_owned());
        builder.spawn(move || thread.write(files))?;
        Ok(Self(shared))
    }

    /// Takes a packet, which is written after the next [`Self::flush`]. Never waits: a packet that
    /// there is no room for is lost.
    pub(super) fn push(&self, mut packet: QueuedPacket) {
        let mut state = self.0.lock();
        if state.size + packet.size() > CAPACITY {
            state.dropped += 1;
            state.losses.add(packet.losses);
            state.losses.add_unwritten(1);
            return;
        }
        packet.losses.extend(state.losses.take());
        state.size += packet.size();
        state.waiting.push_back(packet);
    }

    /// Has what waits written.
    pub(super) fn flush(&self) {
        let mut state = self.0.lock();
        if !state.waiting.is_empty() {
            state.is_due = true;
            self.0.work.notify_one();
        }
    }

    /// Ends the thread, and waits as long as it makes progress. Returns what was written. `losses` lie
    /// behind the last packet.
    pub(super) fn finish(&self, mut losses: Vec<Loss>) -> FilesProgress {
        let mut state = self.0.lock();
        losses.extend(state.losses.take());
        state.end = Some(losses);
        self.0.work.notify_one();
        let (mut idle, mut seen) = (0, state.steps);
        for _ in 0..ATTEMPTS {
            if state.has_exited || idle == IDLE_ATTEMPTS {
                break;
            }
            let waited = self.0.done.wait_timeout(state, ATTEMPT);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            idle = if state.steps == seen { idle + 1 } else { 0 };
            seen = state.steps;
        }
        let mut files = state.files.clone();
        let open = state.waiting.len() as u64 + state.in_hand;
        if open + state.dropped > 0 {
            files.lost += open + state.dropped;
            files.last_error.get_or_insert_with(|| TOO_SLOW.to_owned());
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Files that write when they are let.
    struct Slow {
        gate: Receiver<()>,
        entered: Sender<()>,
        written: u64,
        closed: Arc<Mutex<Option<(u64, u64)>>>,
        told: u64,
    }

    impl PacketFiles for Slow {
        fn add(&mut self, _: Option<u32>, packet: WrittenPacket<'_>, losses: Vec<Loss>) {
            assert_eq!(packet.bytes.len(), 100_000);
            self.written += 1;
            self.told += losses.iter().map(|loss| loss.count).sum::<u64>();
        }

        fn flush(&mut self) {
            let _ = self.entered.send(());
            // An error: the test is over.
            let _ = self.gate.recv();
        }

        fn close(&mut self, losses: Vec<Loss>, dropped: u64) {
            self.told += losses.iter().map(|loss| loss.count).sum::<u64>();
            *self.closed.lock().unwrap() = Some((self.told, dropped));
        }

        fn progress(&self) -> FilesProgress {
            FilesProgress { packets: self.written, ..FilesProgress::default() }
        }
    }

    fn packet() -> QueuedPacket {
        let bytes = vec![1; 100_000];
        QueuedPacket {
            netns: None,
            time: 1,
            bytes,
            wire_length: 100_000,
            comment: String::new(),
            losses: Vec::new(),
        }
    }

    #[test]
    fn a_disk_that_hangs_holds_nothing_up_and_what_had_no_room_is_counted() {
        let ((open, gate), (entered, is_writing)) = (channel(), channel());
        let closed = Arc::default();
        let slow = Slow { gate, entered, written: 0, closed: Arc::clone(&closed), told: 0 };
        let writer = CaptureWriter::start(slow).unwrap();
        writer.push(packet());
        writer.flush();
        is_writing.recv().unwrap();
        // Nothing is written from here on, and the queue takes what it can.
        for _ in 0..1_000 {
            writer.push(packet());
            writer.flush();
        }
        drop(open);
        let done = writer.finish(Vec::new());
        let lost = done.lost;
        assert!((1_001 - lost) * 100_128 <= CAPACITY as u64, "{lost}");
        assert!(0 < lost && lost < 900, "{lost}");
        assert_eq!(done.packets, 1_001 - lost);
        assert_eq!(done.last_error.as_deref(), Some(TOO_SLOW));
        // Comments tell of each.
        assert_eq!(*closed.lock().unwrap(), Some((lost, lost)));
    }

    #[test]
    fn a_disk_that_never_comes_back_is_given_up_and_its_packets_are_lost() {
        let ((open, gate), (entered, is_writing)) = (channel(), channel());
        let slow = Slow { gate, entered, written: 0, closed: Arc::default(), told: 0 };
        let writer = CaptureWriter::start(slow).unwrap();
        writer.push(packet());
        writer.flush();
        is_writing.recv().unwrap();
        writer.push(packet());
        assert_eq!(writer.finish(Vec::new()).lost, 2);
        drop(open);
    }
}
