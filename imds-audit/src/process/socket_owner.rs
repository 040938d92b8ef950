//! Lookup of the process that owns a socket, by the socket's inode in `/proc/PID/fd`.
//!
//! A worker thread does the lookups, so that the audit never blocks on them. For each new connection
//! it first asks the kernel for the socket, which takes microseconds and yields the cgroup. Then it
//! searches for the owner of the newest socket: first among recent owners, then among the newest
//! processes. Only then does it scan every process, once for all the sockets that still wait; after
//! a scan it pauses in proportion to the scan's duration. A process that has exited by then is not
//! named, and nothing is guessed; the cgroup in which its socket was created is still known.
//!
//! If a process and its parents hold the socket under the same descriptor, the outermost of them is
//! the owner: a child inherits the descriptor from its parent.

mod record;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use imds_audit_ebpf::MAX_ANCESTORS;
use tokio::sync::Notify;

use super::process_folder::ProcessFolder;
use super::procfs::{Procfs, ProcfsError};
use super::roots::Roots;
use super::socket_diag::{SocketDiag, SocketInfo};
use crate::snapshot::OwnedSnapshotRecord;

/// Maximum number of pending lookups.
const MAX_WAITING: usize = 1_024;
/// Time limit of a lookup; after it the request is reported without a process.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Time that a socket may wait for its turn before its lookup is abandoned.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// Number of recent owners that are tried.
const MAX_RECENT: usize = 16;
/// Number of process ids below the newest one that are tried.
const MAX_NEWEST: u32 = 96;
/// Number of open files that are read of each of these processes.
const MAX_DESCRIPTORS: usize = 256;
/// Number of processes after which the kernel is asked whether the socket is still open.
const STEP: usize = 8;
/// Time limit of a scan of all processes.
const MAX_SCAN: Duration = Duration::from_millis(250);
/// Pause after a scan, as a multiple of its duration.
const PAUSE: u32 = 3;

/// Finds the owners of sockets. The thread starts with the first question, with the privileges that
/// the program has by then.
#[derive(Debug)]
pub(crate) struct SocketOwners {
    idle: Option<Search>,
    questions: Option<SyncSender<Question>>,
    answers: Arc<Answers>,
    waiting: BTreeMap<u64, Instant>,
}

#[derive(Debug, Default)]
struct Answers {
    queue: std::sync::Mutex<VecDeque<SocketOwner>>,
    changed: Notify,
}

/// A request to look up the owner of a socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    /// The number that the answer carries.
    pub(crate) ticket: u64,
    /// The caller's address and port.
    pub(crate) source: SocketAddr,
    /// The service's address and port.
    pub(crate) endpoint: SocketAddr,
    /// When the connection was first seen, in nanoseconds since boot.
    pub(crate) time: u64,
    /// The network namespace, for the record.
    pub(crate) netns: Option<u32>,
}

/// The answer to a question.
#[derive(Debug)]
pub(crate) struct SocketOwner {
    /// The question's number.
    pub(crate) ticket: u64,
    /// The process, in the format of the eBPF programs' records. If no process was found, a record of
    /// process 0 with the cgroup in which the socket was created, or `None` if that is unknown too.
    pub(crate) record: Option<Arc<OwnedSnapshotRecord>>,
    /// No process was found, but the socket may still be open: a later lookup may succeed.
    pub(crate) is_open: bool,
}

impl SocketOwner {
    /// Returns whether a process was found.
    pub(crate) fn is_named(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.record().task().pid != 0)
    }
}

impl SocketOwners {
    /// Opens procfs and the kernel's socket diagnosis.
    ///
    /// # Errors
    /// Returns an error if there is no procfs, or the kernel has no socket diagnosis.
    pub(crate) fn open(roots: &Roots) -> Result<Self, ProcfsError> {
        let procfs = Procfs::open(&roots.procfs)?.with_own_pids();
        let diag = SocketDiag::open()
            .inspect_err(|error| log::warn!("owners of sockets cannot be found error={error}"))
            .ok();
        let search = Search { procfs, diag, recent: VecDeque::new() };
        Ok(Self {
            idle: Some(search),
            questions: None,
            answers: Arc::default(),
            waiting: BTreeMap::new(),
        })
    }

    /// Queues a lookup. Returns whether an answer will follow.
    pub(crate) fn ask(&mut self, question: Question) -> bool {
        if let Some(search) = self.idle.take() {
            let (sender, receiver) = sync_channel(MAX_WAITING);
            let answers = Arc::clone(&self.answers);
            let started = thread::Builder::new()
                .name("socket-owner".to_owned())
                .spawn(move || search.run(&receiver, &answers));
            self.questions = started.is_ok().then_some(sender);
        }
        let has_room = self.waiting.len() < MAX_WAITING;
        let sender = self.questions.as_ref().filter(|_| has_room);
        let sent = sender.is_some_and(|sender| sender.try_send(question).is_ok());
        if sent {
            self.waiting.insert(question.ticket, Instant::now() + TIMEOUT);
        }
        sent
    }

    /// Returns the next answer. A lookup that times out is answered without a process.
    pub(crate) fn poll(&mut self) -> Option<SocketOwner> {
        loop {
            let next = self.answers.lock().pop_front();
            match next {
                Some(answer) if self.waiting.remove(&answer.ticket).is_some() => {
                    return Some(answer);
                }
                // It has timed out already.
                Some(_) => {}
                None => break,
            }
        }
        let (&ticket, deadline) = self.waiting.first_key_value()?;
        if *deadline > Instant::now() {
            return None;
        }
        self.waiting.remove(&ticket);
        Some(SocketOwner { ticket, record: None, is_open: true })
    }

    /// Returns the time until [`Self::poll`] is due even if [`Self::changed`] is not ready.
    pub(crate) fn next_timeout(&self) -> Option<Duration> {
        let (_, deadline) = self.waiting.first_key_value()?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    /// Waits until [`Self::poll`] has something to return.
    ///
    /// # Cancel safety
    /// No answer is lost if the future is dropped.
    pub(crate) async fn changed(&self) {
        self.answers.changed.notified().await;
    }
}

impl Answers {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<SocketOwner>> {
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn push(&self, owner: SocketOwner) {
        self.lock().push_back(owner);
        self.changed.notify_one();
    }
}

/// State of the worker thread.
#[derive(Debug)]
struct Search {
    procfs: Procfs,
    diag: Option<SocketDiag>,
    /// Recent owners, the latest first: pid, start time and descriptor.
    recent: VecDeque<(u32, u64, u32)>,
}

/// A socket whose owner the worker is searching for.
struct Wanted {
    question: Question,
    socket: SocketInfo,
    /// Its link in `/proc/PID/fd`.
    name: Vec<u8>,
    since: Instant,
}

/// A process that holds a socket, and its descriptor for it.
struct Holder {
    folder: ProcessFolder,
    pid: u32,
    number: u32,
}

impl Search {
    fn run(mut self, questions: &Receiver<Question>, answers: &Answers) {
        // Sockets whose search has not begun, the newest last, and those that wait for a scan.
        let (mut new, mut wanted) = (VecDeque::<Wanted>::new(), Vec::<Wanted>::new());
        let mut next_scan = Instant::now();
        loop {
            let question = match (new.is_empty(), wanted.is_empty()) {
                (false, _) => questions.try_recv().map_err(|error| match error {
                    TryRecvError::Empty => RecvTimeoutError::Timeout,
                    TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                }),
                (true, true) => questions.recv().map_err(|_| RecvTimeoutError::Disconnected),
                (true, false) => {
                    questions.recv_timeout(next_scan.saturating_duration_since(Instant::now()))
                }
            };
            match question {
                Ok(question) => match self.ask(question) {
                    Ok(wanted) => new.push_back(wanted),
                    Err(not_found) => answers.push(not_found),
                },
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => match new.pop_back() {
                    Some(newest) if newest.since.elapsed() > MAX_WAIT => {
                        answers.push(self.not_found(&newest));
                    }
                    Some(newest) => match self.quick(newest) {
                        Ok(owner) => answers.push(owner),
                        Err(not_yet) => wanted.push(*not_yet),
                    },
                    None => {
                        let started = Instant::now();
                        self.scan(&mut wanted, answers, started);
                        wanted.drain(..).for_each(|wanted| answers.push(self.not_found(&wanted)));
                        next_scan = Instant::now() + started.elapsed() * PAUSE;
                    }
                },
            }
        }
    }

    /// Asks the kernel for a connection's socket. Returns the answer if no process holds it.
    fn ask(&self, question: Question) -> Result<Wanted, SocketOwner> {
        let found = self.diag.as_ref();
        let found = found.and_then(|diag| diag.find(question.source, question.endpoint));
        let not_found = |record| SocketOwner { ticket: question.ticket, record, is_open: false };
        match found {
            None => Err(not_found(None)),
            Some(socket) if socket.inode == 0 => {
                Err(not_found(record::without_process(&socket, &question)))
            }
            Some(socket) => Ok(Wanted {
                question,
                socket,
                name: socket_name(socket.inode),
                since: Instant::now(),
            }),
        }
    }

    /// Returns whether a process still holds a socket.
    fn is_held(&self, wanted: &Wanted) -> bool {
        self.ask(wanted.question).is_ok_and(|now| now.socket.inode == wanted.socket.inode)
    }

    /// Returns the answer if no owner was found.
    fn not_found(&self, wanted: &Wanted) -> SocketOwner {
        SocketOwner {
            ticket: wanted.question.ticket,
            record: record::without_process(&wanted.socket, &wanted.question),
            is_open: self.is_held(wanted),
        }
    }

    /// Searches the most likely owners.
    fn quick(&mut self, wanted: Wanted) -> Result<SocketOwner, Box<Wanted>> {
        let known = self.recent.iter().find_map(|&(pid, start, number)| {
            let folder = self.procfs.folder(pid)?;
            let is_holder = folder.descriptor(number).as_ref() == Some(&wanted.name)
                && folder.stat().is_some_and(|stat| stat.start_ticks == start);
            is_holder.then_some(Holder { folder, pid, number })
        });
        if let Some(owner) = known.and_then(|holder| self.owner(holder, &wanted)) {
            return Ok(owner);
        }
        let newest = self.procfs.newest_pid().unwrap_or(0);
        let recent: Vec<u32> = self.recent.iter().map(|(pid, ..)| *pid).collect();
        let likely = (newest.saturating_sub(MAX_NEWEST)..=newest).rev().chain(recent);
        for (count, pid) in likely.enumerate() {
            if count % STEP == 0 && !self.is_held(&wanted) {
                return Ok(self.not_found(&wanted));
            }
            if let Some(holder) = self.holder(pid, &wanted.name)
                && let Some(owner) = self.owner(holder, &wanted)
            {
                return Ok(owner);
            }
        }
        Err(Box::new(wanted))
    }

    /// Scans every process, the newest first, and answers each lookup that succeeds.
    fn scan(&mut self, wanted: &mut Vec<Wanted>, answers: &Answers, started: Instant) {
        for pid in self.procfs.pids().into_iter().rev() {
            if wanted.is_empty() || started.elapsed() > MAX_SCAN {
                return;
            }
            let Some(folder) = self.procfs.folder(pid) else { continue };
            let mut found = Vec::new();
            folder.each_descriptor(|number, link| {
                let place = wanted.iter().position(|wanted| wanted.name == link);
                found.extend(place.map(|place| (place, number)));
                started.elapsed() <= MAX_SCAN
            });
            // In descending order: `swap_remove` leaves the lower indexes valid.
            found.sort_unstable_by(|a, b| b.cmp(a));
            found.dedup_by_key(|(place, _)| *place);
            for (place, number) in found {
                let Some(folder) = self.procfs.folder(pid) else { continue };
                let wanted = wanted.swap_remove(place);
                let owner = self.owner(Holder { folder, pid, number }, &wanted);
                answers.push(owner.unwrap_or_else(|| self.not_found(&wanted)));
            }
        }
    }

    /// Returns the process as the holder of a socket, if it is one.
    fn holder(&self, pid: u32, name: &[u8]) -> Option<Holder> {
        let folder = self.procfs.folder(pid)?;
        let (mut found, mut seen) = (None, 0);
        folder.each_descriptor(|number, link| {
            found = (link == name).then_some(number);
            seen += 1;
            found.is_none() && seen < MAX_DESCRIPTORS
        });
        Some(Holder { folder, pid, number: found? })
    }

    /// Describes the outermost process that holds the socket, of a holder and its parents, and
    /// remembers it as a recent owner.
    ///
    /// Everything is read through the open folder in which the socket was found, so that a reused pid
    /// cannot mix two processes.
    fn owner(&mut self, holder: Holder, wanted: &Wanted) -> Option<SocketOwner> {
        let Holder { mut folder, mut pid, number } = holder;
        // `/proc/TID` shows the files of the whole process.
        let process = folder.status()?.process;
        if process != pid {
            (folder, pid) = (self.procfs.folder(process)?, process);
            (folder.descriptor(number)? == wanted.name).then_some(())?;
        }
        for _ in 0..MAX_ANCESTORS {
            let parent = folder.stat()?.parent;
            let Some(above) = self.procfs.folder(parent) else { break };
            if above.descriptor(number).as_ref() != Some(&wanted.name) {
                break;
            }
            (folder, pid) = (above, parent);
        }
        let stat = folder.stat()?;
        let of = (&wanted.socket, &wanted.question);
        let record = record::of_process(&self.procfs, &folder, &stat, pid, of)?;
        self.recent.retain(|(known, ..)| *known != pid);
        self.recent.push_front((pid, stat.start_ticks, number));
        self.recent.truncate(MAX_RECENT);
        let record = Some(Arc::new(record));
        Some(SocketOwner { ticket: wanted.question.ticket, record, is_open: false })
    }
}

fn socket_name(inode: u32) -> Vec<u8> {
    format!("socket:[{inode}]").into_bytes()
}

#[cfg(test)]
mod tests;
