//! The program under test, running.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use imds_audit::event::{ConnectionEvent, Loss, RequestEvent, StartEvent, StopEvent};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::audit_slots::AuditSlot;
use super::events::{Events, whole_lines};
use super::prerequisites::program;
use super::wait::{until, until_exit, written_so_far};

/// The program, auditing. Killed when dropped.
#[derive(Debug)]
pub struct Audit {
    child: Child,
    folder: TempDir,
    output: PathBuf,
    _slot: AuditSlot,
}

/// How the program is started.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// The form of the lines.
    pub format: &'a str,
    /// Further arguments, which may say where the lines go.
    pub arguments: &'a [&'a str],
    /// Variables in its environment.
    pub environment: &'a [(&'a str, &'a str)],
    /// Whether the lines go to the standard output, and not to a file.
    pub to_stdout: bool,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self { format: "json", arguments: &[], environment: &[], to_stdout: false }
    }
}

/// What a run of the program left behind.
#[derive(Debug)]
pub struct Report {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to `--output`.
    pub output: String,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

impl Report {
    /// Gives the exit code.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Reads the events as the program's own reader does; writing them again must give the same.
    pub fn typed_events(&self) -> Events {
        Events::read(&self.output)
    }

    /// Returns the requests.
    pub fn requests(&self) -> Vec<RequestEvent> {
        self.typed_events().requests()
    }

    /// Returns the connections without a request.
    pub fn connections(&self) -> Vec<ConnectionEvent> {
        self.typed_events().connections()
    }

    /// Returns the losses as they were reported, without those that `stop` adds up.
    pub fn losses(&self) -> Vec<Loss> {
        self.typed_events().losses()
    }

    /// Returns the first event, the start.
    pub fn start(&self) -> StartEvent {
        self.typed_events().start()
    }

    /// Returns the last event, the stop.
    pub fn stop(&self) -> StopEvent {
        self.typed_events().stop()
    }

    /// Gives everything that was written, for a search.
    pub fn everything(&self) -> String {
        [&*self.output, &*self.stdout, &*self.stderr].join("\n")
    }
}

impl Audit {
    /// Starts the program with JSON lines into a file, and waits until everything is attached;
    /// `None` where the program is not known.
    pub fn start(arguments: &[&str]) -> Option<Self> {
        Self::start_with(Setup { arguments, ..Setup::default() })
    }

    /// Starts the program with everything that can be said of how.
    pub fn start_with(setup: Setup<'_>) -> Option<Self> {
        Self::start_prepared(setup, |_| {})
    }

    /// As [`Audit::start_with`], with something done to the command before.
    pub fn start_prepared(setup: Setup<'_>, prepare: impl FnOnce(&mut Command)) -> Option<Self> {
        let slot = AuditSlot::take();
        let folder = tempfile::tempdir().unwrap();
        let Setup { format, arguments, environment, to_stdout } = setup;
        let chosen = arguments.iter().skip_while(|argument| **argument != "--output").nth(1);
        let usual = folder.path().join(if to_stdout { "stdout" } else { "output" });
        let output = chosen.map_or(usual, PathBuf::from);
        let mut command = Command::new(program()?);
        command.args(["run", "--format", format]).args(arguments);
        if chosen.is_none() && !to_stdout {
            command.arg("--output").arg(&output);
        }
        command.env_remove("RUST_LOG").envs(environment.iter().copied());
        prepare(&mut command);
        let child = spawn(&mut command, folder.path());
        let mut audit = Self { child, folder, output, _slot: slot };
        audit.wait_for_start();
        Some(audit)
    }

    /// Gives the number of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives the file that it writes to.
    pub fn output(&self) -> &Path {
        &self.output
    }

    /// Reads the events that it wrote so far, as the program's own reader does.
    pub fn typed_events(&self) -> Events {
        Events::read_file(&self.output)
    }

    /// Returns the requests that it reported so far.
    pub fn requests(&self) -> Vec<RequestEvent> {
        self.typed_events().requests()
    }

    /// Reads the lines that it wrote so far.
    pub fn lines(&self) -> Vec<String> {
        whole_lines(&written_so_far(&self.output)).map(str::to_owned).collect()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Tells it to end as `kill` and systemd do, and waits for it.
    pub fn stop(self) -> Report {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits until it ends.
    pub fn wait(mut self) -> Report {
        let status = until_exit(&mut self.child);
        let file = |name: &str| written_so_far(&self.folder.path().join(name));
        Report {
            status: status.unwrap_or_else(|| panic!("it does not end: {}", file("stderr"))),
            output: written_so_far(&self.output),
            stdout: file("stdout"),
            stderr: file("stderr"),
        }
    }

    fn wait_for_start(&mut self) {
        let started = until(|| {
            let lines = self.lines();
            let started = lines.iter().any(|line| line.contains("start"));
            (started || self.child.try_wait().unwrap().is_some()).then_some(started)
        });
        assert_eq!(
            started,
            Some(true),
            "it does not start: {}",
            written_so_far(&self.folder.path().join("stderr"))
        );
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        // It has ended already in a test that goes well.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn spawn(command: &mut Command, folder: &Path) -> Child {
    let file = |name: &str| File::create(folder.join(name)).unwrap();
    command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr")).spawn().unwrap()
}
