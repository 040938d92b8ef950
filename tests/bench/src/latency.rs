//! Latency added to a caller of the metadata service.

use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::net::sockopt::set_socket_linger;

use super::line::Listener;
use super::processor::{Processor, pin};
use super::rows::Rows;
use super::shuffle::orders;
use super::variant::{InForce, Variant};

/// Rounds of all variants.
const ROUNDS: usize = 12;
const KEPT: u32 = 10_000;
const FRESH: u32 = 2_500;

/// The variants: what is attached, and where the program runs.
const VARIANTS: [(&str, Variant, Processor); 4] = [
    ("without", Variant::Without, Processor::Any),
    ("empty", Variant::Empty, Processor::Any),
    ("with", Variant::With, Processor::First),
    ("with, on the caller's processor", Variant::With, Processor::Second),
];

/// Measures.
///
/// # Errors
/// Returns an error if the network or the program does not work.
pub fn measure(program: &Path) -> Result<Rows> {
    let desk = Listener::new()?;
    pin(Processor::Second)?;
    let mut rows = Rows::default();
    run_all(&desk, &mut |_, _| {})?;
    for (round, order) in orders(VARIANTS.len(), ROUNDS).enumerate() {
        eprintln!("round {} of {ROUNDS}", round + 1);
        for (column, variant, processor) in order.into_iter().map(|place| VARIANTS[place]) {
            let in_force = match variant {
                Variant::With => InForce::Audit(desk.audit(program, processor)?),
                Variant::Without | Variant::Empty => variant.set_up(program)?,
            };
            run_all(&desk, &mut |name, time| {
                rows.add(name, "µs", column, time.as_secs_f64() * 1e6);
            })?;
            in_force.take_down()?;
        }
    }
    Ok(rows)
}

/// Measures what a caller pays for a capture, and for a run.
///
/// # Errors
/// Returns an error if the network or the program does not work.
pub fn measure_capture(program: &Path) -> Result<Rows> {
    const COLUMNS: [&str; 3] = ["without", "run", "capture"];
    let desk = Listener::new()?;
    pin(Processor::Second)?;
    let mut rows = Rows::default();
    run_all(&desk, &mut |_, _| {})?;
    for (round, order) in orders(COLUMNS.len(), ROUNDS).enumerate() {
        eprintln!("round {} of {ROUNDS}", round + 1);
        for place in order {
            let in_force = match place {
                0 => InForce::Nothing,
                1 => InForce::Audit(desk.audit(program, Processor::First)?),
                _ => InForce::Capture(desk.capture(program, Processor::First)?),
            };
            run_all(&desk, &mut |name, time| {
                rows.add(name, "µs", COLUMNS[place], time.as_secs_f64() * 1e6);
            })?;
            in_force.take_down()?;
        }
    }
    Ok(rows)
}

fn run_all(desk: &Listener, tell: &mut impl FnMut(&str, Duration)) -> Result<()> {
    tell("a request on an open connection", kept(desk)?);
    tell("connection, request and end", desk.network.in_client(|| fresh(desk))??);
    Ok(())
}

/// Returns how long a request and its answer take.
fn kept(desk: &Listener) -> Result<Duration> {
    let mut pairs = desk.open(1)?;
    let start = Instant::now();
    for _ in 0..KEPT {
        pairs.iter_mut().try_for_each(super::line::Pair::exchange)?;
    }
    Ok(start.elapsed() / KEPT)
}

/// Returns how long a request, its answer and a connection for them take.
fn fresh(desk: &Listener) -> io::Result<Duration> {
    pin(Processor::Second)?;
    let start = Instant::now();
    for _ in 0..FRESH {
        let mut pair = desk.open_here()?;
        pair.exchange()?;
        end(&pair.client)?;
    }
    Ok(start.elapsed() / FRESH)
}

/// Has a connection break off when it is closed: else its port stays in use for a minute.
fn end(client: &TcpStream) -> io::Result<()> {
    Ok(set_socket_linger(client, Some(Duration::ZERO))?)
}
