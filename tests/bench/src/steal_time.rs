//! Watches whether a processor stands still: on a virtual machine another one may have it.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::processor::{Processor, pin};

/// How long the watcher sleeps at a time.
const BEAT: Duration = Duration::from_millis(1);

/// A thread that sleeps on the second processor and notes how late it is woken. It comes before
/// every ordinary thread there (`SCHED_FIFO`), so only what stops the processor itself makes it
/// late: the host, or the kernel's own work.
pub struct StealMonitor {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Duration>>,
    stolen: Duration,
}

/// How a processor stood still.
#[derive(Clone, Copy, Debug)]
pub struct StealTime {
    /// The longest time at once.
    pub longest: Duration,
    /// Time that the host gave to others, as the kernel counts it (`steal` in `/proc/stat`).
    pub stolen: Duration,
}

impl StealMonitor {
    /// Starts to watch.
    ///
    /// # Errors
    /// Returns an error if procfs cannot be read.
    pub fn start() -> Result<Self> {
        let is_over = Arc::<AtomicBool>::default();
        let seen = Arc::clone(&is_over);
        let stolen = stolen()?;
        Ok(Self { is_over, thread: thread::spawn(move || watch(&seen)), stolen })
    }

    /// Ends, and tells what was seen.
    ///
    /// # Errors
    /// Returns an error if the thread could not be bound, or procfs cannot be read.
    pub fn stop(self) -> Result<StealTime> {
        self.is_over.store(true, Ordering::Relaxed);
        let longest = self.thread.join().map_err(|_| anyhow!("the watcher panicked"))??;
        Ok(StealTime { longest, stolen: stolen()?.saturating_sub(self.stolen) })
    }
}

fn watch(is_over: &AtomicBool) -> io::Result<Duration> {
    pin(Processor::Second)?;
    come_first()?;
    let mut longest = Duration::ZERO;
    while !is_over.load(Ordering::Relaxed) {
        let start = Instant::now();
        sleep(BEAT);
        longest = longest.max(start.elapsed().saturating_sub(BEAT));
    }
    Ok(longest)
}

/// Puts the calling thread before every ordinary one.
fn come_first() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: the call reads the parameters, which outlive it, and changes this thread alone.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns what the host has given to others of the second processor's time; of the first's where
/// there is no other. The kernel tells it in hundredths of a second.
fn stolen() -> Result<Duration> {
    let text = fs::read_to_string("/proc/stat").context("/proc/stat")?;
    parse(&text).context("/proc/stat has no processor")
}

fn parse(text: &str) -> Option<Duration> {
    let of = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let times = of("cpu1 ").or_else(|| of("cpu0 "))?;
    let ticks: u64 = times.split_ascii_whitespace().nth(7)?.parse().ok()?;
    Some(Duration::from_millis(10 * ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stolen_is_the_eighth_time_of_the_second_processor() {
        let stat =
            "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\ncpu1 1 2 3 4 5 6 7 42 0 0\n";
        assert_eq!(parse(stat), Some(Duration::from_millis(420)));
        assert_eq!(parse("cpu0 1 2 3 4 5 6 7 8 0 0\n"), Some(Duration::from_millis(80)));
        assert_eq!(parse("intr 5"), None);
    }
}
