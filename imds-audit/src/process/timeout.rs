//! Worker threads for reads that may hang, so that nobody waits for them.
//!
//! A user's name is in a file below the process's root folder, and that may be an overlay over a
//! file system that asks its owner (FUSE, as where container images are loaded lazily) or the
//! network: a look-up there can hang for as long as they like. Procfs itself can hang too, on a
//! lock of the process's. (Not for its command line: the kernel shows no page of it that comes
//! from a file, since Linux 4.17, 7f7ccc2ccc2e.)
//!
//! Jobs are queued and their answers collected later. One thread works; where it stalls, another
//! takes the next job. What one owner (a container, a user, a unit) may cost the others is bounded:
//! at most [`MAX_PER_OWNER`] threads work on its jobs at once, at most [`MAX_PER_PLACE`] of them on
//! jobs of one place (a root folder, a process), and its jobs take at most half of the queue.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How long a job may take until its answer is not waited for any more. A busy machine delays an
/// answer by this much; otherwise it takes a fraction of a millisecond.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long a job may wait for a thread: as long as there are jobs before it that are answered.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// How long a thread may take for a job before another one starts on the next.
const STALL: Duration = Duration::from_millis(20);
/// The largest number of threads, stalled ones included.
const MAX_THREADS: usize = 32;
/// The largest number of threads that work on jobs of one owner.
const MAX_PER_OWNER: usize = 8;
/// The largest number of threads that work on jobs of one place.
const MAX_PER_PLACE: usize = 2;
/// The largest number of bytes of jobs that wait.
const MAX_QUEUE: usize = 4 << 20;

/// Whose share of the threads and of the queue a job takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The owner, by a name that he cannot choose.
    pub owner: Box<[u8]>,
    /// What may hang.
    pub name: Box<[u8]>,
}

/// What a thread does with a request.
pub(super) type Job<Q, A> = Box<dyn FnMut(Q) -> A + Send>;

/// The processes at which threads have stalled: reading one of them would stall another thread.
#[derive(Debug, Default)]
pub(super) struct HungSet(Mutex<Vec<Arc<CurrentPid>>>);

/// The process that a thread reads; 0 for none.
#[derive(Debug, Default)]
pub(super) struct CurrentPid(AtomicU32);

impl CurrentPid {
    /// Notes which process is read from now on.
    pub(super) fn set(&self, pid: u32) {
        self.0.store(pid, Ordering::Relaxed);
    }
}

impl HungSet {
    /// Returns whether a thread has stalled at a process.
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

/// A queue of jobs, and the threads that do them.
pub(super) struct TimeoutWorker<Q, A> {
    make: Box<dyn Fn(Arc<CurrentPid>) -> Job<Q, A> + Send>,
    shared: Arc<Shared<Q, A>>,
}

/// A request that waits for a thread.
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
    /// Whether its answer is not waited for any more.
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
    /// Tells the audit's own loop of answers.
    answered: Arc<Notify>,
    hung: Arc<HungSet>,
}

impl<Q, A> Shared<Q, A> {
    fn lock(&self) -> MutexGuard<'_, State<Q, A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Q, A> State<Q, A> {
    /// Returns whether no more threads may work on jobs of a place. `is_counted` says which jobs of
    /// threads count.
    fn is_taken(&self, place: &Place, is_counted: fn(&Running) -> bool) -> bool {
        let running = self.threads.iter().filter_map(|thread| thread.job.as_ref());
        let (mut of_owner, mut at_place) = (0, 0);
        for job in running.filter(|job| job.place.owner == place.owner && is_counted(job)) {
            of_owner += 1;
            at_place += usize::from(job.place.name == place.name);
        }
        of_owner >= MAX_PER_OWNER || at_place >= MAX_PER_PLACE
    }

    /// Returns the place in the queue of the first job that a thread may work on.
    fn first_free(&self) -> Option<usize> {
        // A burst of one owner fills the queue: his jobs are looked at once.
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

    /// Returns whether no more threads may work on jobs of an owner.
    fn is_owner_taken(&self, owner: &[u8]) -> bool {
        let running = self.threads.iter().filter_map(|thread| thread.job.as_ref());
        running.filter(|job| *job.place.owner == *owner).count() >= MAX_PER_OWNER
    }

    /// Takes the first job that a thread may work on.
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

/// The weight of what is queued, in all and of each owner.
#[derive(Default)]
struct Shares {
    total: usize,
    owners: HashMap<Box<[u8]>, usize>,
}

impl Shares {
    /// Adds a job; returns whether there was room.
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
    /// Creates a queue whose threads do what `make` makes; `answered` is called for answers.
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
    /// ticket. Returns whether there was room: a request without gets no answer.
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

    /// Returns the answers since the last call; `None` for one that did not come in time, or whose
    /// thread panicked.
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

    /// Returns when [`Self::poll`] is due though nothing was answered.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let now = Instant::now();
        let state = self.shared.lock();
        let queued = state.queue.front().map(|job| job.deadline);
        let running = state.threads.iter().filter_map(|thread| thread.job.as_ref());
        let running = running.filter(|job| !job.is_late).map(|job| {
            // A stalled thread calls for another one, once, and only while jobs wait.
            let stalls = job.started + STALL;
            if state.queue.is_empty() || stalls <= now { job.deadline } else { stalls }
        });
        running.chain(queued).min()
    }

    /// Starts a thread where a job waits that no thread is about to take.
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
            // The closure, and the registration with it, is dropped.
            log::warn!("cannot start a thread to read procfs error={error}");
        }
    }
}

/// The registration of a thread, which ends with it, also by a panic.
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

/// Does jobs until the queue is closed, or until other threads suffice.
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
