//! The program: parses the command line, runs the command, and turns what comes of it into an
//! exit code.

use std::process::ExitCode;

use clap::Parser;
use imds_audit::command::{
    Exit,
    cli::{Cli, Command},
    exit_of, run,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let Command::Run(arguments) = &cli.command;
    start_log(arguments.verbose);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("imds-audit: cannot start: {error}");
            return Exit::Failed.into();
        }
    };
    match runtime.block_on(run::run(arguments)) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("imds-audit: {error:#}");
            exit_of(&error).into()
        }
    }
}

/// Diagnostics go to standard error; `RUST_LOG` has the last word on how many.
fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(level)).init();
}
