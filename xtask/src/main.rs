//! Set-up, build, demo and tests of imds-audit: whatever a person would otherwise type twice.

mod apt;
mod architecture;
mod bench;
mod build;
mod command;
mod cross;
mod demo;
mod elf;
mod fuzz;
mod instructions;
mod node;
mod object;
mod python;
mod setup;
mod test;
mod toolchain;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::architecture::parse_target;
use crate::build::HOST_TARGET;
use crate::workspace::Workspace;

/// Set-up, build, demo and tests of imds-audit.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Installs what building both halves needs, and says what it found.
    Setup,
    /// Builds the static program with the kernel half inside.
    Build {
        /// The host half's target: a triple, or aarch64 or x86_64 for short.
        #[arg(long, value_parser = parse_target, default_value = HOST_TARGET)]
        target: String,
    },
    /// Builds the program and runs its demonstration, with sudo where needed.
    Demo {
        /// Options of `imds-audit demo`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Runs every check and test; with a filter only the tests whose name contains it.
    Test {
        /// A part of a test's name.
        filter: Option<String>,
    },
    /// Fuzzes whatever parses bytes: one target, or each.
    Fuzz {
        /// The target's name: a folder of tests/fuzz/corpus.
        target: Option<String>,
        /// How often each is run.
        #[arg(long, default_value_t = fuzz::DEFAULT_RUNS)]
        runs: u64,
    },
    /// Measures what the program costs and what it holds, and writes BENCHMARKS.md.
    Bench {
        /// The sections to measure; all of them where none is given.
        #[arg(value_name = "SECTION")]
        sections: Vec<String>,
        /// Measures nothing, and writes BENCHMARKS.md from xtask/benchmarks.json.
        #[arg(long, conflicts_with = "sections")]
        render: bool,
    },
    /// Boots the supported kernels under emulation, runs the tests inside, and prints a table.
    Vm(vm::Options),
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The causes in one line, and no backtrace, which would bury it.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a task.
fn run(task: Task) -> Result<()> {
    let workspace = Workspace::locate()?;
    match task {
        Task::Setup => setup::run(&workspace),
        Task::Build { target } => {
            let program = build::run(&workspace, &target)?;
            println!("{}", program.display());
            Ok(())
        }
        Task::Demo { options } => demo::run(&workspace, &options),
        Task::Test { filter } => test::run(&workspace, filter.as_deref()),
        Task::Fuzz { target, runs } => fuzz::run(&workspace, target.as_deref(), runs),
        Task::Bench { sections, render } => bench::run(&workspace, &sections, render),
        Task::Vm(options) => vm::run(&workspace, &options),
    }
}
