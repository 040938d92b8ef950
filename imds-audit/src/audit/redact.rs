//! Removes secrets from bytes that are about to be shown.
//!
//! One pass from left to right in linear time: a name is read once, its value once. What is
//! removed becomes [`MARK`]; everything else stays as it is, case included, so that a command
//! line stays recognisable. Shell expressions (`$TOKEN`, `$(…)`) are no secrets and stay.
//!
//! A value is secret by the name before it (`X-aws-ec2-metadata-token: …`, `--password …`,
//! `AWS_SECRET_ACCESS_KEY=…`, `"SecretAccessKey": "…"`, `?X-Amz-Signature=…`), by its place
//! (`-u user:…`, `http://user:…@host`) or by its own start (session and metadata tokens).
//! Access key ids are identifiers and stay. Where a value's end is ambiguous, more is removed
//! rather than less. Options of one letter take a password only behind a command that is known
//! for it (`docker login -p …`, `mysql -p…`, `redis-cli -a …`).

mod key;
mod option;
mod value;

use std::borrow::Cow;

use memchr::memmem;

use key::Key;
use value::Extent;

/// What stands where a secret was.
pub const MARK: &[u8] = b"<redacted>";

/// The shortest secret that [`known`] looks for; a shorter one would shred innocent text.
const SHORTEST_KNOWN: usize = 8;

/// Redacts a free text: a target, a header's value, a script.
pub fn text(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut scan = Scan::new(bytes, false);
    scan.run(0);
    scan.finish()
}

/// Redacts the arguments of a process, in their order.
pub fn arguments<'a>(arguments: impl IntoIterator<Item = &'a [u8]>) -> Vec<Cow<'a, [u8]>> {
    let mut pending = Pending::Nothing;
    let mut script = false;
    let mut letter = None;
    let mut redacted = Vec::new();
    for bytes in arguments {
        let mut scan = Scan::new(bytes, !script && !bytes.contains(&b'\n'));
        scan.letter = letter;
        pending = scan.argument(pending);
        letter = scan.letter;
        script = is_script_flag(bytes);
        redacted.push(scan.finish());
    }
    redacted
}

/// Removes every occurrence of a secret that is known from elsewhere, such as the token that
/// went over the wire. A secret of less than eight bytes is not looked for.
pub fn known<'a>(bytes: &'a [u8], secret: &[u8]) -> Cow<'a, [u8]> {
    if secret.len() < SHORTEST_KNOWN {
        return Cow::Borrowed(bytes);
    }
    let mut output = Vec::new();
    let mut done = 0;
    for start in memmem::find_iter(bytes, secret) {
        output.extend_from_slice(bytes.get(done..start).unwrap_or_default());
        output.extend_from_slice(MARK);
        done = start + secret.len();
    }
    if done == 0 {
        return Cow::Borrowed(bytes);
    }
    output.extend_from_slice(bytes.get(done..).unwrap_or_default());
    Cow::Owned(output)
}

/// What an argument says of the one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    /// Nothing.
    Nothing,
    /// It is a secret (`--password X`).
    Option,
    /// It is a secret behind its first colon (`-u user:X`).
    Login,
    /// It is a cookie or the name of a file (`--cookie a=X`).
    Cookie,
    /// It is a secret if it is long (`aws_secret_access_key X`).
    Bare,
    /// It is a secret unless it is an option (`-p X`).
    Password,
    /// It is a secret, if the shell split a header that was not quoted (`Cookie: X`).
    Header,
}

/// Returns whether an argument announces a script: `-c`, `-lc`, `-e`.
fn is_script_flag(argument: &[u8]) -> bool {
    match argument {
        [b'-', flags @ .., last] => {
            matches!(last, b'c' | b'e')
                && flags.len() < 4
                && flags.iter().all(u8::is_ascii_alphabetic)
        }
        _ => false,
    }
}

/// One pass over one text.
struct Scan<'a> {
    bytes: &'a [u8],
    /// The text is one argument of its own, so a value that starts it runs to its end.
    whole: bool,
    /// What was written so far; empty until something is removed.
    output: Vec<u8>,
    /// How far `bytes` has been written.
    copied: usize,
    changed: bool,
    /// The letter of the option that takes a password in the command at hand.
    letter: Option<u8>,
    /// The value of a secret is to follow in an argument (`printf 'Token: %s'`).
    place: bool,
}

impl<'a> Scan<'a> {
    fn new(bytes: &'a [u8], whole: bool) -> Self {
        Self {
            bytes,
            whole,
            output: Vec::new(),
            copied: 0,
            changed: false,
            letter: None,
            place: false,
        }
    }

    fn finish(mut self) -> Cow<'a, [u8]> {
        if !self.changed {
            return Cow::Borrowed(self.bytes);
        }
        self.output.extend_from_slice(self.bytes.get(self.copied..).unwrap_or_default());
        Cow::Owned(self.output)
    }

    /// Removes `start..end`, if it is not empty.
    fn remove(&mut self, start: usize, end: usize) {
        if start >= end {
            return;
        }
        self.output.extend_from_slice(self.bytes.get(self.copied..start).unwrap_or_default());
        self.output.extend_from_slice(MARK);
        self.copied = end;
        self.changed = true;
    }

    fn at(&self, index: usize) -> Option<u8> {
        self.bytes.get(index).copied()
    }

    /// Redacts an argument and returns what it says of the next.
    fn argument(&mut self, pending: Pending) -> Pending {
        let bytes = self.bytes;
        match pending {
            Pending::Option if !bytes.starts_with(b"--") => {
                self.remove(0, bytes.len());
                return Pending::Nothing;
            }
            Pending::Header if value::is_scheme(bytes) => return Pending::Header,
            Pending::Header
                if !bytes.starts_with(b"-") && memmem::find(bytes, b"://").is_none() =>
            {
                let start = value::expression(bytes, 0).unwrap_or(0);
                self.remove(start, bytes.len());
                return Pending::Nothing;
            }
            Pending::Cookie if value::is_cookie(bytes, 0) && !bytes.starts_with(b"-") => {
                self.secret(0, bytes.len());
                return Pending::Nothing;
            }
            Pending::Bare if value::is_bare(bytes, 0) => {
                self.remove(0, bytes.len());
                return Pending::Nothing;
            }
            Pending::Password if !bytes.starts_with(b"-") && !value::is_ports(bytes) => {
                self.remove(0, bytes.len());
                return Pending::Nothing;
            }
            Pending::Login if memmem::find(bytes, b"://").is_none() => {
                if let Some(colon) = memchr::memchr(b':', bytes) {
                    self.remove(colon + 1, bytes.len());
                    return Pending::Nothing;
                }
            }
            _ => {}
        }
        let letter = self.letter;
        self.run(0);
        match (bytes, letter) {
            ([b'-', option], Some(letter)) if *option == letter => Pending::Password,
            ([b'-', option, ..], Some(letter)) if *option == letter && self.changed => {
                Pending::Nothing
            }
            _ if self.place && self.whole => Pending::Option,
            _ => self.announced(),
        }
    }

    /// Returns what this argument says of the next one.
    fn announced(&self) -> Pending {
        let bytes = self.bytes;
        if key::is_login_option(bytes) {
            return Pending::Login;
        }
        if key::is_cookie_option(bytes) {
            return Pending::Cookie;
        }
        if key::run(bytes, 0) == bytes.len() && key::is_bare(bytes) {
            return Pending::Bare;
        }
        if bytes.starts_with(b"-") && key::run(bytes, 0) == bytes.len() && Key::of(bytes).is_some()
        {
            return Pending::Option;
        }
        let name = match bytes.split_last() {
            Some((b':', name)) if self.whole => name,
            _ => return Pending::Nothing,
        };
        let header = key::run(name, 0) == name.len() && Key::of(name).is_some();
        if header { Pending::Header } else { Pending::Nothing }
    }

    /// Walks over the text from `index`.
    fn run(&mut self, mut index: usize) {
        while let Some(byte) = self.at(index) {
            if self.bytes.get(index..).is_some_and(|rest| rest.starts_with(b"://")) {
                index = self.authority(index + 3);
            } else if key::is_name(byte) {
                index = self.name(index);
            } else {
                if !self.whole && matches!(byte, b';' | b'|' | b'&' | b'\n') {
                    self.letter = None;
                }
                index += 1;
            }
        }
    }

    /// Redacts what stands before the `@` of an authority; returns where to go on.
    fn authority(&mut self, start: usize) -> usize {
        let rest = self.bytes.get(start..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|byte| {
                matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'`' | b'\\')
                    || byte.is_ascii_whitespace()
            })
            .unwrap_or(rest.len());
        let authority = rest.get(..length).unwrap_or_default();
        let Some(at) = memchr::memrchr(b'@', authority) else {
            return start;
        };
        let user = authority.get(..at).unwrap_or_default();
        match memchr::memchr(b':', user) {
            Some(colon) => self.secret(start + colon + 1, start + at),
            // A name is short; what is long and alone is an access token. One that is long by a
            // mark in it was judged before.
            None if at >= 20 && memchr::memmem::find(user, MARK).is_none() => {
                self.secret(start, start + at);
            }
            None => {}
        }
        start + at
    }

    /// Removes `start..end` but for a variable that it begins with.
    fn secret(&mut self, start: usize, end: usize) {
        let kept = value::expression(self.bytes, start).filter(|kept| *kept <= end);
        self.remove(kept.unwrap_or(start), end);
    }

    /// Looks at the name that starts at `start`; returns where to go on.
    fn name(&mut self, start: usize) -> usize {
        let bytes = self.bytes;
        let end = key::run(bytes, start);
        let name = bytes.get(start..end).unwrap_or_default();
        if let Some(end) = key::token_shape(bytes, start) {
            self.remove(start, end);
            return end;
        }
        if key::is_login_option(name) {
            return self.login(start, end);
        }
        if key::is_cookie_option(name) && matches!(self.at(end), Some(b' ' | b'\t')) {
            return self.cookie(end);
        }
        if let Some(letter) = self.command(start, end) {
            self.letter = letter;
            return end;
        }
        let glued_login = name.starts_with(b"-u") && name.len() > 2 && self.at(end) == Some(b':');
        if glued_login && self.at(end + 1) != Some(b'/') {
            let extent = value::word(bytes, end + 1, self.whole);
            self.secret(extent.start, extent.end);
            return extent.end;
        }
        match Key::of(name) {
            Some(key) if !self.is_password(start, end) => self.value(key, start, end),
            _ => self.password(start, end),
        }
    }

    /// Returns whether a word begins at `start`.
    fn begins_word(&self, start: usize) -> bool {
        start.checked_sub(1).and_then(|before| self.at(before)).is_none_or(|byte| {
            byte.is_ascii_whitespace()
                || matches!(byte, b'"' | b'\'' | b'(' | b'`' | b';' | b'|' | b'&')
        })
    }

    /// Redacts the value of the key at `start..end`.
    fn value(&mut self, key: Key, start: usize, end: usize) -> usize {
        let Some(extent) = self.extent(key, start, end) else {
            return end;
        };
        let start = extent.start + value::scheme(self.bytes, extent.start);
        if value::is_substitution(self.bytes, start) {
            return start + 1;
        }
        if value::is_place(self.bytes, start) {
            if let Some(placed) = value::placed(self.bytes, start + 2) {
                self.secret(placed.start, placed.end);
                return placed.end;
            }
            if self.whole {
                self.place = true;
                return start + 2;
            }
        }
        if start >= extent.end
            && let Some(joined) = value::operand(self.bytes, start, b".+")
        {
            self.secret(joined.start, joined.end);
            return joined.end;
        }
        let start = match value::expression(self.bytes, start) {
            Some(kept) if kept <= extent.end => kept,
            _ => start,
        };
        self.remove(start, extent.end);
        extent.end.max(end)
    }

    fn extent(&self, key: Key, start: usize, end: usize) -> Option<Extent> {
        let bytes = self.bytes;
        let option = bytes.get(start) == Some(&b'-');
        let Some(after) = value::separator(bytes, end) else {
            // `--password X` inside a script.
            let next = value::skip_blanks(bytes, end);
            let starts = self.at(next).is_some_and(|byte| {
                !matches!(byte, b'|' | b'&' | b';' | b'<' | b'>' | b')' | b'(')
            });
            let dashes = bytes.get(next..).is_some_and(|rest| rest.starts_with(b"--"));
            let bare = self.begins_word(start)
                && bytes.get(start..end).is_some_and(key::is_bare)
                && value::is_bare(bytes, next);
            let usable = (option || bare) && next > end && starts && !dashes;
            return usable.then(|| value::word(bytes, next, false));
        };
        if !after.quoted_name
            && let Some(opened) = value::opening_quote(bytes, start)
        {
            return Some(value::quoted(bytes, after.value, opened));
        }
        if self.whole && self.begins_argument(start) {
            return Some(Extent { start: after.value, end: bytes.len() });
        }
        if start > 0 && matches!(self.at(start - 1), Some(b'?' | b'&')) {
            return Some(value::parameter(bytes, after.value));
        }
        Some(match key {
            Key::Line => value::line(bytes, after.value),
            Key::Word => value::word(bytes, after.value, false),
        })
    }

    /// Returns whether the name at `start` begins its argument, perhaps behind an option.
    fn begins_argument(&self, start: usize) -> bool {
        let before = self.bytes.get(..start).unwrap_or_default();
        before.iter().all(|byte| byte.is_ascii_whitespace())
            || matches!(before, b"--header=" | b"--cookie=" | b"--proxy-header=")
    }
}

#[cfg(test)]
mod tests;
