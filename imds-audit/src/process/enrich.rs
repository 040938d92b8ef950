//! Adds to a process what procfs and the cgroup file system know about it.

use std::sync::Arc;

use super::ancestors::{self, AncestorCache};
use super::arguments::{ArgumentFilter, Arguments};
use super::cgroup;
use super::cgroup_path::CgroupLocation;
use super::executable::Executable;
use super::facts::{Process, ProcfsMatch};
use super::proc_stat::Stat;
use super::process_folder::ProcessFolder;
use super::procfs::Procfs;
use super::program_facts::{self, ProgramFacts};
use super::spark;
use super::user_names::Users;
use crate::snapshot::{OwnedSnapshotRecord, SnapshotRecord};

/// A process to be looked up in procfs.
pub(super) struct EnrichRequest {
    /// The eBPF programs' record of the process.
    pub record: Arc<OwnedSnapshotRecord>,
    /// Its cgroup, where that is known.
    pub resolved: Option<ResolvedCgroup>,
    /// How command lines are changed before they are kept.
    pub filter: ArgumentFilter,
}

/// A process as procfs describes it.
pub(super) struct Enriched {
    /// The process.
    pub process: Process,
    /// Its mount namespace and root folder, which tell one root from another; `None` where procfs
    /// has no such process.
    pub root: Option<Vec<u8>>,
}

/// The path of a cgroup.
#[derive(Clone, Debug)]
pub(super) struct ResolvedCgroup {
    /// The path.
    pub path: Box<[u8]>,
    /// The number of bytes at its start that name folders of the host's.
    pub host_len: usize,
}

/// Makes the function that completes processes.
pub(super) fn worker(
    procfs: Procfs,
    ancestors: AncestorCache,
) -> impl FnMut(EnrichRequest) -> Option<Enriched> {
    move |request| {
        let record = request.record.record();
        procfs.learn(&record);
        let mut process = record.process();
        let root = complete(&mut process, &record, request.resolved.as_ref(), &procfs);
        process.arguments = process.arguments.as_ref().map(request.filter);
        let is_whole = ancestors.complete(&mut process, &record, &procfs, request.filter);
        resolve_responsible(&mut process, is_whole);
        Some(Enriched { process, root })
    }
}

/// Makes the function that finds the names of the users of processes, by their records.
pub(super) fn user_worker(
    procfs: Procfs,
) -> impl FnMut(Arc<OwnedSnapshotRecord>) -> Option<Box<[u8]>> {
    let mut users = Users::default();
    move |record| {
        let record = record.record();
        procfs.learn(&record);
        let folder = procfs.process(record.task().pid)?;
        let stat = folder.stat()?;
        if !may_be_same_process(&record, &stat, &folder, &procfs) {
            return None;
        }
        let name = users.name(record.snapshot().uid, &folder)?;
        let again = folder.stat()?;
        (again.start_ticks == stat.start_ticks).then_some(name)
    }
}

/// Finds, among a process and its ancestors, the responsible one and the Spark application;
/// `is_whole` where the last ancestor has no parent.
pub(super) fn resolve_responsible(process: &mut Process, is_whole: bool) {
    process.responsible = ancestors::responsible(process, is_whole);
    let above = process.ancestors.iter().map(|ancestor| (ancestor.role, ancestor.pid));
    process.spark =
        spark::application(std::iter::once((process.role, process.task.pid)).chain(above));
}

/// Sets the cgroup from its resolved path and the memberships that procfs lists.
pub(super) fn resolve_cgroup(
    process: &mut Process,
    resolved: Option<&ResolvedCgroup>,
    memberships: &[u8],
) {
    let path = cgroup::most_specific(resolved.map(|cgroup| &*cgroup.path), memberships);
    let location = path.as_deref().map(|path| match resolved {
        Some(cgroup) if *cgroup.path == *path => CgroupLocation::of_owned(path, cgroup.host_len),
        _ => CgroupLocation::of(path),
    });
    process.location = location.unwrap_or_default();
    process.cgroup_is_of_id =
        resolved.is_some_and(|cgroup| path.as_deref().is_some_and(|path| *cgroup.path == *path));
    process.cgroup = path;
}

/// Completes a process as far as procfs proves that it is the one of the record. Returns its root,
/// if procfs has it.
fn complete(
    process: &mut Process,
    record: &SnapshotRecord<'_>,
    resolved: Option<&ResolvedCgroup>,
    procfs: &Procfs,
) -> Option<Vec<u8>> {
    let found =
        procfs.process(process.task.pid).and_then(|folder| Found::read(&folder, record, procfs));
    let memberships = found.as_ref().and_then(|found| found.memberships.as_deref());
    resolve_cgroup(process, resolved, memberships.unwrap_or_default());
    let found = found?;
    let root = found.root.clone();
    found.add_to(process, procfs);
    Some(root)
}

/// The contents of a process's folder, and how certain it is that it is the record's process.
struct Found {
    procfs_match: ProcfsMatch,
    stat: Stat,
    program: ProgramFacts,
    memberships: Option<Vec<u8>>,
    root: Vec<u8>,
}

impl Found {
    /// Reads everything, and then the identity once more: an `exec` in between shows.
    fn read(folder: &ProcessFolder, record: &SnapshotRecord<'_>, procfs: &Procfs) -> Option<Self> {
        let stat = folder.stat()?;
        if !may_be_same_process(record, &stat, folder, procfs) {
            return None;
        }
        let exe = folder.exe();
        let exe = exe.map(|link| Executable::of_link(link, record.exe_name().as_deref()));
        let program = program_facts::read(folder, exe);
        let memberships = folder.cgroup();
        let root = folder.root_name();
        let again = folder.stat()?;
        if again.start_ticks != stat.start_ticks {
            return None;
        }
        let unchanged = again == stat;
        let procfs_match = if !record.is_verifiable() {
            unchanged.then_some(ProcfsMatch::Unverified)?
        } else if unchanged && is_same_program(record, &stat, program.command_line.as_ref()) {
            ProcfsMatch::Program
        } else {
            ProcfsMatch::Process
        };
        Some(Self { procfs_match, stat, program, memberships, root })
    }

    /// Adds what is certain enough.
    fn add_to(self, process: &mut Process, procfs: &Procfs) {
        process.procfs_match = self.procfs_match;
        if self.procfs_match == ProcfsMatch::Process {
            return;
        }
        let ProgramFacts { exe, command_line, workload, role, cluster, working_directory } =
            self.program;
        if exe.is_some() {
            process.exe = exe;
        }
        if let Some((bytes, truncated)) = command_line {
            (process.workload, process.role) = (workload, role);
            process.arguments = Some(Arguments::new(&bytes, truncated));
        }
        process.cluster = cluster;
        process.working_directory = working_directory;
        process.arguments_start = self.stat.arguments_start;
        if self.procfs_match == ProcfsMatch::Unverified {
            process.start_time.get_or_insert(procfs.time(self.stat.start_ticks));
            process.ancestors = ancestors::ancestors(process.task.pid, &self.stat, procfs);
            process.name.get_or_insert(self.stat.name);
        }
    }
}

/// Returns whether the process has the record's start time. Without one, it is enough that it is
/// older than the record and that the thread that acted is there by name.
fn may_be_same_process(
    record: &SnapshotRecord<'_>,
    stat: &Stat,
    folder: &ProcessFolder,
    procfs: &Procfs,
) -> bool {
    let task = record.task();
    if record.is_verifiable() {
        return stat.start_ticks == procfs.ticks(task.start_time);
    }
    let thread = folder.thread_name(task.tid);
    stat.start_ticks <= procfs.ticks(record.time())
        && record.thread_name().is_none_or(|name| thread.as_deref() == Some(&*name))
}

/// Returns whether the program is the record's: its arguments lie where they lay and start with
/// the bytes that the kernel saw. An `exec` moves them (the stack's address is random), and
/// where that is switched off, other arguments give it away.
fn is_same_program(
    record: &SnapshotRecord<'_>,
    stat: &Stat,
    command_line: Option<&(Vec<u8>, bool)>,
) -> bool {
    let snapshot = record.snapshot();
    if (stat.arguments_start, stat.arguments_end)
        != (snapshot.arguments_start, snapshot.arguments_end)
        || snapshot.arguments_end == 0
    {
        return false;
    }
    let Some(expected) = record.argument_bytes() else { return true };
    let Some((found, _)) = command_line else { return false };
    let area = snapshot.arguments_end.saturating_sub(snapshot.arguments_start);
    // Where an area ends without a NUL, the kernel shows it as a title: up to its first NUL
    // (`get_mm_cmdline` in fs/proc/base.c).
    let title = expected.len() as u64 == area && expected.last().is_some_and(|&byte| byte != 0);
    let expected = match expected.iter().position(|&byte| byte == 0) {
        Some(end) if title => expected.get(..end).unwrap_or_default(),
        _ => expected,
    };
    found.starts_with(expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fixture;

    fn same(area: u64, captured: &[u8], found: &[u8]) -> bool {
        let mut snapshot = fixture::empty();
        (snapshot.arguments_start, snapshot.arguments_end) = (4096, 4096 + area);
        let bytes = fixture::bytes(snapshot, captured);
        let stat = Stat {
            name: Box::default(),
            parent: 1,
            start_ticks: 0,
            arguments_start: 4096,
            arguments_end: 4096 + area,
        };
        is_same_program(
            &SnapshotRecord::parse(&bytes).unwrap(),
            &stat,
            Some(&(found.to_vec(), false)),
        )
    }

    #[test]
    fn a_title_without_a_last_nul_is_compared_as_the_kernel_shows_it() {
        assert!(same(8, b"worker 1", b"worker 1 of many\0"));
        assert!(same(8, b"work\0\0\0x", b"work"));
        assert!(!same(8, b"worker 1", b"worker 2 of many\0"));
    }

    #[test]
    fn a_cut_snapshot_matches_by_its_head_and_a_shorter_line_does_not() {
        assert!(same(100, b"java\0-cp", b"java\0-cp\0x\0"));
        assert!(!same(100, b"java\0-cp", b"java\0"));
        assert!(!same(100, b"java\0-cp", b""));
    }
}
