//! Completes the ancestors of a process, and finds the one that answers for it.

use std::num::NonZeroUsize;

use lru::LruCache;

use super::cgroup;
use super::completion::{self, executable};
use super::procfs::{ProcessFolder, Procfs};
use super::responsible::{self, Link};
use super::snapshot::Record;
use super::stat::Stat;
use super::{
    Ancestor, Arguments, Cluster, Executable, MAX_ANCESTOR_ARGUMENT_BYTES, MAX_ANCESTORS,
    MAX_COMMAND_LINE, Part, Placement, Process, Program, Responsible, Reword,
};

/// The number of ancestors remembered, of at most about 4 KiB each; the least recently used goes.
const MAX_PARENTS: NonZeroUsize = NonZeroUsize::new(512).unwrap();

/// The ancestors that were seen, each in one program: those that have ended since are completed
/// from here, as the script is that started something in the background.
#[derive(Debug)]
pub struct Parents {
    known: LruCache<(u32, u64, u64), Seen>,
}

/// What was found out of an ancestor.
#[derive(Clone, Debug, Default)]
struct Seen {
    exe: Option<Executable>,
    arguments: Option<Arguments>,
    program: Program,
    part: Option<Part>,
    cluster: Option<Cluster>,
    placement: Option<Placement>,
}

impl Default for Parents {
    fn default() -> Self {
        Self { known: LruCache::new(MAX_PARENTS) }
    }
}

impl Parents {
    /// Adds to each ancestor what procfs or an earlier look has of it, and the ancestors that
    /// the record had no place for. Returns whether the last one has no parent.
    pub fn complete(
        &mut self,
        process: &mut Process,
        record: &Record<'_>,
        procfs: &Procfs,
        reword: Reword,
    ) -> bool {
        let is_cut = process.ancestors.len() >= imds_audit_ebpf::MAX_ANCESTORS;
        let last = process.ancestors.last().map(|last| identity(last, procfs));
        if let Some(last) = last.filter(|_| is_cut) {
            climb(&mut process.ancestors, last, MAX_ANCESTORS, procfs);
        }
        for ancestor in &mut process.ancestors {
            self.complete_one(ancestor, procfs, reword);
        }
        let last = process.ancestors.last().map(|last| identity(last, procfs));
        // The record of a kernel that could be read ends at a process without a parent.
        (record.is_verifiable() && !is_cut)
            || last.is_some_and(|last| parent_of(last, procfs) == Some(0))
    }

    fn complete_one(&mut self, ancestor: &mut Ancestor, procfs: &Procfs, reword: Reword) {
        let key = (ancestor.pid, ancestor.start_time, ancestor.exec_id);
        let Seen { exe, arguments, program, part, cluster, placement } =
            match self.known.get_mut(&key) {
                // A program does not change; where it runs may.
                Some(known) => {
                    known.placement = place(ancestor, procfs).or(known.placement.take());
                    known.clone()
                }
                None => {
                    let seen = look(ancestor, procfs, reword);
                    // Without the count one program cannot be told from the next.
                    if ancestor.exec_id != 0 && seen.arguments.is_some() {
                        self.known.put(key, seen.clone());
                    }
                    seen
                }
            };
        ancestor.exe = exe;
        ancestor.arguments = arguments;
        ancestor.program = program;
        ancestor.part = part;
        ancestor.cluster = cluster;
        ancestor.placement = placement;
    }
}

/// Reads where an ancestor runs, and its program if it is still the one that it was: an `exec`
/// changes the name, or moves the arguments (the stack's address is random).
fn look(ancestor: &Ancestor, procfs: &Procfs, reword: Reword) -> Seen {
    let is_same = |stat: &Stat| {
        stat.name == ancestor.name
            && (ancestor.arguments_start == 0 || ancestor.arguments_start == stat.arguments_start)
    };
    let Some((folder, stat)) = open(identity(ancestor, procfs), procfs) else {
        return Seen::default();
    };
    let exe = folder.exe().map(|link| executable(link, None));
    let line = folder.command_line(MAX_COMMAND_LINE).filter(|(bytes, _)| !bytes.is_empty());
    let cluster = completion::cluster(&folder);
    let placement = placement(&folder);
    let again = folder.stat();
    if again.as_ref().is_none_or(|again| again.start_ticks != stat.start_ticks) {
        return Seen::default();
    }
    if !is_same(&stat) || again.as_ref() != Some(&stat) {
        return Seen { placement, ..Seen::default() };
    }
    let (program, part) = line
        .as_ref()
        .map(|(bytes, cut)| Program::read(exe.as_ref(), bytes, *cut))
        .unwrap_or_default();
    let arguments = line.map(|(bytes, cut)| match bytes.get(..MAX_ANCESTOR_ARGUMENT_BYTES) {
        Some(head) => Arguments::new(head, cut || head.len() < bytes.len()),
        None => Arguments::new(&bytes, cut),
    });
    let arguments = arguments.as_ref().map(reword);
    Seen { exe, arguments, program, part, cluster, placement }
}

/// Reads where an ancestor runs now.
fn place(ancestor: &Ancestor, procfs: &Procfs) -> Option<Placement> {
    let (folder, _) = open(identity(ancestor, procfs), procfs)?;
    placement(&folder)
}

fn placement(folder: &ProcessFolder) -> Option<Placement> {
    let path = cgroup::most_telling(None, &folder.cgroup()?);
    path.map(|path| Placement::of(&path))
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

fn parent_of(child: Identity, procfs: &Procfs) -> Option<u32> {
    open(child, procfs).map(|(_, stat)| stat.parent)
}

/// Finds the ancestors of a process for a record without them.
pub fn ancestors(pid: u32, stat: &Stat, procfs: &Procfs) -> Vec<Ancestor> {
    let mut ancestors = Vec::new();
    climb(&mut ancestors, (pid, stat.start_ticks), imds_audit_ebpf::MAX_ANCESTORS, procfs);
    ancestors
}

/// Adds the ancestors of the last one, up to `most` in all.
fn climb(ancestors: &mut Vec<Ancestor>, last: Identity, most: usize, procfs: &Procfs) {
    let mut child = last;
    while ancestors.len() < most {
        let Some(pid) = parent_of(child, procfs).filter(|&pid| pid != 0) else { return };
        let Some(stat) = procfs.process(pid).and_then(|folder| folder.stat()) else { return };
        // A parent that ended meanwhile has left its child to another, and its pid too.
        if parent_of(child, procfs) != Some(pid) {
            return;
        }
        child = (pid, stat.start_ticks);
        ancestors.push(Ancestor {
            arguments_start: stat.arguments_start,
            ..Ancestor::new(pid, procfs.time(stat.start_ticks), stat.name)
        });
    }
}

/// Names the process that answers for this one.
pub fn responsible(process: &Process, is_whole: bool) -> Option<Responsible> {
    let home = process.cgroup.as_ref().map(|_| process.placement.home());
    let mut chain = vec![Link { program: &process.program, home }];
    chain.extend(process.ancestors.iter().map(|ancestor| Link {
        program: &ancestor.program,
        home: ancestor.placement.as_ref().map(Placement::home),
    }));
    let (place, rule) = responsible::responsible(&chain, is_whole)?;
    let script = chain.get(place)?.program.name().map(Into::into);
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
        climb(&mut found, (7, 7), MAX_ANCESTORS, &procfs);
        assert_eq!(found.len(), MAX_ANCESTORS);
    }
}
