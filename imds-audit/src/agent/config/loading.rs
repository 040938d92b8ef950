//! Loading of the configuration: the file, the environment and the command line.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

use super::{
    Config, OutputConfig, OutputFormat, OutputKind, Problems, problem,
    settings::{self, OUTPUT_SETTINGS, SETTINGS, Setting},
    value::{self, Raw},
};

/// The file that is read by default.
const DEFAULT_FILE: &str = "/etc/imds-audit/imds-audit.toml";
/// The largest configuration in bytes.
const MAX_SIZE: u64 = 1 << 20;
/// The prefix of a setting's variable in the environment.
const PREFIX: &str = "IMDS_AUDIT_";

/// Source of a value.
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

/// Values that take precedence over the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    /// Variables of the environment that begin with `IMDS_AUDIT_`.
    pub environment: BTreeMap<String, String>,
    /// `KEY=VALUE` of `--set`, in order.
    pub flags: Vec<(String, String)>,
}

impl Overrides {
    /// Collects the variables of this process's environment, and the values of `--set`.
    pub(crate) fn of_process(flags: Vec<(String, String)>) -> Self {
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let environment = environment.filter(|(name, _)| name.starts_with(PREFIX)).collect();
        Self { environment, flags }
    }
}

/// Loads a configuration: the file, overridden by the environment, overridden by the flags.
///
/// If `path` is `None` and [`DEFAULT_FILE`] does not exist, the defaults apply.
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

    /// Checks conditions that involve several values.
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
