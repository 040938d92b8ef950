//! Measures the program on this machine, and writes the samples as JSON to standard output.
//!
//! `cargo xtask bench` builds it, runs it as root and makes tables of what it writes. Whatever it
//! sends stays on loopback or in network namespaces that it makes for itself.

mod audit;
mod bpf;
mod callers;
mod capacity;
mod clock;
mod delay;
mod footprint;
mod growth;
mod holder;
mod latency;
mod line;
mod machine;
mod order;
mod pace;
mod packet;
mod ping;
mod processor;
mod pulse;
mod rivals;
mod rows;
mod servers;
mod traffic;
mod usage;
mod variant;
mod volume;

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
    /// A million requests, ten thousand connections, a hundred thousand processes.
    Volume,
    /// What a request costs the program, by how many come.
    Growth,
    /// How long it takes until a request's line can be read.
    Delay,
    /// What the program takes by being there.
    Footprint,
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
        What::Volume => volume::measure(program),
        What::Growth => growth::measure(program),
        What::Delay => delay::measure(program),
        What::Footprint => footprint::measure(program),
        What::Rivals { client } => rivals::measure_here(program, client),
        What::Callers { address, count, rate } => {
            return callers::call(*address, *count, *rate);
        }
        What::Hold { address, connections, rounds } => {
            return holder::hold(*address, *connections, *rounds);
        }
    }?;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &rows).context("cannot write the samples")?;
    writeln!(out).context("cannot write the samples")
}
