//! The program's commands: their options, and the wiring of the other modules.

mod agent;
mod arguments;
mod capture;
mod check;
pub(crate) mod cli;
mod condition;
mod demo;
mod rehearse;
mod replay;
mod report;
mod roots;
mod run;
mod stderr;
mod verify;

use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::{io, iter};

use clap::Parser;
use cli::{Cli, Command};
use stderr::{Diagnostics, print, print_error};
use tokio::runtime::Runtime;

use crate::simulator::NetworkError;
use crate::source::ebpf::loader::EbpfError;
use crate::source::packet::error::PacketError;
use crate::text::terminal;

/// How the program ends, beside success (0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// Done.
    Done,
    /// Something failed.
    Failed,
    /// The command line is wrong.
    Usage,
    /// A condition of `--fail-on` was met.
    Condition,
    /// The host does not allow the audit.
    NotAllowed,
    /// As the rehearsed command did.
    Command(u8),
}

impl From<ExitStatus> for ExitCode {
    fn from(exit: ExitStatus) -> Self {
        Self::from(match exit {
            ExitStatus::Done => 0,
            ExitStatus::Failed => 1,
            ExitStatus::Usage => 2,
            ExitStatus::Condition => 3,
            ExitStatus::NotAllowed => 4,
            ExitStatus::Command(code) => code,
        })
    }
}

/// More file descriptors than a runtime opens at its start.
const RUNTIME_DESCRIPTORS: usize = 10;

/// Starts the runtime.
///
/// # Errors
/// Returns the system's error. Too few file descriptors are one too: tokio would panic when its
/// socket pair for signals cannot be made.
fn start_runtime() -> io::Result<Runtime> {
    let spare: Result<Vec<_>, _> = iter::repeat_with(|| io::stdin().as_fd().try_clone_to_owned())
        .take(RUNTIME_DESCRIPTORS)
        .collect();
    drop(spare?);
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Parses the command line and runs the command. Returns the program's exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(match &cli.command {
        Command::Run(arguments) => arguments.verbose,
        Command::Rehearse(arguments) => arguments.verbose,
        // A service logs that it is attached and that it has read a new configuration.
        Command::Agent(arguments) => u8::from(arguments.action.is_none()),
        Command::Report(_)
        | Command::Capture(_)
        | Command::Replay(_)
        | Command::Verify(_)
        | Command::Check(_)
        | Command::Demo(_)
        | Command::DemoCaller(_) => 0,
    });
    let runtime = match start_runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            print(format_args!("imds-audit: cannot start: {error}\n"));
            return ExitStatus::Failed.into();
        }
    };
    let result = match &cli.command {
        Command::Run(arguments) => runtime.block_on(run::run(arguments)),
        Command::Agent(arguments) => runtime.block_on(agent::run(arguments)),
        Command::Report(arguments) => report::run(arguments),
        Command::Rehearse(arguments) => runtime.block_on(rehearse::run(arguments)),
        Command::Capture(arguments) => runtime.block_on(capture::capture(arguments)),
        Command::Replay(arguments) => runtime.block_on(replay::run(arguments)),
        Command::Verify(arguments) => verify::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Demo(arguments) => runtime.block_on(demo::run(arguments)),
        Command::DemoCaller(arguments) => demo::call(arguments),
    };
    let code = match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            print_error(&error);
            exit_status(&error).into()
        }
    };
    Diagnostics.settle();
    code
}

/// Sends the log to standard error; `RUST_LOG` overrides the level.
fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let style = match anstream::AutoStream::choice(&io::stderr()) {
        anstream::ColorChoice::Never => "never",
        _ => "always",
    };
    let environment =
        env_logger::Env::default().default_filter_or(level).default_write_style_or(style);
    env_logger::Builder::from_env(environment)
        .target(env_logger::Target::Pipe(Box::new(Diagnostics)))
        .init();
}

/// Returns how the program ends after an error. A host that does not allow the audit has an exit
/// code of its own: a script that starts the audit on many hosts goes on to the next.
fn exit_status(error: &anyhow::Error) -> ExitStatus {
    if error.downcast_ref::<NetworkError>().is_some_and(NetworkError::is_missing_right) {
        return ExitStatus::NotAllowed;
    }
    if let Some(exit) = rehearse::exit_status(error) {
        return exit;
    }
    match error.downcast_ref::<PacketError>() {
        Some(PacketError::TooManyEndpoints(_)) => return ExitStatus::Usage,
        Some(_) => return ExitStatus::NotAllowed,
        None => {}
    }
    match error.downcast_ref::<EbpfError>() {
        Some(EbpfError::TooManyEndpoints(_)) => ExitStatus::Usage,
        Some(_) => ExitStatus::NotAllowed,
        None => ExitStatus::Failed,
    }
}

/// Returns how the program was called, as one word for a command line.
fn program_name() -> String {
    let called = std::env::args_os().next().unwrap_or_default();
    let called = called.to_string_lossy();
    terminal::word(if called.is_empty() { "imds-audit" } else { &called })
}
