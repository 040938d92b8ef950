//! The host's facts: cgroups, BTF, namespaces, procfs.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::finding::{Item, Status};
use crate::process::{CgroupResolver, Procfs};
use crate::source::ebpf::host::{CgroupError, CgroupRoot, Host};
use crate::source::ebpf::loader::{Fallback, KernelReads};

/// How many processes are asked for their program.
const MAX_ASKED: usize = 256;

/// Says where cgroup v2 is, and how much of it.
pub(super) fn cgroup(found: &Result<CgroupRoot, CgroupError>) -> Item {
    const NAME: &str = "cgroup-root";
    let root = match found {
        Ok(root) => root,
        Err(error) => {
            return Item::lacking(
                NAME,
                Status::Missing,
                error.to_string(),
                "nothing can be audited: there is no cgroup to attach to",
            )
            .remedy("mount it: mount -t cgroup2 none /mnt");
        }
    };
    match (&root.path, root.is_whole) {
        (Some(path), true) => Item::ok(NAME, format!("the whole hierarchy at {}", path.display())),
        (None, true) => Item::ok(NAME, "the whole hierarchy, by a private mount"),
        (path, false) => {
            let place = path.as_deref().unwrap_or(Path::new("a private mount")).display();
            Item::lacking(
                NAME,
                Status::Degraded,
                format!("a part of the hierarchy at {place}, as in a container"),
                "only processes in this part are audited: the container's own",
            )
            .remedy(
                "run on the host, or in a container with the host's cgroup namespace \
                     (docker run --cgroupns=host) and CAP_SYS_ADMIN",
            )
        }
    }
}

/// Says whether the kernel describes its structures, and what it lacks of what is read.
pub(super) fn btf(reads: &KernelReads, fallbacks: &[Fallback]) -> Item {
    const NAME: &str = "btf";
    if fallbacks.is_empty() {
        return Item::ok(NAME, "present, with every member that is read");
    }
    let reasons: Vec<&str> = fallbacks.iter().map(|fallback| fallback.reason.as_str()).collect();
    let consequence = fallbacks.first().map_or("", |fallback| fallback.consequence);
    let item = Item::lacking(NAME, Status::Degraded, reasons.join("; "), consequence);
    match reads {
        KernelReads::None => item.remedy("use a kernel built with CONFIG_DEBUG_INFO_BTF=y"),
        KernelReads::Offsets(_) => item.remedy("report this kernel: its structures have changed"),
    }
}

/// Says whether the kernel's pids are those of procfs.
pub(super) fn pid_namespace(host: &Host) -> Item {
    const NAME: &str = "pid-namespace";
    if host.initial_pid_namespace {
        return Item::ok(NAME, "the host's own");
    }
    Item::lacking(
        NAME,
        Status::Degraded,
        "not the host's own, as in a container",
        "procfs shows other processes under these pids: only what the eBPF programs read is reported",
    )
    .remedy("share the host's: docker run --pid=host, or hostPID: true in Kubernetes")
}

/// Says whether procfs tells about processes other than our own.
pub(super) fn procfs(procfs: &Path) -> Item {
    const NAME: &str = "procfs";
    const CONSEQUENCE: &str =
        "command lines, programs and cgroups of other processes come from the eBPF programs alone";
    if let Err(error) = Procfs::open(procfs) {
        return Item::lacking(NAME, Status::Degraded, error.to_string(), CONSEQUENCE)
            .remedy(format!("mount it: mount -t proc proc {}", procfs.display()));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let hidden = hidepid(&mounts, procfs);
    let note = hidden.map(|mode| format!(", mounted with hidepid={mode}")).unwrap_or_default();
    if let Err(error) = fs::read(procfs.join("1/status")) {
        let found = format!("process 1 cannot be read: {error}{note}");
        return Item::lacking(NAME, Status::Degraded, found, CONSEQUENCE);
    }
    programs(Programs::count(procfs), &note)
}

/// Of how many processes procfs tells the program.
#[derive(Clone, Copy, Debug, Default)]
struct Programs {
    shown: usize,
    refused: usize,
}

impl Programs {
    /// Asks for that of the first [`MAX_ASKED`] processes. Kernel threads have none.
    fn count(procfs: &Path) -> Self {
        let mut programs = Self::default();
        let entries = fs::read_dir(procfs).into_iter().flatten().filter_map(Result::ok);
        let is_process = |name: &OsStr| name.as_bytes().iter().all(u8::is_ascii_digit);
        for entry in entries.filter(|entry| is_process(&entry.file_name())).take(MAX_ASKED) {
            match fs::read_link(entry.path().join("exe")) {
                Ok(_) => programs.shown += 1,
                Err(error) if error.kind() == ErrorKind::PermissionDenied => programs.refused += 1,
                Err(_) => {}
            }
        }
        programs
    }
}

/// Judges by the majority: single processes may be protected (the init of a sandbox) on a host
/// that tells all that matters.
fn programs(Programs { shown, refused }: Programs, note: &str) -> Item {
    const NAME: &str = "procfs";
    let asked = shown + refused;
    match refused {
        0 => Item::ok(NAME, format!("readable, other processes too{note}")),
        _ if refused <= shown => Item::ok(
            NAME,
            format!("readable; the program of {refused} of {asked} processes is withheld{note}"),
        ),
        _ => Item::lacking(
            NAME,
            Status::Degraded,
            format!("the program of {refused} of {asked} processes is withheld{note}"),
            "the full path of other users' programs and their users' names may be absent",
        ),
    }
}

/// Returns the `hidepid` option of a mount of procfs (proc(5)); `None` where all is shown.
fn hidepid<'a>(mountinfo: &'a str, procfs: &Path) -> Option<&'a str> {
    let mut lines = mountinfo.lines().filter_map(|line| line.split_once(" - "));
    let (_, options) =
        lines.rfind(|(left, _)| left.split(' ').nth(4).map(Path::new) == Some(procfs))?;
    let mode = options.rsplit(' ').next()?.split(',').find_map(|o| o.strip_prefix("hidepid="))?;
    (!matches!(mode, "0" | "off")).then_some(mode)
}

/// Says whether a cgroup is found by its number, which names processes that have ended.
pub(super) fn cgroup_names(root: Option<&Path>) -> Item {
    const NAME: &str = "cgroup-names";
    const CONSEQUENCE: &str = "unit, container and pod are known only while a process still runs";
    let Some(path) = root else {
        return Item::lacking(
            NAME,
            Status::Degraded,
            "cgroup v2 is mounted nowhere that names could be looked up",
            CONSEQUENCE,
        )
        .remedy("mount it: mount -t cgroup2 none /sys/fs/cgroup/unified");
    };
    match resolves(path) {
        Ok(Some(true)) => Item::ok(NAME, "cgroups are found by their number"),
        Ok(None) => Item::ok(NAME, "there is no cgroup below the root to be named"),
        Ok(Some(false)) => Item::lacking(
            NAME,
            Status::Degraded,
            "a cgroup cannot be opened by its number (needs CAP_DAC_READ_SEARCH)",
            CONSEQUENCE,
        ),
        Err(error) => Item::lacking(
            NAME,
            Status::Degraded,
            format!("{} cannot be read: {error}", path.display()),
            CONSEQUENCE,
        ),
    }
}

/// Tries it with the first cgroup below the root; `None` where there is none.
fn resolves(root: &Path) -> std::io::Result<Option<bool>> {
    use std::os::unix::fs::DirEntryExt;
    let mut resolver = CgroupResolver::open(root)?;
    let child = fs::read_dir(root)?
        .filter_map(Result::ok)
        .find(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(child.map(|child| resolver.resolve(child.ino()).is_some()))
}

/// Says whether the kubelet's log folders name pods.
pub(super) fn pod_names(logs: &Path) -> Item {
    const NAME: &str = "pod-names";
    match fs::read_dir(logs.join("pods")) {
        Ok(_) => Item::ok(NAME, format!("from the kubelet's folders in {}", logs.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Item::ok(NAME, format!("no kubelet keeps logs in {}", logs.display()))
        }
        Err(error) => Item::lacking(
            NAME,
            Status::Degraded,
            format!("{} cannot be read: {error}", logs.join("pods").display()),
            "pods are known by their uid only",
        )
        .remedy("mount the host's /var/log/pods, and name its parent with --kubelet-logs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidepid_is_read_from_the_mount_on_top() {
        let proc = Path::new("/proc");
        let open = "22 27 0:21 / /proc rw,relatime - proc proc rw\n";
        let hidden = "23 27 0:21 / /proc rw,relatime shared:1 - proc proc rw,gid=4,hidepid=2\n";
        let named = "23 27 0:21 / /proc rw - proc proc rw,hidepid=invisible\n";
        let elsewhere = "24 27 0:21 / /mnt rw - proc proc rw,hidepid=2\n";
        assert_eq!(hidepid(open, proc), None);
        assert_eq!(hidepid(&format!("{open}{hidden}"), proc), Some("2"));
        assert_eq!(hidepid(named, proc), Some("invisible"));
        assert_eq!(hidepid(&format!("{open}{elsewhere}"), proc), None);
        assert_eq!(hidepid("23 27 0:21 / /proc rw - proc proc rw,hidepid=off\n", proc), None);
    }

    #[test]
    fn a_few_withheld_programs_do_not_degrade_the_audit_and_most_do() {
        let item = |shown, refused| programs(Programs { shown, refused }, "");
        assert_eq!(item(9, 0).status, Status::Ok);
        assert_eq!(item(9, 1).status, Status::Ok);
        assert!(item(9, 1).found.contains("1 of 10"));
        assert_eq!(item(1, 9).status, Status::Degraded);
    }

    #[test]
    fn a_part_of_the_hierarchy_degrades_the_audit() {
        let folder = std::fs::File::open("/").unwrap().into();
        let mut root = CgroupRoot { folder, path: Some("/c".into()), is_whole: false };
        assert_eq!(cgroup(&Ok(CgroupRoot { is_whole: true, ..root })).status, Status::Ok);
        let folder = std::fs::File::open("/").unwrap().into();
        root = CgroupRoot { folder, path: None, is_whole: false };
        let item = cgroup(&Ok(root));
        assert_eq!(item.status, Status::Degraded);
        assert!(item.remedy.is_some());
    }
}
