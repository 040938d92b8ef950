//! Throughput that other traffic loses.

use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use imds_audit::simulator::{GATEWAY_V4, Network, Topology};
use serde_json::Value;

use super::ping::Ends;
use super::processor::{Processor, pin};
use super::rows::Rows;
use super::servers::{IPERF, NGINX, REDIS, Servers};
use super::shuffle::orders;
use super::variant::Variant;

/// Rounds of all variants; a multiple of six, see [`orders`].
const ROUNDS: usize = 12;

/// Where the two ends of other traffic are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Way {
    /// On one host.
    Loopback,
    /// On two, wired to each other.
    Veth,
}

/// Measures over one path.
///
/// # Errors
/// Returns an error if a tool is missing or fails.
pub fn measure(program: &Path, nginx: &Path, path: Way) -> Result<Rows> {
    let network = Network::new(Topology::Direct)?;
    let ends = match path {
        Way::Loopback => Ends {
            client: network.client(),
            server: network.client(),
            address: Ipv4Addr::LOCALHOST.into(),
        },
        Way::Veth => Ends {
            client: network.client(),
            server: network.service_namespace(),
            address: GATEWAY_V4,
        },
    };
    let servers = Servers::start(ends.server, ends.address, nginx)?;
    let mut rows = Rows::default();
    // Once for nothing: caches, connections' first steps, the processor's clock.
    run_all(ends, &mut |_, _, _| {})?;
    for (round, order) in orders(Variant::ALL.len(), ROUNDS).enumerate() {
        eprintln!("round {} of {ROUNDS}", round + 1);
        for variant in order.into_iter().map(|place| Variant::ALL[place]) {
            let in_force = variant.set_up(program)?;
            run_all(ends, &mut |name, unit, figure| rows.add(name, unit, variant.name(), figure))?;
            in_force.take_down()?;
        }
    }
    drop(servers);
    Ok(rows)
}

/// Runs each kind of traffic once.
fn run_all(ends: Ends<'_>, tell: &mut impl FnMut(&str, &'static str, f64)) -> Result<()> {
    tell("iperf3, one TCP stream", "Gbit/s", iperf(ends)?);
    tell("wrk with nginx, 16 connections", "requests/s", wrk(ends)?);
    tell("redis-benchmark GET, 20 connections", "requests/s", redis(ends)?);
    tell("TCP round trips of 32 bytes", "round trips/s", ends.tcp(20_000)?);
    tell("UDP round trips of 32 bytes", "round trips/s", ends.udp(25_000)?);
    tell("connects", "connects/s", ends.connects(6_000)?);
    Ok(())
}

fn iperf(ends: Ends<'_>) -> Result<f64> {
    let arguments = ["-c", &ends.address.to_string(), "-p", &IPERF.to_string(), "-t", "1", "-J"];
    let answer: Value = serde_json::from_str(&run(ends, "iperf3", &arguments)?)?;
    let rate = answer.pointer("/end/sum_received/bits_per_second").and_then(Value::as_f64);
    Ok(rate.with_context(|| format!("no rate in what iperf3 says: {answer}"))? / 1e9)
}

fn wrk(ends: Ends<'_>) -> Result<f64> {
    let address = format!("http://{}:{NGINX}/", ends.address);
    let answer = run(ends, "wrk", &["-t", "1", "-c", "16", "-d", "1s", &address])?;
    let rate = answer.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    rate.and_then(|rate| rate.trim().parse().ok())
        .with_context(|| format!("no rate in what wrk says: {answer}"))
}

fn redis(ends: Ends<'_>) -> Result<f64> {
    let (address, port) = (ends.address.to_string(), REDIS.to_string());
    let place = ["-h", &address, "-p", &port];
    let amount = ["-t", "get", "-n", "60000", "-c", "20", "--csv"];
    let answer = run(ends, "redis-benchmark", &[&place[..], &amount].concat())?;
    // "GET","54945.05",…
    let line = answer.lines().find(|line| line.starts_with("\"GET\""));
    line.and_then(|line| line.split('"').nth(3)?.parse().ok())
        .with_context(|| format!("no rate in what redis-benchmark says: {answer}"))
}

/// Runs a client and returns what it wrote.
fn run(ends: Ends<'_>, program: &str, arguments: &[&str]) -> Result<String> {
    let mut command: Command = ends.client.command(program)?;
    command.args(arguments).stdin(Stdio::null());
    // SAFETY: the closure runs between fork and exec; it makes one system call and allocates
    // nothing.
    unsafe {
        command.pre_exec(|| pin(Processor::Second));
    }
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{program} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}
