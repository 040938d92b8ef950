//! The configuration in force as TOML, with the origin of each value.

use std::fmt::Write;

use super::{
    Loaded, ValueOrigin,
    settings::{OUTPUT_SETTINGS, SETTINGS, kind_of, quote},
};
use crate::text::terminal;

/// Renders a configuration as TOML that can be read again; a comment behind each value says where
/// it comes from.
pub(crate) fn show(loaded: &Loaded) -> String {
    let mut page = String::new();
    for setting in SETTINGS.iter().filter(|setting| !setting.key.contains('.')) {
        line(&mut page, loaded, setting.key, setting.key, (setting.show)(&loaded.config));
    }
    page.push_str("\n[labels]\n");
    for (name, value) in &loaded.config.labels {
        line(&mut page, loaded, &format!("labels.{name}"), &quote(name), Some(quote(value)));
    }
    for table in ["metrics", "privileges"] {
        page.push_str(&format!("\n[{table}]\n"));
        for setting in SETTINGS {
            if let Some(name) =
                setting.key.strip_prefix(table).and_then(|key| key.strip_prefix('.'))
            {
                line(&mut page, loaded, setting.key, name, (setting.show)(&loaded.config));
            }
        }
    }
    for (number, output) in loaded.config.outputs.iter().enumerate() {
        page.push_str("\n[[output]]\n");
        for setting in OUTPUT_SETTINGS {
            if kind_of(setting.key).is_none_or(|kind| kind == output.kind) {
                let key = format!("output.{number}.{}", setting.key);
                line(&mut page, loaded, &key, setting.key, (setting.show)(output));
            }
        }
    }
    page
}

fn line(page: &mut String, loaded: &Loaded, key: &str, name: &str, value: Option<String>) {
    let origin = match loaded.origins.get(key) {
        None => "default".to_owned(),
        Some(ValueOrigin::File(path, line)) => format!("{}:{line}", path.display()),
        Some(ValueOrigin::Environment(name)) => format!("environment {name}"),
        Some(ValueOrigin::Flag(name)) => format!("flag {name}"),
    };
    let origin = terminal::escape(&origin);
    // Writing to a string does not fail.
    let _ = match value {
        Some(value) => writeln!(page, "{name} = {value}  # {origin}"),
        None => writeln!(page, "# {name} is not set  # {origin}"),
    };
}
