//! Resource usage of a process, from procfs.

use std::fs;
use std::ops::Sub;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// The processor time of all its threads (the first field of `schedstat`, in nanoseconds).
    pub time: Duration,
    /// How long its threads could have run and had no processor (the second field).
    pub waited: Duration,
    /// How often its threads were set aside: each time one waits, and each time another is to
    /// run. Between two looks it is no less than how often they were woken.
    pub switches: u64,
}

impl Usage {
    /// Looks at a process.
    ///
    /// # Errors
    /// Returns an error if it is gone.
    pub fn of(pid: u32) -> Result<Self> {
        let mut usage = Self { time: Duration::ZERO, waited: Duration::ZERO, switches: 0 };
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let folder = thread?.path();
            let text = fs::read_to_string(folder.join("schedstat"))?;
            let mut times = text.split_ascii_whitespace().map_while(|word| word.parse().ok());
            let mut next =
                || times.next().map(Duration::from_nanos).context("no time in schedstat");
            usage.time += next()?;
            usage.waited += next()?;
            usage.switches += number(&folder.join("status"), "voluntary_ctxt_switches:")?;
            usage.switches += number(&folder.join("status"), "nonvoluntary_ctxt_switches:")?;
        }
        Ok(usage)
    }
}

impl Sub for Usage {
    type Output = Self;

    /// Returns what was used since an earlier look.
    fn sub(self, before: Self) -> Self {
        Self {
            time: self.time.saturating_sub(before.time),
            waited: self.waited.saturating_sub(before.waited),
            switches: self.switches.saturating_sub(before.switches),
        }
    }
}

/// Returns the processor time that a process has used, with that of its threads that have ended, in
/// steps of a tick (proc(5): `utime` and `stime` are the twelfth and the thirteenth word behind the
/// name).
///
/// # Errors
/// Returns an error if it is gone.
pub fn processor_time(pid: u32) -> Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, words) = text.rsplit_once(')').context("no name in stat")?;
    let words = words.split_ascii_whitespace().skip(11);
    let mut ticks = words.map_while(|word| word.parse::<u64>().ok());
    let mut next = || ticks.next().context("no time in stat");
    let ticks = next()? + next()?;
    let a_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_millis(ticks * 1000 / a_second.max(1)))
}

/// Returns how much of a process is resident in memory, in MiB.
///
/// # Errors
/// Returns an error if it is gone.
pub fn resident(pid: u32) -> Result<f64> {
    let kibibytes = number(Path::new(&format!("/proc/{pid}/status")), "VmRSS:")?;
    Ok(kibibytes as f64 / 1024.0)
}

/// Returns the most of a process that was ever resident in memory, in MiB.
///
/// # Errors
/// Returns an error if it is gone.
pub fn most_resident(pid: u32) -> Result<f64> {
    let kibibytes = number(Path::new(&format!("/proc/{pid}/status")), "VmHWM:")?;
    Ok(kibibytes as f64 / 1024.0)
}

/// Reads the number behind a name at a line's start.
fn number(path: &Path, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok())
        .with_context(|| format!("no {name} in {}", path.display()))
}
