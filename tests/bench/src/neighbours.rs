//! Losses of a caller beside another one that floods, each in a control group of its own.

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::agent::{Agent, files, metric};
use super::line::Listener;
use super::processor::Processor;
use super::rate_limiter::send;
use super::rows::Rows;
use super::service::OUTPUT;

/// What the noisy one sends a second; the last is as much as it can.
const NOISE: [f64; 3] = [1_000.0, 20_000.0, f64::INFINITY];
const NOISY_CONNECTIONS: usize = 64;
/// What the quiet one sends a second.
const QUIET: f64 = 10.0;
const DURING: Duration = Duration::from_secs(10);
/// How much longer the noisy one sends than the quiet one.
const LONGER: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;

/// Measures.
///
/// # Errors
/// Returns an error if the network or the program does not work, or a request is neither seen nor lost.
pub fn measure(program: &Path) -> Result<Rows> {
    let mut rows = Rows::default();
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        for rate in NOISE {
            beside(rate, program, &mut rows)?;
        }
    }
    Ok(rows)
}

fn beside(rate: f64, program: &Path, rows: &mut Rows) -> Result<()> {
    let desk = Listener::new()?;
    let settings = format!("endpoints = [\"{}\"]\n{OUTPUT}", desk.address);
    let agent = Agent::start(program, &desk.network, &settings, Processor::Any)?;
    let [noisy, quiet] = [Group::make("noisy")?, Group::make("quiet")?];
    let flood = noisy.caller(program, desk.address, NOISY_CONNECTIONS, rate, DURING + LONGER)?;
    let caller = quiet.caller(program, desk.address, 1, QUIET, DURING)?;
    let pid = caller.0.id();
    let asked = caller.wait()?;
    let flooded = flood.wait()?;
    let page = agent.scrape()?;
    let folder = agent.stop()?;
    let seen = Seen::read(&folder.path().join("log"), pid)?;
    ensure!(
        seen.all_tallied + seen.all_lost == asked + flooded,
        "{asked} and {flooded} sent, {} tallied, {} lost: {page}",
        seen.all_tallied,
        seen.all_lost
    );
    let row = if rate.is_finite() {
        format!("beside {rate} requests a second")
    } else {
        "beside as many as can be sent".to_owned()
    };
    let of_hundred = |count: u64| count as f64 * 100.0 / asked as f64;
    rows.add(&row, "", "sent a second beside it", flooded as f64 / (DURING + LONGER).as_secs_f64());
    rows.add(&row, "", "with a line, of a hundred", of_hundred(seen.written));
    rows.add(&row, "", "tallied, of a hundred", of_hundred(seen.tallied));
    rows.add(&row, "", "counted lost, of a hundred", of_hundred(seen.lost));
    let lost = seen.all_lost.saturating_sub(seen.lost) as f64;
    rows.add(&row, "", "lost of the other's, of a hundred", lost * 100.0 / flooded as f64);
    let unwritten = metric(&page, "imds_audit_output_lost_lines_total");
    rows.add(&row, "", "lines that the output lost", unwritten as f64);
    Ok(())
}

/// A control group. Removed when dropped.
struct Group(PathBuf);

impl Group {
    fn make(name: &str) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let mut mounts = mounts.lines().filter_map(|line| line.split_once(" - "));
        let (head, _) = mounts
            .find(|(_, tail)| tail.starts_with("cgroup2 "))
            .context("no hierarchy of control groups of version 2 is mounted")?;
        let root = head.split(' ').nth(4).context("a mount without a place")?;
        let name = format!("imds-audit-bench-{}-{name}.service", std::process::id());
        let folder = Path::new(root).join(name);
        fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        Ok(Self(folder))
    }

    /// Starts a caller in it, that begins at once.
    fn caller(
        &self,
        program: &Path,
        address: SocketAddr,
        connections: usize,
        rate: f64,
        during: Duration,
    ) -> Result<Caller> {
        // A shell enters the group first.
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]).arg(&self.0);
        command.arg(std::env::current_exe()?).arg("--program").arg(program);
        command.args(["flood", "--address", &address.to_string()]);
        command.args(["--connections", &connections.to_string(), "--rate", &rate.to_string()]);
        command.args(["--seconds", &during.as_secs().to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Ok(Caller(command.spawn()?))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // One that is not empty yet is left.
        fs::remove_dir(&self.0).ok();
    }
}

/// A caller. Ended when dropped.
struct Caller(Child);

impl Caller {
    /// Waits until it has ended. Returns how many requests it sent.
    fn wait(mut self) -> Result<u64> {
        let mut said = String::new();
        self.0.stdout.take().context("no standard output")?.read_to_string(&mut said)?;
        let status = self.0.wait()?;
        ensure!(status.success(), "a caller ended with {status}");
        said.trim().parse().with_context(|| format!("no number: {said}"))
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Asks over so many connections in a network of its own, so many a second, and says how often:
/// what the process does.
///
/// # Errors
/// Returns an error if the network does not work.
pub fn flood(address: SocketAddr, connections: usize, rate: f64, seconds: u64) -> Result<()> {
    let desk = Listener::at(address.port())?;
    let mut pairs = desk.open(connections)?;
    println!("{}", send(&mut pairs, rate, Duration::from_secs(seconds))?.requests);
    Ok(())
}

/// What the agent's files say.
#[derive(Default)]
struct Seen {
    written: u64,
    tallied: u64,
    lost: u64,
    all_tallied: u64,
    all_lost: u64,
}

impl Seen {
    /// Reads them; `pid` is the quiet one.
    fn read(folder: &Path, pid: u32) -> Result<Self> {
        let mut seen = Self::default();
        for path in files(folder, "events.jsonl")? {
            let mut gzip = Command::new("gzip");
            let output = gzip.arg("-dcf").arg(&path).stdin(Stdio::null()).output()?;
            ensure!(output.status.success(), "gzip cannot read {}", path.display());
            for line in output.stdout.split(|&byte| byte == b'\n') {
                // Of the others there are hundreds of thousands.
                let is_other = memchr::memmem::find(line, b"\"kind\":\"request\"").is_some()
                    && memchr::memmem::find(line, b"-quiet.service").is_none();
                if !line.is_empty() && !is_other {
                    seen.add(&serde_json::from_slice(line)?, pid)?;
                }
            }
        }
        Ok(seen)
    }

    fn add(&mut self, event: &Value, pid: u32) -> Result<()> {
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        match event["kind"].as_str().context("an event without a kind")? {
            "request" => self.written += u64::from(event["process"]["pid"] == pid),
            "tally" => {
                self.all_tallied += number(&event["totals"]["requests"]);
                for caller in list(&event["callers"]) {
                    let home = caller["caller"]["home"].as_str().unwrap_or_default();
                    if home.contains("-quiet.service") {
                        let classes = caller["classes"].as_object().into_iter().flatten();
                        let outcomes = classes.filter_map(|(_, class)| class.as_object()).flatten();
                        self.tallied += outcomes.map(|(_, count)| number(count)).sum::<u64>();
                    }
                }
            }
            "stop" => {
                for loss in list(&event["losses"]) {
                    if loss["what"] == "requests" && loss["reason"] != "share" {
                        self.all_lost += number(&loss["count"]);
                        if loss["process"]["pid"] == pid {
                            self.lost += number(&loss["count"]);
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
