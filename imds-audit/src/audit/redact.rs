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

mod argument;
mod key;
mod known;
mod literal;
mod option;
mod place;
mod value;
mod wire;
mod work;

use std::borrow::Cow;

use argument::Pending;
use key::{Bare, Command, Key};
pub use known::Known;
#[cfg(any(test, fuzzing))]
pub use known::known;
use value::Extent;

/// What stands where a secret was.
pub const MARK: &[u8] = b"<redacted>";

/// The longest login that is looked for in a URL whose password is not escaped.
const LONGEST_LOGIN: usize = 256;

/// The shortest secret that [`Known`] looks for; a shorter one would shred innocent text.
const SHORTEST_KNOWN: usize = 8;

/// Redacts a free text: a target, a header's value, a script.
pub fn text(bytes: &[u8]) -> Cow<'_, [u8]> {
    // A name alone has nothing behind it that could be its value, and is too short for a token.
    let is_name = |bytes: &[u8]| bytes.iter().all(|byte| key::is_name(*byte));
    if bytes.len() < key::SHORTEST_SHAPE && bytes.first() != Some(&b'-') && is_name(bytes) {
        return Cow::Borrowed(bytes);
    }
    let mut scan = Scan::new(bytes, false);
    scan.run(0);
    scan.finish()
}

/// Redacts the arguments of a process, in their order.
pub fn arguments<'a>(arguments: impl IntoIterator<Item = &'a [u8]>) -> Vec<Cow<'a, [u8]>> {
    let mut pending = Pending::Nothing;
    let mut script = false;
    let mut command = Command::default();
    let mut redacted = Vec::new();
    for bytes in arguments {
        let mut scan = Scan::new(bytes, !script && !bytes.contains(&b'\n'));
        scan.command = command;
        pending = scan.argument(pending);
        command = scan.command;
        script = argument::is_script_flag(bytes);
        redacted.push(scan.finish());
    }
    redacted
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
    /// The command at hand, as far as it matters.
    command: Command,
    /// How far the argument is of names and settings alone, once that was asked.
    plain: Option<usize>,
    /// How many operands a format takes that has a place for a secret (`printf 'Token: %s'`).
    places: usize,
}

impl<'a> Scan<'a> {
    fn new(bytes: &'a [u8], whole: bool) -> Self {
        Self {
            bytes,
            whole,
            output: Vec::new(),
            copied: 0,
            changed: false,
            command: Command::default(),
            plain: None,
            places: 0,
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
        if self.output.capacity() == 0 {
            self.output.reserve(self.bytes.len() + MARK.len());
        }
        self.output.extend_from_slice(self.bytes.get(self.copied..start).unwrap_or_default());
        self.output.extend_from_slice(MARK);
        self.copied = end;
        self.changed = true;
    }

    fn at(&self, index: usize) -> Option<u8> {
        self.bytes.get(index).copied()
    }

    /// Walks over the text from `index`.
    fn run(&mut self, mut index: usize) {
        while let Some(byte) = self.at(index) {
            work::count(1);
            if self.bytes.get(index..).is_some_and(|rest| rest.starts_with(b"//")) {
                index = self.authority(index + 2);
            } else if key::is_name(byte) {
                index = self.name(index);
            } else if matches!(byte, b'"' | b'\'') && self.ends_format(index) {
                index = self.operands(index);
            } else {
                if !self.whole && matches!(byte, b';' | b'|' | b'&' | b'\n') {
                    self.command = Command::default();
                }
                index += 1;
            }
        }
    }

    /// Redacts what stands before the `@` of an authority; returns where to go on.
    fn authority(&mut self, start: usize) -> usize {
        let rest = self.bytes.get(start..).unwrap_or_default();
        let is_end = |byte: &u8| {
            matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'`' | b'\\')
                || byte.is_ascii_whitespace()
        };
        let length = work::position(rest, is_end).unwrap_or(rest.len());
        let authority = rest.get(..length).unwrap_or_default();
        let Some(at) = memchr::memrchr(b'@', authority) else {
            return self.unescaped_password(start, length).unwrap_or(start);
        };
        let user = authority.get(..at).unwrap_or_default();
        match memchr::memchr(b':', user) {
            Some(colon) => self.secret(start + colon + 1, start + at),
            // A name is short; what is long and alone is an access token. One that is long by a
            // mark in it was judged before.
            None if at >= 20 && work::find(user, MARK).is_none() => {
                self.secret(start, start + at);
            }
            None => {}
        }
        start + at
    }

    /// Redacts a password with a `/`, `?` or `#` in it, which should have been escaped and ends
    /// the authority: what stands behind the colon of the first `length` bytes is no port, and an
    /// `@` follows in the same word. Returns where to go on, `None` where nothing is.
    fn unescaped_password(&mut self, start: usize, length: usize) -> Option<usize> {
        let rest = self.bytes.get(start..)?;
        let colon = memchr::memchr(b':', rest.get(..length)?)?;
        let port = rest.get(colon + 1..length)?;
        if matches!(port.first(), None | Some(b':' | b'$')) || port.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let near = rest.get(..LONGEST_LOGIN).unwrap_or(rest);
        let is_end = |byte: &u8| matches!(byte, b'"' | b'\'' | b'`') || byte.is_ascii_whitespace();
        let end = work::position(near, is_end).unwrap_or(near.len());
        let at = memchr::memrchr(b'@', near.get(..end)?).filter(|at| *at > length)?;
        self.remove(start + colon + 1, start + at);
        Some(start + at)
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
        if let Some(end) = self.glued(start, end) {
            return end;
        }
        match self.takes(name) {
            Pending::Login => return self.login(end),
            Pending::Proxy => return self.proxy(end),
            Pending::Cookie if matches!(self.at(end), Some(b' ' | b'\t')) => {
                return self.cookie(end);
            }
            _ => {}
        }
        if let Some(command) = self.command(start, end) {
            self.command = command;
            return end;
        }
        let key = Key::of(name).or_else(|| self.assigned_key(start, end));
        match key {
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
            self.note_place();
            return start + 2;
        }
        if start >= extent.end
            && let Some(joined) = literal::continued(self.bytes, start)
        {
            self.secret(joined.start, joined.end);
            return joined.end;
        }
        if !literal::is_literal(self.bytes, extent.start)
            && let Some(handed) = literal::handed(self.bytes, extent.end)
        {
            self.secret(handed.start, handed.end);
            return handed.end;
        }
        let start = match value::expression(self.bytes, start) {
            Some(kept) if kept <= extent.end => kept,
            _ => start,
        };
        self.remove(start, extent.end);
        extent.end.max(end)
    }

    fn extent(&mut self, key: Key, start: usize, end: usize) -> Option<Extent> {
        let bytes = self.bytes;
        let option = bytes.get(start) == Some(&b'-');
        if let Some(value) = value::escaped_separator(bytes, end) {
            return Some(value::parameter(bytes, value));
        }
        if let Some(element) = value::element(bytes, start, end) {
            return Some(element);
        }
        let Some(after) = value::separator(bytes, end) else {
            // `--password X` inside a script.
            let next = value::skip_blanks(bytes, end);
            let starts = self.at(next).is_some_and(|byte| {
                !matches!(byte, b'|' | b'&' | b';' | b'<' | b'>' | b')' | b'(')
            });
            let dashes = bytes.get(next..).is_some_and(|rest| rest.starts_with(b"--"));
            let name = bytes.get(start..end)?;
            // `login me password X`, as in a .netrc.
            let of_login = self.command.letter.is_some() && name == b"password";
            let bare = self.begins_word(start)
                && Bare::of(name).is_some_and(|bare| {
                    value::is_bare(bytes, next, bare) || (of_login && next < bytes.len())
                });
            let usable = (option || bare) && next > end && starts && !dashes;
            return usable.then(|| value::word(bytes, next, false));
        };
        if !after.quoted_name
            && let Some(opened) = literal::opening_quote(bytes, start)
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

    /// Returns whether the name at `start` begins its argument, perhaps behind an option
    /// (`--env=NAME=…`) or other settings (`--set a=1,NAME=…`).
    fn begins_argument(&mut self, start: usize) -> bool {
        let bytes = self.bytes;
        let plain = *self.plain.get_or_insert_with(|| {
            let blanks = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let rest = bytes.get(blanks..).unwrap_or_default();
            let is_part = |byte: &u8| key::is_name(*byte) || matches!(byte, b'=' | b',' | b';');
            blanks + work::position(rest, |byte| !is_part(byte)).unwrap_or(rest.len())
        });
        start <= plain
    }
}

#[cfg(test)]
mod tests;
