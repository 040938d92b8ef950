//! Says what is known of a process: who it was from the kernel's snapshot, the rest from procfs.
//!
//! The snapshot is taken in the process's own context and is never doubted. What procfs says
//! comes later and may be of another process with the same pid, or of another program in the
//! same process; it is taken only as far as [`Completion`] says.
//!
//! Names, paths and arguments are bytes here: they become text at the event's edge.

mod cache;
mod cgroup;
mod completion;
mod lineage;
mod patience;
mod placement;
mod pods;
mod procfs;
mod program;
mod responsible;
mod snapshot;
mod stat;
mod users;

#[cfg(test)]
pub(crate) mod fixture;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use imds_audit_ebpf::{ProcessKey, Task};

pub use cache::{MAX_PROCESSES, MAX_WEIGHT};
pub use cgroup::CgroupResolver;
pub use placement::{Container, Manager, Placement, Runtime};
pub use pods::{PodNames, PodQuestion, Pods};
pub use procfs::{Procfs, ProcfsError};
pub use program::Program;
pub use responsible::Rule;
pub use snapshot::{Record, RecordError};
pub use users::Users;
#[cfg(any(test, fuzzing))]
pub(crate) use {cgroup::most_telling, stat::Stat};

use cache::ProcessCache;
use completion::Question;
use patience::Patience;

/// The largest number of argument bytes kept of a process; the rest is cut and marked.
pub const MAX_ARGUMENT_BYTES: usize = 16 * 1024;
/// The largest number of argument bytes kept of an ancestor; the rest is cut and marked.
pub const MAX_ANCESTOR_ARGUMENT_BYTES: usize = 2048;
/// The largest number of bytes of a command line that is read to find what runs: a Java virtual
/// machine's class stands behind its class path. Linux allows one argument of this length.
const MAX_COMMAND_LINE: usize = 128 * 1024;
/// The largest number of ancestors known of a process.
const MAX_ANCESTORS: usize = 16;
/// The largest number of arguments kept of a process; the rest is cut and marked.
pub const MAX_ARGUMENT_COUNT: usize = 4096;
/// More empty arguments than this at the end are the padding of a rewritten command line.
const MAX_TRAILING_EMPTY: usize = 8;
/// How long an incomplete process is taken as it is before procfs is asked again, in
/// nanoseconds: it bounds what a process that never verifies can cost.
const RETRY_AFTER: u64 = 1_000_000_000;

/// What is known of a process that made a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The acting task; its times are 0 where the kernel half could not read them.
    pub task: Task,
    /// The acting thread's name.
    pub thread_name: Option<Box<[u8]>>,
    /// The process's name (`comm`), at most 15 bytes.
    pub name: Option<Box<[u8]>>,
    /// The program.
    pub exe: Option<Executable>,
    /// The command line.
    pub arguments: Option<Arguments>,
    /// The real user, in the initial user namespace.
    pub uid: u32,
    /// The real group, in the initial user namespace.
    pub gid: u32,
    /// The user's name in the process's own root folder.
    pub user: Option<Box<[u8]>>,
    /// The process in its own pid namespace.
    pub namespace_pid: Option<u32>,
    /// When the process started, in nanoseconds since boot; from procfs, rounded down to a
    /// clock tick, where the completion is [`Completion::Unverified`].
    pub start_time: Option<u64>,
    /// The cgroup v2 id: the inode number of the cgroup's folder.
    pub cgroup_id: Option<u64>,
    /// The path of the cgroup that says most about the process.
    pub cgroup: Option<Box<[u8]>>,
    /// What that path says.
    pub placement: Placement,
    /// What people call the pod and its container.
    pub pod_names: Option<PodNames>,
    /// What the command line says that it runs.
    pub program: Program,
    /// The parents, nearest first.
    pub ancestors: Vec<Ancestor>,
    /// Who answers for what the process does: itself or an ancestor.
    pub responsible: Option<Responsible>,
    /// The inode number of the socket's network namespace.
    pub netns: Option<u32>,
    /// How much of this procfs told.
    pub completion: Completion,
}

/// A parent of a process, or a parent of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// The process in the initial pid namespace.
    pub pid: u32,
    /// When it started, in nanoseconds since boot.
    pub start_time: u64,
    /// How often it had called `exec`; 0 where that is not known.
    pub exec_id: u64,
    /// Its name (`comm`).
    pub name: Box<[u8]>,
    /// Its program, where it was still running.
    pub exe: Option<Executable>,
    /// Its command line, where it was still running.
    pub arguments: Option<Arguments>,
    /// What that says that it runs.
    pub program: Program,
    /// Where it ran; `None` where that was not to be found out.
    pub placement: Option<Placement>,
}

/// The process that answers for what another one does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Responsible {
    /// The process in the initial pid namespace.
    pub pid: u32,
    /// Its name (`comm`).
    pub name: Option<Box<[u8]>>,
    /// Its command line.
    pub arguments: Option<Arguments>,
    /// The script, module, class or archive that it runs.
    pub script: Option<Box<[u8]>>,
    /// Why it is this one.
    pub rule: Rule,
}

/// How much of a [`Process`] procfs told, and how certain that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Completion {
    /// Nothing: the process was gone, or the pid is another process's by now.
    #[default]
    None,
    /// The same process, but perhaps another program: only what `exec` does not change (cgroup,
    /// user) comes from procfs.
    Process,
    /// The same process and program: everything that procfs has.
    Program,
    /// A process with that pid that is old enough to be the one: the kernel half could not read
    /// what would prove it.
    Unverified,
}

/// A process's program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Executable {
    /// The full path, as the process's mount namespace has it.
    Path {
        /// The path.
        path: Box<[u8]>,
        /// Whether the file had been deleted, as after an upgrade.
        deleted: bool,
    },
    /// Only the file's name without its folders, from the kernel's snapshot.
    FileName(Box<[u8]>),
}

impl Executable {
    /// Returns the path, or the file's name where that is all.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Path { path, .. } => path,
            Self::FileName(name) => name,
        }
    }
}

/// A command line.
///
/// It holds at most [`MAX_ARGUMENT_BYTES`] bytes in [`MAX_ARGUMENT_COUNT`] arguments. Its
/// `Debug` form leaves the arguments out: they may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Arguments {
    /// The arguments with a NUL between them; none behind the last.
    bytes: Arc<[u8]>,
    /// Without any argument `bytes` is empty, as it is with one empty argument.
    count: usize,
    truncated: bool,
}

impl Arguments {
    /// Takes a command line as it lies in the process's memory: each argument ended by a NUL.
    ///
    /// A line that the process wrote over (`setproctitle`) is one argument; the NULs that pad
    /// it are left out.
    pub fn new(memory: &[u8], truncated: bool) -> Self {
        let (memory, cut) = match memory.get(..MAX_ARGUMENT_BYTES) {
            Some(head) if memory.len() > MAX_ARGUMENT_BYTES => (head, true),
            _ => (memory, false),
        };
        let mut truncated = truncated || cut;
        let padding = memory.iter().rev().take_while(|&&byte| byte == 0).count();
        let dropped = if padding > MAX_TRAILING_EMPTY + 1 { padding } else { padding.min(1) };
        let mut kept = memory.get(..memory.len() - dropped).unwrap_or_default();
        let mut count = if memory.is_empty() { 0 } else { 1 + nuls(kept).count() };
        if count > MAX_ARGUMENT_COUNT {
            let end = nuls(kept).nth(MAX_ARGUMENT_COUNT - 1).unwrap_or(kept.len());
            kept = kept.get(..end).unwrap_or_default();
            count = MAX_ARGUMENT_COUNT;
            truncated = true;
        }
        Self { bytes: kept.into(), count, truncated }
    }

    /// Returns the same command line with other words, at most as many bytes as are kept.
    pub fn reworded(&self, words: &[impl AsRef<[u8]>]) -> Self {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        for (index, word) in words.iter().enumerate() {
            if index > 0 {
                bytes.push(0);
            }
            bytes.extend_from_slice(word.as_ref());
        }
        let truncated = self.truncated || bytes.len() > MAX_ARGUMENT_BYTES;
        bytes.truncate(MAX_ARGUMENT_BYTES);
        let count = match words.len() {
            0 => 0,
            _ => 1 + nuls(&bytes).count(),
        };
        Self { bytes: bytes.into(), count, truncated }
    }

    /// Iterates over the arguments; the first is the program's own name for itself.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.split(|&byte| byte == 0).take(self.count)
    }

    /// Returns how many arguments there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns whether arguments, or the end of the last, are missing.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Returns the number of bytes held.
    fn len(&self) -> usize {
        self.bytes.len()
    }
}

impl fmt::Debug for Arguments {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Arguments")
            .field("count", &self.count)
            .field("truncated", &self.truncated)
            .finish_non_exhaustive()
    }
}

/// Yields where the NULs are.
fn nuls(bytes: &[u8]) -> impl Iterator<Item = usize> {
    bytes.iter().enumerate().filter_map(|(index, &byte)| (byte == 0).then_some(index))
}

/// Where the host's process and cgroup file systems are mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// The procfs of the initial pid namespace.
    pub procfs: PathBuf,
    /// The root of the cgroup v2 hierarchy, where one is mounted.
    pub cgroup: Option<PathBuf>,
    /// The folder with the kubelet's `pods` and `containers`.
    pub kubelet_logs: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self::below(Path::new("/"))
    }
}

impl Roots {
    /// Takes the host's file systems as they lie below a folder, such as its root mounted into a
    /// container.
    pub fn below(host: &Path) -> Self {
        let procfs = host.join("proc");
        Self {
            cgroup: cgroup::find_mount_below(&procfs, host),
            procfs,
            kubelet_logs: host.join("var/log"),
        }
    }
}

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
            process.responsible = lineage::responsible(&process, false);
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
        let (known, time) = self.cache.get(&key)?;
        let fresh = known.completion == Completion::Program
            || record.time() < time.saturating_add(RETRY_AFTER);
        if !fresh || !record.same_circumstances(&known) {
            return None;
        }
        if known.task == record.task() && known.thread_name == record.thread_name() {
            return Some(known);
        }
        let process = Process {
            task: record.task(),
            thread_name: record.thread_name(),
            ..Process::clone(&known)
        };
        let process = Arc::new(process);
        self.cache.insert(key, Arc::clone(&process), time);
        Some(process)
    }
}

#[cfg(test)]
mod tests;
