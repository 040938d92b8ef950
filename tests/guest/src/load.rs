//! Loading and attaching the eBPF programs.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use imds_audit::internal::{CgroupRoot, KernelReads, Loaded, Options, try_each, try_rehearsal};

use crate::report::{self, Line};
use crate::statistics;

/// The two addresses of the service. Nothing in the guest answers there.
const ENDPOINTS: [&str; 2] = ["169.254.169.254:80", "[fd00:ec2::254]:80"];

/// The most of the verifier's output that an error carries; its end says what is wrong.
const MAX_OUTPUT: usize = 6_000;

/// Loads and attaches every program as the product does, and reports each.
pub fn load_and_attach() -> Result<()> {
    let start = Instant::now();
    let loaded = Loaded::load(&options()?);
    report_programs();
    let mut loaded = loaded.map_err(|error| shortened(&error))?;
    loaded.attach(&CgroupRoot::find()?)?;
    report::write(&Line::Start {
        milliseconds: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        fallbacks: loaded.fallbacks.iter().map(|fallback| fallback.name.to_owned()).collect(),
    });
    if let Some(fallback) = loaded.fallbacks.first() {
        bail!("{} is in force: {}", fallback.name, fallback.reason);
    }
    Ok(())
}

/// Loads the rehearsal's programs as the product does, and reports each.
pub fn load_rehearsal() -> Result<()> {
    let loaded = try_rehearsal(&endpoints()?);
    report_programs();
    loaded.map_err(|error| shortened(&format!("{error:#}")))
}

/// Reports the programs that were loaded since the last report.
fn report_programs() {
    for program in statistics::take() {
        report::write(&Line::Program {
            name: program.name,
            verified: program.verified,
            stack: program.stack,
        });
    }
}

/// Loads every program with the reads of kernel memory compiled out, as under lockdown.
pub fn load_without_kernel_reads() -> Result<()> {
    let tried = try_each(&options()?, &KernelReads::None)?;
    // These are not what a host loads.
    statistics::take();
    for (program, result) in tried {
        result.map_err(|error| shortened(&error)).context(program.name())?;
    }
    Ok(())
}

/// Returns what the eBPF programs are loaded with.
fn options() -> Result<Options> {
    Ok(Options { endpoints: endpoints()?, ..Options::default() })
}

fn endpoints() -> Result<Vec<SocketAddr>> {
    let endpoints = ENDPOINTS.iter().map(|text| text.parse::<SocketAddr>());
    Ok(endpoints.collect::<Result<_, _>>()?)
}

/// Returns the end of an error's text.
fn shortened(error: &impl std::fmt::Display) -> anyhow::Error {
    let text = error.to_string();
    let mut start = text.len().saturating_sub(MAX_OUTPUT);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    anyhow::anyhow!("{}", text.get(start..).unwrap_or_default().to_owned())
}
