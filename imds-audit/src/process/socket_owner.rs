//! The owner of a socket: which process holds it, found by its number in `/proc/PID/fd`.
//!
//! A worker thread looks, so that nobody waits. It first asks the kernel for the sockets of all
//! connections that are new, which takes microseconds and tells the cgroup. Then it looks for the
//! process of the newest one: among those that owned sockets before, those that started last, and
//! then every process, once for all the sockets that wait. How often it does the last is bounded by
//! the time that it takes. A process that is gone by then is not named, and nothing is guessed; the
//! cgroup that its socket was made in is still known.
//!
//! Of a process and its parents that hold the socket under the same number, the outermost is the
//! owner: a child has it from its parent.

mod record;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use imds_audit_ebpf::MAX_ANCESTORS;
use tokio::sync::Notify;

use super::procfs::{ProcessFolder, Procfs, ProcfsError};
use super::roots::Roots;
use super::socket_diag::{SocketDiag, SocketInfo};
use crate::snapshot::OwnedSnapshotRecord;

/// The largest number of sockets that wait to be looked for.
const MAX_WAITING: usize = 1_024;
/// How long a look-up may take; whoever waits for it goes on without.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long a socket may wait for its turn before it is given up.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// The processes that are tried first, the last that owned a socket first.
const MAX_RECENT: usize = 16;
/// The process numbers below the newest that are tried.
const MAX_NEWEST: u32 = 96;
/// The open files of a process that are looked at there.
const MAX_DESCRIPTORS: usize = 256;
/// After so many of them the kernel is asked whether anybody still holds the socket.
const STEP: usize = 8;
/// How long a look at all processes may take.
const MAX_SCAN: Duration = Duration::from_millis(250);
/// A look at all processes is followed by a pause of so many times its length.
const PAUSE: u32 = 3;

/// Finds the owners of sockets. The thread starts with the first question, with the rights that are
/// left then.
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

/// A socket whose owner is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    /// A number to know the answer by.
    pub(crate) ticket: u64,
    /// The caller's end.
    pub(crate) source: SocketAddr,
    /// The service's.
    pub(crate) endpoint: SocketAddr,
    /// When the connection was seen, in nanoseconds since boot.
    pub(crate) time: u64,
    /// The network namespace, for the record.
    pub(crate) netns: Option<u32>,
}

/// The answer to a question.
#[derive(Debug)]
pub(crate) struct SocketOwner {
    /// The question's number.
    pub(crate) ticket: u64,
    /// What is known of the process, in the form of the eBPF programs' record. Where no process was
    /// found, it is one of process 0, with the cgroup that the socket was made in, or nothing.
    pub(crate) record: Option<Arc<OwnedSnapshotRecord>>,
    /// No process was found, though one may hold the socket: a later question may find it.
    pub(crate) is_open: bool,
}

impl SocketOwner {
    /// Returns whether a process was found.
    pub(crate) fn is_named(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.record().task().pid != 0)
    }
}

impl SocketOwners {
    /// Opens what the search reads.
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

    /// Asks for a socket's owner. Returns whether an answer follows.
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

    /// Returns the next answer. A look-up that takes too long is answered with nobody.
    pub(crate) fn poll(&mut self) -> Option<SocketOwner> {
        loop {
            let next = self.answers.lock().pop_front();
            match next {
                Some(answer) if self.waiting.remove(&answer.ticket).is_some() => {
                    return Some(answer);
                }
                // It came too late.
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

    /// Returns how long [`Self::poll`] may be left uncalled where [`Self::changed`] is not ready.
    pub(crate) fn next_timeout(&self) -> Option<Duration> {
        let (_, deadline) = self.waiting.first_key_value()?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    /// Waits until [`Self::poll`] has something to return. Nothing is lost if the future is dropped.
    pub(crate) async fn changed(&self) {
        self.answers.changed.notified().await;
    }
}

impl Answers {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<SocketOwner>> {
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn give(&self, owner: SocketOwner) {
        self.lock().push_back(owner);
        self.changed.notify_one();
    }
}

/// The worker's part.
#[derive(Debug)]
struct Search {
    procfs: Procfs,
    diag: Option<SocketDiag>,
    /// Processes that owned a socket, each with its start and the number it held it under.
    recent: VecDeque<(u32, u64, u32)>,
}

/// A socket whose owner is looked for.
struct Wanted {
    question: Question,
    socket: SocketInfo,
    /// Its link in `/proc/PID/fd`.
    name: Vec<u8>,
    since: Instant,
}

/// A process that holds a socket, and the number that it holds it under.
struct Holder {
    folder: ProcessFolder,
    pid: u32,
    number: u32,
}

impl Search {
    fn run(mut self, questions: &Receiver<Question>, answers: &Answers) {
        // Those that nobody was looked for yet, the newest last, and those that wait for a look at
        // all processes.
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
                    Err(nobody) => answers.give(nobody),
                },
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => match new.pop_back() {
                    Some(newest) if newest.since.elapsed() > MAX_WAIT => {
                        answers.give(self.nobody(&newest));
                    }
                    Some(newest) => match self.quick(newest) {
                        Ok(owner) => answers.give(owner),
                        Err(not_yet) => wanted.push(*not_yet),
                    },
                    None => {
                        let started = Instant::now();
                        self.scan(&mut wanted, answers, started);
                        wanted.drain(..).for_each(|wanted| answers.give(self.nobody(&wanted)));
                        next_scan = Instant::now() + started.elapsed() * PAUSE;
                    }
                },
            }
        }
    }

    /// Asks the kernel for a connection's socket. Returns the answer where no process holds it.
    fn ask(&self, question: Question) -> Result<Wanted, SocketOwner> {
        let found = self.diag.as_ref();
        let found = found.and_then(|diag| diag.find(question.source, question.endpoint));
        let nobody = |record| SocketOwner { ticket: question.ticket, record, is_open: false };
        match found {
            None => Err(nobody(None)),
            Some(socket) if socket.inode == 0 => Err(nobody(record::of_nobody(&socket, &question))),
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

    /// Returns the answer where nobody was found.
    fn nobody(&self, wanted: &Wanted) -> SocketOwner {
        SocketOwner {
            ticket: wanted.question.ticket,
            record: record::of_nobody(&wanted.socket, &wanted.question),
            is_open: self.is_held(wanted),
        }
    }

    /// Looks where the owner most likely is.
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
                return Ok(self.nobody(&wanted));
            }
            if let Some(holder) = self.holder(pid, &wanted.name)
                && let Some(owner) = self.owner(holder, &wanted)
            {
                return Ok(owner);
            }
        }
        Err(Box::new(wanted))
    }

    /// Looks at every process, the newest first, and answers what it finds.
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
            // From the last, so that the places before it stay.
            found.sort_unstable_by(|a, b| b.cmp(a));
            found.dedup_by_key(|(place, _)| *place);
            for (place, number) in found {
                let Some(folder) = self.procfs.folder(pid) else { continue };
                let wanted = wanted.swap_remove(place);
                let owner = self.owner(Holder { folder, pid, number }, &wanted);
                answers.give(owner.unwrap_or_else(|| self.nobody(&wanted)));
            }
        }
    }

    /// Returns a process that holds a socket, if this one does.
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

    /// Describes the outermost process of a holder and its parents that holds the socket, and
    /// remembers it.
    ///
    /// What is read comes from the folder through which the socket was seen, so that it is of that
    /// process, whoever has its number later.
    fn owner(&mut self, holder: Holder, wanted: &Wanted) -> Option<SocketOwner> {
        let Holder { mut folder, mut pid, number } = holder;
        // A thread's number names its process's files too.
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
