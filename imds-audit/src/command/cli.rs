//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::{
    check::CheckArguments,
    demo::{CallerArguments, DemoArguments},
};
use crate::{output::filter::Only, process::Roots};

/// Where the instance metadata service answers, if nothing else is asked for: its IPv4 and its
/// IPv6 address (EC2 User Guide, "Access instance metadata").
pub const DEFAULT_ENDPOINTS: [&str; 2] = ["169.254.169.254:80", "[fd00:ec2::254]:80"];

/// Names every process that still uses IMDSv1.
///
/// imds-audit shows each request to the EC2 instance metadata service on this host, in every
/// network namespace and container: whether it was IMDSv1 or IMDSv2, what came of it, and which
/// process made it.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Audit this host live, one line a request
    Run(Box<RunArguments>),
    /// Say what this host allows, what is missing, what that costs and what to do
    Check(CheckArguments),
    /// Audit a simulated service with IMDSv1 and IMDSv2 callers, in a private network
    Demo(DemoArguments),
    /// A caller of the demonstration
    #[command(hide = true)]
    DemoCaller(CallerArguments),
}

/// The options of `run`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a --fail-on condition was met,
4 the host does not allow the audit.

Events go to standard output and nothing else does; diagnostics and the closing summary go to
standard error. Needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON; `imds-audit check` says
what this host allows.")]
pub struct RunArguments {
    /// The form of the lines
    #[arg(long, value_enum, default_value_t = FormatArgument::Text)]
    pub format: FormatArgument,

    /// Append the events to FILE (a new one has mode 0600) and keep standard output empty
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// End after this time, such as 90s, 10m or 7d; without it at SIGINT or SIGTERM
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,

    /// Write only requests of these classes: v1, v2-empty-token, v2, v2-token, foreign, unknown,
    /// with commas; the summary counts all
    #[arg(long, value_name = "CLASSES")]
    pub only: Option<Only>,

    /// End with exit code 3 if a request of one of these classes was seen
    #[arg(long, value_name = "CLASSES")]
    pub fail_on: Option<Only>,

    /// Audit this address and port instead of 169.254.169.254:80 and [fd00:ec2::254]:80; up to
    /// eight times
    #[arg(long = "endpoint", value_name = "ADDR:PORT", value_parser = parse_endpoint)]
    pub endpoints: Vec<SocketAddr>,

    /// The size of the ring between the kernel and this program, in bytes; the kernel wants a
    /// power of two of at least a page
    #[arg(long, value_name = "BYTES", default_value_t = 2 << 20, value_parser = parse_ring_size)]
    pub ring_size: u32,

    /// Where the host's root is mounted, for an audit from inside a container; its procfs, its
    /// cgroups and the kubelet's log folders are looked for below it
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub host_root: PathBuf,

    /// Where the host's procfs is mounted, if not in the host's root
    #[arg(long, value_name = "DIR")]
    pub procfs: Option<PathBuf>,

    /// Where the host's cgroup v2 hierarchy is mounted, if not in the host's root
    #[arg(long, value_name = "DIR")]
    pub cgroup: Option<PathBuf>,

    /// The folder with the kubelet's log folders `pods` and `containers`, if not /var/log in the
    /// host's root
    #[arg(long, value_name = "DIR")]
    pub kubelet_logs: Option<PathBuf>,

    /// Tell more on standard error; twice: the kernel half's own log too
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl RunArguments {
    /// Returns where the host's file systems are.
    pub fn roots(&self) -> Roots {
        let roots = Roots::below(&self.host_root);
        Roots {
            procfs: self.procfs.clone().unwrap_or(roots.procfs),
            cgroup: self.cgroup.clone().or(roots.cgroup),
            kubelet_logs: self.kubelet_logs.clone().unwrap_or(roots.kubelet_logs),
        }
    }

    /// Returns the audited endpoints.
    pub fn endpoints(&self) -> Vec<SocketAddr> {
        if self.endpoints.is_empty() { default_endpoints() } else { self.endpoints.clone() }
    }
}

/// Returns the addresses that are audited if nothing else is asked for.
pub fn default_endpoints() -> Vec<SocketAddr> {
    DEFAULT_ENDPOINTS.iter().filter_map(|text| text.parse().ok()).collect()
}

/// The form of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FormatArgument {
    /// For people: time, class, outcome, request, process
    Text,
    /// For machines: one JSON object a line
    Json,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; use a number with a unit, such as 90s, 10m or 7d"))?;
    if duration.is_zero() { Err("must be longer than nothing".to_owned()) } else { Ok(duration) }
}

fn parse_endpoint(text: &str) -> Result<SocketAddr, String> {
    let endpoint: SocketAddr = text.parse().map_err(|_| {
        "not an address with a port; use 169.254.169.254:80 or [fd00:ec2::254]:80".to_owned()
    })?;
    if endpoint.port() == 0 { Err("the port must not be 0".to_owned()) } else { Ok(endpoint) }
}

fn parse_ring_size(text: &str) -> Result<u32, String> {
    let size: u32 = text.parse().map_err(|_| "not a number of bytes".to_owned())?;
    if size.is_power_of_two() && (4096..=1 << 30).contains(&size) {
        Ok(size)
    } else {
        Err("must be a power of two from 4096 to 1073741824".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_default_endpoints_parse() {
        let cli = Cli::parse_from(["imds-audit", "run"]);
        let Command::Run(arguments) = cli.command else { panic!("not run") };
        assert_eq!(arguments.endpoints().len(), DEFAULT_ENDPOINTS.len());
    }

    #[test]
    fn what_does_not_parse_says_what_would() {
        assert!(parse_duration("abc").unwrap_err().contains("90s"));
        assert!(parse_duration("0s").is_err());
        assert!(parse_endpoint("169.254.169.254").unwrap_err().contains("169.254.169.254:80"));
        assert!(parse_endpoint("10.0.0.1:0").is_err());
        assert!(parse_ring_size("5000").unwrap_err().contains("power of two"));
        assert_eq!(parse_ring_size("4096"), Ok(4096));
    }
}
