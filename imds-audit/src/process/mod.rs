//! Says what is known of a process: who it was from the kernel's snapshot, the rest from procfs.
//!
//! The snapshot is taken in the process's own context and is never doubted. What procfs says
//! comes later and may be of another process with the same pid, or of another program in the
//! same process; it is taken only as far as [`Completion`] says.
//!
//! Names, paths and arguments are bytes here: they become text at the event's edge.

mod arguments;
mod cache;
mod cgroup;
mod completion;
mod description;
mod environment;
mod lineage;
mod patience;
mod placement;
mod pods;
mod procfs;
mod program;
mod responsible;
mod roots;
mod snapshot;
mod spark;
mod stat;
mod users;

#[cfg(test)]
pub(crate) mod fixture;

use std::sync::Arc;

use imds_audit_ebpf::ProcessKey;

pub use arguments::{Arguments, MAX_ARGUMENT_BYTES, MAX_ARGUMENT_COUNT};
pub use cache::{MAX_PROCESSES, MAX_WEIGHT};
pub use cgroup::CgroupResolver;
pub use description::{Ancestor, Completion, Executable, Process, Responsible};
pub use environment::Cluster;
pub use placement::{Container, Manager, Placement, Runtime};
pub use pods::{PodNames, PodQuestion, Pods};
pub use procfs::{Procfs, ProcfsError};
pub use program::Program;
pub use responsible::Rule;
pub use roots::Roots;
pub use snapshot::{Record, RecordError};
pub use spark::{Part, Spark};
pub use users::Users;
#[cfg(any(test, fuzzing))]
pub(crate) use {cgroup::most_telling, stat::Stat};

use cache::ProcessCache;
use completion::Question;
use patience::Patience;

/// The largest number of argument bytes kept of an ancestor; the rest is cut and marked.
pub const MAX_ANCESTOR_ARGUMENT_BYTES: usize = 2048;
/// The largest number of bytes of a command line that is read to find what runs: a Java virtual
/// machine's class stands behind its class path. Linux allows one argument of this length.
const MAX_COMMAND_LINE: usize = 128 * 1024;
/// How far an environment is read for the variables that name a cluster. Most take a few KiB;
/// Linux allows 6 MiB.
const MAX_ENVIRONMENT: usize = 256 * 1024;
/// The largest number of ancestors known of a process.
const MAX_ANCESTORS: usize = 16;
/// How long an incomplete process is taken as it is before procfs is asked again, in
/// nanoseconds: it bounds what a process that never verifies can cost.
const RETRY_AFTER: u64 = 1_000_000_000;

/// The processes that were seen.
///
/// It keeps at most [`MAX_PROCESSES`] of them and about [`MAX_WEIGHT`] bytes; the least recently
/// used go first.
#[derive(Debug)]
pub struct Processes {
    procfs: Patience<Question, Option<Process>>,
    cgroups: Option<CgroupResolver>,
    pods: Patience<PodQuestion, Option<PodNames>>,
    cache: ProcessCache,
    reword: Reword,
}

/// Changes a command line before it is kept, as to leave out secrets.
pub type Reword = fn(&Arguments) -> Arguments;

impl Processes {
    /// Opens the process and cgroup file systems.
    ///
    /// # Errors
    ///
    /// Fails where there is no procfs. Without a cgroup root, only processes that still run have
    /// a cgroup path.
    pub fn open(roots: &Roots) -> Result<Self, ProcfsError> {
        let procfs = Procfs::open(&roots.procfs)?;
        let watch = Arc::clone(procfs.watch());
        let kubelet_logs = roots.kubelet_logs.clone();
        Ok(Self {
            procfs: Patience::new(watch, move |sight| {
                Box::new(completion::answers(procfs.seen_by(sight)))
            }),
            cgroups: roots.cgroup.as_deref().and_then(|root| CgroupResolver::open(root).ok()),
            pods: Patience::new(Arc::default(), move |_| {
                let mut pods = Pods::new(&kubelet_logs);
                Box::new(move |asked: PodQuestion| pods.names(asked))
            }),
            cache: ProcessCache::default(),
            reword: Arguments::clone,
        })
    }

    /// Has every command line changed before it is kept: it is kept for as long as the process is
    /// of interest, which can be as long as this program runs.
    pub fn rewording(self, reword: Reword) -> Self {
        Self { reword, ..self }
    }

    /// Takes the kernel's record of a process and returns all that is known of it.
    pub fn observe(&mut self, record: &Record<'_>) -> Arc<Process> {
        let key = record.key();
        if let Some(known) = self.reusable(record) {
            return known;
        }
        let cgroups = self.cgroups.as_mut().zip(record.cgroup_id());
        let resolved = cgroups.and_then(|(cgroups, id)| cgroups.resolve(id));
        let question = Question {
            record: record.bytes().to_vec(),
            resolved: resolved.clone(),
            reword: self.reword,
        };
        let mut process = self.procfs.ask(question).flatten().unwrap_or_else(|| {
            let mut process = record.process();
            process.arguments = process.arguments.as_ref().map(self.reword);
            completion::place(&mut process, resolved.as_deref(), b"");
            completion::conclude(&mut process, false);
            process
        });
        if let Some(asked) = PodQuestion::of(&process.placement, record.time()) {
            process.pod_names = self.pods.ask(asked).flatten();
        }
        let process = Arc::new(process);
        self.cache.insert(key, Arc::clone(&process), record.time());
        process
    }

    /// Returns how often procfs or the kubelet's folders did not tell in time: what only they
    /// know is absent.
    pub const fn late(&self) -> u64 {
        self.procfs.late().saturating_add(self.pods.late())
    }

    /// Returns a process that was observed before, unless it has been dropped since.
    ///
    /// A key without a start time (the kernel half could not read it) finds the last process
    /// that was observed with that pid.
    pub fn get(&mut self, key: &ProcessKey) -> Option<Arc<Process>> {
        self.cache.get(key).map(|(process, _)| process)
    }

    /// Returns the known process if the record says nothing new of it.
    fn reusable(&mut self, record: &Record<'_>) -> Option<Arc<Process>> {
        let key = record.key();
        if key.start_time == 0 {
            return None;
        }
        let (known, mut time) = self.cache.get(&key)?;
        let is_due = record.time() >= time.saturating_add(RETRY_AFTER);
        let is_stale = is_due && known.completion != Completion::Program;
        if is_stale || !record.same_circumstances(&known) {
            return None;
        }
        // The kubelet links a container's log when the container runs already.
        let is_nameless =
            known.pod_names.as_ref().is_none_or(|names| names.container.is_none()) && is_due;
        let asked = PodQuestion::of(&known.placement, record.time()).filter(|_| is_nameless);
        let is_same_task = known.task == record.task() && known.thread_name == record.thread_name();
        if is_same_task && asked.is_none() {
            return Some(known);
        }
        let mut process = Process {
            task: record.task(),
            thread_name: record.thread_name(),
            ..Process::clone(&known)
        };
        if let Some(asked) = asked {
            process.pod_names = self.pods.ask(asked).flatten().or(process.pod_names);
            time = record.time();
        }
        let process = Arc::new(process);
        self.cache.insert(key, Arc::clone(&process), time);
        Some(process)
    }
}

#[cfg(test)]
mod tests;
