//! A bound on the memory of a process.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

/// A control group whose processes may take so much memory, the kernel's for them included.
/// Removed when dropped.
#[derive(Debug)]
pub struct MemoryLimit {
    folder: PathBuf,
    /// The file with the count of processes that the kernel killed for want of memory.
    kills: &'static str,
}

impl MemoryLimit {
    /// Makes one; `None` where no hierarchy of either version with this controller is mounted
    /// for writing.
    pub fn create(bytes: u64) -> Option<Self> {
        let name = format!("imds-audit-test-{}", process::id());
        let (mount, limit, kills) = version2().or_else(version1)?;
        let group = Self { folder: mount.join(name), kills };
        fs::create_dir(&group.folder).ok()?;
        fs::write(group.folder.join(limit), bytes.to_string()).ok()?;
        Some(group)
    }

    /// Has a command run in it from its first moment.
    pub fn enter(&self, command: &mut Command) {
        let file = OpenOptions::new().write(true).open(self.folder.join("cgroup.procs")).unwrap();
        // SAFETY: the closure runs between fork and exec; it makes one system call and allocates
        // nothing.
        unsafe {
            command.pre_exec(move || (&file).write_all(b"0"));
        }
    }

    /// Gives how many of its processes the kernel killed for want of memory.
    pub fn kills(&self) -> u64 {
        let text = fs::read_to_string(self.folder.join(self.kills)).unwrap();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.expect("a count of kills").parse().unwrap()
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.folder) {
            eprintln!("cannot remove {}: {error}", self.folder.display());
        }
    }
}

type Hierarchy = (PathBuf, &'static str, &'static str);

fn version2() -> Option<Hierarchy> {
    let mount = mount("cgroup2", "")?;
    let controllers = fs::read_to_string(mount.join("cgroup.subtree_control")).ok()?;
    let has_memory = controllers.split_whitespace().any(|controller| controller == "memory");
    has_memory.then_some((mount, "memory.max", "memory.events"))
}

fn version1() -> Option<Hierarchy> {
    Some((mount("cgroup", "memory")?, "memory.limit_in_bytes", "memory.oom_control"))
}

/// Finds where a file system of a type is mounted with an option (proc(5): the fifth column is the
/// mount point; the type, the source and the options follow a hyphen).
fn mount(kind: &str, option: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts.lines().filter_map(|line| line.split_once(" - ")).find_map(|(head, tail)| {
        let mut tail = tail.split(' ');
        let is_it = tail.next() == Some(kind)
            && (option.is_empty() || tail.nth(1)?.split(',').any(|given| given == option));
        is_it.then(|| head.split(' ').nth(4).map(|point| Path::new(point).to_owned()))?
    })
}
