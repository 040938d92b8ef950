//! `imds-audit capture`, running.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::audit_slots::AuditSlot;
use super::prerequisites::program;
use super::wait::{until, until_exit, written_so_far};

/// The program, capturing. Killed when dropped.
#[derive(Debug)]
pub struct Capturing {
    child: Child,
    folder: TempDir,
    _slot: AuditSlot,
}

impl Capturing {
    /// Starts a capture with these arguments, in a folder of its own, and waits until everything is
    /// attached; `None` where the program is not known.
    pub fn start(arguments: &[&str]) -> Option<Self> {
        Self::start_prepared(arguments, |_| {})
    }

    /// As [`Capturing::start`], with something done to the command before.
    pub fn start_prepared(arguments: &[&str], prepare: impl FnOnce(&mut Command)) -> Option<Self> {
        let slot = AuditSlot::take();
        let folder = tempfile::tempdir().unwrap();
        let log = File::create(folder.path().join("stderr")).unwrap();
        let mut command = Command::new(program()?);
        command.arg("capture").args(arguments).current_dir(folder.path()).env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        prepare(&mut command);
        let child = command.spawn().unwrap();
        let mut capturing = Self { child, folder, _slot: slot };
        let started = until(|| {
            let started = capturing.said().contains("capturing");
            (started || capturing.child.try_wait().unwrap().is_some()).then_some(started)
        });
        assert_eq!(started, Some(true), "it does not start: {}", capturing.said());
        Some(capturing)
    }

    /// Gives a path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Gives its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Gives what it said on standard error so far.
    pub fn said(&self) -> String {
        written_so_far(&self.folder.path().join("stderr"))
    }

    /// Asks it to end, as the user does.
    pub fn end(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Ends it, and gives its exit code and what it said.
    pub fn finish(mut self) -> (Option<i32>, String) {
        self.end();
        let status = until_exit(&mut self.child);
        (status.and_then(|status| status.code()), self.said())
    }

    /// Ends it as the user does, and gives its folder and what it said.
    pub fn stop(mut self) -> (TempDir, String) {
        self.end();
        let status = until_exit(&mut self.child);
        let said = self.said();
        assert_eq!(status.and_then(|status| status.code()), Some(0), "{said}");
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        (folder, said)
    }

    /// Kills it, without a chance to end in order. Gives its folder.
    pub fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }
}

impl Drop for Capturing {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
