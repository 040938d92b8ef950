//! The demonstration.

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};

use crate::architecture::HOST_TARGET;
use crate::build;
use crate::command;
use crate::workspace::Workspace;

/// Builds the program and becomes its demonstration; returns only on failure.
pub fn run(workspace: &Workspace, options: &[String]) -> Result<()> {
    let program = build::run(workspace, HOST_TARGET)?;
    let mut arguments = vec!["demo".to_owned()];
    arguments.extend(options.iter().cloned());
    let mut command = command::as_root(&program.to_string_lossy(), &arguments)?;
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {}", command::line(&command)))
}
