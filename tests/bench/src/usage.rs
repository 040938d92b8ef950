//! What a process uses, from procfs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// The processor time of all its threads (the first field of `schedstat`, in nanoseconds).
    pub time: Duration,
    /// How often its threads were set aside: each time one waits, and each time another is to
    /// run. Between two looks it is no less than how often they were woken.
    pub switches: u64,
}

impl Usage {
    /// Looks at a process.
    ///
    /// # Errors
    /// It is gone.
    pub fn of(pid: u32) -> Result<Self> {
        let mut usage = Self { time: Duration::ZERO, switches: 0 };
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let folder = thread?.path();
            let text = fs::read_to_string(folder.join("schedstat"))?;
            let time = text.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
            usage.time += Duration::from_nanos(time.context("no time in schedstat")?);
            usage.switches += number(&folder.join("status"), "voluntary_ctxt_switches:")?;
            usage.switches += number(&folder.join("status"), "nonvoluntary_ctxt_switches:")?;
        }
        Ok(usage)
    }
}

/// Returns how much of a process is resident in memory, in MiB.
///
/// # Errors
/// It is gone.
pub fn resident(pid: u32) -> Result<f64> {
    let kibibytes = number(Path::new(&format!("/proc/{pid}/status")), "VmRSS:")?;
    Ok(kibibytes as f64 / 1024.0)
}

/// Reads the number behind a name at a line's start.
fn number(path: &Path, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok())
        .with_context(|| format!("no {name} in {}", path.display()))
}
