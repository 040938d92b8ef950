//! Metrics of this process, under the names that Prometheus client libraries share.

use std::{fmt, fs};

use prometheus_client::{
    collector::Collector,
    encoding::DescriptorEncoder,
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

use super::family::write;

/// Metrics of this process, read at each scrape.
#[derive(Debug)]
pub(super) struct ProcessMetrics;

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        if let Some(usage) = Usage::parse(&stat) {
            let cpu = [(vec![], ConstCounter::new(usage.cpu_seconds))];
            let help = "User and system time of this process";
            write(encoder, "process_cpu_seconds", help, cpu)?;
            let memory = [(vec![], ConstGauge::new(usage.resident))];
            let help = "Resident memory of this process";
            write(encoder, "process_resident_memory_bytes", help, memory)?;
            let memory = [(vec![], ConstGauge::new(usage.virtual_size))];
            let help = "Virtual memory of this process";
            write(encoder, "process_virtual_memory_bytes", help, memory)?;
        }
        let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
        let started = start_time(&stat, &boot).map(|seconds| (vec![], ConstGauge::new(seconds)));
        let help = "The time at which this process started";
        write(encoder, "process_start_time_seconds", help, started)?;
        let open = fs::read_dir("/proc/self/fd").map(|folder| folder.count().saturating_sub(1));
        let open = open.ok().and_then(|open| i64::try_from(open).ok());
        let open = open.map(|open| (vec![], ConstGauge::new(open)));
        write(encoder, "process_open_fds", "Open file descriptors of this process", open)?;
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let limit = limit.and_then(|limit| i64::try_from(limit).ok());
        let limit = limit.map(|limit| (vec![], ConstGauge::new(limit)));
        write(encoder, "process_max_fds", "The limit of open file descriptors", limit)
    }
}

/// A line of `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Debug, PartialEq)]
struct Usage {
    cpu_seconds: f64,
    virtual_size: i64,
    resident: i64,
}

impl Usage {
    fn parse(stat: &str) -> Option<Self> {
        // The name in brackets may have blanks and brackets of its own.
        let (_, fields) = stat.rsplit_once(") ")?;
        let field = |number: usize| fields.split(' ').nth(number - 3)?.trim().parse::<u32>().ok();
        let size = |number: usize| fields.split(' ').nth(number - 3)?.trim().parse::<i64>().ok();
        let ticks = f64::from(field(14)?) + f64::from(field(15)?);
        let per_second = u32::try_from(rustix::param::clock_ticks_per_second()).ok()?;
        let page = i64::try_from(rustix::param::page_size()).ok()?;
        Some(Self {
            cpu_seconds: ticks / f64::from(per_second),
            virtual_size: size(23)?,
            resident: size(24)?.saturating_mul(page),
        })
    }
}

/// Returns when a process started, in seconds since 1970: its start time in ticks since boot (the
/// field 22 of its stat file), and the time of boot (`btime` of proc_stat(5)).
fn start_time(stat: &str, boot: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: u64 = fields.split(' ').nth(22 - 3)?.parse().ok()?;
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime "))?;
    let boot: u64 = boot.trim().parse().ok()?;
    let per_second = u32::try_from(rustix::param::clock_ticks_per_second()).ok()?;
    Some(boot as f64 + ticks as f64 / f64::from(per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_the_stat_file_are_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 5 8192 3 99 1\n";
        let usage = Usage::parse(stat).unwrap();
        let page = i64::try_from(rustix::param::page_size()).unwrap();
        assert_eq!((usage.virtual_size, usage.resident), (8192, 3 * page));
        assert!(usage.cpu_seconds > 0.0);
        assert_eq!(Usage::parse("7 (a"), None);
    }

    #[test]
    fn the_start_is_the_boot_and_the_ticks_since() {
        let per_second = rustix::param::clock_ticks_per_second();
        let ticks = 5 * per_second + per_second / 2;
        let stat =
            format!("7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 {ticks} 8192 3 9\n");
        let boot = "cpu 1 2\nbtime 1795000000\nprocesses 3\n";
        assert_eq!(start_time(&stat, boot), Some(1_795_000_005.5));
        assert_eq!(start_time(&stat, "cpu 1"), None);
        assert_eq!(start_time("7 (a", boot), None);
    }
}
