//! Captures onto disks that are full, and onto disks that stand still.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use imds_audit::event::Class;
use imds_audit_tests::{Capturing, TestBed, skip_on_this_kernel, until};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

use super::super::output::ask;
use super::super::{GET_V1, GET_V2, PUT};
use super::{events, replay, run, tool, wait_for_served};

/// A file system of its own. Unmounted when dropped.
struct Disk(TempDir);

impl Disk {
    /// One in memory that holds 256 KiB.
    fn small() -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        let options = Some(c"size=256k");
        mount(c"tmpfs", disk.0.path(), c"tmpfs", MountFlags::empty(), options).unwrap();
        disk
    }

    /// One in a file, which can be frozen; `None` where the kernel has no loop devices.
    fn in_a_file(image: &Path) -> Option<Self> {
        fs::File::create(image).unwrap().set_len(8 << 20).unwrap();
        tool("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()]);
        let disk = Self(tempfile::tempdir().unwrap());
        let mut command = Command::new("mount");
        command.arg("-o").arg("loop").arg(image).arg(disk.0.path());
        let is_mounted = command.output().unwrap().status.success();
        is_mounted.then_some(disk)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Has every write to it wait.
    fn freeze(&self) -> Frozen<'_> {
        tool("fsfreeze", &["-f", self.0.path().to_str().unwrap()]);
        Frozen(self)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(self.0.path(), UnmountFlags::DETACH).ok();
    }
}

/// A disk that stands still until this is dropped.
struct Frozen<'a>(&'a Disk);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        Command::new("fsfreeze").arg("-u").arg(self.0.0.path()).output().ok();
    }
}

/// Starts a capture into a file on a disk, and gives the file's path.
fn capture_onto(disk: &Disk, address: &str) -> Option<(Capturing, PathBuf)> {
    let path = disk.path("a.pcapng");
    let arguments = ["--output", path.to_str().unwrap(), "--endpoint", address];
    Some((Capturing::start(&arguments)?, path))
}

/// Makes a disk that can be frozen, in a file of a folder.
fn freezable(folder: &TempDir) -> Option<Disk> {
    let disk = Disk::in_a_file(&folder.path().join("image"));
    if disk.is_none() {
        skip_on_this_kernel("this kernel has no loop devices");
    }
    disk
}

fn packets(path: &Path) -> u64 {
    tool("tshark", &["-r", path.to_str().unwrap()]).lines().count() as u64
}

/// The packets that a replay says were lost while they were written.
fn unwritten(path: &Path, address: &str) -> u64 {
    let losses = replay(path, address).losses();
    losses.iter().filter(|loss| loss.reason == "capture").map(|loss| loss.count).sum()
}

#[test]
fn what_a_full_disk_refuses_is_counted_and_the_file_stays_valid() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    let disk = Disk::small();
    let Some((capturing, path)) = capture_onto(&disk, &address) else { return };
    let Some(beside) = Capturing::start(&["--output", "b.pcapng", "--endpoint", &address]) else {
        return;
    };
    ask(&scene, &address, &[PUT, GET_V2]);
    wait_for_served(&path, &address, 2);
    let ballast = disk.path("ballast");
    fs::write(&ballast, vec![0; 1 << 20]).unwrap_err();
    ask(&scene, &address, &[GET_V1; 30]);
    scene.wait_for_events(32);
    wait_for_served(&beside.path("b.pcapng"), &address, 32);
    fs::remove_file(&ballast).unwrap();
    ask(&scene, &address, &[GET_V1]);
    scene.wait_for_events(33);

    let (code, said) = capturing.finish();
    assert_eq!(code, Some(1), "{said}");
    let (folder, _) = beside.stop();
    let all = packets(&folder.path().join("b.pcapng"));
    let (written, lost) = (packets(&path), unwritten(&path, &address));
    assert!(lost > 0 && written > 0, "{written} and {lost}: {said}");
    assert_eq!(written + lost, all, "{said}");
    assert!(
        said.contains(&format!("{lost} packets could not be written: No space left")),
        "{said}"
    );
}

#[test]
fn a_disk_that_stands_still_holds_up_nobody_and_costs_nothing() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = freezable(&folder) else { return };
    let Some((capturing, path)) = capture_onto(&disk, &address) else { return };
    ask(&scene, &address, &[PUT, GET_V2]);
    wait_for_served(&path, &address, 2);
    let frozen = disk.freeze();
    // The callers are served meanwhile.
    ask(&scene, &address, &[GET_V1; 30]);
    scene.wait_for_events(32);
    drop(frozen);
    ask(&scene, &address, &[GET_V1]);
    scene.wait_for_events(33);
    let (code, said) = capturing.finish();
    assert_eq!((code, unwritten(&path, &address)), (Some(0), 0), "{said}");
    wait_for_served(&path, &address, 33);
}

#[test]
fn a_capture_that_ends_while_its_disk_stands_still_says_what_it_could_not_write() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = freezable(&folder) else { return };
    let Some((capturing, path)) = capture_onto(&disk, &address) else { return };
    let frozen = disk.freeze();
    ask(&scene, &address, &[GET_V1; 3]);
    scene.wait_for_events(3);
    capturing.end();
    let why = "packets could not be written: writing takes too long";
    let is_said = until(|| capturing.said().contains(why).then_some(()));
    assert!(is_said.is_some(), "{}", capturing.said());
    // Only then can the thread that writes be ended.
    drop(frozen);
    let (code, said) = capturing.finish();
    assert_eq!(code, Some(1), "{said}");
    // What was written by then is valid, and at worst ends within its last block.
    let output =
        run(&["replay", "--format", "json", "--endpoint", &address, path.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_cut = told.contains("the file ends within a block that begins at byte ");
    assert!(output.status.success() || is_cut, "{told}");
    let requests = events(output).requests();
    assert!(requests.iter().all(|request| request.imds.class != Class::V2), "{requests:#?}");
}
