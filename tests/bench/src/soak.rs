//! Soak: the agent under a constant load with rotations, reloads and scrapes, for as long as an
//! hour. Every request must be accounted for, and neither memory nor descriptors may grow.

mod account;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use self::account::Account;
use super::agent::{Agent, metric};
use super::callers::{answer, command};
use super::line::{Listener, Pair, REQUEST, REQUEST_WITH_TOKEN};
use super::processor::Processor;
use super::rows::Rows;
use super::usage::{processor_time, resident};

/// Requests a second on connections that stay open for a minute, half of them with a token.
const KEPT_RATE: u32 = 40;
/// Processes a second. Each asks once without a token and ends.
const FRESH_RATE: u32 = 10;
const CONNECTIONS: usize = 16;
const MINUTE: Duration = Duration::from_secs(60);
/// How often the metrics are read, as Prometheus does by default.
const SCRAPE: Duration = Duration::from_secs(15);
/// The time in each minute at which the agent gets SIGHUP.
const RELOAD: Duration = Duration::from_secs(40);
/// How often descriptors are counted for one figure. The smallest count is taken: a rotation or a
/// scrape has some of its own for a moment.
const LOOKS: u32 = 10;
/// How much the memory may grow from the middle third to the last one, in MiB.
const GROWTH: f64 = 0.5;
/// The most minutes that it takes.
pub const MOST_MINUTES: u32 = 24 * 60;

/// What a minute ended with.
struct Sample {
    mebibytes: f64,
    descriptors: usize,
    rotations: u64,
    milliseconds: f64,
}

/// Runs the agent for so many minutes.
///
/// # Errors
/// Returns an error if a request is not accounted for, a tally is missing, memory or descriptors grow,
/// or the network or the program does not work.
pub fn measure(program: &Path, minutes: u32) -> Result<Rows> {
    ensure!((1..=MOST_MINUTES).contains(&minutes), "from 1 to {MOST_MINUTES} minutes");
    let kept = Listener::new()?;
    let fresh = Listener::new()?;
    let agent = Agent::start(program, &kept.network, &settings(&[&kept, &fresh]), Processor::Any)?;
    let processes = FRESH_RATE * 60 * minutes;
    let mut callers = command(&fresh, program, processes, f64::from(FRESH_RATE))?;
    let (samples, mut sent) = thread::scope(|scope| {
        let service = scope.spawn(|| answer(fresh.listener(), processes));
        let mut callers = callers.spawn().context("no callers")?;
        let load = run(&agent, &kept, minutes);
        // Those that are left where something went wrong would be waited for.
        if load.is_err() {
            callers.kill().ok();
        }
        let status = callers.wait()?;
        let served = service.join().map_err(|_| anyhow!("the service panicked"))?;
        let load = load?;
        served?;
        ensure!(status.success(), "the callers ended with {status}");
        Ok(load)
    })?;
    sent.without_token += u64::from(processes);
    let said = agent.said();
    let folder = agent.stop()?;
    let account = Account::read(&folder.path().join("log"), "events.jsonl")?;
    eprintln!("{account}");
    if let Err(error) = account.check(sent) {
        let folder = folder.keep();
        return Err(error.context(format!("{said}the events stay in {}", folder.display())));
    }
    let least = u64::from(minutes.saturating_sub(1));
    let rotations = samples.last().map_or(0, |sample| sample.rotations);
    ensure!(rotations >= least, "{rotations} rotations in {minutes} minutes");
    ensure!(account.tallies() > u64::from(minutes), "{} tallies", account.tallies());
    check_flat(&samples)?;
    Ok(rows(&samples, &account))
}

/// Requests that were sent and answered.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    with_token: u64,
    without_token: u64,
}

fn settings(desks: &[&Listener]) -> String {
    let endpoints: Vec<SocketAddr> = desks.iter().map(|desk| desk.address).collect();
    let endpoints: Vec<String> = endpoints.iter().map(|address| format!("\"{address}\"")).collect();
    format!(
        "endpoints = [{}]\ntally_interval = \"1m\"\n[[output]]\nmax_age = \"1m\"\n\
         path = \"{{folder}}/log/events.jsonl\"\nmax_total_size = \"64GiB\"\n\
         min_free_space = \"64MiB\"",
        endpoints.join(", ")
    )
}

/// Sends on connections that stay open, and looks at the agent meanwhile.
fn run(agent: &Agent<'_>, desk: &Listener, minutes: u32) -> Result<(Vec<Sample>, Sent)> {
    let start = Instant::now();
    let (mut samples, mut sent) = (Vec::new(), Sent::default());
    let mut scrapes = 0;
    eprintln!("minute  resident MiB  descriptors  rotations  processor ms");
    for minute in 1..=minutes {
        let mut pairs = desk.open(CONNECTIONS)?;
        let before = processor_time(agent.pid())?;
        let end = MINUTE * minute;
        let reload = end - MINUTE + RELOAD;
        let mut has_reloaded = false;
        while start.elapsed() < end {
            ask(&mut pairs, &mut sent, start.elapsed())?;
            if start.elapsed() >= SCRAPE * scrapes {
                scrapes += 1;
                let counted = metric(&agent.scrape()?, "imds_audit_requests_total");
                ensure!(counted > 0 || scrapes == 1, "no request was counted");
            }
            if !has_reloaded && start.elapsed() >= reload {
                agent.reload()?;
                has_reloaded = true;
            }
            sleep(Duration::from_millis(5));
        }
        let sample = look(agent, before)?;
        eprintln!(
            "{minute:6}  {:12.2}  {:11}  {:9}  {:12.0}",
            sample.mebibytes, sample.descriptors, sample.rotations, sample.milliseconds
        );
        samples.push(sample);
    }
    Ok((samples, sent))
}

/// Sends what is due after so long.
fn ask(pairs: &mut [Pair], sent: &mut Sent, elapsed: Duration) -> Result<()> {
    let due = (elapsed.as_secs_f64() * f64::from(KEPT_RATE)) as u64;
    while sent.with_token + sent.without_token < due {
        let number = sent.with_token + sent.without_token;
        // Each connection carries requests of both kinds.
        let place = usize::try_from(number / 2)? % pairs.len().max(1);
        let pair = pairs.get_mut(place).context("no connection")?;
        if number.is_multiple_of(2) {
            pair.exchange_of(REQUEST_WITH_TOKEN)?;
            sent.with_token += 1;
        } else {
            pair.exchange_of(REQUEST)?;
            sent.without_token += 1;
        }
    }
    Ok(())
}

fn look(agent: &Agent<'_>, before: Duration) -> Result<Sample> {
    let used = processor_time(agent.pid())?.saturating_sub(before);
    let rotations = metric(&agent.scrape()?, "imds_audit_output_rotations_total");
    let mut descriptors = usize::MAX;
    for _ in 0..LOOKS {
        let count = fs::read_dir(format!("/proc/{}/fd", agent.pid()))?.count();
        descriptors = descriptors.min(count);
        sleep(Duration::from_millis(10));
    }
    let mebibytes = resident(agent.pid())?;
    let milliseconds = used.as_secs_f64() * 1e3;
    Ok(Sample { mebibytes, descriptors, rotations, milliseconds })
}

/// Checks that from the middle third to the last one memory and descriptors do not grow: in the
/// first one caches fill. Fewer than six minutes show nothing.
fn check_flat(samples: &[Sample]) -> Result<()> {
    let third = samples.len() / 3;
    if third < 2 {
        return Ok(());
    }
    let (early, last) = samples.split_at(samples.len() - third);
    let middle = early.get(early.len() - third..).unwrap_or_default();
    let most =
        |samples: &[Sample]| samples.iter().map(|sample| sample.mebibytes).fold(0., f64::max);
    let (before, after) = (most(middle), most(last));
    ensure!(after <= before + GROWTH, "memory grows from {before:.2} to {after:.2} MiB");
    // On a busy machine a compression may take longer than all looks of a minute, and has two.
    let least = |samples: &[Sample]| samples.iter().map(|sample| sample.descriptors).min();
    let (before, after) = (least(middle), least(last));
    ensure!(after <= before, "descriptors grow from {before:?} to {after:?}");
    Ok(())
}

/// Returns the curve, at most twelve points of it, and what was accounted for.
fn rows(samples: &[Sample], account: &Account) -> Rows {
    const COLUMN: &str = "figure";
    let mut rows = Rows::default();
    let step = samples.len().div_ceil(12).max(1);
    let points = samples.iter().enumerate().map(|(place, sample)| (place + 1, sample));
    let points: Vec<_> = points.filter(|(minute, _)| minute % step == 0 || *minute == 1).collect();
    for (minute, sample) in &points {
        let row = format!("resident memory after {minute} min");
        rows.add(&row, "MiB", COLUMN, sample.mebibytes);
    }
    for (minute, sample) in [points.first(), points.last()].into_iter().flatten() {
        let row = format!("descriptors after {minute} min");
        rows.add(&row, "", COLUMN, sample.descriptors as f64);
    }
    for sample in samples {
        rows.add("processor time in a minute", "ms", COLUMN, sample.milliseconds);
    }
    let rotations = samples.last().map_or(0, |sample| sample.rotations);
    rows.add("rotations", "", COLUMN, rotations as f64);
    account.add_to(&mut rows, COLUMN);
    rows
}
