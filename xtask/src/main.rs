//! Set-up, build, demo and tests of imds-audit: whatever a person would otherwise type twice.

mod apt;
mod architecture;
mod auditable;
mod bench;
mod build;
mod command;
mod cross;
mod demo;
mod dependencies;
mod dist;
mod elf;
mod fuzz;
mod house;
mod instructions;
mod node;
mod object;
mod python;
mod samples;
mod setup;
mod supply_chain;
mod test;
mod test_output;
mod toolchain;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::architecture::{HOST_TARGET, parse_target};
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
    /// Install what the build needs, and print what was found
    Setup,
    /// Build the static program with the eBPF programs inside
    Build {
        /// The userspace side's target: a triple, or aarch64 or x86_64 for short.
        #[arg(long, value_parser = parse_target, default_value = HOST_TARGET)]
        target: String,
    },
    /// Build the eBPF objects alone and print the path, for IMDS_AUDIT_EBPF_OBJECT
    Object,
    /// Build the program and run its demonstration, with sudo where needed
    Demo {
        /// Options of `imds-audit demo`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Check format, lints, house rules and unit tests: the inner loop of development
    Check,
    /// Run the linters of both sides, and count the engine's instructions for a request
    Lint,
    /// Write the manual pages and shell completions into target/dist/manual
    Manual,
    /// Make what is released: packages, image, chart, their lists and sums
    Dist(dist::Options),
    /// Run every check and test; with a filter only the tests whose name contains it
    Test {
        /// A part of a test's name.
        filter: Option<String>,
    },
    /// Run the property tests with cases from another seed, and print the seed
    Properties {
        /// The number of cases of each property that does not set its own
        #[arg(long, default_value_t = 2048)]
        cases: u32,
        /// The seed of the cases; random by default
        #[arg(long)]
        seed: Option<u64>,
        /// A part of a test's name
        filter: Option<String>,
    },
    /// Fuzz every parser, or one
    Fuzz {
        /// The target's name: a folder of tests/fuzz/corpus.
        target: Option<String>,
        /// How often each is run.
        #[arg(long, default_value_t = fuzz::DEFAULT_RUNS)]
        runs: u64,
    },
    /// Run the fleet's SQL in real Spark and compare its numbers with the report's
    Spark,
    /// Fetch the captures of other projects' tests, and print their folder, for IMDS_AUDIT_SAMPLES
    Samples,
    /// Measure cost and capacity, and write BENCHMARKS.md
    Bench {
        /// The sections to measure; all of them where none is given.
        #[arg(value_name = "SECTION")]
        sections: Vec<String>,
        /// Measure nothing; write BENCHMARKS.md from xtask/baselines/benchmarks.json.
        #[arg(long, conflicts_with = "sections")]
        render: bool,
    },
    /// Run the agent under a constant load with rotations, reloads and scrapes, and account for every
    /// request; a whole hour is written into BENCHMARKS.md
    Soak {
        /// How many minutes.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1440))]
        minutes: u32,
    },
    /// Boot the supported kernels under emulation, run the tests inside, and print a table
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
        Task::Object => {
            println!("{}", build::object(&workspace)?.display());
            Ok(())
        }
        Task::Demo { options } => demo::run(&workspace, &options),
        Task::Check => test::check(&workspace),
        Task::Lint => test::lint(&workspace),
        Task::Manual => dist::manual(&workspace),
        Task::Dist(options) => dist::run(&workspace, &options),
        Task::Test { filter } => test::run(&workspace, filter.as_deref()),
        Task::Properties { cases, seed, filter } => {
            test::properties(&workspace, cases, seed, filter.as_deref())
        }
        Task::Samples => {
            println!("{}", samples::folder(&workspace)?.1.display());
            Ok(())
        }
        Task::Fuzz { target, runs } => fuzz::run(&workspace, target.as_deref(), runs),
        Task::Spark => test::spark(&workspace),
        Task::Bench { sections, render } => bench::run(&workspace, &sections, render),
        Task::Soak { minutes } => bench::soak(&workspace, minutes),
        Task::Vm(options) => vm::run(&workspace, &options),
    }
}
