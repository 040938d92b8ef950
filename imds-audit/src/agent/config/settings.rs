//! Every setting: its key, how it is read, and how it is shown.

use std::time::Duration;

use super::{Config, OutputConfig, OutputFormat, OutputKind, value::Raw};
use crate::{
    event::Class,
    output::{filter::EventKind, syslog::SyslogAddress},
    pipeline::input::SourceChoice,
};

/// A setting of a table `T`.
pub(super) struct Setting<T> {
    /// The key, with its table before a point.
    pub key: &'static str,
    /// Reads a value into the table.
    pub set: fn(&mut T, Raw<'_>) -> Result<(), String>,
    /// Returns the value as TOML; `None` if it is unset.
    pub show: fn(&T) -> Option<String>,
}

/// The shortest window of a tally.
const MIN_TALLY: Duration = Duration::from_secs(1);
const SECOND: Duration = Duration::from_secs(1);

/// The names of the sources.
const SOURCES: [(&str, SourceChoice); 3] =
    [("auto", SourceChoice::Auto), ("ebpf", SourceChoice::Ebpf), ("packet", SourceChoice::Packet)];

/// The settings beside outputs and labels.
pub(super) const SETTINGS: &[Setting<Config>] = &[
    Setting {
        key: "endpoints",
        set: |config, raw| raw.endpoints().map(|value| config.endpoints = value),
        show: |config| Some(list(config.endpoints.iter().map(ToString::to_string))),
    },
    Setting {
        key: "source",
        set: |config, raw| {
            let name = raw.text()?;
            let choice = SOURCES.into_iter().find(|(known, _)| *known == name);
            config.source = choice.ok_or("must be \"auto\", \"ebpf\" or \"packet\"")?.1;
            Ok(())
        },
        show: |config| {
            let name = SOURCES.into_iter().find(|(_, choice)| *choice == config.source);
            name.map(|(name, _)| quote(name))
        },
    },
    Setting {
        key: "ring_size",
        set: |config, raw| {
            let size = raw.size()?;
            let size = u32::try_from(size)
                .ok()
                .filter(|size| size.is_power_of_two() && (4096..=1 << 30).contains(size));
            config.ring_size = size.ok_or("must be a power of two from 4KiB to 1GiB")?;
            Ok(())
        },
        show: |config| Some(size(u64::from(config.ring_size))),
    },
    Setting {
        key: "host_root",
        set: |config, raw| raw.path().map(|value| config.host_root = value),
        show: |config| Some(quote(&config.host_root.to_string_lossy())),
    },
    Setting {
        key: "procfs",
        set: |config, raw| raw.optional_path().map(|value| config.procfs = value),
        show: |config| config.procfs.as_ref().map(|path| quote(&path.to_string_lossy())),
    },
    Setting {
        key: "cgroup",
        set: |config, raw| raw.optional_path().map(|value| config.cgroup = value),
        show: |config| config.cgroup.as_ref().map(|path| quote(&path.to_string_lossy())),
    },
    Setting {
        key: "kubelet_logs",
        set: |config, raw| raw.optional_path().map(|value| config.kubelet_logs = value),
        show: |config| config.kubelet_logs.as_ref().map(|path| quote(&path.to_string_lossy())),
    },
    Setting {
        key: "host_name",
        set: |config, raw| raw.optional_host_name().map(|value| config.host_name = value),
        show: |config| config.host_name.as_deref().map(quote),
    },
    Setting {
        key: "tally_interval",
        set: |config, raw| raw.duration(MIN_TALLY).map(|value| config.tally_interval = value),
        show: |config| Some(duration(config.tally_interval)),
    },
    Setting {
        key: "metrics.listen",
        set: |config, raw| raw.optional_local_address().map(|value| config.metrics.listen = value),
        show: |config| {
            Some(quote(&config.metrics.listen.map_or_else(String::new, |at| at.to_string())))
        },
    },
    Setting {
        key: "metrics.textfile",
        set: |config, raw| raw.optional_path().map(|value| config.metrics.textfile = value),
        show: |config| {
            let path = config.metrics.textfile.as_ref();
            Some(quote(&path.map(|path| path.to_string_lossy()).unwrap_or_default()))
        },
    },
    Setting {
        key: "metrics.textfile_interval",
        set: |config, raw| {
            raw.duration(SECOND).map(|value| config.metrics.textfile_interval = value)
        },
        show: |config| Some(duration(config.metrics.textfile_interval)),
    },
    Setting {
        key: "metrics.callers",
        set: |config, raw| raw.boolean().map(|value| config.metrics.callers = value),
        show: |config| Some(config.metrics.callers.to_string()),
    },
    Setting {
        key: "metrics.max_callers",
        set: |config, raw| {
            let number = raw.number(1, 100)?;
            config.metrics.max_callers = usize::try_from(number).unwrap_or(100);
            Ok(())
        },
        show: |config| Some(config.metrics.max_callers.to_string()),
    },
    Setting {
        key: "privileges.drop_capabilities",
        set: |config, raw| raw.boolean().map(|value| config.privileges.drop_capabilities = value),
        show: |config| Some(config.privileges.drop_capabilities.to_string()),
    },
    Setting {
        key: "privileges.seccomp",
        set: |config, raw| raw.boolean().map(|value| config.privileges.seccomp = value),
        show: |config| Some(config.privileges.seccomp.to_string()),
    },
];

/// The settings of an output.
pub(super) const OUTPUT_SETTINGS: &[Setting<OutputConfig>] = &[
    Setting {
        key: "type",
        set: |output, raw| {
            let kinds = [OutputKind::File, OutputKind::Stdout, OutputKind::Syslog];
            output.kind = one_of(raw.text()?, &kinds.map(|kind| (kind_name(kind), kind)))?;
            Ok(())
        },
        show: |output| Some(quote(kind_name(output.kind))),
    },
    Setting {
        key: "name",
        set: |output, raw| raw.text().map(|value| output.name = value.to_owned()),
        show: |output| Some(quote(&output.label())),
    },
    Setting {
        key: "format",
        set: |output, raw| {
            let formats = [("json", OutputFormat::Json), ("text", OutputFormat::Text)];
            output.format = one_of(raw.text()?, &formats)?;
            Ok(())
        },
        show: |output| {
            Some(quote(match output.format {
                OutputFormat::Json => "json",
                OutputFormat::Text => "text",
            }))
        },
    },
    Setting {
        key: "kinds",
        set: |output, raw| {
            let kinds = raw.list()?.into_iter().map(|name| one_of(name, &KINDS));
            output.kinds = kinds.collect::<Result<_, _>>()?;
            if output.kinds.is_empty() { Err("must not be empty".to_owned()) } else { Ok(()) }
        },
        show: |output| {
            let named = KINDS.iter().filter(|(_, kind)| output.kinds.contains(kind));
            Some(list(named.map(|(name, _)| (*name).to_owned())))
        },
    },
    Setting {
        key: "classes",
        set: |output, raw| {
            let known = Class::ALL.map(|class| (class.name(), class));
            let classes = raw.list()?.into_iter().map(|name| one_of(name, &known));
            output.classes = classes.collect::<Result<_, _>>()?;
            if output.classes.is_empty() { Err("must not be empty".to_owned()) } else { Ok(()) }
        },
        show: |output| Some(list(output.classes.iter().map(|class| class.name().to_owned()))),
    },
    Setting {
        key: "path",
        set: |output, raw| {
            let path = raw.path()?;
            if path.file_name().is_none() {
                return Err("must be a file's path".to_owned());
            }
            output.path = path;
            Ok(())
        },
        show: |output| Some(quote(&output.path.to_string_lossy())),
    },
    Setting {
        key: "max_size",
        set: |output, raw| {
            output.max_size = Some(raw.size()?).filter(|size| *size > 0).ok_or("must not be 0")?;
            Ok(())
        },
        show: |output| Some(size(output.max_size)),
    },
    Setting {
        key: "max_age",
        set: |output, raw| raw.optional_duration(SECOND).map(|value| output.max_age = value),
        show: |output| Some(output.max_age.map_or_else(never, duration)),
    },
    Setting {
        key: "max_total_size",
        set: |output, raw| raw.size().map(|value| output.max_total_size = value),
        show: |output| Some(size(output.max_total_size)),
    },
    Setting {
        key: "min_free_space",
        set: |output, raw| raw.size().map(|value| output.min_free_space = value),
        show: |output| Some(size(output.min_free_space)),
    },
    Setting {
        key: "min_free_percent",
        set: |output, raw| {
            output.min_free_percent = u8::try_from(raw.number(0, 100)?).unwrap_or(100);
            Ok(())
        },
        show: |output| Some(output.min_free_percent.to_string()),
    },
    Setting {
        key: "compress_after",
        set: |output, raw| {
            raw.optional_duration(Duration::ZERO).map(|value| output.compress_after = value)
        },
        show: |output| Some(output.compress_after.map_or_else(never, duration)),
    },
    Setting {
        key: "seal",
        set: |output, raw| raw.boolean().map(|value| output.seal = value),
        show: |output| Some(output.seal.to_string()),
    },
    Setting {
        key: "address",
        set: |output, raw| raw.syslog().map(|value| output.address = value),
        show: |output| {
            Some(quote(&match &output.address {
                SyslogAddress::Unix(path) => path.to_string_lossy().into_owned(),
                SyslogAddress::Udp(address) => format!("udp://{address}"),
            }))
        },
    },
    Setting {
        key: "facility",
        set: |output, raw| {
            output.facility = one_of(raw.text()?, &FACILITIES)?;
            Ok(())
        },
        show: |output| {
            let name = FACILITIES.iter().find(|(_, number)| *number == output.facility);
            name.map(|(name, _)| quote(name))
        },
    },
];

const KINDS: [(&str, EventKind); 7] = [
    ("request", EventKind::Request),
    ("connection", EventKind::Connection),
    ("loss", EventKind::Loss),
    ("start", EventKind::Start),
    ("stop", EventKind::Stop),
    ("tally", EventKind::Tally),
    ("rehearsal", EventKind::Rehearsal),
];

/// The facilities of syslog that a service uses (RFC 5424, table 1).
const FACILITIES: [(&str, u8); 12] = [
    ("user", 1),
    ("daemon", 3),
    ("auth", 4),
    ("authpriv", 10),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

/// Returns the only kind of output that has an option; `None` for one that all have.
pub(super) fn kind_of(key: &str) -> Option<OutputKind> {
    match key {
        "path" | "max_size" | "max_age" | "max_total_size" | "min_free_space"
        | "min_free_percent" | "compress_after" => Some(OutputKind::File),
        "address" | "facility" => Some(OutputKind::Syslog),
        _ => None,
    }
}

/// Returns the name of a kind of output.
pub(super) const fn kind_name(kind: OutputKind) -> &'static str {
    match kind {
        OutputKind::File => "file",
        OutputKind::Stdout => "stdout",
        OutputKind::Syslog => "syslog",
    }
}

fn one_of<T: Copy>(name: &str, known: &[(&str, T)]) -> Result<T, String> {
    let found = known.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        format!("{name:?} is none of {}", names.join(", "))
    })
}

/// Returns a text as a TOML string.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.map(|item| quote(&item)).collect();
    format!("[{}]", items.join(", "))
}

fn duration(value: Duration) -> String {
    quote(&humantime::format_duration(value).to_string())
}

fn never() -> String {
    quote("never")
}

fn size(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.iter().find(|(_, shift)| bytes > 0 && bytes.is_multiple_of(1 << shift));
    quote(
        &unit.map_or_else(
            || format!("{bytes}B"),
            |(unit, shift)| format!("{}{unit}", bytes >> shift),
        ),
    )
}
