//! Guests: processes whose requests have no socket on this host.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::finding::{Item, Status};

/// The most processes, and open files of each, that are looked at.
const MAX_PROCESSES: usize = 1 << 16;
const MAX_FILES: usize = 4096;
/// The most of them that are named.
const MAX_NAMED: usize = 5;

/// What the descriptor of a virtual machine is called (`virt/kvm/kvm_main.c`).
const VIRTUAL_MACHINE: &[u8] = b"anon_inode:kvm-vm";
/// The beginnings of the names of programs that run a guest's kernel or a TCP stack of their own,
/// with or without KVM.
const PROGRAMS: [&str; 6] =
    ["qemu-system-", "qemu-kvm", "firecracker", "cloud-hypervisor", "crosvm", "runsc"];

/// Says which processes run guests, whose requests leave as packets and not through a socket.
pub(super) fn guests(procfs: &Path) -> Item {
    const NAME: &str = "guests";
    let found: Vec<String> = processes(procfs).filter_map(|folder| guest(&folder)).collect();
    if found.is_empty() {
        return Item::ok(NAME, "no virtual machine or sandbox with its own TCP is running");
    }
    let named = found.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", ");
    let others = found.len().saturating_sub(MAX_NAMED);
    let more = if others > 0 { format!(" and {others} more") } else { String::new() };
    Item::lacking(
        NAME,
        Status::Degraded,
        format!("{named}{more}"),
        "what is inside has its own TCP: its requests to this host's service are not seen",
    )
    .remedy("audit inside the guest, or look at the network with a capture")
}

fn processes(procfs: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(procfs).into_iter().flatten().filter_map(Result::ok);
    let is_process = |name: &OsStr| name.as_bytes().iter().all(u8::is_ascii_digit);
    entries
        .filter(move |entry| is_process(&entry.file_name()))
        .map(|entry| entry.path())
        .take(MAX_PROCESSES)
}

/// Returns a guest's program and pid.
fn guest(folder: &Path) -> Option<String> {
    let exe = fs::read_link(folder.join("exe")).ok()?;
    let program = exe.file_name()?.to_string_lossy();
    let is_known = PROGRAMS.iter().any(|name| program.starts_with(name));
    (is_known || has_virtual_machine(folder))
        .then(|| format!("{program}[{}]", folder.file_name().unwrap_or_default().to_string_lossy()))
}

fn has_virtual_machine(folder: &Path) -> bool {
    let files = fs::read_dir(folder.join("fd")).into_iter().flatten().filter_map(Result::ok);
    files
        .take(MAX_FILES)
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|target| target.as_os_str().as_bytes() == VIRTUAL_MACHINE)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn process(procfs: &Path, pid: &str, exe: &str, file: &str) {
        let files = procfs.join(pid).join("fd");
        fs::create_dir_all(&files).unwrap();
        symlink(exe, procfs.join(pid).join("exe")).unwrap();
        symlink(file, files.join("7")).unwrap();
    }

    #[test]
    fn virtual_machines_and_sandboxes_are_named_and_other_programs_are_not() {
        let procfs = tempfile::tempdir().unwrap();
        process(procfs.path(), "11", "/usr/bin/bash", "/dev/null");
        assert_eq!(guests(procfs.path()).status, Status::Ok);
        process(procfs.path(), "12", "/opt/own-monitor", "anon_inode:kvm-vm");
        process(procfs.path(), "13", "/usr/local/bin/runsc", "/dev/null");
        process(procfs.path(), "self", "/usr/bin/firecracker", "/dev/null");
        let item = guests(procfs.path());
        assert_eq!(item.status, Status::Degraded);
        let mut found: Vec<_> = item.found.split(", ").collect();
        found.sort_unstable();
        assert_eq!(found, ["own-monitor[12]", "runsc[13]"]);
    }

    #[test]
    fn a_host_of_many_guests_has_the_first_ones_named_and_the_others_counted() {
        let procfs = tempfile::tempdir().unwrap();
        for pid in 100..120 {
            process(procfs.path(), &pid.to_string(), "/usr/bin/qemu-system-x86_64", "/dev/null");
        }
        let found = guests(procfs.path()).found;
        assert_eq!(found.matches("qemu-system-x86_64[").count(), MAX_NAMED);
        assert!(found.ends_with(" and 15 more"), "{found}");
    }
}
