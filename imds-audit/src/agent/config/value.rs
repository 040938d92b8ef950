//! Values of the configuration, as TOML or as text of the environment and the command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use toml::de::DeValue;

use crate::{output::syslog::SyslogAddress, pipeline::origin::is_host_name};

/// The longest name and value of a label, in bytes.
const MAX_LABEL: usize = 256;

/// A value before it is read.
#[derive(Clone, Copy)]
pub(super) enum Raw<'a> {
    /// A value of the file.
    Toml(&'a DeValue<'a>),
    /// Text.
    Text(&'a str),
}

type Read<T> = Result<T, String>;

impl<'a> Raw<'a> {
    /// Reads a text.
    pub(super) fn text(self) -> Read<&'a str> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Toml(DeValue::String(text)) => Ok(text),
            Self::Toml(other) => Err(format!("must be a text in quotes, not {}", kind(other))),
        }
    }

    /// Reads a list of texts; of text, one with commas.
    pub(super) fn list(self) -> Read<Vec<&'a str>> {
        match self {
            Self::Text(text) => {
                Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect())
            }
            Self::Toml(DeValue::Array(items)) => {
                items.iter().map(|item| Raw::Toml(item.get_ref()).text()).collect()
            }
            Self::Toml(other) => {
                Err(format!("must be a list such as [\"a\"], not {}", kind(other)))
            }
        }
    }

    /// Reads `true` or `false`.
    pub(super) fn boolean(self) -> Read<bool> {
        match self {
            Self::Toml(DeValue::Boolean(value)) => Ok(*value),
            Self::Text("true") => Ok(true),
            Self::Text("false") => Ok(false),
            Self::Toml(_) | Self::Text(_) => Err("must be true or false".to_owned()),
        }
    }

    /// Reads a number from `least` to `most`.
    pub(super) fn number(self, least: u64, most: u64) -> Read<u64> {
        let number = match self {
            Self::Toml(DeValue::Integer(number)) => {
                u64::from_str_radix(number.as_str(), number.radix()).ok()
            }
            Self::Text(text) => text.parse().ok(),
            Self::Toml(_) => None,
        };
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| format!("must be a number from {least} to {most}"))
    }

    /// Reads a number of bytes: a number, or a text such as `64MiB`.
    pub(super) fn size(self) -> Read<u64> {
        let expected = || "must be a size such as \"64MiB\"".to_owned();
        if let Self::Toml(DeValue::Integer(_)) = self {
            return self.number(0, u64::MAX);
        }
        let text = self.text().map_err(|_| expected())?.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits).ok_or_else(expected)?;
        let shift = match unit.trim() {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            "TiB" => 40,
            _ => return Err("must be a size in B, KiB, MiB, GiB or TiB".to_owned()),
        };
        let number: u64 = number.parse().map_err(|_| expected())?;
        number.checked_mul(1 << shift).ok_or_else(expected)
    }

    /// Reads a length of time of at least `least`.
    pub(super) fn duration(self, least: Duration) -> Read<Duration> {
        let text = self.text().map_err(|_| expected_duration())?;
        let duration = humantime::parse_duration(text).map_err(|_| expected_duration())?;
        if duration < least {
            return Err(format!("must be at least {}", humantime::format_duration(least)));
        }
        Ok(duration)
    }

    /// Reads a length of time, or `never`.
    pub(super) fn optional_duration(self, least: Duration) -> Read<Option<Duration>> {
        match self.text() {
            Ok("never") => Ok(None),
            _ => {
                self.duration(least).map(Some).map_err(|problem| format!("{problem}, or \"never\""))
            }
        }
    }

    /// Reads an absolute path.
    pub(super) fn path(self) -> Read<PathBuf> {
        let path = PathBuf::from(self.text()?);
        if path.is_absolute() { Ok(path) } else { Err("must be an absolute path".to_owned()) }
    }

    /// Reads an absolute path, or nothing.
    pub(super) fn optional_path(self) -> Read<Option<PathBuf>> {
        if self.text()?.is_empty() { Ok(None) } else { self.path().map(Some) }
    }

    /// Reads a host's name, or nothing.
    pub(super) fn optional_host_name(self) -> Read<Option<String>> {
        let text = self.text()?;
        if text.is_empty() || is_host_name(text) {
            return Ok(Some(text.to_owned()).filter(|name| !name.is_empty()));
        }
        Err("must be a host's name: letters, digits and - _ .".to_owned())
    }

    /// Reads an address of this machine with a port, or nothing.
    pub(super) fn optional_local_address(self) -> Read<Option<SocketAddr>> {
        let text = self.text()?;
        if text.is_empty() {
            return Ok(None);
        }
        let address: SocketAddr =
            text.parse().map_err(|_| "must be an address and a port: 127.0.0.1:9469".to_owned())?;
        Ok(Some(address))
    }

    /// Reads the audited endpoints.
    pub(super) fn endpoints(self) -> Read<Vec<SocketAddr>> {
        let endpoints = self.list()?.into_iter().map(|text| {
            let endpoint: Result<SocketAddr, _> = text.parse();
            endpoint
                .ok()
                .filter(|endpoint| endpoint.port() != 0)
                .ok_or_else(|| format!("{text:?} is no address with a port: 169.254.169.254:80"))
        });
        let endpoints: Vec<_> = endpoints.collect::<Result<_, _>>()?;
        if (1..=8).contains(&endpoints.len()) {
            Ok(endpoints)
        } else {
            Err("must be one to eight addresses with ports".to_owned())
        }
    }

    /// Reads where syslog is: a path, or an address with a port.
    pub(super) fn syslog(self) -> Read<SyslogAddress> {
        let text = self.text()?;
        if text.starts_with('/') {
            return Ok(SyslogAddress::Unix(PathBuf::from(text)));
        }
        let address = text.strip_prefix("udp://").and_then(|address| address.parse().ok());
        address.map(SyslogAddress::Udp).ok_or_else(|| {
            "must be a socket's path such as /dev/log, or udp://192.0.2.1:514".to_owned()
        })
    }
}

/// Reads a label.
pub(super) fn label(name: &str, value: Raw<'_>) -> Read<(String, String)> {
    let value = value.text()?;
    let is_name =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/');
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err("a label's name has letters, digits and _ - . /".to_owned());
    }
    if name.len() > MAX_LABEL || value.len() > MAX_LABEL {
        return Err(format!("a label has at most {MAX_LABEL} bytes"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn expected_duration() -> String {
    "must be a length of time such as \"90s\", \"15m\" or \"1day\"".to_owned()
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
