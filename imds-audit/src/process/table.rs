//! Table of the processes that were seen, completed by worker threads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use imds_audit_ebpf::ProcessKey;
use tokio::sync::Notify;

use super::ancestors::AncestorCache;
use super::arguments::{ArgumentFilter, Arguments};
use super::cache::ProcessCache;
use super::cgroup::CgroupResolver;
use super::cgroup_path::CgroupLocation;
use super::enrich::{self, EnrichRequest, Enriched, ResolvedCgroup};
use super::facts::{Process, ProcfsMatch};
use super::limits::RETRY_AFTER;
use super::pods::{PodNames, PodQuestion, Pods};
use super::procfs::{Procfs, ProcfsError};
use super::roots::Roots;
use super::timeout::{HungSet, Place, TimeoutWorker};
use crate::snapshot::{BegunPrograms, OwnedSnapshotRecord, SnapshotRecord};

/// The processes that were seen.
///
/// It keeps at most [`super::cache::MAX_PROCESSES`] of them and about [`super::cache::MAX_WEIGHT`] bytes; the
/// least recently used go first. Whoever reports a process never waits for procfs: a process is
/// described by its snapshot at once, and completed by [`Self::poll`] later.
#[derive(Debug)]
pub(crate) struct Processes {
    procfs: TimeoutWorker<EnrichRequest, Option<Enriched>>,
    users: TimeoutWorker<Arc<OwnedSnapshotRecord>, Option<Box<[u8]>>>,
    pods: TimeoutWorker<PodQuestion, Option<PodNames>>,
    answered: Arc<Notify>,
    cgroups: Option<CgroupResolver>,
    cache: ProcessCache,
    filter: ArgumentFilter,
    pending: BTreeMap<u64, Pending>,
    completed: VecDeque<Arc<Process>>,
    next_ticket: u64,
    late: u64,
}

/// A process that is being completed.
#[derive(Debug)]
struct Pending {
    key: ProcessKey,
    /// When its record was taken, in nanoseconds since boot.
    time: u64,
    place: Place,
    /// `None` if only the pod's names are awaited.
    record: Option<Arc<OwnedSnapshotRecord>>,
    process: Process,
    waits_for: WaitsFor,
    is_late: bool,
}

/// The workers whose answers are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct WaitsFor {
    procfs: bool,
    user: bool,
    pod: bool,
}

/// Whose numbers of processes the records have. They differ where this program runs in a pid
/// namespace of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordPids {
    /// Those of the initial pid namespace, as the eBPF programs' records have.
    Kernel,
    /// Those of the procfs at hand, as records made from it have.
    Procfs,
}

impl Processes {
    /// Opens the process and cgroup file systems. Of an ancestor that is gone, `begun` may still know
    /// what it ran.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no procfs. Without a cgroup root, only processes that still
    /// run have a cgroup path.
    pub(crate) fn open(
        roots: &Roots,
        pids: RecordPids,
        begun: Option<Arc<dyn BegunPrograms>>,
    ) -> Result<Self, ProcfsError> {
        let procfs = Procfs::open(&roots.procfs)?;
        let procfs = match pids {
            RecordPids::Kernel => procfs,
            RecordPids::Procfs => procfs.with_own_pids(),
        };
        let answered = Arc::<Notify>::default();
        let ancestors = AncestorCache::new(begun);
        let (hung, for_users) = (Arc::<HungSet>::default(), procfs.clone());
        let procfs = TimeoutWorker::new(Arc::clone(&hung), Arc::clone(&answered), move |current| {
            Box::new(enrich::worker(procfs.for_thread(&hung, current), ancestors.clone()))
        });
        let hung = Arc::<HungSet>::default();
        let users = TimeoutWorker::new(Arc::clone(&hung), Arc::clone(&answered), move |current| {
            Box::new(enrich::user_worker(for_users.for_thread(&hung, current)))
        });
        let kubelet_logs = roots.kubelet_logs.clone();
        let pods = TimeoutWorker::new(Arc::default(), Arc::clone(&answered), move |_| {
            let mut pods = Pods::new(&kubelet_logs);
            Box::new(move |asked: PodQuestion| pods.names(asked))
        });
        Ok(Self {
            procfs,
            users,
            pods,
            answered,
            cgroups: roots.cgroup.as_deref().and_then(|root| CgroupResolver::open(root).ok()),
            cache: ProcessCache::default(),
            filter: Arguments::clone,
            pending: BTreeMap::new(),
            completed: VecDeque::new(),
            next_ticket: 0,
            late: 0,
        })
    }

    /// Has every command line changed before it is kept: it is kept for as long as the process is
    /// of interest, which can be as long as this program runs.
    pub(crate) fn with_argument_filter(self, filter: ArgumentFilter) -> Self {
        Self { filter, ..self }
    }

    /// Takes the kernel's record of a process. Returns the process as it is known so far; where it
    /// [is pending](Process::is_pending), [`Self::poll`] returns it completed.
    pub(crate) fn observe(&mut self, record: &SnapshotRecord<'_>) -> Arc<Process> {
        if let Some(known) = self.reusable(record) {
            return known;
        }
        let cgroups = self.cgroups.as_mut().zip(record.cgroup_id());
        let resolved = cgroups.and_then(|(cgroups, id)| {
            let path = cgroups.resolve(id)?;
            let host_len = cgroups.host_len(&path);
            Some(ResolvedCgroup { path, host_len })
        });
        let mut process = record.process();
        process.arguments = process.arguments.as_ref().map(self.filter);
        enrich::resolve_cgroup(&mut process, resolved.as_ref(), b"");
        let owner = owner(resolved.as_ref(), process.uid);
        if record.task().pid == 0 {
            return self.observe_place(record, process, owner);
        }
        enrich::resolve_responsible(&mut process, false);
        let owned = record.to_shared();
        let (ticket, weight) = (self.ticket(), owned.size());
        let request = EnrichRequest { record: Arc::clone(&owned), resolved, filter: self.filter };
        let place = Place { owner, name: process.task.pid.to_ne_bytes().into() };
        let procfs = self.procfs.submit(ticket, &place, weight, request);
        let waits_for = WaitsFor { procfs, ..WaitsFor::default() };
        let (key, time, record) = (record.key(), record.time(), Some(owned));
        let is_late = !procfs;
        self.begin(ticket, Pending { key, time, place, record, process, waits_for, is_late })
    }

    /// Takes a record of no process, which has the cgroup of one that is gone.
    fn observe_place(
        &mut self,
        record: &SnapshotRecord<'_>,
        process: Process,
        owner: Box<[u8]>,
    ) -> Arc<Process> {
        let (ticket, place) = (self.ticket(), Place { owner, name: Box::default() });
        let question = PodQuestion::of(&process.location, record.time());
        let weight = size_of::<PodQuestion>();
        let pod = question.is_some_and(|asked| self.pods.submit(ticket, &place, weight, asked));
        let waits_for = WaitsFor { pod, ..WaitsFor::default() };
        let (key, time, record) = (record.key(), record.time(), None);
        self.begin(ticket, Pending { key, time, place, record, process, waits_for, is_late: false })
    }

    /// Returns the next process that was completed since it was observed. A process about which
    /// procfs says nothing in time is returned as it is.
    pub(crate) fn poll(&mut self) -> Option<Arc<Process>> {
        if self.completed.is_empty() && !self.pending.is_empty() {
            self.collect(Instant::now());
        }
        self.completed.pop_front()
    }

    /// Returns how long [`Self::poll`] may be left uncalled where [`Self::changed`] is not ready.
    pub(crate) fn next_timeout(&self) -> Option<Duration> {
        if self.pending.is_empty() {
            return None;
        }
        let deadlines =
            [self.procfs.next_deadline(), self.users.next_deadline(), self.pods.next_deadline()];
        // Without any deadline the last answer is there.
        let next = deadlines.into_iter().flatten().min();
        Some(next.map_or(Duration::ZERO, |next| next.saturating_duration_since(Instant::now())))
    }

    /// Waits until [`Self::poll`] has something to return.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub(crate) async fn changed(&self) {
        self.answered.notified().await;
    }

    /// Returns the number of processes about which procfs or the kubelet's folders did not say in
    /// time what they know.
    pub(crate) const fn late(&self) -> u64 {
        self.late
    }

    /// Returns a process that was observed before, unless it has been dropped since.
    ///
    /// A key without a start time (the eBPF programs could not read it) finds the last process
    /// that was observed with that pid.
    #[cfg(test)]
    pub(crate) fn get(&mut self, key: &ProcessKey) -> Option<Arc<Process>> {
        self.cache.get(key).map(|(process, _)| process)
    }

    /// Returns the known process if the record says nothing new about it.
    fn reusable(&mut self, record: &SnapshotRecord<'_>) -> Option<Arc<Process>> {
        let key = record.key();
        if key.start_time == 0 {
            return None;
        }
        let (known, time) = self.cache.get(&key)?;
        let is_due = !known.is_pending && record.time() >= time.saturating_add(RETRY_AFTER);
        let is_stale = is_due && known.procfs_match != ProcfsMatch::Program;
        if is_stale || !record.matches_cached(&known) {
            return None;
        }
        // The kubelet links a container's log when the container runs already.
        let is_nameless =
            known.pod_names.as_ref().is_none_or(|names| names.container.is_none()) && is_due;
        let question = PodQuestion::of(&known.location, record.time()).filter(|_| is_nameless);
        let is_same_task = known.task == record.task() && known.thread_name == record.thread_name();
        if is_same_task && question.is_none() {
            return Some(known);
        }
        let process = Process {
            task: record.task(),
            thread_name: record.thread_name(),
            ..Process::clone(&known)
        };
        let Some(question) = question else {
            let process = Arc::new(process);
            self.cache.insert(key, Arc::clone(&process), time);
            return Some(process);
        };
        let owner: Box<[u8]> = question.container().into();
        let (ticket, place) = (self.ticket(), Place { owner, name: Box::default() });
        let pod = self.pods.submit(ticket, &place, size_of::<PodQuestion>(), question);
        let (time, record) = (record.time(), None);
        let waits_for = WaitsFor { pod, ..WaitsFor::default() };
        let pending = Pending { key, time, place, record, process, waits_for, is_late: !pod };
        Some(self.begin(ticket, pending))
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// Keeps a process whose completion was asked for. Returns it as it is so far.
    fn begin(&mut self, ticket: u64, mut pending: Pending) -> Arc<Process> {
        if pending.waits_for == WaitsFor::default() {
            return self.finish(pending);
        }
        pending.process.is_pending = true;
        let process = Arc::new(pending.process.clone());
        self.cache.insert(pending.key, Arc::clone(&process), pending.time);
        self.pending.insert(ticket, pending);
        process
    }

    /// Takes the answers of the workers.
    fn collect(&mut self, now: Instant) {
        for (ticket, answer) in self.procfs.poll(now) {
            let Some(mut pending) = self.pending.remove(&ticket) else { continue };
            pending.waits_for.procfs = false;
            pending.is_late |= answer.is_none();
            if let Some(Enriched { process, root }) = answer.flatten() {
                pending.process = process;
                // The name is read below the process's root folder, which may hang.
                if let Some((root, record)) = root.zip(pending.record.clone()) {
                    let place = Place { name: root.into(), ..pending.place.clone() };
                    let weight = record.size();
                    pending.waits_for.user = self.users.submit(ticket, &place, weight, record);
                    pending.is_late |= !pending.waits_for.user;
                }
            }
            if let Some(question) = PodQuestion::of(&pending.process.location, pending.time) {
                let weight = size_of::<PodQuestion>();
                pending.waits_for.pod = self.pods.submit(ticket, &pending.place, weight, question);
                pending.is_late |= !pending.waits_for.pod;
            }
            self.proceed(ticket, pending);
        }
        for (ticket, answer) in self.users.poll(now) {
            let Some(mut pending) = self.pending.remove(&ticket) else { continue };
            pending.waits_for.user = false;
            pending.is_late |= answer.is_none();
            pending.process.user = answer.flatten();
            self.proceed(ticket, pending);
        }
        for (ticket, answer) in self.pods.poll(now) {
            let Some(mut pending) = self.pending.remove(&ticket) else { continue };
            pending.waits_for.pod = false;
            pending.is_late |= answer.is_none();
            if let Some(names) = answer.flatten() {
                pending.process.pod_names = Some(names);
            }
            self.proceed(ticket, pending);
        }
    }

    fn proceed(&mut self, ticket: u64, pending: Pending) {
        if pending.waits_for == WaitsFor::default() {
            let process = self.finish(pending);
            self.completed.push_back(process);
        } else {
            self.pending.insert(ticket, pending);
        }
    }

    /// Keeps a process for which nothing is waited for.
    fn finish(&mut self, pending: Pending) -> Arc<Process> {
        let Pending { key, time, mut process, is_late, .. } = pending;
        process.is_pending = false;
        self.late += u64::from(is_late);
        let process = Arc::new(process);
        self.cache.insert(key, Arc::clone(&process), time);
        process
    }
}

/// Returns the owner by which a process's use of the workers is limited: its container, its user
/// below `user.slice`, or its unit. Only names that the host assigned count, so that no caller can
/// obtain several shares. If the cgroup is unknown, the owner is the user.
fn owner(cgroup: Option<&ResolvedCgroup>, uid: u32) -> Box<[u8]> {
    let Some(ResolvedCgroup { path, host_len }) = cgroup else {
        return uid.to_ne_bytes().into();
    };
    let location = CgroupLocation::of_owned(path, *host_len);
    let mut parts = path.split(|&byte| byte == b'/').filter(|part| !part.is_empty());
    if parts.next() == Some(b"user.slice") {
        return parts.next().unwrap_or(b"user.slice").into();
    }
    let own = location.host_container().or(location.unit.as_deref());
    // Without either, users share the folder.
    own.map_or_else(|| [path, &uid.to_ne_bytes()[..]].concat().into(), Into::into)
}
