//! Expectations that one argument of a process raises for the next ones.

use super::{
    Scan,
    extent::Extent,
    scan_cost,
    secret_name::{self, Bare, Key},
    value,
};

/// What an argument says of the one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pending {
    /// Nothing.
    Nothing,
    /// It is a secret (`--password X`).
    Option,
    /// It is a secret behind its first colon (`-u user:X`).
    Login,
    /// It is a cookie or the name of a file (`--cookie a=X`).
    Cookie,
    /// It is a proxy, perhaps with a login before its host (`-x user:X@host`).
    Proxy,
    /// It is a secret if it is long (`aws_secret_access_key X`), or long and looks like one
    /// (`token X`).
    Bare(Bare),
    /// It is a secret, if the shell split a header that was not quoted (`Cookie: X`).
    Header,
    /// It and as many behind it fill the places of a format, and one of them is a secret's.
    Places(usize),
}

/// Returns whether an argument announces a script: `-c`, `-lc`, `-e`.
pub(super) fn is_script_flag(argument: &[u8]) -> bool {
    match argument {
        [b'-', flags @ .., last] => {
            matches!(last, b'c' | b'e')
                && flags.len() < 4
                && flags.iter().all(u8::is_ascii_alphabetic)
        }
        _ => false,
    }
}

impl Scan<'_> {
    /// Redacts an argument and returns what it says of the next.
    pub(super) fn argument(&mut self, pending: Pending) -> Pending {
        if let Some(next) = self.redact_expected(pending) {
            return next;
        }
        self.run(0);
        match self.places {
            // An option that was read with its command.
            _ if self.options.first() == Some(&0) => Pending::Nothing,
            0 => self.announced(),
            places if self.whole => Pending::Places(places),
            _ => self.announced(),
        }
    }

    /// Redacts an argument that the one before it announced; `None` where it is another.
    fn redact_expected(&mut self, pending: Pending) -> Option<Pending> {
        let bytes = self.bytes;
        let is_option = bytes.starts_with(b"-");
        let is_secret = match pending {
            Pending::Nothing => false,
            Pending::Option if value::is_harmless(bytes) || value::is_path(bytes) => {
                return Some(Pending::Nothing);
            }
            Pending::Option | Pending::Places(_) => !bytes.starts_with(b"--"),
            Pending::Bare(bare) => value::is_bare(bytes, 0, bare),
            Pending::Header if secret_name::is_scheme(bytes.trim_ascii()) => {
                return Some(Pending::Header);
            }
            Pending::Header => !is_option && scan_cost::find(bytes, b"://").is_none(),
            Pending::Cookie => !is_option && value::is_cookie(bytes, 0),
            Pending::Login => {
                let is_url = scan_cost::find(bytes, b"://").is_some();
                let colon = memchr::memchr(b':', bytes).filter(|_| !is_url)?;
                self.remove(colon + 1, bytes.len());
                return Some(Pending::Nothing);
            }
            Pending::Proxy => self.proxy_login(Extent { start: 0, end: bytes.len() }),
        };
        if !is_secret {
            return None;
        }
        match pending {
            Pending::Proxy => {}
            Pending::Header | Pending::Cookie | Pending::Places(_) => self.secret(0, bytes.len()),
            _ => self.remove(0, bytes.len()),
        }
        Some(match pending {
            Pending::Places(more @ 2..) => Pending::Places(more - 1),
            _ => Pending::Nothing,
        })
    }

    /// Returns what this argument says of the next one.
    fn announced(&self) -> Pending {
        let bytes = self.bytes;
        match self.option_takes(bytes) {
            Pending::Nothing => {}
            taken => return taken,
        }
        let is_name = secret_name::run(bytes, 0) == bytes.len();
        if is_name && let Some(bare) = Bare::of(bytes) {
            return Pending::Bare(bare);
        }
        // `//registry.npmjs.org/:_authToken`.
        if bytes.starts_with(b"//")
            && let Some(bare) = bytes.rsplit(|byte| *byte == b':').next().and_then(Bare::of)
        {
            return Pending::Bare(bare);
        }
        if is_name && bytes.starts_with(b"-") && Key::of(bytes).is_some() {
            return Pending::Option;
        }
        if self.whole && is_header_without_value(bytes) {
            Pending::Header
        } else {
            Pending::Nothing
        }
    }
}

/// Returns whether an argument is a header whose value the shell split from it: `Token:`,
/// `Authorization: Bearer`, `"Token:` with a quote that was no quote to the shell.
fn is_header_without_value(argument: &[u8]) -> bool {
    let header = argument.strip_prefix(b"-H").or(argument.strip_prefix(b"--header="));
    let header = header.unwrap_or(argument);
    let is_quote = |byte: &u8| matches!(byte, b'"' | b'\'' | b'\\' | b' ');
    let quotes = header.iter().take(4).take_while(|byte| is_quote(byte)).count();
    let header = header.get(quotes..).unwrap_or_default();
    let end = secret_name::run(header, 0);
    let (Some(name), Some(b':')) = (header.get(..end), header.get(end)) else { return false };
    let value = header.get(end + 1..).unwrap_or_default().trim_ascii();
    Key::of(name).is_some() && (value.is_empty() || secret_name::is_scheme(value))
}
