//! The agent's configuration: a TOML file, under the environment and the command line.

mod problem;
mod settings;
mod show;
mod value;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

pub(crate) use problem::Problems;
use settings::{OUTPUT_SETTINGS, SETTINGS, Setting};
pub(crate) use show::show;
use toml::de::{DeTable, DeValue};
use value::Raw;

use crate::{
    event::Class,
    output::{filter::EventKind, syslog::SyslogAddress},
    pipeline::{endpoints::default_endpoints, input::SourceChoice},
    process::Roots,
};

/// The file that is read if none is named.
pub(crate) const DEFAULT_FILE: &str = "/etc/imds-audit/imds-audit.toml";
/// The largest configuration in bytes.
const MAX_SIZE: u64 = 1 << 20;
/// The prefix of a setting's variable in the environment.
const PREFIX: &str = "IMDS_AUDIT_";

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

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ValueOrigin {
    /// The configuration file, at this line.
    File(PathBuf, usize),
    /// A variable in the environment.
    Environment(String),
    /// An option of the command line.
    Flag(String),
}

/// A configuration, with the origin of each value that is not a default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The origins by key; keys of an output begin with `output.N.`.
    pub origins: BTreeMap<String, ValueOrigin>,
}

/// Values beside the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    /// Variables of the environment that begin with `IMDS_AUDIT_`.
    pub environment: BTreeMap<String, String>,
    /// `KEY=VALUE` of `--set`, in order.
    pub flags: Vec<(String, String)>,
}

impl Overrides {
    /// Returns those of this process's environment, and of `--set`.
    pub(crate) fn of_process(flags: Vec<(String, String)>) -> Self {
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let environment = environment.filter(|(name, _)| name.starts_with(PREFIX)).collect();
        Self { environment, flags }
    }
}

/// Reads a configuration: the file, over it the environment, over it the flags.
///
/// Without a file, that is `None` and no [`DEFAULT_FILE`], the defaults hold.
///
/// # Errors
/// Returns all problems at once.
pub(crate) fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Loaded, Problems> {
    let named = path.is_some();
    let path = path.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !named => String::new(),
        Err(error) => return Err(Problems::of_file(path, &error)),
    };
    parse(path, &text, overrides)
}

/// As [`load`], with the file's text.
///
/// # Errors
/// Returns all problems at once.
pub(crate) fn parse(path: &Path, text: &str, overrides: &Overrides) -> Result<Loaded, Problems> {
    let mut reader =
        Reader { path, text, loaded: Loaded::default(), problems: Problems::new(path, text) };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        reader.problems.at(error.span().unwrap_or(0..0), error.message().to_owned());
    }
    if reader.problems.is_empty() {
        reader.read_table("", table.get_ref());
    }
    reader.apply_overrides(overrides);
    reader.check();
    let Reader { loaded, problems, .. } = reader;
    if problems.is_empty() { Ok(loaded) } else { Err(problems) }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let is_others = metadata.uid() != 0 && metadata.uid() != rustix::process::geteuid().as_raw();
    if is_others || metadata.mode() & 0o022 != 0 {
        log::warn!("the configuration can be changed by other users path={}", path.display());
    }
    file.take(MAX_SIZE + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > MAX_SIZE) {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok(text)
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    loaded: Loaded,
    problems: Problems,
}

impl Reader<'_> {
    fn read_table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let (span, key) = (key.span(), format!("{prefix}{}", key.get_ref()));
            match (key.as_str(), value.get_ref()) {
                ("metrics" | "privileges", DeValue::Table(table)) => {
                    self.read_table(&format!("{key}."), table);
                }
                ("labels", DeValue::Table(table)) => {
                    for (name, value) in table {
                        let key = format!("labels.{}", name.get_ref());
                        self.set_label(&key, name.get_ref(), value.get_ref(), &value.span());
                    }
                }
                ("output", DeValue::Array(outputs)) => {
                    self.loaded.config.outputs.clear();
                    for (number, output) in outputs.iter().enumerate() {
                        match output.get_ref() {
                            DeValue::Table(table) => self.read_output(number, table),
                            _ => self.problems.at(output.span(), expected_outputs()),
                        }
                    }
                }
                ("output", _) => self.problems.at(value.span(), expected_outputs()),
                ("metrics" | "privileges" | "labels", _) => {
                    self.problems.at(value.span(), format!("{key} is a table: [{key}]"));
                }
                _ => match find(SETTINGS, &key) {
                    Some(setting) => self.set(setting, Raw::Toml(value.get_ref()), value.span()),
                    None => {
                        let known = SETTINGS.iter().map(|setting| setting.key);
                        let tables = ["output", "labels", "metrics", "privileges"];
                        self.problems.unknown(span, &key, known.chain(tables));
                    }
                },
            }
        }
    }

    fn set(&mut self, setting: &Setting<Config>, raw: Raw<'_>, span: std::ops::Range<usize>) {
        match (setting.set)(&mut self.loaded.config, raw) {
            Ok(()) => self.note(setting.key.to_owned(), span.start),
            Err(problem) => self.problems.at(span, format!("{}: {problem}", setting.key)),
        }
    }

    fn set_label(
        &mut self,
        key: &str,
        name: &str,
        value: &DeValue<'_>,
        span: &std::ops::Range<usize>,
    ) {
        match value::label(name, Raw::Toml(value)) {
            Ok((name, value)) => {
                self.loaded.config.labels.insert(name, value);
                self.note(key.to_owned(), span.start);
            }
            Err(problem) => self.problems.at(span.clone(), format!("{key}: {problem}")),
        }
    }

    fn read_output(&mut self, number: usize, table: &DeTable<'_>) {
        let mut output = OutputConfig::default();
        for (key, value) in table {
            let span = key.span();
            let key = key.get_ref().as_ref();
            let Some(setting) = find(OUTPUT_SETTINGS, key) else {
                let known = OUTPUT_SETTINGS.iter().map(|setting| setting.key);
                self.problems.unknown(span, key, known);
                continue;
            };
            match (setting.set)(&mut output, Raw::Toml(value.get_ref())) {
                Ok(()) => self.note(format!("output.{number}.{key}"), value.span().start),
                Err(problem) => self.problems.at(value.span(), format!("{key}: {problem}")),
            }
        }
        if !self.loaded.origins.contains_key(&format!("output.{number}.max_total_size")) {
            // The default of one follows the other.
            output.max_total_size = output.max_total_size.max(output.max_size.saturating_mul(2));
        }
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let other = settings::kind_of(name).filter(|kind| *kind != output.kind);
            if let Some(other) = other {
                let (kind, other) = (settings::kind_name(output.kind), settings::kind_name(other));
                let problem =
                    format!("{name} is an option of type \"{other}\", this is \"{kind}\"");
                self.problems.at(key.span(), problem);
            }
            if name == "max_total_size" && output.max_total_size < output.max_size {
                let problem = "max_total_size must not be less than max_size".to_owned();
                self.problems.at(value.span(), problem);
            }
        }
        if output.seal && (output.is_syslog() || output.format != OutputFormat::Json) {
            let span = table.get("seal").map_or(0..0, |value| value.span());
            let problem = "seal needs format \"json\" and type \"file\" or \"stdout\"".to_owned();
            self.problems.at(span, problem);
        }
        self.loaded.config.outputs.push(output);
    }

    fn note(&mut self, key: String, offset: usize) {
        let line = problem::line_of(self.text, offset);
        self.loaded.origins.insert(key, ValueOrigin::File(self.path.to_owned(), line));
    }

    fn apply_overrides(&mut self, overrides: &Overrides) {
        for setting in SETTINGS {
            let name = format!("{PREFIX}{}", setting.key.replace('.', "_").to_uppercase());
            if let Some(value) = overrides.environment.get(&name) {
                let origin = ValueOrigin::Environment(name.clone());
                self.override_setting(setting.key, value, &name, origin);
            }
        }
        for (key, value) in &overrides.flags {
            let name = format!("--set {key}");
            self.override_setting(key, value, &name, ValueOrigin::Flag(name.clone()));
        }
    }

    fn override_setting(&mut self, key: &str, value: &str, name: &str, origin: ValueOrigin) {
        if let Some(label) = key.strip_prefix("labels.") {
            match value::label(label, Raw::Text(value)) {
                Ok((label, value)) => {
                    self.loaded.config.labels.insert(label, value);
                    self.loaded.origins.insert(key.to_owned(), origin);
                }
                Err(problem) => self.problems.elsewhere(format!("{name}: {problem}")),
            }
            return;
        }
        let Some(setting) = find(SETTINGS, key) else {
            let known = SETTINGS.iter().map(|setting| setting.key);
            self.problems.elsewhere(format!("{name}: {}", problem::unknown_key(key, known)));
            return;
        };
        match (setting.set)(&mut self.loaded.config, Raw::Text(value)) {
            Ok(()) => drop(self.loaded.origins.insert(key.to_owned(), origin)),
            Err(problem) => self.problems.elsewhere(format!("{name}: {problem}")),
        }
    }

    /// Checks what no single value shows.
    fn check(&mut self) {
        let outputs = &self.loaded.config.outputs;
        let mut paths: Vec<_> = outputs
            .iter()
            .filter(|output| output.kind == OutputKind::File)
            .map(|output| &output.path)
            .collect();
        paths.sort();
        if let Some(pair) = paths.windows(2).find(|pair| pair[..1] == pair[1..]) {
            let path = pair.first().map(|path| path.display().to_string()).unwrap_or_default();
            self.problems.elsewhere(format!("two outputs write to the same file: {path}"));
        }
        let stdout = outputs.iter().filter(|output| output.kind == OutputKind::Stdout).count();
        if stdout > 1 {
            self.problems.elsewhere("two outputs write to standard output".to_owned());
        }
    }
}

fn find<T>(settings: &'static [Setting<T>], key: &str) -> Option<&'static Setting<T>> {
    settings.iter().find(|setting| setting.key == key)
}

fn expected_outputs() -> String {
    "an output is a table of its own: [[output]]".to_owned()
}

#[cfg(test)]
mod tests;
