//! Connections that another process holds: one process may not have descriptors enough for both
//! ends of ten thousand.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::line::Listener;
use super::rate_limiter;

/// What the process says when it holds them.
const READY: &str = "ready";

/// A process that holds connections to an address, in a network of its own. Ended when dropped.
pub struct ConnectionHolder(Child);

impl ConnectionHolder {
    /// Starts one, and waits until it holds so many connections and has sent so many requests on
    /// each.
    ///
    /// # Errors
    /// Returns an error if it fails.
    pub fn start(
        program: &Path,
        address: SocketAddr,
        connections: usize,
        rounds: usize,
    ) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--program").arg(program).args(["hold", "--address", &address.to_string()]);
        command.args(["--connections", &connections.to_string()]);
        command.args(["--rounds", &rounds.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = Self(command.spawn()?);
        let output = holder.0.stdout.take().context("no standard output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line.trim_end() == READY, "connections cannot be held");
        Ok(holder)
    }
}

impl Drop for ConnectionHolder {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Holds connections until standard input ends: what the process does.
///
/// # Errors
/// Returns an error if the network does not work.
pub fn hold(address: SocketAddr, connections: usize, rounds: usize) -> Result<()> {
    let desk = Listener::at(address.port())?;
    let mut pairs = desk.open(connections)?;
    rate_limiter::rounds(&mut pairs, rounds)?;
    println!("{READY}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
