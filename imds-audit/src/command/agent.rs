//! `imds-audit agent`: the engine as a service.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Context;
use clap::{Args, Subcommand};

use super::ExitStatus;
use crate::agent::{
    self, Source,
    config::{self, Loaded, Overrides},
};

/// The options of `agent`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Exit codes: 0 done, 1 failed, 2 wrong configuration, 4 the host does not allow the audit.

SIGHUP reads the configuration again and opens the outputs anew; SIGTERM ends the agent with a last
tally. Without --config, /etc/imds-audit/imds-audit.toml is read if it is there.")]
pub(crate) struct AgentArguments {
    /// What to do instead of auditing
    #[command(subcommand)]
    pub action: Option<AgentAction>,

    /// The configuration
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Set a value of the configuration, such as tally_interval=5m or labels.cluster=prod
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_setting, global = true)]
    pub settings: Vec<(String, String)>,
}

/// What to do instead of auditing.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum AgentAction {
    /// Check the configuration and report every fault in it
    CheckConfig,
    /// Print the configuration in force, with the origin of each value
    ShowConfig,
}

/// Runs the agent, or checks or prints its configuration.
///
/// # Errors
/// Returns an error if the agent cannot start or standard output cannot be written to.
pub(super) async fn run(arguments: &AgentArguments) -> anyhow::Result<ExitStatus> {
    let source = Source {
        path: arguments.config.clone(),
        overrides: Overrides::of_process(arguments.settings.clone()),
    };
    let loaded = match config::load(source.path.as_deref(), &source.overrides) {
        Ok(loaded) => loaded,
        Err(problems) => {
            super::print(format_args!("imds-audit: the configuration has faults:\n{problems}\n"));
            return Ok(ExitStatus::Usage);
        }
    };
    match arguments.action {
        Some(AgentAction::CheckConfig) => print(&valid(&loaded)),
        Some(AgentAction::ShowConfig) => print(&config::show(&loaded)),
        None => {
            let ended = agent::run(source, loaded).await?;
            super::run::print_result(&ended);
            Ok(if ended.unwritten > 0 { ExitStatus::Failed } else { ExitStatus::Done })
        }
    }
}

fn valid(loaded: &Loaded) -> String {
    let outputs = loaded.config.outputs.len();
    let set = loaded.origins.len();
    format!("valid: {set} values set, {outputs} outputs\n")
}

fn print(page: &str) -> anyhow::Result<ExitStatus> {
    let mut output = io::stdout().lock();
    match output.write_all(page.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        Ok(()) | Err(_) => Ok(ExitStatus::Done),
    }
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    let setting = text.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
    let (key, value) = setting.ok_or("use KEY=VALUE, such as tally_interval=5m")?;
    Ok((key.to_owned(), value.to_owned()))
}
