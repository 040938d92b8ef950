//! Snapshots of one process over time.

use std::sync::Arc;

use crate::process::{Ancestor, Process};
use crate::segment::Timestamp;

/// The snapshots kept of one process: a new one is taken where its user or its cgroup changed.
pub(super) const MAX_VERSIONS: usize = 4;

/// The snapshots of a process, oldest first, each with when it was taken.
#[derive(Debug, Default)]
pub(super) struct Versions(pub(super) Vec<(Timestamp, Arc<Process>)>);

impl Versions {
    /// Returns the newest snapshot that had been taken by `time`, else the oldest.
    pub(super) fn at(&self, time: Timestamp) -> Option<&Arc<Process>> {
        let by_then = self.0.iter().rev().find(|(taken, _)| *taken <= time);
        by_then.or(self.0.first()).map(|(_, process)| process)
    }

    /// Adds a snapshot; one that only says the same again, or less, is left out.
    pub(super) fn add(&mut self, time: Timestamp, process: Arc<Process>) {
        match self.0.last_mut() {
            // Without a start time the next process with this pid has the same identity.
            Some((_, known)) if process.task.start_time != 0 && is_same_state(known, &process) => {
                if process.procfs_match >= known.procfs_match && !is_same_process(known, &process) {
                    *known = process;
                }
            }
            Some((_, known)) if Arc::ptr_eq(known, &process) => {}
            _ => {
                if self.0.len() == MAX_VERSIONS {
                    self.0.remove(0);
                }
                self.0.push((time, process));
            }
        }
    }

    /// Puts a fuller description in the place of the snapshots that it is about.
    pub(super) fn complete(&mut self, process: &Arc<Process>) {
        for (_, known) in &mut self.0 {
            if known.is_pending && is_same_state(known, process) {
                *known = Arc::clone(process);
            }
        }
    }

    /// Returns about how many bytes they take, without the ancestors.
    pub(super) fn weight(&self) -> usize {
        let sum: usize = self.0.iter().map(|(_, process)| process.own_weight()).sum();
        size_of::<Self>() + sum
    }

    pub(super) fn ancestors(&self) -> impl Iterator<Item = &Arc<Ancestor>> {
        self.0.iter().flat_map(|(_, process)| &process.ancestors)
    }
}

/// Returns whether a process still has the user and the cgroup that it had.
fn is_same_state(known: &Process, process: &Process) -> bool {
    (known.uid, known.gid, known.cgroup_id) == (process.uid, process.gid, process.cgroup_id)
}

/// Returns whether two snapshots differ by nothing but the thread that acted.
fn is_same_process(known: &Arc<Process>, process: &Arc<Process>) -> bool {
    if Arc::ptr_eq(known, process) {
        return true;
    }
    let Process {
        task: _,
        thread_name: _,
        name,
        exe,
        arguments,
        uid: _,
        gid: _,
        user,
        namespace_pid,
        start_time,
        cgroup_id: _,
        cgroup_is_of_id: _,
        cgroup,
        location,
        pod_names,
        workload,
        working_directory,
        arguments_start: _,
        role,
        cluster,
        ancestors,
        responsible,
        spark,
        netns: _,
        procfs_match,
        is_pending,
    } = &**known;
    *is_pending == process.is_pending
        && *procfs_match == process.procfs_match
        && *name == process.name
        && *exe == process.exe
        && *arguments == process.arguments
        && *user == process.user
        && *namespace_pid == process.namespace_pid
        && *start_time == process.start_time
        && *cgroup == process.cgroup
        && *location == process.location
        && *pod_names == process.pod_names
        && *workload == process.workload
        && *working_directory == process.working_directory
        && *role == process.role
        && *cluster == process.cluster
        && *responsible == process.responsible
        && *spark == process.spark
        && *ancestors == process.ancestors
}
