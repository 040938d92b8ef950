//! Work that may take for ever, done elsewhere.
//!
//! A user's name stands in a file below the process's root folder, and that may be an overlay over
//! a file system that asks its owner (FUSE, as where container images are loaded lazily) or the
//! network: a look-up there can wait for as long as they like. What procfs itself shows can wait
//! too, for a lock of the process's. (Not for its command line: of that the kernel shows no page
//! that comes from a file, since Linux 4.17, 7f7ccc2ccc2e.) So a thread of its own reads, and is
//! waited for only so long; a thread that does not come back is left where it is.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

/// The longest that an answer is waited for. A machine that is busy delays one by this much;
/// one that nobody holds up takes a fraction of a millisecond.
const LONGEST: Duration = Duration::from_secs(1);
/// The shortest, after many that did not come.
const SHORTEST: Duration = Duration::from_millis(10);
/// What an answer in time adds to how long the next is waited for. What one late adds to none
/// takes many to earn back: nobody can have all our time by taking turns.
const EARNED: Duration = Duration::from_millis(10);
/// The most threads that are left waiting; where there are more, nothing is asked.
const MAX_STUCK: usize = 16;

/// Which processes are being looked at, and by which threads in vain.
#[derive(Debug, Default)]
pub struct Watch {
    /// What the threads look at that were given up.
    stuck: Mutex<Vec<Arc<Sight>>>,
}

/// The process that a thread looks at; 0 for none.
#[derive(Debug, Default)]
pub struct Sight(AtomicU32);

impl Sight {
    /// Notes what is looked at from now on.
    pub fn turn_to(&self, pid: u32) {
        self.0.store(pid, Ordering::Relaxed);
    }
}

impl Watch {
    /// Returns whether a thread is stuck at a process: whoever looked there now would be too.
    pub fn holds(&self, pid: u32) -> bool {
        self.stuck().iter().any(|sight| sight.0.load(Ordering::Relaxed) == pid)
    }

    fn stuck(&self) -> MutexGuard<'_, Vec<Arc<Sight>>> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks a thread, and waits for its answer only so long.
pub struct Patience<Q, A> {
    make: Box<dyn Fn(Arc<Sight>) -> Work<Q, A> + Send>,
    watch: Arc<Watch>,
    thread: Option<Thread<Q, A>>,
    wait: Duration,
    late: u64,
}

/// What a thread does with a question.
pub type Work<Q, A> = Box<dyn FnMut(Q) -> A + Send>;

struct Thread<Q, A> {
    questions: SyncSender<Q>,
    answers: Receiver<A>,
    sight: Arc<Sight>,
}

impl<Q: Send + 'static, A: Send + 'static> Patience<Q, A> {
    /// Makes one whose threads do what `make` makes.
    pub fn new(
        watch: Arc<Watch>,
        make: impl Fn(Arc<Sight>) -> Work<Q, A> + Send + 'static,
    ) -> Self {
        Self { make: Box::new(make), watch, thread: None, wait: LONGEST, late: 0 }
    }

    /// Asks; `None` where no answer comes in time.
    pub fn ask(&mut self, question: Q) -> Option<A> {
        let answer = self.try_ask(question);
        match answer {
            Some(_) => self.wait = (self.wait + EARNED).min(LONGEST),
            None => self.late += 1,
        }
        answer
    }

    /// Returns how many questions had no answer in time.
    pub const fn late(&self) -> u64 {
        self.late
    }

    fn try_ask(&mut self, question: Q) -> Option<A> {
        let thread = match self.thread.take() {
            Some(thread) => thread,
            None => self.start()?,
        };
        thread.questions.send(question).ok()?;
        if let Ok(answer) = thread.answers.recv_timeout(self.wait) {
            self.thread = Some(thread);
            return Some(answer);
        }
        let mut stuck = self.watch.stuck();
        // The thread looks at the list when it is done, and finds itself on it or not.
        if let Ok(answer) = thread.answers.try_recv() {
            self.thread = Some(thread);
            return Some(answer);
        }
        stuck.push(Arc::clone(&thread.sight));
        drop(thread);
        self.wait = (self.wait / 2).max(SHORTEST);
        None
    }

    fn start(&self) -> Option<Thread<Q, A>> {
        if self.watch.stuck().len() >= MAX_STUCK {
            return None;
        }
        let (questions, asked) = sync_channel(1);
        let (answered, answers) = sync_channel(1);
        let sight = Arc::<Sight>::default();
        let mut work = (self.make)(Arc::clone(&sight));
        let (watch, own) = (Arc::clone(&self.watch), Arc::clone(&sight));
        let run = move || {
            while let Ok(question) = asked.recv() {
                let answer = work(question);
                own.turn_to(0);
                if answered.send(answer).is_err() {
                    break;
                }
            }
            watch.stuck().retain(|sight| !Arc::ptr_eq(sight, &own));
        };
        match thread::Builder::new().name("procfs".to_owned()).spawn(run) {
            Ok(_) => Some(Thread { questions, answers, sight }),
            Err(error) => {
                log::warn!("cannot start a thread to read procfs error={error}");
                None
            }
        }
    }
}

impl<Q, A> std::fmt::Debug for Patience<Q, A> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Patience")
            .field("wait", &self.wait)
            .field("late", &self.late)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// One whose threads wait at every odd number until the test lets go.
    fn traps() -> (Patience<u32, u32>, Arc<Watch>, Sender<()>) {
        let watch = Arc::<Watch>::default();
        let (let_go, held) = channel();
        let held = Arc::new(Mutex::new(held));
        let patience = Patience::new(Arc::clone(&watch), move |sight| {
            let held = Arc::clone(&held);
            Box::new(move |pid| {
                sight.turn_to(pid);
                if pid % 2 == 1 {
                    held.lock().unwrap().recv().ok();
                }
                pid + 100
            })
        });
        (patience, watch, let_go)
    }

    #[test]
    fn an_answer_that_does_not_come_is_not_waited_for_and_the_next_one_comes() {
        let (mut patience, watch, let_go) = traps();
        patience.wait = SHORTEST;
        assert_eq!(patience.ask(7), None);
        // A thread that was given up before it had begun says a moment later what it looks at.
        while !watch.holds(7) {
            thread::yield_now();
        }
        assert!(!watch.holds(8));
        patience.wait = LONGEST;
        assert_eq!(patience.ask(8), Some(108));
        assert_eq!(patience.ask(10), Some(110));
        assert_eq!(patience.late(), 1);
        // When the thread comes back, what it was stuck at may be looked at again.
        drop(let_go);
        while watch.holds(7) {
            thread::yield_now();
        }
        assert_eq!(patience.ask(7), Some(107));
    }

    #[test]
    fn threads_that_are_stuck_are_bounded_and_patience_with_them_shrinks() {
        let (mut patience, watch, let_go) = traps();
        patience.wait = 4 * SHORTEST;
        let count = u32::try_from(MAX_STUCK).unwrap();
        for number in 0..count + 5 {
            assert_eq!(patience.ask(2 * number + 1), None);
        }
        assert_eq!(watch.stuck().len(), MAX_STUCK);
        assert_eq!(patience.wait, SHORTEST);
        assert_eq!(patience.ask(2), None, "there is nobody left to ask");
        assert_eq!(patience.late(), u64::from(count) + 6);
        drop(let_go);
        while !watch.stuck().is_empty() {
            thread::yield_now();
        }
        patience.wait = LONGEST;
        assert_eq!(patience.ask(2), Some(102));
    }
}
