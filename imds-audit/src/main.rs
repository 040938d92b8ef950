//! The program: parses the command line, runs the command, and turns what comes of it into an
//! exit code.

use std::alloc::System;
use std::io;
use std::process::ExitCode;

use clap::Parser;
use imds_audit::command::{
    Diagnostics, Exit, check,
    cli::{Cli, Command},
    demo, exit_of, run, tell, tell_error,
};
use zeroizing_alloc::ZeroAlloc;

/// Everything that is freed is cleared: tokens pass through many buffers (segments, header blocks,
/// command lines), and whatever becomes of one of them, it leaves nothing behind on the heap.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(match &cli.command {
        Command::Run(arguments) => arguments.verbose,
        Command::Check(_) | Command::Demo(_) | Command::DemoCaller(_) => 0,
    });
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(format_args!("imds-audit: cannot start: {error}\n"));
            return Exit::Failed.into();
        }
    };
    let result = match &cli.command {
        Command::Run(arguments) => runtime.block_on(run::run(arguments)),
        Command::Check(arguments) => check::run(arguments),
        Command::Demo(arguments) => runtime.block_on(demo::run(arguments)),
        Command::DemoCaller(arguments) => demo::call(arguments),
    };
    let code = match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            tell_error(&error);
            exit_of(&error).into()
        }
    };
    Diagnostics.settle();
    code
}

/// Diagnostics go to standard error; `RUST_LOG` has the last word on how many.
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
