//! The agent's configuration: a TOML file, under the environment and the command line.

mod loading;
mod problem;
mod settings;
mod show;
mod value;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

pub(crate) use loading::{Loaded, Overrides, ValueOrigin, load};
pub(crate) use problem::Problems;
pub(crate) use show::show;

use crate::{
    event::Class,
    output::{filter::EventKind, syslog::SyslogAddress},
    pipeline::{endpoints::default_endpoints, input::SourceChoice},
    process::Roots,
};

/// The agent's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// The audited addresses and ports.
    pub endpoints: Vec<SocketAddr>,
    /// Where the requests are seen.
    pub source: SourceChoice,
    /// The size of the ring between the kernel and the agent, in bytes.
    pub ring_size: u32,
    /// Where the host's root is mounted.
    pub host_root: PathBuf,
    /// Where the host's procfs is mounted, if not in the host's root.
    pub procfs: Option<PathBuf>,
    /// Where the host's cgroup v2 is mounted, if not in the host's root.
    pub cgroup: Option<PathBuf>,
    /// The folder with the kubelet's log folders, if not in the host's root.
    pub kubelet_logs: Option<PathBuf>,
    /// The host's name in events, if not the one that the host has.
    pub host_name: Option<String>,
    /// The length of a tally's window.
    pub tally_interval: Duration,
    /// Labels that every event carries.
    pub labels: BTreeMap<String, String>,
    /// The outputs.
    pub outputs: Vec<OutputConfig>,
    /// The metrics.
    pub metrics: MetricsConfig,
    /// The rights that the agent gives up once it is attached.
    pub privileges: PrivilegesConfig,
}

/// An output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutputConfig {
    /// Where it goes.
    pub kind: OutputKind,
    /// The name in metrics; the path or the kind if it is empty.
    pub name: String,
    /// The form of the lines.
    pub format: OutputFormat,
    /// The kinds of events.
    pub kinds: Vec<EventKind>,
    /// The classes of requests.
    pub classes: Vec<Class>,
    /// The file.
    pub path: PathBuf,
    /// The size in bytes at which the file is rotated.
    pub max_size: u64,
    /// The age at which the file is rotated.
    pub max_age: Option<Duration>,
    /// The bytes that the file and its rotated ones may take.
    pub max_total_size: u64,
    /// The bytes that are left free on the file system.
    pub min_free_space: u64,
    /// The part of the file system that is left free, in per cent.
    pub min_free_percent: u8,
    /// The age at which a rotated file is compressed.
    pub compress_after: Option<Duration>,
    /// Whether lines are sealed.
    pub seal: bool,
    /// Where syslog is.
    pub address: SyslogAddress,
    /// The facility of syslog messages.
    pub facility: u8,
}

/// Where an output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputKind {
    /// A file that the agent rotates.
    File,
    /// Standard output.
    Stdout,
    /// Syslog.
    Syslog,
}

/// The form of an output's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputFormat {
    /// JSON lines.
    Json,
    /// Text for people.
    Text,
}

/// The metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MetricsConfig {
    /// The address that serves them.
    pub listen: Option<SocketAddr>,
    /// The file that node_exporter's textfile collector reads.
    pub textfile: Option<PathBuf>,
    /// The time between two writes of that file.
    pub textfile_interval: Duration,
    /// Series for single callers.
    pub callers: bool,
    /// The bound on callers that have series of their own.
    pub max_callers: usize,
}

/// The rights that the agent gives up once it is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PrivilegesConfig {
    /// Capabilities beyond those that it needs.
    pub drop_capabilities: bool,
    /// System calls beyond those that it needs.
    pub seccomp: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoints: default_endpoints(),
            source: SourceChoice::default(),
            ring_size: 2 << 20,
            host_root: PathBuf::from("/"),
            procfs: None,
            cgroup: None,
            kubelet_logs: None,
            host_name: None,
            tally_interval: Duration::from_secs(15 * 60),
            labels: BTreeMap::new(),
            outputs: vec![OutputConfig::default()],
            metrics: MetricsConfig {
                listen: None,
                textfile: None,
                textfile_interval: Duration::from_secs(15),
                callers: false,
                max_callers: 100,
            },
            privileges: PrivilegesConfig { drop_capabilities: true, seccomp: true },
        }
    }
}

impl Default for OutputConfig {
    fn default() -> Self {
        Self {
            kind: OutputKind::File,
            name: String::new(),
            format: OutputFormat::Json,
            kinds: vec![
                EventKind::Request,
                EventKind::Connection,
                EventKind::Loss,
                EventKind::Start,
                EventKind::Stop,
                EventKind::Tally,
            ],
            classes: vec![Class::V1, Class::V2EmptyToken, Class::Foreign, Class::Unknown],
            path: PathBuf::from("/var/log/imds-audit/events.jsonl"),
            max_size: 64 << 20,
            max_age: Some(Duration::from_secs(24 * 3600)),
            max_total_size: 1 << 30,
            min_free_space: 512 << 20,
            min_free_percent: 5,
            compress_after: Some(Duration::from_secs(60)),
            seal: false,
            address: SyslogAddress::Unix(PathBuf::from("/dev/log")),
            facility: 3,
        }
    }
}

impl OutputConfig {
    /// Returns whether it is sent to syslog.
    pub(crate) fn is_syslog(&self) -> bool {
        self.kind == OutputKind::Syslog
    }

    /// Returns the name that metrics have for it.
    pub(crate) fn label(&self) -> String {
        match self.kind {
            _ if !self.name.is_empty() => self.name.clone(),
            OutputKind::File => self.path.display().to_string(),
            OutputKind::Stdout => "stdout".to_owned(),
            OutputKind::Syslog => "syslog".to_owned(),
        }
    }
}

impl Config {
    /// Returns where the host's file systems are.
    pub(crate) fn roots(&self) -> Roots {
        Roots::below_but(
            &self.host_root,
            self.procfs.as_deref(),
            self.cgroup.as_deref(),
            self.kubelet_logs.as_deref(),
        )
    }
}

#[cfg(test)]
mod tests;
