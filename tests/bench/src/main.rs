//! Measures the program on this machine, and writes the samples as JSON to standard output.
//!
//! `cargo xtask bench` builds it, runs it as root and makes tables of what it writes. Whatever it
//! sends stays on loopback or in network namespaces that it makes for itself.

mod agent;
mod audit;
mod bpf;
mod callers;
mod capacity;
mod capture;
mod child;
mod clock;
mod connection_holder;
mod cost_by_load;
mod footprint;
mod latency;
mod line;
mod machine;
mod neighbours;
mod output_latency;
mod packet;
mod packet_source;
mod peers;
mod ping;
mod processor;
mod rate_limiter;
mod rehearsal;
mod replay;
mod report;
mod rows;
mod scale;
mod servers;
mod service;
mod shuffle;
mod soak;
mod steal_time;
mod traffic;
mod usage;
mod variant;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use traffic::Way;

/// Measures the program on this machine.
#[derive(Parser)]
struct Arguments {
    /// The program under measurement.
    #[arg(long)]
    program: PathBuf,
    /// What to measure.
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The cost of a packet of other traffic.
    Packet,
    /// What other traffic loses.
    Traffic {
        /// Where its two ends are.
        way: Way,
        /// The nginx to serve it.
        #[arg(long, default_value = "nginx")]
        nginx: PathBuf,
    },
    /// What a caller of the metadata service pays.
    Latency,
    /// How many requests are audited before one is lost.
    Capacity,
    /// The packet source: how many requests it takes, and which callers it names.
    PacketSource,
    /// A million requests, ten thousand connections, a hundred thousand processes.
    Volume,
    /// What a request costs the program, by how many come.
    Growth,
    /// How long it takes until a request's line can be read.
    Delay,
    /// What the program takes by being there.
    Footprint,
    /// What a report takes, beside DuckDB and jq.
    Report {
        /// A Python with the module `duckdb`.
        #[arg(long)]
        python: PathBuf,
        /// The largest number of events.
        #[arg(long, default_value_t = 1_000_000)]
        largest: u64,
    },
    /// What a replay takes, beside reading and tshark.
    Replay,
    /// What a caller of the metadata service pays for a capture.
    Capture,
    /// What a rehearsal's front costs.
    Rehearsal,
    /// Prints the time; measures nothing.
    #[command(hide = true)]
    Now,
    /// What the agent takes, beside `run`.
    Service,
    /// What a caller loses beside another one that floods.
    Neighbours,
    /// The agent for some time under a constant load.
    Soak {
        /// How long.
        #[arg(long, default_value_t = 60)]
        minutes: u32,
    },
    /// What other tools see of the same requests.
    Rivals {
        /// The client that makes them.
        #[arg(long)]
        client: PathBuf,
    },
    /// Callers of the service, a process each; measures nothing.
    #[command(hide = true)]
    Callers {
        /// Whom they ask.
        #[arg(long)]
        address: SocketAddr,
        /// How many.
        #[arg(long)]
        count: u32,
        /// How many a second at most.
        #[arg(long)]
        rate: f64,
    },
    /// Requests at a rate, over connections in a network of their own; measures nothing.
    #[command(hide = true)]
    Flood {
        /// Where to.
        #[arg(long)]
        address: SocketAddr,
        /// Over how many connections.
        #[arg(long)]
        connections: usize,
        /// How many a second at most.
        #[arg(long)]
        rate: f64,
        /// For how long.
        #[arg(long)]
        seconds: u64,
    },
    /// Connections that are held open until standard input ends; measures nothing.
    #[command(hide = true)]
    Hold {
        /// Where to.
        #[arg(long)]
        address: SocketAddr,
        /// How many.
        #[arg(long)]
        connections: usize,
        /// How many requests are sent on each.
        #[arg(long)]
        rounds: usize,
    },
}

fn main() -> ExitCode {
    // As the kernel starts the first process of a machine made for this, and nobody else does.
    if machine::is_first() {
        machine::init();
    }
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(Arguments { program, what }: &Arguments) -> Result<()> {
    let rows = match what {
        What::Packet => packet::measure(),
        What::Traffic { way, nginx } => traffic::measure(program, nginx, *way),
        What::Latency => latency::measure(program),
        What::Capacity => capacity::measure(program),
        What::PacketSource => packet_source::measure(program),
        What::Volume => scale::measure(program),
        What::Growth => cost_by_load::measure(program),
        What::Delay => output_latency::measure(program),
        What::Footprint => footprint::measure(program),
        What::Report { python, largest } => {
            report::measure(&report::Tools { program, python, largest: *largest })
        }
        What::Replay => replay::measure(program),
        What::Capture => latency::measure_capture(program),
        What::Rehearsal => rehearsal::measure(program),
        What::Now => {
            rehearsal::print_time();
            return Ok(());
        }
        What::Service => service::measure(program),
        What::Neighbours => neighbours::measure(program),
        What::Soak { minutes } => soak::measure(program, *minutes),
        What::Rivals { client } => peers::measure_here(program, client),
        What::Callers { address, count, rate } => {
            return callers::call(*address, *count, *rate);
        }
        What::Flood { address, connections, rate, seconds } => {
            return neighbours::flood(*address, *connections, *rate, *seconds);
        }
        What::Hold { address, connections, rounds } => {
            return connection_holder::hold(*address, *connections, *rounds);
        }
    }?;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &rows).context("cannot write the samples")?;
    writeln!(out).context("cannot write the samples")
}
