//! The cgroup that is rehearsed, found by what people call it.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
};

use rustix::fs::fstatfs;

use crate::{
    process::{CgroupLocation, Roots},
    source::ebpf::host::{CgroupError, CgroupRoot},
};

/// The inode number of the root of cgroup v2 (`fs/kernfs/dir.c`).
const ROOT_INODE: u64 = 1;
/// `CGROUP2_SUPER_MAGIC` of `linux/magic.h`.
const CGROUP2: i64 = 0x6367_7270;
/// The number of cgroups that are looked at for a unit or a container, and for processes.
const MAX_CGROUPS: usize = 20_000;
/// The fewest characters of a container's id.
const MIN_ID: usize = 4;

/// What is to be rehearsed, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The processes of a systemd unit.
    Unit(String),
    /// The processes of a container, by its id or the beginning of it.
    Container(String),
    /// A cgroup, by its folder or its path in the hierarchy.
    Cgroup(PathBuf),
    /// The cgroup of a process.
    Pid(u32),
    /// Every process of the host.
    WholeHost,
}

/// Why there is nothing to rehearse.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    /// There is no cgroup v2.
    #[error(transparent)]
    Hierarchy(#[from] CgroupError),
    /// No such unit has processes.
    #[error(
        "no cgroup is named {0}: the unit does not run, or this host's systemd keeps its units in \
         cgroup v1"
    )]
    NoUnit(String),
    /// No such container has processes.
    #[error(
        "no cgroup v2 belongs to a container whose id begins with {0}. Names are known to its \
         runtime only; and where a host runs its containers on cgroup v1, none has a cgroup v2 of \
         its own: use -- COMMAND inside the container instead"
    )]
    NoContainer(String),
    /// The id is too short.
    #[error("give at least {MIN_ID} characters of the container's id")]
    ShortId,
    /// Several fit.
    #[error("{what} is not the only one: {}. Choose one with --cgroup", list(found))]
    Ambiguous {
        /// What was asked for.
        what: String,
        /// The paths of those that fit.
        found: Vec<PathBuf>,
    },
    /// There is no such process.
    #[error("the cgroup of process {pid} cannot be read")]
    NoProcess {
        /// The process.
        pid: u32,
        /// The system's error.
        #[source]
        error: io::Error,
    },
    /// The process is in no cgroup that is seen from here.
    #[error("process {0} is in no cgroup v2 that is visible here")]
    Hidden(u32),
    /// It is no folder of cgroup v2.
    #[error("{} is no cgroup of version 2", .0.display())]
    NotCgroup2(PathBuf),
    /// It cannot be opened.
    #[error("the cgroup {} cannot be opened", path.display())]
    Open {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        #[source]
        error: io::Error,
    },
    /// It is the root.
    #[error(
        "{0} is in the root of cgroup v2, and so would every process of this host be rehearsed: \
         each IMDSv1 request of the host would be refused. Where processes are in cgroup v1 only \
         (a hybrid or v1 host) they have no cgroup v2 of their own: rehearse -- COMMAND, which gets \
         one, or give --whole-host"
    )]
    Root(String),
}

fn list(found: &[PathBuf]) -> String {
    found.iter().take(8).map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// A cgroup to rehearse.
#[derive(Debug)]
pub(crate) struct Target {
    /// Its folder, open.
    folder: File,
    /// Its path in the hierarchy, such as `/system.slice/app.service`; `None` where it is not seen.
    pub path: Option<String>,
    /// What it is, for people.
    pub title: String,
}

impl Target {
    /// Finds what was asked for.
    ///
    /// # Errors
    /// Returns an error if there is no such cgroup, or it is the root and that was not asked for.
    pub(crate) fn find(wanted: &Wanted, roots: &Roots) -> Result<Self, TargetError> {
        let root = CgroupRoot::find()?;
        let base = mount_of(&root);
        let (path, title) = match wanted {
            Wanted::Unit(name) => {
                let name = unit_name(name);
                let found = search(&base, |path| {
                    path.file_name().is_some_and(|last| last.as_bytes() == name.as_bytes())
                });
                let path = only(found, &base, &name, || TargetError::NoUnit(name.clone()))?;
                (path, format!("unit {name}"))
            }
            Wanted::Container(id) => {
                if id.len() < MIN_ID {
                    return Err(TargetError::ShortId);
                }
                let found = search(&base, |path| is_container(&base, path, id));
                let missing = || TargetError::NoContainer(id.clone());
                let path = only(found, &base, &format!("container {id}"), missing)?;
                (path, format!("container {id}"))
            }
            Wanted::Cgroup(path) => {
                let path = if path.is_dir() && !is_path_in(path, &base) {
                    path.clone()
                } else {
                    below(&base, path)
                };
                (path, String::new())
            }
            Wanted::Pid(pid) => {
                let path = cgroup_of(roots, *pid)
                    .map_err(|error| TargetError::NoProcess { pid: *pid, error })?;
                let path = path.ok_or(TargetError::Hidden(*pid))?;
                let folder = below(&base, Path::new(&path));
                if !processes_of(&folder).is_ok_and(|found| found.contains(pid)) {
                    return Err(TargetError::Hidden(*pid));
                }
                (folder, format!("the cgroup of process {pid}"))
            }
            Wanted::WholeHost => {
                // In a container that is shown a part of the hierarchy, that part is all.
                let title = if root.is_whole {
                    "the whole host"
                } else {
                    "every process that is visible here"
                };
                (base.clone(), title.to_owned())
            }
        };
        let folder = open(&path)?;
        let in_hierarchy = hierarchy_path(&base, &path);
        let title = match (title.is_empty(), &in_hierarchy) {
            (true, Some(path)) => format!("cgroup {path}"),
            (true, None) => format!("cgroup {}", path.display()),
            (false, _) => title,
        };
        let is_root = folder.metadata().is_ok_and(|metadata| metadata.ino() == ROOT_INODE)
            || in_hierarchy.as_deref() == Some("/");
        if is_root && *wanted != Wanted::WholeHost {
            return Err(TargetError::Root(title));
        }
        Ok(Self { folder, path: in_hierarchy, title })
    }

    /// Takes a cgroup that was made for a command.
    pub(super) fn of_command(folder: File, path: Option<String>) -> Self {
        Self { folder, path, title: "the command".to_owned() }
    }

    /// Returns the processes in it and in the cgroups below it, as far as this process's pid
    /// namespace shows them.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let folder = PathBuf::from(format!("/proc/self/fd/{}", self.folder.as_raw_fd()));
        let mut found = processes_of(&folder).unwrap_or_default();
        for below in search(&folder, |_| true) {
            found.extend(processes_of(&below).unwrap_or_default());
        }
        found
    }

    /// Returns whether the cgroup was removed.
    pub(crate) fn is_gone(&self) -> bool {
        let folder = PathBuf::from(format!("/proc/self/fd/{}", self.folder.as_raw_fd()));
        // The folder of a removed cgroup is empty, and no path leads into it.
        !folder.join("cgroup.procs").exists()
    }
}

impl AsFd for Target {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

/// Returns where the hierarchy's files are reached.
fn mount_of(root: &CgroupRoot) -> PathBuf {
    // A mount of this process's own is in no namespace, but its descriptor leads there.
    let own = || PathBuf::from(format!("/proc/self/fd/{}", root.folder.as_raw_fd()));
    root.path.clone().unwrap_or_else(own)
}

/// Opens a cgroup's folder.
pub(super) fn open(path: &Path) -> Result<File, TargetError> {
    let open_error = |error| TargetError::Open { path: path.to_owned(), error };
    let folder = File::open(path).map_err(open_error)?;
    let kind = fstatfs(&folder).map_err(|error| open_error(error.into()))?.f_type;
    if kind as i64 == CGROUP2 { Ok(folder) } else { Err(TargetError::NotCgroup2(path.to_owned())) }
}

/// Opens the cgroup of this process.
///
/// # Errors
/// Returns an error if there is no cgroup v2, or this process's is not seen.
pub(crate) fn own(roots: &Roots) -> Result<File, TargetError> {
    let root = CgroupRoot::find()?;
    let base = mount_of(&root);
    let pid = std::process::id();
    let path = cgroup_of(roots, pid).map_err(|error| TargetError::NoProcess { pid, error })?;
    open(&below(&base, Path::new(&path.ok_or(TargetError::Hidden(pid))?)))
}

/// Reads a process's path in the hierarchy of version 2 (cgroups(7): the line with the number 0).
pub(super) fn cgroup_of(roots: &Roots, pid: u32) -> io::Result<Option<String>> {
    let text = fs::read_to_string(roots.procfs.join(pid.to_string()).join("cgroup"))?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"));
    Ok(path.filter(|path| !path.starts_with("/..")).map(str::to_owned))
}

pub(super) fn below(base: &Path, path: &Path) -> PathBuf {
    let components =
        path.components().filter(|part| matches!(part, std::path::Component::Normal(_)));
    components.fold(base.to_owned(), |folder, part| folder.join(part))
}

fn is_path_in(path: &Path, base: &Path) -> bool {
    // `/system.slice` is meant in the hierarchy, also where such a folder exists elsewhere.
    below(base, path).is_dir() && !path.starts_with(base)
}

fn hierarchy_path(base: &Path, path: &Path) -> Option<String> {
    let rest = path.strip_prefix(base).ok()?.to_str()?;
    Some(format!("/{rest}"))
}

/// Returns a unit's full name: `.service` is meant where no kind is given (systemctl(1)).
fn unit_name(name: &str) -> String {
    const KINDS: [&str; 5] = [".service", ".scope", ".slice", ".socket", ".mount"];
    if KINDS.iter().any(|kind| name.ends_with(kind)) {
        name.to_owned()
    } else {
        format!("{name}.service")
    }
}

fn is_container(base: &Path, path: &Path, id: &str) -> bool {
    let Some(path) = hierarchy_path(base, path) else { return false };
    // The innermost container of a path; its own cgroup is the one whose parent is not in it.
    let container =
        |path: &str| CgroupLocation::of(path.as_bytes()).container.map(|found| found.id);
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    container(&path).is_some_and(|found| {
        found.starts_with(id.as_bytes()) && container(parent).as_ref() != Some(&found)
    })
}

fn only(
    mut found: Vec<PathBuf>,
    base: &Path,
    what: &str,
    missing: impl FnOnce() -> TargetError,
) -> Result<PathBuf, TargetError> {
    match found.len() {
        0 | 1 => found.pop().ok_or_else(missing),
        _ => {
            let relative = |path: &PathBuf| hierarchy_path(base, path).unwrap_or_default().into();
            let found = found.iter().map(relative).collect();
            Err(TargetError::Ambiguous { what: what.to_owned(), found })
        }
    }
}

/// Returns the cgroups below a folder that fit, without those inside of one that does.
fn search(base: &Path, fits: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![base.to_owned()];
    let mut looked_at = 0usize;
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            looked_at += 1;
            if looked_at > MAX_CGROUPS {
                log::warn!("not every cgroup was looked at limit={MAX_CGROUPS}");
                return found;
            }
            let path = entry.path();
            if fits(&path) {
                found.push(path.clone());
            }
            open.push(path);
        }
    }
    found
}

/// Returns the processes in a cgroup; one that this process's pid namespace does not show is left
/// out.
fn processes_of(folder: &Path) -> io::Result<Vec<u32>> {
    let text = fs::read_to_string(folder.join("cgroup.procs"))?;
    Ok(text.lines().filter_map(|line| line.parse().ok()).filter(|&pid| pid != 0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hierarchy(folders: &[&str]) -> tempfile::TempDir {
        let base = tempfile::tempdir().unwrap();
        for folder in folders {
            fs::create_dir_all(base.path().join(folder)).unwrap();
        }
        base
    }

    #[test]
    fn a_unit_is_found_by_its_name_with_or_without_its_kind() {
        assert_eq!(unit_name("app"), "app.service");
        assert_eq!(unit_name("app@1.service"), "app@1.service");
        assert_eq!(unit_name("session-1.scope"), "session-1.scope");
    }

    #[test]
    fn a_container_s_own_cgroup_is_the_outermost_with_its_id() {
        let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        let own = format!("system.slice/docker-{id}.scope");
        let base = hierarchy(&[&format!("{own}/init"), "system.slice/docker.service"]);
        let found =
            |prefix: &str| search(base.path(), |path| is_container(base.path(), path, prefix));
        assert_eq!(found("0123"), [base.path().join(&own)]);
        assert_eq!(found(id), [base.path().join(&own)]);
        assert!(found("1234").is_empty());
    }

    #[test]
    fn two_of_one_name_are_both_named() {
        let base = hierarchy(&["a.slice/x.service", "b.slice/x.service"]);
        let found = search(base.path(), |path| path.ends_with("x.service"));
        let error = only(found, base.path(), "x.service", || TargetError::ShortId).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("/a.slice/x.service") && text.contains("/b.slice/x.service"),
            "{text}"
        );
    }

    #[test]
    fn a_folder_of_another_file_system_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(open(folder.path()), Err(TargetError::NotCgroup2(_))));
    }

    #[test]
    fn no_path_leads_out_of_the_hierarchy() {
        assert_eq!(below(Path::new("/cg"), Path::new("/a/../../b")), Path::new("/cg/a/b"));
    }
}
