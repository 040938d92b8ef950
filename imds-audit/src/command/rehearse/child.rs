//! The rehearsed command: started in its cgroup, with the terminal, signals and exit status passed
//! through.

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
};

use anyhow::Context;
use rustix::process::{Pid, Resource, Rlimit, kill_process, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{event::RehearsedCommand, redact, rehearsal::group::Group};

/// Signals that are handed on to the command; without one they end the rehearsal.
const PASSED_ON: [i32; 6] =
    [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2];
/// Those that a terminal sends to the command too, as it is in the same process group.
const OF_TERMINAL: [i32; 2] = [libc::SIGINT, libc::SIGQUIT];
/// Those that do nothing without a command.
const OF_COMMAND_ONLY: [i32; 2] = [libc::SIGUSR1, libc::SIGUSR2];

/// The signals of this process.
pub(super) struct Signals(Vec<(i32, Signal)>);

impl Signals {
    /// Takes the signals over.
    ///
    /// # Errors
    /// Returns the system's error.
    pub(super) fn listen() -> io::Result<Self> {
        let listen = |number: i32| Ok((number, signal(SignalKind::from_raw(number))?));
        Ok(Self(PASSED_ON.into_iter().map(listen).collect::<io::Result<_>>()?))
    }

    /// Waits for one. Cancel safe.
    async fn next(&mut self) -> i32 {
        std::future::poll_fn(|context| {
            for (number, signal) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*number);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending(ExitStatus);

impl Ending {
    /// Returns what a shell has for it: the exit status, or 128 and the signal's number.
    pub(super) fn code(self) -> u8 {
        let code = self.0.code().or_else(|| self.0.signal().map(|signal| 128 + signal));
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
    }

    /// Writes it into a command's description.
    pub(super) fn describe(self, command: &mut RehearsedCommand) {
        command.exit_status = self.0.code();
        command.signal = self.0.signal();
    }
}

/// The running command.
pub(super) struct Child {
    child: tokio::process::Child,
    args: Vec<String>,
    ending: Option<Ending>,
}

impl Child {
    /// Starts a command in a cgroup; `descriptors` is its limit of open files.
    ///
    /// # Errors
    /// Returns an error if it cannot be started.
    pub(super) fn start(
        words: &[OsString],
        group: &Group,
        descriptors: Rlimit,
    ) -> anyhow::Result<Self> {
        let (program, arguments) = words.split_first().context("no command was given")?;
        let mut entrance = group.entrance().context("cannot enter the command's cgroup")?;
        let mut command = tokio::process::Command::new(program);
        command.args(arguments);
        // SAFETY: the closure runs between fork and exec; it makes two system calls and allocates
        // nothing.
        unsafe {
            command.pre_exec(move || {
                entrance.write_all(b"0")?;
                Ok(setrlimit(Resource::Nofile, descriptors)?)
            });
        }
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", program.to_string_lossy()))?;
        Ok(Self { child, args: redacted(words), ending: None })
    }

    /// Describes the command, as far as it has come.
    pub(super) fn described(&self) -> RehearsedCommand {
        let mut command =
            RehearsedCommand { args: self.args.clone(), exit_status: None, signal: None };
        if let Some(ending) = self.ending {
            ending.describe(&mut command);
        }
        command
    }

    /// Waits until it has ended, and hands signals on to it meanwhile. Cancel safe.
    ///
    /// # Errors
    /// Returns the system's error.
    pub(super) async fn wait(&mut self, signals: &mut Signals) -> io::Result<Ending> {
        if let Some(ending) = self.ending {
            return Ok(ending);
        }
        loop {
            let number = tokio::select! {
                status = self.child.wait() => {
                    let ending = Ending(status?);
                    self.ending = Some(ending);
                    return Ok(ending);
                }
                number = signals.next() => number,
            };
            self.pass_on(number);
        }
    }

    fn pass_on(&self, number: i32) {
        if OF_TERMINAL.contains(&number) && is_in_foreground() {
            return;
        }
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let signal = rustix::process::Signal::from_named_raw(number);
        if let (Some(pid), Some(signal)) = (pid, signal) {
            // One that has just ended needs no signal.
            kill_process(pid, signal).ok();
        }
    }
}

/// Waits until the command has ended, or without one until a signal ends the rehearsal.
pub(super) async fn ended(child: &mut Option<Child>, signals: &mut Signals) {
    match child {
        Some(child) => {
            // An error is reported when the command is waited for again.
            child.wait(signals).await.ok();
        }
        None => while OF_COMMAND_ONLY.contains(&signals.next().await) {},
    }
}

/// Returns whether this process is in the foreground of its terminal, whose keys then reach the
/// command too.
fn is_in_foreground() -> bool {
    let terminal = io::stdin();
    terminal.is_terminal()
        && rustix::termios::tcgetpgrp(&terminal).ok() == Some(rustix::process::getpgrp())
}

fn redacted(words: &[OsString]) -> Vec<String> {
    use std::os::unix::ffi::OsStrExt;
    redact::arguments(words.iter().map(|word| word.as_bytes()))
        .iter()
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}
