//! The program under test, rehearsing.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use imds_audit::event::{Body, RehearsalEvent};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::audit_slots::AuditSlot;
use super::bpf::{self, Kind};
use super::caller::{Caller, Running};
use super::events::Events;
use super::prerequisites::program;
use super::test_network::TestNetwork;
use super::wait::until;

/// The program, rehearsing. Killed when dropped.
#[derive(Debug)]
pub struct Rehearsal {
    running: Running,
    output: PathBuf,
    folder: TempDir,
    _slot: AuditSlot,
}

/// What a rehearsal left behind.
#[derive(Debug)]
pub struct Rehearsed {
    /// How the program ended.
    pub status: ExitStatus,
    /// What the program and the command wrote to the standard output.
    pub stdout: String,
    /// What they wrote to the standard error.
    pub stderr: String,
    /// The events.
    pub events: Events,
    /// The file of events.
    pub output: PathBuf,
    _folder: TempDir,
}

impl Rehearsal {
    /// Rehearses a command in a stage's network to its end; `None` where the program is not known.
    pub fn of_command(
        stage: &TestNetwork,
        options: &[&str],
        command: &[&str],
    ) -> Option<Rehearsed> {
        Some(Self::start(stage, options, command)?.wait())
    }

    /// Starts a rehearsal, in a stage's network; `None` where the program is not known.
    pub fn start(stage: &TestNetwork, options: &[&str], command: &[&str]) -> Option<Self> {
        Self::start_prepared(stage, options, command, |_| {})
    }

    /// As [`Rehearsal::start`], with something done to the command that starts it.
    pub fn start_prepared(
        stage: &TestNetwork,
        options: &[&str],
        command: &[&str],
        prepare: impl FnOnce(&mut Command),
    ) -> Option<Self> {
        let slot = AuditSlot::take();
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("events");
        let mut program = stage.command(program()?);
        program.args(["rehearse", "--format", "json", "--output"]).arg(&output).args(options);
        if !command.is_empty() {
            program.arg("--").args(command);
        }
        prepare(&mut program);
        Some(Self { running: Running::start(&mut program), output, folder, _slot: slot })
    }

    /// Gives the number of the process.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Reads the events that were written so far.
    pub fn events(&self) -> Events {
        Events::read_file(&self.output)
    }

    /// Waits until so many requests were seen.
    pub fn wait_for_requests(&self, count: u64) {
        let seen = until(|| (self.events().count("request") >= count).then_some(()));
        assert!(seen.is_some(), "{} of {count} requests were seen", self.events().count("request"));
    }

    /// Waits until four programs of the rehearsal's are attached to a control group, beside the
    /// audit's four.
    pub fn wait_until_attached(&self) {
        let is_attached = || bpf::cgroup_links(self.pid()) >= 8;
        assert!(until(|| is_attached().then_some(())).is_some(), "nothing was attached");
    }

    /// Gives the ids of the kernel's objects that it holds.
    pub fn objects(&self, kind: Kind) -> Vec<u32> {
        bpf::held_by(self.pid(), kind)
    }

    /// Gives the inodes of the sockets that it holds.
    pub fn sockets(&self) -> BTreeSet<String> {
        let files =
            fs::read_dir(format!("/proc/{}/fd", self.pid())).into_iter().flatten().flatten();
        let targets = files.filter_map(|file| fs::read_link(file.path()).ok());
        targets
            .filter_map(|target| {
                let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
                Some(inode.to_owned())
            })
            .collect()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Gives its standard input, for a command that reads it.
    pub fn say(&mut self, text: &str) {
        self.running.say(text);
    }

    /// Closes its standard input, and waits until it ends.
    pub fn wait(self) -> Rehearsed {
        self.wait_by(Running::wait)
    }

    /// Waits until it ends, with its standard input open until then.
    pub fn wait_for_signal(self) -> Rehearsed {
        self.wait_by(Running::wait_for_signal)
    }

    fn wait_by(self, wait: impl FnOnce(Running) -> Caller) -> Rehearsed {
        let Self { running, output, folder, _slot } = self;
        let caller = wait(running);
        Rehearsed {
            status: caller.status,
            stdout: caller.stdout,
            stderr: caller.stderr,
            events: Events::read_file(&output),
            output,
            _folder: folder,
        }
    }
}

impl Rehearsed {
    /// Returns the result. Panics if there is none.
    pub fn result(&self) -> RehearsalEvent {
        self.events.rehearsal().unwrap_or_else(|| panic!("no result: {self:#?}"))
    }

    /// Returns the result unchanged on the standard error. Panics if there is none.
    pub fn reported(&self) -> RehearsalEvent {
        let lines = self.stderr.split_inclusive('\n').filter(|line| line.starts_with('{'));
        let events = Events::read(&lines.collect::<String>());
        assert!(events.iter().all(|event| event.origin.rehearsal), "{events:#?}");
        events.rehearsal().unwrap_or_else(|| panic!("no result: {self:#?}"))
    }

    /// Gives the verdict on each caller.
    pub fn verdicts(&self) -> Vec<&'static str> {
        let callers = self.events.rehearsal().map(|result| result.callers);
        callers.into_iter().flatten().map(|caller| caller.verdict.name()).collect()
    }

    /// Gives class, status and path of each request that was seen, in order.
    pub fn seen(&self) -> Vec<(&'static str, u16, &str)> {
        let seen = self.events.iter().filter_map(|event| {
            let Body::Request(request) = &event.body else { return None };
            let http = request.http.as_ref();
            Some((
                request.imds.class.name(),
                http.and_then(|http| http.status).unwrap_or(0),
                http.map_or("", |http| http.path.as_str()),
            ))
        });
        seen.collect()
    }
}

impl Rehearsal {
    /// Ends it by a signal, and waits until nothing of it is in the kernel; gives its result.
    pub fn end_by(self, signal: Signal) -> Rehearsed {
        let objects: Vec<_> = [Kind::Program, Kind::Map, Kind::Link]
            .map(|kind| (kind, self.objects(kind)))
            .into_iter()
            .collect();
        assert!(objects.iter().all(|(_, ids)| !ids.is_empty()), "{objects:?}");
        self.signal(signal);
        // Else the command might end with its input, before the signal comes.
        let rehearsed = self.wait_for_signal();
        bpf::wait_until_gone(&objects);
        rehearsed
    }
}
