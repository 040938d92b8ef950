//! Completes the ancestors of a process, and finds the one that answers for it.

use std::num::NonZeroUsize;

use lru::LruCache;

use super::cgroup;
use super::completion::executable;
use super::procfs::{ProcessFolder, Procfs};
use super::responsible::{self, Link};
use super::snapshot::Record;
use super::stat::Stat;
use super::{
    Ancestor, Arguments, Executable, MAX_ANCESTOR_ARGUMENT_BYTES, MAX_ANCESTORS, MAX_COMMAND_LINE,
    Placement, Process, Program, Responsible, Reword,
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
#[derive(Clone, Debug)]
struct Seen {
    exe: Option<Executable>,
    arguments: Option<Arguments>,
    program: Program,
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
        if is_cut {
            extend(&mut process.ancestors, procfs);
        }
        for ancestor in &mut process.ancestors {
            self.complete_one(ancestor, procfs, reword);
        }
        let last = process.ancestors.last();
        // The record of a kernel that could be read ends at a process without a parent.
        (record.is_verifiable() && !is_cut)
            || last.is_some_and(|last| parent_of(last, procfs) == Some(0))
    }

    fn complete_one(&mut self, ancestor: &mut Ancestor, procfs: &Procfs, reword: Reword) {
        let key = (ancestor.pid, ancestor.start_time, ancestor.exec_id);
        let seen = match look(ancestor, procfs, reword) {
            Some(seen) => {
                // Without the count one program cannot be told from the next.
                if ancestor.exec_id != 0 && seen.arguments.is_some() {
                    self.known.put(key, seen.clone());
                }
                Some(seen)
            }
            None => self.known.get(&key).cloned(),
        };
        if let Some(Seen { exe, arguments, program, placement }) = seen {
            ancestor.exe = exe;
            ancestor.arguments = arguments;
            ancestor.program = program;
            ancestor.placement = placement;
        }
    }
}

/// Reads an ancestor's program, command line and place, if it is the same process and has kept
/// its name, which an `exec` changes.
fn look(ancestor: &Ancestor, procfs: &Procfs, reword: Reword) -> Option<Seen> {
    let (folder, stat) = open(ancestor, procfs)?;
    if stat.name != ancestor.name {
        return None;
    }
    let exe = folder.exe().map(|link| executable(link, None));
    let line = folder.command_line(MAX_COMMAND_LINE).filter(|(bytes, _)| !bytes.is_empty());
    let memberships = folder.cgroup();
    if folder.stat().as_ref() != Some(&stat) {
        return None;
    }
    let program = line.as_ref().map(|(bytes, cut)| Program::of(exe.as_ref(), bytes, *cut));
    let arguments = line.map(|(bytes, cut)| match bytes.get(..MAX_ANCESTOR_ARGUMENT_BYTES) {
        Some(head) => Arguments::new(head, cut || head.len() < bytes.len()),
        None => Arguments::new(&bytes, cut),
    });
    let path = memberships.and_then(|lines| cgroup::most_telling(None, &lines));
    Some(Seen {
        exe,
        arguments: arguments.as_ref().map(reword),
        program: program.unwrap_or_default(),
        placement: path.map(|path| Placement::of(&path)),
    })
}

/// Opens an ancestor's folder, if it is the same process still.
fn open(ancestor: &Ancestor, procfs: &Procfs) -> Option<(ProcessFolder, Stat)> {
    let folder = procfs.process(ancestor.pid)?;
    let stat = folder.stat()?;
    (stat.start_ticks == procfs.ticks(ancestor.start_time)).then_some((folder, stat))
}

fn parent_of(ancestor: &Ancestor, procfs: &Procfs) -> Option<u32> {
    open(ancestor, procfs).map(|(_, stat)| stat.parent)
}

/// Walks up from a parent, for a record without ancestors.
pub fn ancestors(parent: u32, procfs: &Procfs) -> Vec<Ancestor> {
    let mut ancestors = Vec::new();
    let mut pid = parent;
    while pid != 0 && ancestors.len() < imds_audit_ebpf::MAX_ANCESTORS {
        let Some(stat) = procfs.process(pid).and_then(|folder| folder.stat()) else { break };
        let above = stat.parent;
        ancestors.push(ancestor(pid, stat, procfs));
        pid = above;
    }
    ancestors
}

/// Walks up from the last ancestor of a record that had no place for more.
fn extend(ancestors: &mut Vec<Ancestor>, procfs: &Procfs) {
    while ancestors.len() < MAX_ANCESTORS {
        let Some(last) = ancestors.last() else { return };
        let Some(pid) = parent_of(last, procfs).filter(|&pid| pid != 0) else { return };
        let Some(stat) = procfs.process(pid).and_then(|folder| folder.stat()) else { return };
        // A parent that ended meanwhile has left its child to another, and its pid too.
        if parent_of(last, procfs) != Some(pid) {
            return;
        }
        ancestors.push(ancestor(pid, stat, procfs));
    }
}

fn ancestor(pid: u32, stat: Stat, procfs: &Procfs) -> Ancestor {
    Ancestor {
        pid,
        start_time: procfs.time(stat.start_ticks),
        exec_id: 0,
        name: stat.name,
        exe: None,
        arguments: None,
        program: Program::Unknown,
        placement: None,
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
        let mut found = ancestors(7, &procfs);
        assert_eq!(found.len(), imds_audit_ebpf::MAX_ANCESTORS);
        extend(&mut found, &procfs);
        assert_eq!(found.len(), MAX_ANCESTORS);
    }
}
