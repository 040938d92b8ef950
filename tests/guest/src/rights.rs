//! Rights that reading the loss counters takes: what an attached agent may give up.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use imds_audit::event::Origin;
use imds_audit::internal::{EventFilter, Format, Options, Roots, Session, Sink, Writer};
use imds_audit::simulator::SERVICE_V4;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use crate::report::{self, Line};

/// The kernel's setting of who may call `bpf(2)`: everybody (0), or those with CAP_BPF, for good (1)
/// or until an administrator changes it (2).
const SETTING: &str = "/proc/sys/kernel/unprivileged_bpf_disabled";
/// What an agent keeps on every kernel.
const READING: CapabilitySet = CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);
/// The first kernel that refuses others than those with CAP_BPF new objects only, and no reading of
/// maps that they hold.
const RELAXED: (u32, u32) = (5, 19);

/// Reads the counters of an attached audit with and without CAP_BPF under each setting, and reports
/// what the kernel allowed.
///
/// # Errors
/// Returns an error if the kernel allows something else than is documented.
pub fn read_counters() -> Result<()> {
    // Rights are a thread's own: this one ends with what it gave up.
    thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { read_under_each_setting() })
    })
    .join()
    .unwrap_or_else(|_| bail!("the thread died"))
}

fn read_under_each_setting() -> Result<()> {
    let endpoints = vec![SocketAddr::from((SERVICE_V4, 80))];
    let options = Options { endpoints, ..Options::default() };
    let sink = Sink::start(Format::Json, EventFilter::default(), Writer::new(io::sink()))
        .context("an output")?;
    let session = Session::start(&options, &Roots::default(), Origin::default(), vec![sink])?;
    let original = fs::read_to_string(SETTING).context(SETTING)?;
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let is_relaxed = version(&release).context("the kernel's release")? >= RELAXED;
    for setting in ["0", "2"] {
        fs::write(SETTING, setting).with_context(|| format!("{setting} to {SETTING}"))?;
        for has_bpf in [false, true] {
            let rights = if has_bpf { READING.union(CapabilitySet::BPF) } else { READING };
            let is_readable = with_rights(rights, || session.can_read_losses())?;
            let with = if has_bpf { "with" } else { "without" };
            report::write(&Line::Finding {
                name: format!("counters {with} CAP_BPF, unprivileged_bpf_disabled={setting}"),
                value: if is_readable { "readable" } else { "refused" }.to_owned(),
            });
            let is_expected = has_bpf || setting == "0" || is_relaxed;
            ensure!(
                is_readable == is_expected,
                "{with} CAP_BPF and {SETTING} {setting} the counters are readable: {is_readable}"
            );
        }
    }
    fs::write(SETTING, original.trim()).context(SETTING)
}

/// Does something with these effective rights only.
fn with_rights<T>(rights: CapabilitySet, act: impl FnOnce() -> T) -> Result<T> {
    let held = capabilities(None)?;
    set_capabilities(None, CapabilitySets { effective: held.permitted & rights, ..held })?;
    let done = act();
    set_capabilities(None, held)?;
    Ok(done)
}

/// Reads the first two numbers of a release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(['.', '-']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_their_numbers() {
        assert_eq!(version("5.10.0-46-cloud-amd64"), Some((5, 10)));
        assert_eq!(version("7.2.13+deb14-cloud-amd64"), Some((7, 2)));
        assert!(version("5.10.0") < Some(RELAXED) && version("6.1.0") > Some(RELAXED));
    }
}
