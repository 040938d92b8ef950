//! Removes secrets from bytes that are about to be shown.
//!
//! Three passes from left to right, each in linear time: names with their values, programs with
//! their options ([`commands`]), tokens by their shape ([`shape`]). What they find becomes
//! [`MARK`]; everything else stays as it is, case included, so that a command line stays
//! recognisable. Shell expressions (`$TOKEN`, `$(…)`) are no secrets and stay.
//!
//! A value is secret by the name before it (`X-aws-ec2-metadata-token: …`, `--password …`,
//! `AWS_SECRET_ACCESS_KEY=…`, `"SecretAccessKey": "…"`, `?X-Amz-Signature=…`), by its place
//! (`-u user:…`, `http://user:…@host`, `mysql -p…`) or by its own start (session and metadata
//! tokens). Access key ids are identifiers and stay. Where a value's end is ambiguous, more is
//! removed rather than less.

mod argument;
mod assigned;
mod authority;
mod call;
mod cli_options;
mod commands;
mod encodings;
mod extent;
mod format_string;
mod headers;
mod known_secrets;
mod literal;
mod markup;
mod pair;
mod raw_string;
mod replacement;
mod scan_cost;
mod secret_name;
mod setting;
mod shape;
mod sql;
mod value;

use std::borrow::Cow;

use argument::Pending;
use commands::{Commands, Operation};
use extent::Extent;
pub(crate) use known_secrets::Known;
#[cfg(any(test, fuzzing))]
pub(crate) use known_secrets::known;
use pair::Object;
use secret_name::Key;

/// What stands where a secret was.
pub(crate) const MARK: &[u8] = b"<redacted>";

/// What a secret is overwritten with where bytes keep their places.
pub(crate) const OVERWRITTEN: u8 = b'x';

/// The shortest secret that [`Known`] looks for; a shorter one would shred innocent text.
const SHORTEST_KNOWN: usize = 8;

/// How far back a name is looked for that the end of a value may be, in bytes.
const LONGEST_TAIL: usize = 64;

/// Redacts a free text: a target, a header's value, a script.
pub fn text(bytes: &[u8]) -> Cow<'_, [u8]> {
    // A name alone has nothing behind it that could be its value, and is too short for a token.
    let is_name = |bytes: &[u8]| bytes.iter().all(|byte| secret_name::is_name(*byte));
    if bytes.len() < shape::SHORTEST && bytes.first() != Some(&b'-') && is_name(bytes) {
        return Cow::Borrowed(bytes);
    }
    scan_text(bytes).finish()
}

/// Finds the secrets of a free text.
fn scan_text(bytes: &[u8]) -> Scan<'_> {
    let mut scan = Scan::new(bytes, false);
    if memchr::memchr2(b' ', b'"', bytes).is_some() {
        let mut commands = Commands::default();
        scan.options = commands.script(bytes, &mut scan.found);
        scan.operation = commands.operation();
    }
    scan.run(0);
    scan
}

/// Overwrites the secrets of a free text with `x`, so that it keeps its length.
pub(crate) fn overwrite(bytes: &mut [u8]) {
    let found = scan_text(bytes).found;
    for Extent { start, end } in found {
        bytes.get_mut(start..end.min(bytes.len())).unwrap_or_default().fill(OVERWRITTEN);
    }
}

/// Redacts the arguments of a process, in their order.
pub(crate) fn arguments<'a>(arguments: impl IntoIterator<Item = &'a [u8]>) -> Vec<Cow<'a, [u8]>> {
    let mut pending = Pending::Nothing;
    let mut script = false;
    let mut command = Command::default();
    let mut commands = Commands::default();
    let mut redacted = Vec::new();
    let mut before: &[u8] = b"";
    for bytes in arguments {
        let mut scan = Scan::new(bytes, !script && !bytes.contains(&b'\n'));
        scan.command = command;
        if commands.argument(bytes, &mut scan.found) {
            scan.options.push(0);
        }
        if script || memchr::memchr3(b' ', b'\n', b'"', bytes).is_some() {
            // Programs inside of an argument do not belong to the command line around it.
            let mut inside = Commands::default();
            let options = inside.script(bytes, &mut scan.found);
            scan.options.extend(options);
            scan.operation = inside.operation();
        }
        if commands.is_active() {
            scan.operation = commands.operation();
        }
        pending = scan.argument(pending);
        // `jq --arg token X`.
        let is_free = matches!(pending, Pending::Nothing | Pending::Bare(_));
        if is_free && assigned::is_setter(before) && Key::of(bytes).is_some() {
            pending = Pending::Option;
        }
        before = bytes;
        command = scan.command;
        script = argument::is_script_flag(bytes);
        redacted.push(scan.finish());
    }
    redacted
}

/// The command at hand, as far as it matters for names.
#[derive(Clone, Copy, Debug, Default)]
struct Command {
    /// `-b` takes a cookie, also without a blank between.
    is_curl: bool,
    /// `password` takes the word behind it, as in a .netrc.
    is_login: bool,
}

/// One pass over one text.
struct Scan<'a> {
    bytes: &'a [u8],
    /// The text is one argument of its own, so a value that starts it runs to its end.
    whole: bool,
    /// The secrets, in any order; they may overlap.
    found: Vec<Extent>,
    /// The command at hand.
    command: Command,
    /// The AWS CLI's operation at hand.
    operation: Operation,
    /// Where options begin that were read with their command, in order.
    options: Vec<usize>,
    /// The object at hand.
    object: Object,
    /// How far the argument is of names and settings alone, once that was asked.
    plain: Option<usize>,
    /// Whether the text has a statement of SQL, once that was asked.
    is_sql: Option<bool>,
    /// Where the last `IDENTIFIED` of a statement ended.
    identified: usize,
    /// How many operands a format takes that has a place for a secret (`printf 'Token: %s'`).
    places: usize,
}

impl<'a> Scan<'a> {
    fn new(bytes: &'a [u8], whole: bool) -> Self {
        let mut found = Vec::new();
        shape::find(bytes, &mut found);
        Self {
            bytes,
            whole,
            found,
            command: Command::default(),
            operation: Operation::default(),
            options: Vec::new(),
            object: Object::default(),
            plain: None,
            is_sql: None,
            identified: 0,
            places: 0,
        }
    }

    fn finish(mut self) -> Cow<'a, [u8]> {
        if self.found.is_empty() {
            return Cow::Borrowed(self.bytes);
        }
        self.found.sort_unstable_by_key(|extent| (extent.start, extent.end));
        let mut output = Vec::with_capacity(self.bytes.len() + MARK.len());
        let mut copied = 0;
        let mut extents = self.found.iter().peekable();
        while let Some(first) = extents.next() {
            let mut end = first.end;
            while let Some(next) = extents.next_if(|next| next.start <= end) {
                end = end.max(next.end);
            }
            output.extend_from_slice(self.bytes.get(copied..first.start).unwrap_or_default());
            output.extend_from_slice(MARK);
            copied = end;
        }
        output.extend_from_slice(self.bytes.get(copied..).unwrap_or_default());
        Cow::Owned(output)
    }

    /// Removes `start..end`, if it is not empty.
    fn remove(&mut self, start: usize, end: usize) {
        if start < end {
            self.found.push(Extent { start, end });
        }
    }

    fn at(&self, index: usize) -> Option<u8> {
        self.bytes.get(index).copied()
    }

    /// Walks over the text from `index`.
    fn run(&mut self, mut index: usize) {
        while let Some(byte) = self.at(index) {
            scan_cost::count(1);
            if byte == b'/' && self.at(index + 1) == Some(b'/') {
                index = self.authority(index + 2);
            } else if secret_name::is_name(byte) {
                let found = self.found.len();
                let next = self.name(index);
                index = if self.found.len() > found { self.resume(index, next) } else { next };
            } else {
                index = self.mark(byte, index);
            }
        }
    }

    /// Reads a byte that no name has; returns where to go on.
    fn mark(&mut self, byte: u8, index: usize) -> usize {
        match byte {
            b'"' | b'\'' if self.places > 0 && self.ends_format(index) => {
                return self.operands(index);
            }
            b';' | b'|' | b'&' if !self.whole => self.command = Command::default(),
            b'\n' => self.command.is_curl = false,
            b'}' if !self.object.is_empty() => self.object = Object::default(),
            _ => {}
        }
        index + 1
    }

    /// Returns where to go on behind a value that ends at `end`, of the name at `start`. Its last
    /// word may be a name with a value of its own, where a blank ends it or a quote inside of it
    /// was no part of it (`-u0:"A "Token: X"`).
    fn resume(&self, start: usize, end: usize) -> usize {
        let Some(next) = self.at(end) else { return end };
        let is_quote = |byte: &u8| matches!(byte, b'"' | b'\'');
        let from = self.found.last().map_or(start, |last| last.start);
        let value = self.bytes.get(end.saturating_sub(LONGEST_TAIL).max(from)..end);
        let goes_on = is_quote(&next) && value.is_some_and(|value| value.iter().any(is_quote));
        if !next.is_ascii_whitespace() && !goes_on {
            return end;
        }
        let near = self.bytes.get(end.saturating_sub(LONGEST_TAIL).max(start)..end);
        let near = near.unwrap_or_default();
        let is_part = |byte: &u8| secret_name::is_name(*byte) || matches!(byte, b':' | b'=');
        scan_cost::count(near.len());
        match near.iter().rposition(|byte| !is_part(byte)) {
            Some(before) => end - near.len() + before + 1,
            None => end,
        }
    }

    /// Removes `start..end` but for a variable that it begins with.
    fn secret(&mut self, start: usize, end: usize) {
        let kept = value::expression(self.bytes, start).filter(|kept| *kept <= end);
        self.remove(kept.unwrap_or(start), end);
    }

    /// Looks at the name that starts at `start`; returns where to go on.
    fn name(&mut self, start: usize) -> usize {
        let bytes = self.bytes;
        let end = secret_name::run(bytes, start);
        let name = bytes.get(start..end).unwrap_or_default();
        if bytes.get(start) == Some(&b'-') {
            if self.options.binary_search(&start).is_ok() {
                return end;
            }
            if let Some(end) = self.attached(start, end) {
                return end;
            }
            match self.option_takes(name) {
                Pending::Login => return self.login(end),
                Pending::Proxy => return self.proxy(end),
                Pending::Cookie if matches!(self.at(end), Some(b' ' | b'\t')) => {
                    return self.cookie(end);
                }
                _ => {}
            }
        }
        self.command(start, end);
        // A file of curl's options.
        if self.command.is_curl && matches!(name, b"user" | b"proxy-user") {
            return match value::separator(bytes, end) {
                Some(after) => self.login_at(end, after.value),
                None => end,
            };
        }
        let key = Key::of(name)
            .filter(|_| !self.is_working_folder(start, end) && !self.is_arn(start, end));
        let key = key.or_else(|| self.weak_key(start, end));
        if let Some(key) = key.or_else(|| self.member(start, end)) {
            return self.value(key, start, end);
        }
        if let Some(secret) = self.sql(start, end) {
            self.secret(secret.start, secret.end);
            return secret.end.max(end);
        }
        let next = match self.at(end) {
            Some(b'(') => self.login_call(start, end).or_else(|| self.positional(start, end)),
            Some(b'"' | b'\'' | b'\\') => self.positional(start, end),
            Some(b':') => self.bare_login(start, end),
            _ => None,
        };
        next.unwrap_or(end)
    }

    /// Returns whether a word begins at `start`.
    fn begins_word(&self, start: usize) -> bool {
        start.checked_sub(1).and_then(|before| self.at(before)).is_none_or(|byte| {
            byte.is_ascii_whitespace()
                || matches!(byte, b'"' | b'\'' | b'(' | b'`' | b';' | b'|' | b'&')
        })
    }
}

#[cfg(test)]
mod tests;
