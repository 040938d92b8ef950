//! The program's commands: they wire the stations together.

pub mod check;
pub mod cli;
pub mod demo;
mod diagnostics;
pub mod memory;
pub mod run;
pub mod session;

use std::process::ExitCode;

pub use diagnostics::{Diagnostics, tell, tell_error};

use crate::output::printable;
use crate::probe::loader::ProbeError;
use crate::simulator::NetworkError;

/// How the program ends, beside success (0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
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
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Condition => 3,
            Exit::NotAllowed => 4,
        })
    }
}

/// Returns how the program ends after an error: one of the host's is told apart, because a
/// script that starts the audit on many hosts wants to go on where it is not allowed.
pub fn exit_of(error: &anyhow::Error) -> Exit {
    if error.downcast_ref::<NetworkError>().is_some_and(NetworkError::is_missing_right) {
        return Exit::NotAllowed;
    }
    match error.downcast_ref::<ProbeError>() {
        Some(ProbeError::TooManyEndpoints(_)) => Exit::Usage,
        Some(_) => Exit::NotAllowed,
        None => Exit::Failed,
    }
}

/// Returns how the program was called, as one word for a command line.
fn program_name() -> String {
    let called = std::env::args_os().next().unwrap_or_default();
    let called = called.to_string_lossy();
    printable::word(if called.is_empty() { "imds-audit" } else { &called })
}
