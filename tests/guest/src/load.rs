//! Loading and attaching the kernel half.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use imds_audit::probe::host::CgroupRoot;
use imds_audit::probe::loader::{KernelReads, Loaded, Options, try_each};

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
    for program in statistics::take() {
        report::write(&Line::Program {
            name: program.name,
            verified: program.verified,
            stack: program.stack,
        });
    }
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

/// Loads every program with the reads of kernel memory compiled out, as under lockdown.
pub fn load_without_kernel_reads() -> Result<()> {
    for (program, result) in try_each(&options()?, &KernelReads::None)? {
        result.map_err(|error| shortened(&error)).context(program.name())?;
    }
    Ok(())
}

/// Returns what the kernel half is loaded with.
fn options() -> Result<Options> {
    let endpoints = ENDPOINTS.iter().map(|text| text.parse::<SocketAddr>());
    Ok(Options { endpoints: endpoints.collect::<Result<_, _>>()?, ..Options::default() })
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
