//! Costs of the agent beside `run`: idle, under a constant load, and after a million requests.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::agent::{Agent, metric};
use super::audit::Audit;
use super::line::Listener;
use super::processor::{Processor, pin};
use super::rate_limiter::send;
use super::rows::Rows;
use super::usage::{Usage, resident};

const ROUNDS: usize = 3;
/// How long the program is left alone before it is looked at.
const SETTLE: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(10);
/// Requests a second, and for how many seconds.
const LOADS: [(f64, u64); 2] = [(10.0, 20), (1_000.0, 10)];
/// A million requests come so many a second, as many as are to be audited without loss.
const RATE: f64 = 20_000.0;
const MILLION: u64 = 1_000_000;
const CONNECTIONS: usize = 64;

/// The agent's configuration beside the address: by default, but for where its file is.
pub const OUTPUT: &str = "[[output]]\npath = \"{folder}/log/events.jsonl\"";

/// One of the two ways to run the program.
enum Running<'a> {
    Run(Audit),
    Agent(Agent<'a>),
}

impl<'a> Running<'a> {
    const NAMES: [&'static str; 2] = ["run", "agent"];

    fn start(name: &str, program: &Path, desk: &'a Listener) -> Result<Self> {
        if name == "run" {
            return Ok(Self::Run(desk.audit(program, Processor::Second)?));
        }
        let settings = format!("endpoints = [\"{}\"]\n{OUTPUT}", desk.address);
        Agent::start(program, &desk.network, &settings, Processor::Second).map(Self::Agent)
    }

    fn pid(&self) -> u32 {
        match self {
            Self::Run(audit) => audit.pid(),
            Self::Agent(agent) => agent.pid(),
        }
    }

    /// Ends it, and checks that every request was seen or counted as lost.
    fn stop(self, sent: u64) -> Result<()> {
        let counted = match self {
            Self::Run(audit) => {
                let stop = audit.stop()?;
                stop.requests() + stop.lost("requests")
            }
            Self::Agent(agent) => {
                let page = agent.scrape()?;
                agent.stop()?;
                let lost =
                    |series: &str| metric(&page, &format!("imds_audit_losses_total{series}"));
                // What a caller's share kept from the file was seen.
                let withheld = lost("{what=\"requests\",reason=\"share\"}");
                metric(&page, "imds_audit_requests_total") + lost("{what=\"requests\"") - withheld
            }
        };
        ensure!(counted == sent, "{sent} sent, {counted} counted");
        Ok(())
    }
}

/// Measures.
///
/// # Errors
/// Returns an error if the network or the program does not work, or a request is neither seen nor lost.
pub fn measure(program: &Path) -> Result<Rows> {
    pin(Processor::First)?;
    let mut rows = Rows::default();
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}");
        for name in Running::NAMES {
            quietly(name, program, &mut rows)?;
        }
        for name in Running::NAMES {
            a_million(name, program, &mut rows)?;
        }
    }
    Ok(rows)
}

/// Idle, then at each of the loads.
fn quietly(name: &str, program: &Path, rows: &mut Rows) -> Result<()> {
    let desk = Listener::new()?;
    let running = Running::start(name, program, &desk)?;
    let mut pairs = desk.open(1)?;
    sleep(SETTLE);
    rows.add("resident memory, idle", "MiB", name, resident(running.pid())?);
    let before = Usage::of(running.pid())?;
    sleep(IDLE);
    let used = Usage::of(running.pid())? - before;
    rows.add("processor time in ten idle seconds", "ms", name, used.time.as_secs_f64() * 1e3);
    rows.add("wake-ups in ten idle seconds", "", name, used.switches as f64);
    let mut requests = 0;
    for (rate, seconds) in LOADS {
        let before = Usage::of(running.pid())?;
        let sent = send(&mut pairs, rate, Duration::from_secs(seconds))?;
        let used = Usage::of(running.pid())? - before;
        let share = used.time.as_secs_f64() / sent.time.as_secs_f64();
        rows.add(&format!("{rate} requests a second"), "% of a processor", name, share * 100.0);
        requests += sent.requests;
    }
    sleep(SETTLE);
    running.stop(requests)
}

fn a_million(name: &str, program: &Path, rows: &mut Rows) -> Result<()> {
    let desk = Listener::new()?;
    let running = Running::start(name, program, &desk)?;
    let mut pairs = desk.open(CONNECTIONS)?;
    let mut sent = 0;
    while sent < MILLION {
        let piece = Duration::from_secs_f64((MILLION - sent) as f64 / RATE);
        sent += send(&mut pairs, RATE, piece.max(Duration::from_millis(1)))?.requests;
    }
    sleep(SETTLE);
    rows.add("resident memory after a million requests", "MiB", name, resident(running.pid())?);
    running.stop(sent)
}
