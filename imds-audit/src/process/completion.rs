//! Adds to a process what procfs and the cgroup file system have of it.

use super::cgroup;
use super::lineage::{self, Parents};
use super::procfs::{ProcessFolder, Procfs};
use super::snapshot::Record;
use super::stat::Stat;
use super::users::Users;
use super::{
    Arguments, Cluster, Completion, Executable, MAX_COMMAND_LINE, MAX_ENVIRONMENT, Placement,
    Process, Program, Reword, Spark,
};

/// What is asked of the thread that reads procfs.
pub struct Question {
    /// The kernel half's record of the process.
    pub record: Vec<u8>,
    /// The path of its cgroup, where it is known.
    pub resolved: Option<Box<[u8]>>,
    /// How command lines are changed before they are kept.
    pub reword: Reword,
}

/// Makes what answers questions about processes.
pub fn answers(procfs: Procfs) -> impl FnMut(Question) -> Option<Process> {
    let mut users = Users::default();
    let mut parents = Parents::default();
    move |question| {
        let record = Record::parse(&question.record).ok()?;
        let mut process = record.process();
        complete(&mut process, &record, question.resolved.as_deref(), &procfs, &mut users);
        process.arguments = process.arguments.as_ref().map(question.reword);
        let is_whole = parents.complete(&mut process, &record, &procfs, question.reword);
        conclude(&mut process, is_whole);
        Some(process)
    }
}

/// Concludes from a process and its ancestors who answers for it and what it belongs to;
/// `is_whole` where the last ancestor has no parent.
pub fn conclude(process: &mut Process, is_whole: bool) {
    process.responsible = lineage::responsible(process, is_whole);
    let above = process.ancestors.iter().map(|ancestor| (ancestor.part, ancestor.pid));
    process.spark = Spark::of(std::iter::once((process.part, process.task.pid)).chain(above));
}

/// Completes a process as far as it can be without procfs.
pub fn place(process: &mut Process, resolved: Option<&[u8]>, memberships: &[u8]) {
    let path = cgroup::most_telling(resolved, memberships);
    process.placement = path.as_deref().map(Placement::of).unwrap_or_default();
    process.cgroup = path;
}

/// Completes a process as far as procfs proves that it is the one of the record.
fn complete(
    process: &mut Process,
    record: &Record<'_>,
    resolved: Option<&[u8]>,
    procfs: &Procfs,
    users: &mut Users,
) {
    let found = procfs
        .process(process.task.pid)
        .and_then(|folder| Found::read(&folder, record, procfs, users));
    let memberships = found.as_ref().and_then(|found| found.memberships.as_deref());
    place(process, resolved, memberships.unwrap_or_default());
    if let Some(found) = found {
        found.add_to(process, record, procfs);
    }
}

/// What procfs has of a process, and how certain it is that it is the one.
struct Found {
    completion: Completion,
    stat: Stat,
    exe: Option<Vec<u8>>,
    command_line: Option<(Vec<u8>, bool)>,
    cluster: Option<Cluster>,
    memberships: Option<Vec<u8>>,
    user: Option<Box<[u8]>>,
}

impl Found {
    /// Reads everything, and then once more who it was: an `exec` in between shows.
    fn read(
        folder: &ProcessFolder,
        record: &Record<'_>,
        procfs: &Procfs,
        users: &mut Users,
    ) -> Option<Self> {
        let stat = folder.stat()?;
        if !may_be_same_process(record, &stat, folder, procfs) {
            return None;
        }
        // The command line is compared with the record's, so it is read behind the program.
        let exe = folder.exe();
        let command_line = folder.command_line(MAX_COMMAND_LINE);
        let cluster = cluster(folder);
        let memberships = folder.cgroup();
        let user = users.name(record.snapshot().uid, folder);
        let again = folder.stat()?;
        if again.start_ticks != stat.start_ticks {
            return None;
        }
        let unchanged = again == stat;
        let completion = if !record.is_verifiable() {
            unchanged.then_some(Completion::Unverified)?
        } else if unchanged && is_same_program(record, &stat, command_line.as_ref()) {
            Completion::Program
        } else {
            Completion::Process
        };
        Some(Self { completion, stat, exe, command_line, cluster, memberships, user })
    }

    /// Adds what is certain enough.
    fn add_to(self, process: &mut Process, record: &Record<'_>, procfs: &Procfs) {
        process.completion = self.completion;
        process.user = self.user;
        if self.completion == Completion::Process {
            return;
        }
        if let Some(path) = self.exe {
            process.exe = Some(executable(path, record.exe_name().as_deref()));
        }
        if let Some((bytes, truncated)) = self.command_line {
            (process.program, process.part) =
                Program::read(process.exe.as_ref(), &bytes, truncated);
            process.arguments = Some(Arguments::new(&bytes, truncated));
        }
        process.cluster = self.cluster;
        if self.completion == Completion::Unverified {
            process.start_time.get_or_insert(procfs.time(self.stat.start_ticks));
            process.ancestors = lineage::ancestors(process.task.pid, &self.stat, procfs);
            process.name.get_or_insert(self.stat.name);
        }
    }
}

/// Reads which cluster a process's environment names.
pub fn cluster(folder: &ProcessFolder) -> Option<Cluster> {
    let (environment, truncated) = folder.environment(MAX_ENVIRONMENT)?;
    Cluster::of(&environment, truncated)
}

/// Returns whether the process has the record's start time. Without one, it is enough that it is
/// older than the record and that the thread that acted is there by name.
fn may_be_same_process(
    record: &Record<'_>,
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
    record: &Record<'_>,
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

/// Turns the link's text into a path. The kernel marks a deleted file by a word behind its path,
/// which a file's name may end in as well: the name in the record decides.
pub fn executable(link: Vec<u8>, name: Option<&[u8]>) -> Executable {
    const MARK: &[u8] = b" (deleted)";
    let named = |path: &[u8]| {
        let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        name.is_some_and(|name| last == name)
    };
    match link.strip_suffix(MARK) {
        Some(path) if !named(&link) => Executable::Path { path: path.into(), deleted: true },
        _ => Executable::Path { path: link.into(), deleted: false },
    }
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
        is_same_program(&Record::parse(&bytes).unwrap(), &stat, Some(&(found.to_vec(), false)))
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

    #[test]
    fn the_mark_of_a_deleted_program_is_no_part_of_its_path() {
        let read = |link: &[u8], name: Option<&[u8]>| match executable(link.into(), name) {
            Executable::Path { path, deleted } => (path, deleted),
            Executable::FileName(_) => unreachable!(),
        };
        assert_eq!(read(b"/bin/a (deleted)", Some(b"a")), ((*b"/bin/a").into(), true));
        assert_eq!(read(b"/bin/a (deleted)", None), ((*b"/bin/a").into(), true));
        let name = b"a (deleted)";
        assert_eq!(read(b"/bin/a (deleted)", Some(name)), ((*b"/bin/a (deleted)").into(), false));
        assert_eq!(read(b"/bin/a", Some(b"b")), ((*b"/bin/a").into(), false));
    }
}
