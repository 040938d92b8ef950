//! Cost of a rehearsal for its callers: through the front, through a plain forwarder, and straight
//! to the service, request by request in turn.

mod under_rehearsal;
mod ways;

use std::path::Path;
use std::process::Command;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use imds_audit::simulator::{Network, Topology};
use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::rows::Rows;
use super::shuffle::orders;
use under_rehearsal::{Rehearsal, RehearsedGroup, monotonic};
use ways::{Connection, WAYS, Way, Ways};

const ROUNDS: usize = 8;
const FRESH: usize = 1_000;
const KEPT: usize = 2_000;
/// The pause before each request: callers of the service ask now and then, and a caller that never
/// waits has used its share of a busy processor up.
const PAUSE: Duration = Duration::from_micros(300);
/// Connections that are used at once, and for how long.
const CONNECTIONS: usize = ways::THREADS;
const CAPACITY_TIME: Duration = Duration::from_secs(1);
const STARTS: usize = 15;
const ENDS: usize = 8;

/// Measures.
///
/// # Errors
/// Returns an error if the network or the program does not work, or there is no cgroup v2.
pub fn measure(program: &Path) -> Result<Rows> {
    let network = Network::new(Topology::Direct)?;
    let listeners = ways::listeners(&network)?;
    // What a thread starts from now on is there too, the program among it.
    move_into_link_name_space(network.client_namespace(), Some(LinkNameSpaceType::Network))?;
    let ways = Ways::open(listeners)?;
    let group = RehearsedGroup::enter()?;
    let mut rows = Rows::default();

    let rehearsal = Rehearsal::start(program, &group, &ways)?;
    for (round, order) in orders(WAYS.len(), ROUNDS).enumerate() {
        eprintln!("round {} of {ROUNDS}", round + 1);
        fresh(&ways, &order, &mut rows)?;
        kept(&ways, &order, &rehearsal, &mut rows)?;
        for way in order.into_iter().map(|place| WAYS[place]) {
            let name = format!("requests a second on {CONNECTIONS} connections");
            rows.add(&name, "", way.column(), capacity(&ways, way)?);
        }
    }
    rehearsal.end(Signal::TERM, &ways)?;

    for round in 1..=STARTS {
        eprintln!("start {round} of {STARTS}");
        starts(program, &ways, &mut rows)?;
    }
    for round in 1..=ENDS {
        eprintln!("end {round} of {ENDS}");
        for (name, signal) in [("SIGTERM", Signal::TERM), ("SIGKILL", Signal::KILL)] {
            let rehearsal = Rehearsal::start(program, &group, &ways)?;
            let time = rehearsal.end(signal, &ways)?;
            let row = format!("{name} until connects lead to the service");
            rows.add(&row, "ms", Way::Front.column(), milliseconds(time));
        }
    }
    Ok(rows)
}

/// Measures requests on connections of their own.
fn fresh(ways: &Ways, order: &[usize], rows: &mut Rows) -> Result<()> {
    let mut times = [const { Vec::new() }; WAYS.len()];
    for _ in 0..FRESH {
        for &place in order {
            sleep(PAUSE);
            let start = Instant::now();
            ways.connect(WAYS[place])?.exchange()?;
            times[place].push(start.elapsed());
        }
    }
    add(rows, "connection and request", times);
    Ok(())
}

/// Measures requests on connections that stay open.
fn kept(ways: &Ways, order: &[usize], rehearsal: &Rehearsal, rows: &mut Rows) -> Result<()> {
    let mut connections = WAYS.map(|way| ways.connect(way));
    let mut times = [const { Vec::new() }; WAYS.len()];
    let before = [ways.forwarding_time(), rehearsal.front_time()?];
    for _ in 0..KEPT {
        for &place in order {
            sleep(PAUSE);
            let connection = connections.get_mut(place).and_then(|made| made.as_mut().ok());
            let connection = connection.context("cannot connect")?;
            let start = Instant::now();
            connection.exchange()?;
            times[place].push(start.elapsed());
        }
    }
    let after = [ways.forwarding_time(), rehearsal.front_time()?];
    for (way, (before, after)) in
        [Way::Forwarder, Way::Front].into_iter().zip(before.into_iter().zip(after))
    {
        let time = after.saturating_sub(before).as_secs_f64() * 1e6 / KEPT as f64;
        rows.add("processor time for a request on an open connection", "µs", way.column(), time);
    }
    add(rows, "request on an open connection", times);
    Ok(())
}

/// Adds the medians and the slowest but one of a hundred.
fn add(rows: &mut Rows, name: &str, times: [Vec<Duration>; WAYS.len()]) {
    for (way, mut times) in WAYS.into_iter().zip(times) {
        times.sort();
        for (part, words) in [(0.5, "median"), (0.99, "99th of 100")] {
            let place = (part * times.len() as f64) as usize;
            if let Some(&time) = times.get(place) {
                rows.add(&format!("{words}: {name}"), "ms", way.column(), milliseconds(time));
            }
        }
    }
}

/// Returns how many requests a second come back on several connections.
fn capacity(ways: &Ways, way: Way) -> Result<f64> {
    let connections: Result<Vec<Connection>> =
        (0..CONNECTIONS).map(|_| ways.connect(way)).collect();
    let connections = connections?;
    let start = Instant::now();
    let done = scope(|scope| {
        let working: Vec<_> = connections
            .into_iter()
            .map(|mut connection| {
                scope.spawn(move || -> Result<u64> {
                    let mut done = 0;
                    while start.elapsed() < CAPACITY_TIME {
                        connection.exchange()?;
                        done += 1;
                    }
                    Ok(done)
                })
            })
            .collect();
        let counts = working
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a caller panicked"))?);
        counts.sum::<Result<u64>>()
    })?;
    Ok(done as f64 / start.elapsed().as_secs_f64())
}

/// Measures how long it takes until a command runs, by itself and under a rehearsal.
fn starts(program: &Path, ways: &Ways, rows: &mut Rows) -> Result<()> {
    let own = std::env::current_exe()?;
    let mut direct = Command::new(&own);
    direct.arg("--program").arg(program).arg("now");
    let mut rehearsed = Command::new(program);
    let address = ways.address(Way::Front).to_string();
    rehearsed.args(["rehearse", "--output", "/dev/null", "--endpoint", &address, "--"]);
    rehearsed.arg(&own).arg("--program").arg(program).arg("now");
    for (way, command) in [(Way::Direct, &mut direct), (Way::Front, &mut rehearsed)] {
        let start = monotonic();
        let output = command.env_remove("RUST_LOG").output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let ran = text.trim().parse().map(Duration::from_nanos);
        let ran = ran.with_context(|| format!("{command:?}: {output:?}"))?;
        let time = milliseconds(ran.saturating_sub(start));
        rows.add("start until a command runs", "ms", way.column(), time);
    }
    Ok(())
}

/// Prints the time at which this program runs, as the command of a rehearsal.
pub fn print_time() {
    println!("{}", monotonic().as_nanos());
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
