//! Worker threads for reads that may hang, each with a timeout.
//!
//! A user's name is in a file below the process's root folder. That folder may be on FUSE (lazily
//! loaded container images) or on a network file system, whose server can delay a read without limit.
//! Procfs itself can hang too, on a lock of the process. (Reading the command line cannot: since
//! Linux 4.17, 7f7ccc2ccc2e, the kernel shows no page of it that is backed by a file.)
//!
//! Jobs are queued and their answers collected later. One thread works; if it stalls, another takes
//! the next job. The cost that one owner (a container, a user, a unit) can impose on the others is
//! bounded: at most [`MAX_PER_OWNER`] threads work on its jobs at once, at most [`MAX_PER_PLACE`] of
//! them on jobs of one place (a root folder, a process), and its jobs take at most half of the queue.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Time limit of a job, after which its answer is discarded. A job usually takes a fraction of a
/// millisecond; the limit allows for a busy machine.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Time that a job may wait for a thread while jobs ahead of it are still being answered.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// Time that a job may take before another thread takes the next one.
const STALL: Duration = Duration::from_millis(20);
/// Maximum number of threads, stalled ones included.
const MAX_THREADS: usize = 32;
/// Maximum number of threads on jobs of one owner.
const MAX_PER_OWNER: usize = 8;
/// Maximum number of threads on jobs of one place.
const MAX_PER_PLACE: usize = 2;
/// Maximum total weight of the queue, in bytes.
const MAX_QUEUE: usize = 4 << 20;

/// Key by which a job's use of threads and queue is limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The owner, by a name that it cannot choose itself.
    pub owner: Box<[u8]>,
    /// The folder or process whose reads may hang.
    pub name: Box<[u8]>,
}

/// Function that a thread applies to each request.
pub(super) type Job<Q, A> = Box<dyn FnMut(Q) -> A + Send>;

/// Processes on which threads have stalled. Reading one of them would stall another thread.
#[derive(Debug, Default)]
pub(super) struct HungSet(Mutex<Vec<Arc<CurrentPid>>>);

/// Pid of the process that a thread is reading, 0 for none.
#[derive(Debug, Default)]
pub(super) struct CurrentPid(AtomicU32);

impl CurrentPid {
    /// Records the process that is read next.
    pub(super) fn set(&self, pid: u32) {
        self.0.store(pid, Ordering::Relaxed);
    }
}

impl HungSet {
    /// Returns whether a thread has stalled on a process.
    pub(super) fn contains(&self, pid: u32) -> bool {
        self.stalled().iter().any(|current| current.0.load(Ordering::Relaxed) == pid)
    }

    fn add(&self, current: &Arc<CurrentPid>) {
        let mut stalled = self.stalled();
        if !stalled.iter().any(|known| Arc::ptr_eq(known, current)) {
            stalled.push(Arc::clone(current));
        }
    }

    fn remove(&self, current: &Arc<CurrentPid>) {
        self.stalled().retain(|known| !Arc::ptr_eq(known, current));
    }

    fn stalled(&self) -> MutexGuard<'_, Vec<Arc<CurrentPid>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Queue of jobs with its threads.
pub(super) struct TimeoutWorker<Q, A> {
    make: Box<dyn Fn(Arc<CurrentPid>) -> Job<Q, A> + Send>,
    shared: Arc<Shared<Q, A>>,
}

/// A queued request.
struct Queued<Q> {
    ticket: u64,
    place: Place,
    weight: usize,
    deadline: Instant,
    request: Q,
}

/// A thread, and its job.
struct Thread {
    current: Arc<CurrentPid>,
    job: Option<Running>,
}

struct Running {
    ticket: u64,
    place: Place,
    started: Instant,
    deadline: Instant,
    /// Whether it has exceeded its time limit, so that its answer will be discarded.
    is_late: bool,
}

struct State<Q, A> {
    queue: VecDeque<Queued<Q>>,
    queued: Shares,
    threads: Vec<Thread>,
    answers: Vec<(u64, Option<A>)>,
    is_closed: bool,
}

struct Shared<Q, A> {
    state: Mutex<State<Q, A>>,
    /// Wakes threads for a job.
    changed: Condvar,
    /// Wakes the audit's own loop for answers.
    answered: Arc<Notify>,
    hung: Arc<HungSet>,
}

impl<Q, A> Shared<Q, A> {
    fn lock(&self) -> MutexGuard<'_, State<Q, A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Q, A> State<Q, A> {
    /// Returns whether the thread limits of a place or its owner are reached. `is_counted` selects
    /// the running jobs that count.
    fn is_taken(&self, place: &Place, is_counted: fn(&Running) -> bool) -> bool {
        let running = self.threads.iter().filter_map(|thread| thread.job.as_ref());
        let (mut of_owner, mut at_place) = (0, 0);
        for job in running.filter(|job| job.place.owner == place.owner && is_counted(job)) {
            of_owner += 1;
            at_place += usize::from(job.place.name == place.name);
        }
        of_owner >= MAX_PER_OWNER || at_place >= MAX_PER_PLACE
    }

    /// Returns the index of the first queued job that is within its limits.
    fn first_free(&self) -> Option<usize> {
        // A burst of one owner can fill the queue: check its limit once for all of its jobs.
        let mut taken: Option<&Place> = None;
        self.queue.iter().position(|job| {
            if taken.is_some_and(|taken| taken.owner == job.place.owner) {
                return false;
            }
            if !self.is_taken(&job.place, |_| true) {
                return true;
            }
            if self.is_owner_taken(&job.place.owner) {
                taken = Some(&job.place);
            }
            false
        })
    }

    /// Returns whether the thread limit of an owner is reached.
    fn is_owner_taken(&self, owner: &[u8]) -> bool {
        let running = self.threads.iter().filter_map(|thread| thread.job.as_ref());
        running.filter(|job| *job.place.owner == *owner).count() >= MAX_PER_OWNER
    }

    /// Removes the first job that is within its limits.
    fn next(&mut self) -> Option<Queued<Q>> {
        let index = self.first_free()?;
        let job = self.queue.remove(index)?;
        self.queued.remove(&job.place.owner, job.weight);
        Some(job)
    }

    fn thread(&mut self, current: &Arc<CurrentPid>) -> Option<&mut Thread> {
        self.threads.iter_mut().find(|thread| Arc::ptr_eq(&thread.current, current))
    }
}

/// Weight of the queued jobs, in total and per owner.
#[derive(Default)]
struct Shares {
    total: usize,
    owners: HashMap<Box<[u8]>, usize>,
}

impl Shares {
    /// Adds a job. Returns whether there was room.
    fn add(&mut self, owner: &[u8], weight: usize) -> bool {
        let own = self.owners.get(owner).copied().unwrap_or(0) + weight;
        if self.total + weight > MAX_QUEUE || own > MAX_QUEUE / 2 {
            return false;
        }
        self.total += weight;
        self.owners.insert(owner.into(), own);
        true
    }

    fn remove(&mut self, owner: &[u8], weight: usize) {
        self.total = self.total.saturating_sub(weight);
        if let Some(own) = self.owners.get_mut(owner) {
            *own = own.saturating_sub(weight);
            if *own == 0 {
                self.owners.remove(owner);
            }
        }
    }
}

impl<Q: Send + 'static, A: Send + 'static> TimeoutWorker<Q, A> {
    /// Creates a queue. `make` returns the function of a new thread; `answered` is notified of
    /// answers.
    pub(super) fn new(
        hung: Arc<HungSet>,
        answered: Arc<Notify>,
        make: impl Fn(Arc<CurrentPid>) -> Job<Q, A> + Send + 'static,
    ) -> Self {
        let state = State {
            queue: VecDeque::new(),
            queued: Shares::default(),
            threads: Vec::new(),
            answers: Vec::new(),
            is_closed: false,
        };
        let state = Mutex::new(state);
        let shared = Shared { state, changed: Condvar::new(), answered, hung };
        Self { make: Box::new(make), shared: Arc::new(shared) }
    }

    /// Queues a request of about `weight` bytes, whose answer [`Self::poll`] returns under its
    /// ticket. Returns whether there was room; if not, no answer follows.
    pub(super) fn submit(&self, ticket: u64, place: &Place, weight: usize, request: Q) -> bool {
        let now = Instant::now();
        let mut state = self.shared.lock();
        if state.is_taken(place, |job| job.is_late) || !state.queued.add(&place.owner, weight) {
            return false;
        }
        let (place, deadline) = (place.clone(), now + MAX_WAIT);
        state.queue.push_back(Queued { ticket, place, weight, deadline, request });
        drop(state);
        self.shared.changed.notify_one();
        self.start_threads(now);
        true
    }

    /// Returns the answers since the last call: `None` for a job that timed out or whose thread
    /// panicked.
    pub(super) fn poll(&self, now: Instant) -> Vec<(u64, Option<A>)> {
        let mut state = self.shared.lock();
        let mut answers = std::mem::take(&mut state.answers);
        for thread in &mut state.threads {
            let Some(job) = &mut thread.job else { continue };
            if now >= job.started + STALL {
                self.shared.hung.add(&thread.current);
            }
            if now >= job.deadline && !job.is_late {
                job.is_late = true;
                answers.push((job.ticket, None));
            }
        }
        let has_late =
            state.threads.iter().any(|thread| thread.job.as_ref().is_some_and(|job| job.is_late));
        let is_due = state.queue.front().is_some_and(|job| now >= job.deadline);
        let count = if has_late || is_due { state.queue.len() } else { 0 };
        for index in (0..count).rev() {
            let is_given_up = state.queue.get(index).is_some_and(|job| {
                now >= job.deadline || state.is_taken(&job.place, |running| running.is_late)
            });
            if let Some(job) = is_given_up.then(|| state.queue.remove(index)).flatten() {
                state.queued.remove(&job.place.owner, job.weight);
                answers.push((job.ticket, None));
            }
        }
        drop(state);
        self.start_threads(now);
        answers
    }

    /// Returns when [`Self::poll`] is due even without an answer.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let now = Instant::now();
        let state = self.shared.lock();
        let queued = state.queue.front().map(|job| job.deadline);
        let running = state.threads.iter().filter_map(|thread| thread.job.as_ref());
        let running = running.filter(|job| !job.is_late).map(|job| {
            // A stalled thread is replaced once, and only while jobs are queued.
            let stalls = job.started + STALL;
            if state.queue.is_empty() || stalls <= now { job.deadline } else { stalls }
        });
        running.chain(queued).min()
    }

    /// Starts a thread if a job is queued and every thread is stalled.
    fn start_threads(&self, now: Instant) {
        let mut state = self.shared.lock();
        let is_stalled =
            |thread: &Thread| thread.job.as_ref().is_some_and(|job| now >= job.started + STALL);
        if state.threads.len() >= MAX_THREADS
            || !state.threads.iter().all(is_stalled)
            || state.first_free().is_none()
        {
            return;
        }
        let current = Arc::<CurrentPid>::default();
        let work = (self.make)(Arc::clone(&current));
        state.threads.push(Thread { current: Arc::clone(&current), job: None });
        drop(state);
        let shared = Arc::clone(&self.shared);
        let registered = Registered { shared, current: Arc::clone(&current) };
        let spawned =
            thread::Builder::new().name("procfs".to_owned()).spawn(move || run(&registered, work));
        if let Err(error) = spawned {
            // `spawn` dropped the closure, and the registration with it.
            log::warn!("cannot start a thread to read procfs error={error}");
        }
    }
}

/// Registration of a thread. Dropping it, also on a panic, removes the thread.
struct Registered<Q, A> {
    shared: Arc<Shared<Q, A>>,
    current: Arc<CurrentPid>,
}

impl<Q, A> Drop for Registered<Q, A> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let job = state.thread(&self.current).and_then(|thread| thread.job.take());
        self.shared.hung.remove(&self.current);
        if let Some(job) = job.filter(|job| !job.is_late) {
            state.answers.push((job.ticket, None));
        }
        state.threads.retain(|thread| !Arc::ptr_eq(&thread.current, &self.current));
        drop(state);
        self.shared.changed.notify_all();
        self.shared.answered.notify_one();
    }
}

/// Works on jobs until the queue is closed or another thread is idle too.
fn run<Q, A>(registered: &Registered<Q, A>, mut work: Job<Q, A>) {
    let Registered { shared, current } = registered;
    loop {
        let mut state = shared.lock();
        let job = loop {
            let is_idle = |thread: &Thread| thread.job.is_none();
            if state.is_closed || state.threads.iter().filter(|thread| is_idle(thread)).count() > 1
            {
                return;
            }
            if let Some(job) = state.next() {
                break job;
            }
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        let Queued { ticket, place, request, .. } = job;
        let started = Instant::now();
        let deadline = started + TIMEOUT;
        let running = Running { ticket, place, started, deadline, is_late: false };
        let Some(thread) = state.thread(current) else { return };
        thread.job = Some(running);
        drop(state);
        let answer = work(request);
        let mut state = shared.lock();
        let job = state.thread(current).and_then(|thread| thread.job.take());
        current.set(0);
        shared.hung.remove(current);
        if job.is_some_and(|job| !job.is_late) {
            state.answers.push((ticket, Some(answer)));
        }
        drop(state);
        shared.changed.notify_all();
        shared.answered.notify_one();
    }
}

impl<Q, A> Drop for TimeoutWorker<Q, A> {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_all();
    }
}

impl<Q, A> std::fmt::Debug for TimeoutWorker<Q, A> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TimeoutWorker").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
