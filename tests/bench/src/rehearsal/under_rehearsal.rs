//! This program in a cgroup of its own, and a rehearsal of that.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use imds_audit::internal::CgroupRoot;
use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};

use super::ways::{Way, Ways};

/// How long a rehearsal may take to begin or to end.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The pause between two looks: a caller that never waits would keep the program from its processor.
const BETWEEN_LOOKS: Duration = Duration::from_micros(300);
/// The name of the front's thread.
const FRONT: &str = "front";

/// A cgroup that this process is in until it is dropped.
pub struct RehearsedGroup {
    folder: PathBuf,
    before: PathBuf,
}

impl RehearsedGroup {
    /// Makes the cgroup below this process's own, and enters it.
    ///
    /// # Errors
    /// Returns an error if there is no cgroup v2 for writing.
    pub fn enter() -> Result<Self> {
        let root = CgroupRoot::find()?.path.context("cgroup v2 is mounted nowhere")?;
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
        let before = root.join(own.context("this process is in no cgroup v2")?);
        let folder = before.join(format!("imds-audit-bench-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        let group = Self { folder, before };
        enter(&group.folder)?;
        Ok(group)
    }
}

impl Drop for RehearsedGroup {
    fn drop(&mut self) {
        if let Err(error) = enter(&self.before).and_then(|()| Ok(fs::remove_dir(&self.folder)?)) {
            eprintln!("{} is left behind: {error}", self.folder.display());
        }
    }
}

fn enter(folder: &Path) -> Result<()> {
    let path = folder.join("cgroup.procs");
    fs::write(&path, std::process::id().to_string()).with_context(|| path.display().to_string())
}

/// A rehearsal of the cgroup. Killed when dropped.
pub struct Rehearsal(Child);

impl Rehearsal {
    /// Starts it, and waits until requests reach the front.
    ///
    /// # Errors
    /// Returns an error if it cannot be started, or ends.
    pub fn start(program: &Path, group: &RehearsedGroup, ways: &Ways) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(["rehearse", "--format", "json", "--output", "/dev/null", "--endpoint"]);
        command.arg(ways.address(Way::Front).to_string()).arg("--cgroup").arg(&group.folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut rehearsal = Self(command.env_remove("RUST_LOG").spawn()?);
        let start = Instant::now();
        while !ways.is_rehearsed()? {
            if let Some(status) = rehearsal.0.try_wait()? {
                bail!("the rehearsal ended with {status}");
            }
            if start.elapsed() > TIMEOUT {
                bail!("the rehearsal does not begin");
            }
            sleep(BETWEEN_LOOKS);
        }
        Ok(rehearsal)
    }

    /// Ends it by a signal. Returns how long it took until a connect led to the service.
    ///
    /// # Errors
    /// Returns an error if it does not end.
    pub fn end(mut self, signal: Signal, ways: &Ways) -> Result<Duration> {
        let start = Instant::now();
        kill_process(Pid::from_child(&self.0), signal)?;
        let time = loop {
            let before = start.elapsed();
            // A connection that the front had accepted ends with it.
            if matches!(ways.is_rehearsed(), Ok(false)) {
                break before;
            }
            if before > TIMEOUT {
                bail!("the rehearsal does not end");
            }
            sleep(BETWEEN_LOOKS);
        };
        self.0.wait()?;
        Ok(time)
    }

    /// Returns the processor time of the front's threads (the first field of `schedstat`, in
    /// nanoseconds).
    ///
    /// # Errors
    /// Returns an error if it has ended, or has no front.
    pub fn front_time(&self) -> Result<Duration> {
        let mut time = None;
        for thread in fs::read_dir(format!("/proc/{}/task", self.0.id()))? {
            let folder = thread?.path();
            if fs::read_to_string(folder.join("comm"))?.trim() == FRONT {
                let text = fs::read_to_string(folder.join("schedstat"))?;
                let spent = text.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
                *time.get_or_insert(0) += spent.unwrap_or(0);
            }
        }
        time.map(Duration::from_nanos).context("the rehearsal has no front")
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Returns the time of a clock that all processes share.
pub fn monotonic() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}
