//! Options of `run`, and the values that options of several commands take.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::{condition::Condition, roots::RootArguments};
use crate::{
    output::filter::ClassFilter,
    pipeline::{endpoints::default_endpoints, input::SourceChoice},
};

/// The options of `run`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a --fail-on condition was met,
4 the host does not allow the audit.

Events go to standard output and nothing else does; diagnostics and the closing summary go to
standard error. Needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON; `imds-audit check` says
what this host allows.")]
pub(crate) struct RunArguments {
    /// The form of the lines
    #[arg(long, value_enum, default_value_t = FormatArgument::Text)]
    pub format: FormatArgument,

    /// Append the events to FILE (a new one has mode 0600) and keep standard output empty
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Seal every line with its number and a hash over it and the line before, for
    /// `imds-audit verify`; needs --format json
    #[arg(long)]
    pub seal: bool,

    /// Put this label into every event, such as cluster=etl; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub labels: Vec<(String, String)>,

    /// Write the totals of each window of this length as a `tally` event, such as 15m, and those of
    /// the last one at the end
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub tally: Option<Duration>,

    /// End after this time, such as 90s, 10m or 7d; without it at SIGINT or SIGTERM
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,

    /// Write only requests of these classes: v1, v2-empty-token, v2, v2-token, foreign, unknown,
    /// with commas; the summary always counts every class
    #[arg(long, value_name = "CLASSES")]
    pub only: Option<ClassFilter>,

    /// End with exit code 3 if a request of one of these classes was seen or, with `loss`, if
    /// anything was not observed or not written
    #[arg(long, value_name = "CONDITIONS")]
    pub fail_on: Option<Condition>,

    /// Audit this address and port instead of 169.254.169.254:80 and [fd00:ec2::254]:80; up to
    /// eight times
    #[arg(long = "endpoint", value_name = "ADDR:PORT", value_parser = parse_endpoint)]
    pub endpoints: Vec<SocketAddr>,

    /// Where the requests are seen
    #[arg(long, value_enum, default_value_t = SourceArgument::Auto)]
    pub source: SourceArgument,

    /// The size of the ring between the kernel and this program, in bytes; the kernel wants a
    /// power of two of at least a page
    #[arg(long, value_name = "BYTES", default_value_t = 2 << 20, value_parser = parse_ring_size)]
    pub ring_size: u32,

    /// Where the host's file systems are
    #[command(flatten)]
    pub roots: RootArguments,

    /// Log more to standard error (-vv also enables the eBPF programs' log)
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl RunArguments {
    /// Returns the audited endpoints.
    pub(crate) fn endpoints(&self) -> Vec<SocketAddr> {
        if self.endpoints.is_empty() { default_endpoints() } else { self.endpoints.clone() }
    }
}

/// Where the requests are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SourceArgument {
    /// By eBPF programs where the host allows them, else by a packet socket
    Auto,
    /// By eBPF programs: in every network namespace, each process named
    Ebpf,
    /// By a packet socket: in this network namespace only; needs CAP_NET_RAW
    Packet,
}

impl SourceArgument {
    /// Returns the source that is wanted.
    pub(crate) fn choice(self) -> SourceChoice {
        match self {
            Self::Auto => SourceChoice::Auto,
            Self::Ebpf => SourceChoice::Ebpf,
            Self::Packet => SourceChoice::Packet,
        }
    }
}

/// The form of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatArgument {
    /// For people: time, class, outcome, request, process
    Text,
    /// For machines: one JSON object a line
    Json,
}

pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; use a number with a unit, such as 90s, 10m or 7d"))?;
    if duration.is_zero() { Err("must be longer than nothing".to_owned()) } else { Ok(duration) }
}

/// The largest number of bytes in a label's key or value.
const MAX_LABEL: usize = 256;

pub(super) fn parse_label(text: &str) -> Result<(String, String), String> {
    let (key, value) =
        text.split_once('=').ok_or("not KEY=VALUE; use, for example, cluster=etl")?;
    let is_key =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/');
    if key.is_empty() || !key.bytes().all(is_key) {
        return Err("a label's key has letters, digits, '_', '-', '.' and '/'".to_owned());
    }
    if key.len() > MAX_LABEL || value.len() > MAX_LABEL {
        return Err(format!("a label's key and value have at most {MAX_LABEL} bytes each"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

pub(super) fn parse_endpoint(text: &str) -> Result<SocketAddr, String> {
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
    use super::*;

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
