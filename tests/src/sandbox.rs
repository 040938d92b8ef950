//! A program that may do, or is shown, less than the host has.
//!
//! What is done here is done between `fork` and `exec`, with what was prepared before: nothing is
//! allocated there, and it changes the new process alone.

use std::ffi::{CStr, CString};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::mkdir;
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, UnshareFlags, remove_capability_from_bounding_set, unshare_unsafe,
};

/// Where control groups are mounted on every distribution.
const CGROUPS: &CStr = c"/sys/fs/cgroup";

/// What of control groups is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cgroups {
    /// A hierarchy of version 1 alone.
    Version1,
    /// Both, as systemd's hybrid hosts have it.
    Hybrid,
    /// Version 2 alone.
    Version2,
}

/// Hides the kernel's BTF from a command.
pub fn hide_btf(command: &mut Command) {
    in_own_mounts(command, UnshareFlags::empty(), || cover(c"/sys/kernel/btf"));
}

/// Shows a command these control groups and no others.
pub fn with_cgroups(command: &mut Command, cgroups: Cgroups) {
    let mounted = version2_mounts();
    in_own_mounts(command, UnshareFlags::empty(), move || {
        leave(&mounted)?;
        if cgroups == Cgroups::Version2 {
            return place(c"cgroup2", CGROUPS, None);
        }
        cover(CGROUPS)?;
        let legacy = c"/sys/fs/cgroup/systemd";
        mkdir(legacy, 0o755.into())?;
        // A hierarchy without controllers, as systemd's own.
        place(c"cgroup", legacy, Some(c"none,name=imds-audit-test"))?;
        if cgroups == Cgroups::Hybrid {
            mkdir(c"/sys/fs/cgroup/unified", 0o755.into())?;
            place(c"cgroup2", c"/sys/fs/cgroup/unified", None)?;
        }
        Ok(())
    });
}

/// Starts a command in a control group and shows it nothing of the hierarchy but that, as in a
/// container.
pub fn in_cgroup(command: &mut Command, folder: &Path) {
    let mut members = OpenOptions::new().write(true).open(folder.join("cgroup.procs")).unwrap();
    let mounted = version2_mounts();
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe {
        command.pre_exec(move || members.write_all(b"0"));
    }
    in_own_mounts(command, UnshareFlags::NEWCGROUP, move || {
        leave(&mounted)?;
        place(c"cgroup2", CGROUPS, None)
    });
}

/// Leaves a command of root's no rights but these.
///
/// Locked memory is not bounded: before Linux 5.11 a kernel's maps count as that, and a unit of
/// systemd's that gives away CAP_SYS_RESOURCE says `LimitMEMLOCK=infinity`.
pub fn with_rights(command: &mut Command, rights: CapabilitySet) {
    let act = move || {
        match setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None }) {
            // A root that may not is one on a kernel that counts otherwise, or the program says so.
            Ok(()) | Err(Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
        for number in 0..u64::BITS {
            let right = CapabilitySet::from_bits_retain(1 << number);
            if rights.contains(right) {
                continue;
            }
            match remove_capability_from_bounding_set(right) {
                // Above the last right that the kernel knows.
                Ok(()) | Err(Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls for the new process alone, and allocates nothing.
    unsafe {
        command.pre_exec(act);
    }
}

/// Does something in a mount namespace of the command's own, whose changes nobody else sees.
fn in_own_mounts(
    command: &mut Command,
    further: UnshareFlags,
    mut act: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) {
    let act = move || {
        // SAFETY: the process has one thread, and shares no descriptors with another.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS | further)? };
        mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        act()
    };
    // SAFETY: the closure makes system calls for the new process alone, and allocates nothing.
    unsafe {
        command.pre_exec(act);
    }
}

/// Covers a folder with an empty one.
fn cover(folder: &CStr) -> io::Result<()> {
    place(c"tmpfs", folder, None)
}

fn place(kind: &CStr, folder: &CStr, options: Option<&CStr>) -> io::Result<()> {
    Ok(mount(c"imds-audit-test", folder, kind, MountFlags::empty(), options)?)
}

fn leave(mounts: &[CString]) -> io::Result<()> {
    for folder in mounts {
        unmount(folder.as_c_str(), UnmountFlags::DETACH)?;
    }
    Ok(())
}

/// Finds where version 2 of control groups is mounted, the last mounted first (proc(5): the fifth
/// column is the mount point, the file system's type follows a hyphen).
fn version2_mounts() -> Vec<CString> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let lines = mounts.lines().rev().filter_map(|line| line.split_once(" - "));
    let of_version2 = lines.filter(|(_, tail)| tail.starts_with("cgroup2 "));
    let points = of_version2.filter_map(|(head, _)| head.split(' ').nth(4));
    points
        .map(|point| CString::new(Path::new(point).as_os_str().to_owned().into_vec()).unwrap())
        .collect()
}
