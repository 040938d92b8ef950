//! The ancestors of a process, completed from procfs, and the responsible one among them.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imds_audit_ebpf::ProcessKey;
use lru::LruCache;

use super::arguments::{ArgumentFilter, Arguments};
use super::cgroup;
use super::cgroup_path::CgroupLocation;
use super::executable::Executable;
use super::facts::{Ancestor, Process, Responsible};
use super::limits::{MAX_ANCESTOR_ARGUMENT_BYTES, MAX_ANCESTORS};
use super::proc_stat::Stat;
use super::process_folder::ProcessFolder;
use super::procfs::Procfs;
use super::program_facts::{self, ProgramFacts};
use super::responsible::{self, ChainLink, Exec};
use super::snapshot::text;
use super::spark;
use super::workload::Workload;
use crate::snapshot::{BegunPrograms, SnapshotRecord};

/// The number of ancestors remembered, of at most about 4 KiB each; the least recently used goes.
const MAX_CACHED: NonZeroUsize = NonZeroUsize::new(512).unwrap();

/// LRU cache of ancestors, each in one program: those that have ended since are completed from
/// here, such as the script that started something in the background. Threads share it, and none
/// reads procfs while it holds it.
#[derive(Clone, Debug)]
pub(super) struct AncestorCache {
    known: Arc<Mutex<KnownAncestors>>,
    /// Knows what those ran that are gone, if the source keeps it.
    begun: Option<Arc<dyn BegunPrograms>>,
}

/// Ancestors by pid, start and exec count.
type KnownAncestors = LruCache<(u32, u64, u64), Arc<Ancestor>>;

impl AncestorCache {
    /// Makes one that is empty.
    pub(super) fn new(begun: Option<Arc<dyn BegunPrograms>>) -> Self {
        Self { known: Arc::new(Mutex::new(LruCache::new(MAX_CACHED))), begun }
    }

    /// Completes each ancestor from procfs or from the cache, and adds the ancestors that the
    /// record had no place for. Returns whether the last one has no parent.
    pub(super) fn complete(
        &self,
        process: &mut Process,
        record: &SnapshotRecord<'_>,
        procfs: &Procfs,
        filter: ArgumentFilter,
    ) -> bool {
        let is_cut = process.ancestors.len() >= imds_audit_ebpf::MAX_ANCESTORS;
        let last = process.ancestors.last().map(|last| identity(last, procfs));
        if let Some(last) = last.filter(|_| is_cut) {
            walk_parents(&mut process.ancestors, last, MAX_ANCESTORS, procfs);
        }
        let mut ancestors = std::mem::take(&mut process.ancestors);
        for ancestor in &mut ancestors {
            self.complete_one(ancestor, process, procfs, filter);
        }
        process.ancestors = ancestors;
        let last = process.ancestors.last().map(|last| identity(last, procfs));
        // The record of a kernel that could be read ends at a process without a parent.
        (record.is_verifiable() && !is_cut)
            || last.is_some_and(|last| parent_of(last, procfs) == Some(0))
    }

    fn known(&self) -> MutexGuard<'_, KnownAncestors> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complete_one(
        &self,
        ancestor: &mut Arc<Ancestor>,
        child: &Process,
        procfs: &Procfs,
        filter: ArgumentFilter,
    ) {
        let key = (ancestor.pid, ancestor.start_time, ancestor.exec_id);
        let cached = self.known().get(&key).cloned();
        let mut may_say_more_later = false;
        let completed = match &cached {
            // Without the count one program cannot be told from the next, before it is read.
            Some(known) if ancestor.exec_id != 0 => {
                // A program does not change; where it runs, and its name, may.
                let location = read_location(ancestor, procfs);
                let location = location.or_else(|| known.location.clone());
                Ancestor { name: ancestor.name.clone(), location, ..Ancestor::clone(known) }
            }
            _ => {
                let read = read_ancestor(ancestor, procfs, filter);
                if read.arguments.is_some() {
                    read
                } else {
                    // One that has a place lives: procfs may tell the next time what its first
                    // words do not.
                    may_say_more_later = read.location.is_some();
                    self.find_begun(read, child, filter)
                }
            }
        };
        // Processes of one parent share it.
        *ancestor = match cached {
            Some(known) if *known == completed => known,
            _ => Arc::new(completed),
        };
        if ancestor.arguments.is_some() && !may_say_more_later {
            self.known().put(key, Arc::clone(ancestor));
        }
    }

    /// Completes an ancestor about which procfs says nothing, or that runs another program by now,
    /// by what it began to run, if the source has kept that.
    fn find_begun(&self, ancestor: Ancestor, child: &Process, filter: ArgumentFilter) -> Ancestor {
        let key = ProcessKey {
            pid: ancestor.pid,
            start_time: ancestor.start_time,
            exec_id: ancestor.exec_id,
        };
        let begun = self.begun.as_ref().filter(|_| key.exec_id != 0 && key.start_time != 0);
        let Some(begun) = begun.and_then(|begun| begun.find(key)) else { return ancestor };
        let captured = usize::try_from(begun.arguments_captured).unwrap_or(usize::MAX);
        let Some(bytes) = begun.arguments.get(..captured).filter(|bytes| !bytes.is_empty()) else {
            return ancestor;
        };
        let is_cut = begun.arguments_captured < begun.arguments_length;
        let exe = text(&begun.exe).map(Executable::FileName);
        let (workload, role) = spark::workload_and_role(exe.as_ref(), bytes, is_cut);
        // One that is gone has no folder that names its cgroup any more. Where containers are in
        // hierarchies of version 1, one id stands for many places.
        let is_beside =
            begun.cgroup != 0 && child.cgroup_id == Some(begun.cgroup) && child.cgroup_is_of_id;
        let location =
            ancestor.location.clone().or_else(|| is_beside.then(|| child.location.clone()));
        let arguments = Some(filter(&Arguments::new(bytes, is_cut)));
        Ancestor { exe, arguments, workload, role, location, ..ancestor }
    }
}

/// Reads where an ancestor runs, and its program if it is still the same one: an `exec` changes
/// the name, or moves the arguments (the stack's address is random).
fn read_ancestor(ancestor: &Ancestor, procfs: &Procfs, filter: ArgumentFilter) -> Ancestor {
    let unread = || Ancestor::clone(ancestor);
    let is_same = |stat: &Stat| {
        stat.name == ancestor.name
            && (ancestor.arguments_start == 0 || ancestor.arguments_start == stat.arguments_start)
    };
    let Some((folder, stat)) = open(identity(ancestor, procfs), procfs) else {
        return unread();
    };
    let exe = folder.exe().map(|link| Executable::of_link(link, None));
    let program = program_facts::read(&folder, exe);
    let location = location(&folder);
    let again = folder.stat();
    if again.as_ref().is_none_or(|again| again.start_ticks != stat.start_ticks) {
        return unread();
    }
    if !is_same(&stat) || again.as_ref() != Some(&stat) {
        return Ancestor { location, ..unread() };
    }
    let ProgramFacts { exe, command_line, workload, role, cluster, working_directory: _ } = program;
    let line = command_line.filter(|(bytes, _)| !bytes.is_empty());
    let arguments = line.map(|(bytes, cut)| match bytes.get(..MAX_ANCESTOR_ARGUMENT_BYTES) {
        Some(head) => Arguments::new(head, cut || head.len() < bytes.len()),
        None => Arguments::new(&bytes, cut),
    });
    let arguments = arguments.as_ref().map(filter);
    Ancestor { exe, arguments, workload, role, cluster, location, ..unread() }
}

/// Reads where an ancestor runs now.
fn read_location(ancestor: &Ancestor, procfs: &Procfs) -> Option<CgroupLocation> {
    let (folder, _) = open(identity(ancestor, procfs), procfs)?;
    location(&folder)
}

fn location(folder: &ProcessFolder) -> Option<CgroupLocation> {
    let path = cgroup::most_specific(None, &folder.cgroup()?);
    path.map(|path| CgroupLocation::of(&path))
}

/// A process as procfs tells it from others: its number, and its start in clock ticks.
type Identity = (u32, u64);

fn identity(ancestor: &Ancestor, procfs: &Procfs) -> Identity {
    (ancestor.pid, procfs.ticks(ancestor.start_time))
}

/// Opens a process's folder, if it is the same process still.
fn open((pid, start_ticks): Identity, procfs: &Procfs) -> Option<(ProcessFolder, Stat)> {
    let folder = procfs.process(pid)?;
    let stat = folder.stat()?;
    (stat.start_ticks == start_ticks).then_some((folder, stat))
}

/// Returns the kernel's number of a process's parent. In a container procfs has no such numbers: a
/// record's own ancestors are all there are.
fn parent_of(child: Identity, procfs: &Procfs) -> Option<u32> {
    if procfs.is_of_container() {
        return None;
    }
    open(child, procfs).map(|(_, stat)| stat.parent)
}

/// Finds the ancestors of a process for a record without them.
pub(super) fn ancestors(pid: u32, stat: &Stat, procfs: &Procfs) -> Vec<Arc<Ancestor>> {
    let mut ancestors = Vec::new();
    walk_parents(&mut ancestors, (pid, stat.start_ticks), imds_audit_ebpf::MAX_ANCESTORS, procfs);
    ancestors
}

/// Adds the ancestors of the last one, up to `most` in all.
fn walk_parents(ancestors: &mut Vec<Arc<Ancestor>>, last: Identity, most: usize, procfs: &Procfs) {
    let mut child = last;
    while ancestors.len() < most {
        let Some(pid) = parent_of(child, procfs).filter(|&pid| pid != 0) else { return };
        let Some(stat) = procfs.process(pid).and_then(|folder| folder.stat()) else { return };
        // A parent that ended meanwhile has left its child to another, and its pid too.
        if parent_of(child, procfs) != Some(pid) {
            return;
        }
        child = (pid, stat.start_ticks);
        ancestors.push(Arc::new(Ancestor {
            arguments_start: stat.arguments_start,
            ..Ancestor::new(pid, procfs.time(stat.start_ticks), stat.name)
        }));
    }
}

fn exec_of(ancestor: &Ancestor) -> Exec {
    Exec { count: ancestor.exec_id, arguments_start: ancestor.arguments_start }
}

/// Returns what the first of these ancestors runs, by those that it was forked from: a subshell
/// that ended before procfs was read runs what its parent does, since it has made no `exec` and
/// has its arguments in the same place.
fn forked_from(ancestors: &[Arc<Ancestor>]) -> Option<&Workload> {
    let own = exec_of(ancestors.first()?);
    let forked = ancestors.iter().take_while(|parent| own.is_known() && exec_of(parent) == own);
    forked.map(|parent| &parent.workload).find(|workload| **workload != Workload::Unknown)
}

/// Finds the process that is responsible for this one's requests.
pub(super) fn responsible(process: &Process, is_whole: bool) -> Option<Responsible> {
    let home = process.cgroup.as_ref().map(|_| process.location.home());
    let exec = Exec { count: process.task.exec_id, arguments_start: process.arguments_start };
    let mut chain = vec![ChainLink { workload: &process.workload, exec, home }];
    let ancestors = &process.ancestors;
    chain.extend(ancestors.iter().enumerate().map(|(place, ancestor)| ChainLink {
        workload:
            forked_from(ancestors.get(place..).unwrap_or_default()).unwrap_or(&ancestor.workload),
        exec: exec_of(ancestor),
        home: ancestor.location.as_ref().map(CgroupLocation::home),
    }));
    let (place, rule) = responsible::responsible(&chain, is_whole)?;
    let script = chain.get(place)?.workload.name().map(Into::into);
    Some(match place.checked_sub(1).and_then(|above| process.ancestors.get(above)) {
        Some(ancestor) => Responsible {
            pid: ancestor.pid,
            name: Some(ancestor.name.clone()).filter(|name| !name.is_empty()),
            arguments: ancestor.arguments.clone(),
            script,
            rule,
        },
        None => Responsible {
            pid: process.task.pid,
            name: process.name.clone(),
            arguments: process.arguments.clone(),
            script,
            rule,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_loop_of_parents_ends() {
        let folder = tempfile::tempdir().unwrap();
        let fields = ["7"; 49].join(" ");
        std::fs::create_dir(folder.path().join("7")).unwrap();
        std::fs::write(folder.path().join("7/stat"), format!("7 (x) S {fields}")).unwrap();
        let procfs = Procfs::open(folder.path()).unwrap();
        let stat = procfs.process(7).unwrap().stat().unwrap();
        let mut found = ancestors(7, &stat, &procfs);
        assert_eq!(found.len(), imds_audit_ebpf::MAX_ANCESTORS);
        walk_parents(&mut found, (7, 7), MAX_ANCESTORS, &procfs);
        assert_eq!(found.len(), MAX_ANCESTORS);
    }

    #[test]
    fn a_subshell_that_has_ended_runs_what_its_parent_does() {
        let ancestor = |exec_id, arguments_start, workload| Ancestor {
            exec_id,
            arguments_start,
            workload,
            ..Ancestor::new(1, 1, (*b"bash").into())
        };
        let commands = || ancestor(7, 4096, Workload::Commands);
        for (ended, expected) in [
            (ancestor(7, 4096, Workload::Unknown), Some(&Workload::Commands)),
            // Another `exec`, or one that is not known.
            (ancestor(8, 4096, Workload::Unknown), None),
            (ancestor(7, 8192, Workload::Unknown), None),
            (ancestor(0, 0, Workload::Unknown), None),
        ] {
            let chain = [ended.clone(), ended, commands()].map(Arc::new);
            assert_eq!(forked_from(&chain), expected);
        }
    }
}
