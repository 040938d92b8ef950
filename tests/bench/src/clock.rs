//! Cost for other traffic, in a machine whose clock counts instructions.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use imds_audit::simulator::{Namespace, Network, Topology};
use serde_json::Value;

use super::ping::Ends;
use super::rows::Rows;
use super::shuffle::orders;
use super::variant::Variant;

/// Rounds of all variants. They differ by less than two hundredths, so few will do.
const ROUNDS: usize = 3;
/// How often something is done for one sample: so often that the kernel's own work that falls
/// into it by chance is less than a thousandth. redis-benchmark tells its time in milliseconds,
/// which takes a second for a thousandth.
const ROUND_TRIPS: u32 = 20_000;
const CONNECTS: u32 = 5_000;
const GETS: u32 = 20_000;
const TRANSFER: &str = "256M";
/// How long the kernel is left to what is still to do after something was attached or taken away;
/// a machine in which nothing happens passes over it.
const SETTLE: Duration = Duration::from_secs(2);

/// Measures.
///
/// # Errors
/// Returns an error if something cannot be attached, or the network does not work.
pub fn measure(program: &Path) -> Result<Rows> {
    let network = Network::new(Topology::Loopback)?;
    let ends = Ends {
        client: network.client(),
        server: network.client(),
        address: Ipv4Addr::LOCALHOST.into(),
    };
    let _servers = [
        Server::start(ends.server, "/usr/bin/iperf3", &["-s", "-p", "5201"], 5201)?,
        Server::redis(ends.server)?,
    ];
    let mut rows = Rows::default();
    // Once for nothing: caches, and whatever happens once.
    run_all(ends, &mut |_, _, _| {})?;
    for order in orders(Variant::ALL.len(), ROUNDS) {
        for variant in order.into_iter().map(|place| Variant::ALL[place]) {
            let in_force = variant.set_up(program)?;
            println!("{}", variant.name());
            sleep(SETTLE);
            run_all(ends, &mut |name, unit, figure| rows.add(name, unit, variant.name(), figure))?;
            in_force.take_down()?;
        }
    }
    Ok(rows)
}

/// Runs each kind of traffic once, and tells how many instructions one of it takes.
fn run_all(ends: Ends<'_>, tell: &mut impl FnMut(&str, &'static str, f64)) -> Result<()> {
    // One instruction is a nanosecond.
    let mut each = |name, rate: f64| tell(name, "instructions", 1e9 / rate);
    each("UDP, a round trip of 32 bytes", ends.udp(ROUND_TRIPS)?);
    each("TCP, a round trip of 32 bytes", ends.tcp(ROUND_TRIPS)?);
    each("TCP, a connect", ends.connects(CONNECTS)?);
    each("redis, a GET", redis(ends, GETS)?);
    each("iperf3, a KiB of one TCP stream", iperf(ends)?);
    Ok(())
}

/// Returns KiB a second.
fn iperf(ends: Ends<'_>) -> Result<f64> {
    let arguments = ["-c", "127.0.0.1", "-p", "5201", "-n", TRANSFER, "-J"];
    let answer: Value = serde_json::from_str(&run(ends, "/usr/bin/iperf3", &arguments)?)?;
    let rate = answer.pointer("/end/sum_received/bits_per_second").and_then(Value::as_f64);
    Ok(rate.with_context(|| format!("no rate in what iperf3 says: {answer}"))? / 8192.0)
}

/// Asks Redis so often, and returns requests a second.
///
/// # Errors
/// Returns an error if it does not answer.
pub fn redis(ends: Ends<'_>, count: u32) -> Result<f64> {
    let count = count.to_string();
    let answer =
        run(ends, "/usr/bin/redis-benchmark", &["-t", "get", "-n", &count, "-c", "1", "--csv"])?;
    // "GET","54945.05",…
    let line = answer.lines().find(|line| line.starts_with("\"GET\""));
    line.and_then(|line| line.split('"').nth(3)?.parse().ok())
        .with_context(|| format!("no rate in what redis-benchmark says: {answer}"))
}

/// Runs a client and returns what it wrote.
fn run(ends: Ends<'_>, program: &str, arguments: &[&str]) -> Result<String> {
    let mut command: Command = ends.client.command(program)?;
    let output = command.args(arguments).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{program} failed: {}", String::from_utf8_lossy(&said));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// A server, ended when dropped.
pub struct Server(Child);

impl Server {
    /// Starts Redis, with nothing on a disk.
    ///
    /// # Errors
    /// Returns an error if it does not answer.
    pub fn redis(namespace: &Namespace) -> Result<Self> {
        let arguments = ["--save", "", "--appendonly", "no", "--protected-mode", "no"];
        Self::start(namespace, "/usr/bin/redis-server", &arguments, 6379)
    }

    /// Starts it and waits until it answers.
    fn start(namespace: &Namespace, program: &str, arguments: &[&str], port: u16) -> Result<Self> {
        let mut command = namespace.command(program)?;
        command.args(arguments).current_dir("/tmp").stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot run {program}"))?;
        let server = Self(child);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let deadline = Instant::now() + Duration::from_secs(10);
        while namespace.run(|| TcpStream::connect(address))?.is_err() {
            if Instant::now() > deadline {
                bail!("{program} does not answer");
            }
            sleep(Duration::from_millis(20));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
