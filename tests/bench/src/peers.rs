//! Comparison with other tools: requests seen, and cost.
//!
//! Every tool watches the same callers of a simulated service, one tool after the other. The truth
//! is the service's log; what a tool saw is counted in what it wrote, by [`reading`].

mod parse;
mod requests;
mod run;
mod tool;

use std::net::Ipv4Addr;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use imds_audit::simulator::{Network, Topology};

use super::clock::{Server, redis};
use super::ping::Ends;
use super::rows::Rows;
use parse::Seen;
use requests::{Callers, KINDS};
use run::Running;
use tool::Tool;

/// Samples of other traffic, each of so many round trips, connects and queries.
const SAMPLES: usize = 3;
const ROUND_TRIPS: u32 = 5_000;
const CONNECTS: u32 = 1_000;
const GETS: u32 = 5_000;
/// The tools that need no probes, and how often they are started.
const HERE: [&str; 3] = ["imds-audit", "tcpdump", "strace"];
const STARTS: usize = 5;
/// As in [`super::clock`].
const SETTLE: Duration = Duration::from_secs(2);

/// The client in the machine whose clock counts instructions, and the service's port.
const CLIENT: &str = "/client";
const PORT: u16 = 80;

/// Measures all tools, or one, in a machine whose clock counts instructions.
///
/// # Errors
/// Returns an error if a tool does not start or does not end, or a request about which this
/// program's own audit says nothing.
pub fn measure(program: &Path, only: Option<&str>) -> Result<Rows> {
    let network = Network::new(Topology::Direct)?;
    let ends = Ends {
        client: network.client(),
        server: network.client(),
        address: Ipv4Addr::LOCALHOST.into(),
    };
    let _redis = Server::redis(ends.server)?;
    let callers = Callers::start(Path::new(CLIENT), &network, PORT)?;
    let mut rows = Rows::default();
    // Once for nothing: caches, and whatever happens once.
    traffic(ends, 1, &mut |_, _| {})?;
    let without = samples(ends, 1)?;
    let wanted = |tool: &&Tool| tool.is_there() && only.is_none_or(|name| name == tool.name);
    for tool in Tool::all(program, PORT).iter().filter(wanted) {
        println!("{}", tool.name);
        let mut measure = || -> Result<()> {
            tool.warm_up()?;
            let running = Running::start(tool, network.client())?;
            // One instruction is a nanosecond.
            let millions = running.ready_after.as_secs_f64() * 1e3;
            rows.add("start until it sees", "million instructions", tool.name, millions);
            compare(tool, &samples(ends, tool.slowness)?, &without, &mut rows);
            watch(running, &callers, &mut rows)
        };
        measure().with_context(|| format!("with {}", tool.name))?;
    }
    Ok(rows)
}

/// Measures on this machine those tools that need nothing that its kernel may not have, and leaves
/// out what their being there costs: other programs of the machine would be in it.
///
/// # Errors
/// Returns the errors of [`measure`].
pub fn measure_here(program: &Path, client: &Path) -> Result<Rows> {
    // Others on this host may ask on other ports, and are not to be counted.
    let port = 20_000 + u16::try_from(std::process::id() % 30_000)?;
    let network = Network::new(Topology::Direct)?;
    let callers = Callers::start(client, &network, port)?;
    let mut rows = Rows::default();
    for tool in Tool::all(program, port).iter().filter(|tool| HERE.contains(&tool.name)) {
        eprintln!("{}", tool.name);
        let mut measure = || -> Result<()> {
            for _ in 0..STARTS {
                let running = Running::start(tool, network.client())?;
                let milliseconds = running.ready_after.as_secs_f64() * 1e3;
                rows.add("start until it sees", "ms", tool.name, milliseconds);
                running.stop()?;
            }
            watch(Running::start(tool, network.client())?, &callers, &mut rows)
        };
        measure().with_context(|| format!("with {}", tool.name))?;
    }
    Ok(rows)
}

/// Adds what other traffic pays for a tool.
fn compare(tool: &Tool, with: &[Sample], without: &[Sample], rows: &mut Rows) {
    for (name, unit, figure) in [
        (
            ", throughput left",
            "of that without",
            (|with, without| with / without) as fn(_, _) -> f64,
        ),
        (", instructions more", "instructions", |with, without| 1e9 / with - 1e9 / without),
    ] {
        for (with, without) in with.iter().zip(without) {
            for ((kind, with), (_, without)) in with.iter().zip(without) {
                rows.add(&format!("{kind}{name}"), unit, tool.name, figure(*with, *without));
            }
        }
    }
}

/// Has a tool watch requests of every kind, and ends it.
fn watch(running: Running<'_>, callers: &Callers<'_>, rows: &mut Rows) -> Result<()> {
    let tool = running.tool;
    let mut sent = 0;
    let mut before = Seen::default();
    for kind in &KINDS {
        let truth = callers.make(kind)?;
        let all = running.settled()?;
        let seen = all.since(before);
        before = all;
        let name = |what| format!("{}, {} requests: {what}", kind.name, truth.requests());
        rows.add(&name("found"), "requests", tool.name, seen.found(truth) as f64);
        rows.add(&name("told right"), "requests", tool.name, seen.right(truth) as f64);
        sent += truth.requests();
    }
    rows.add("resident memory", "MiB", tool.name, running.resident()?);
    rows.add("resident memory, the most", "MiB", tool.name, running.most_resident()?);
    let written = running.stop()?;
    if let Some(accounts) = tool.accounts {
        let (reported, lost) = accounts(&written)?;
        ensure!(sent == reported + lost, "{sent} sent, {reported} reported and {lost} lost");
    }
    Ok(())
}

/// How often a second each kind of other traffic was done.
type Sample = Vec<(&'static str, f64)>;

fn samples(ends: Ends<'_>, slowness: u32) -> Result<Vec<Sample>> {
    sleep(SETTLE);
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        let mut sample = Vec::new();
        traffic(ends, slowness, &mut |name, rate| sample.push((name, rate)))?;
        samples.push(sample);
    }
    Ok(samples)
}

fn traffic(ends: Ends<'_>, slowness: u32, tell: &mut impl FnMut(&'static str, f64)) -> Result<()> {
    tell("UDP round trips", ends.udp(ROUND_TRIPS / slowness)?);
    tell("TCP round trips", ends.tcp(ROUND_TRIPS / slowness)?);
    tell("TCP connects", ends.connects(CONNECTS / slowness)?);
    tell("redis GET", redis(ends, GETS / slowness)?);
    Ok(())
}
