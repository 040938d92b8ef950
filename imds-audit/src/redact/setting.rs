//! The value of a name that says that it is a secret.

use super::{
    Scan, call,
    extent::{Extent, skip_blanks},
    literal, markup,
    pair::Object,
    scan_cost,
    secret_name::{self, Bare, Key},
    value,
};

/// The longest name of a variable that is a value, in bytes.
const LONGEST_VARIABLE: usize = 32;

/// How far the members of a secret reach on the lines below its name, in bytes.
const LONGEST_MEMBERS: usize = 128;

impl Scan<'_> {
    /// Redacts the value of the key at `start..end`.
    pub(super) fn value(&mut self, key: Key, start: usize, end: usize) -> usize {
        if self.at(end) == Some(b'(') {
            let next = self.login_call(start, end).or_else(|| self.setter(start, end));
            return next.unwrap_or(end);
        }
        let end = self.subscript(start, end);
        let Some(extent) = self.extent(key, start, end) else {
            let next = self.set_by_word(start, end).or_else(|| self.tagged(start, end));
            let next = next.or_else(|| self.replacement(start, end));
            return next.or_else(|| self.typed(end)).unwrap_or(end);
        };
        let name = Extent { start, end };
        let start = extent.start + value::scheme(self.bytes, extent.start);
        if value::is_substitution(self.bytes, start) {
            self.printed_value(start);
            return start + 1;
        }
        if let Some(place) = markup::place(self.bytes, start) {
            self.note_place();
            return place;
        }
        let covers_all = self.whole && extent.end == self.bytes.len() && start == extent.start;
        // `auth:` and its members on the next lines.
        if start == extent.end && self.at(start) == Some(b'\n') && !self.whole {
            self.object = Object::of_secret(start + LONGEST_MEMBERS);
            return start;
        }
        if !covers_all && let Some(next) = self.structure(name, extent.start) {
            return next;
        }
        if start >= extent.end
            && let Some(joined) = call::continued(self.bytes, start)
        {
            self.secret(joined.start, joined.end);
            return joined.end;
        }
        // `curl -H "X-aws-ec2-metadata-token:" X`.
        let is_header =
            self.bytes.get(name.start..name.end).is_some_and(|name| name.contains(&b'-'));
        if start == extent.end
            && is_header
            && let Some(token) = value::split_token(self.bytes, start)
        {
            self.secret(token.start, token.end);
            return token.end;
        }
        let text = self.bytes.get(start..extent.end).unwrap_or_default();
        if self.is_variable(name, extent) {
            return extent.end;
        }
        if secret_name::is_scheme(text)
            && let Some(token) = value::split_token(self.bytes, extent.end)
        {
            self.secret(token.start, token.end);
            return token.end;
        }
        if value::is_harmless(text) || value::is_path(text) {
            return extent.end.max(end);
        }
        let start = match value::expression(self.bytes, start) {
            Some(kept) if kept <= extent.end => kept,
            _ => start,
        };
        self.remove(start, extent.end);
        self.rest_of_value(extent).max(end)
    }

    /// Returns whether the value of a name in quotes is a variable: without quotes of its own, of
    /// letters alone, and no word of JSON.
    fn is_variable(&self, name: Extent, value: Extent) -> bool {
        let is_quoted = literal::opening_quote(self.bytes, name.start).is_some()
            && literal::closed(self.bytes, name.end) > name.end;
        let text = self.bytes.get(value.start..value.end).unwrap_or_default();
        let text = text.strip_suffix(b"}").unwrap_or(text);
        let is_part = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'.');
        is_quoted
            && text.len() <= LONGEST_VARIABLE
            && matches!(self.at(value.start + text.len()), Some(b'}' | b')' | b',' | b']'))
            && !matches!(self.at(value.start.wrapping_sub(1)), Some(b'"' | b'\'' | b'`'))
            && text.iter().all(is_part)
    }

    /// Redacts the literals that go on with a value: the next ones, as Python joins them, or a
    /// default (`process.env.TOKEN || "X"`). Returns where to go on.
    fn rest_of_value(&mut self, value: Extent) -> usize {
        let bytes = self.bytes;
        let before = value.start.checked_sub(2).and_then(|before| self.at(before));
        let close = literal::closed(bytes, value.end);
        let next = skip_blanks(bytes, close);
        let is_joined = close > value.end && before == Some(b' ') && next > close;
        let literal = if is_joined && literal::is_literal(bytes, next) {
            Some(next)
        } else {
            value::default(bytes, next)
        };
        let Some(literal) = literal else { return value.end };
        let word = value::word(bytes, literal, false);
        self.secret(word.start, word.end);
        word.end.max(value.end)
    }

    fn extent(&mut self, key: Key, start: usize, end: usize) -> Option<Extent> {
        let bytes = self.bytes;
        let option = bytes.get(start) == Some(&b'-');
        if let Some(value) = value::escaped_separator(bytes, end) {
            return Some(value::parameter(bytes, value));
        }
        if let Some(element) = markup::element(bytes, start, end) {
            if self.at(end) == Some(b'>') {
                return Some(element);
            }
            // Its attributes stand between, and are read next.
            self.secret(element.start, element.end);
            return None;
        }
        let after = value::separator(bytes, end).filter(|_| !self.is_value_of_comma(start, end));
        // `$ENV{TOKEN} = "X"`.
        let after = after.or_else(|| {
            let before = bytes.get(..start)?;
            let is_subscript = matches!(before, [.., name, b'{'] if name.is_ascii_alphanumeric());
            (is_subscript && self.at(end) == Some(b'}'))
                .then(|| value::separator(bytes, end + 1))?
        });
        let Some(after) = after else {
            if let Some(literal) = self.sql_setting(start, end) {
                return Some(literal);
            }
            // `--password X` inside a script, `read TOKEN <<< X`.
            let next = skip_blanks(bytes, end);
            if bytes.get(next..).is_some_and(|rest| rest.starts_with(b"<<<")) {
                return Some(value::word(bytes, skip_blanks(bytes, next + 3), false));
            }
            let starts = self.at(next).is_some_and(|byte| {
                !matches!(byte, b'|' | b'&' | b';' | b'<' | b'>' | b')' | b'(')
            });
            let dashes = bytes.get(next..).is_some_and(|rest| rest.starts_with(b"--"));
            let name = bytes.get(start..end)?;
            // `login me password X`, as in a .netrc.
            let of_login = self.command.is_login && name == b"password";
            // `//registry.npmjs.org/:_authToken X`.
            let is_scoped = bytes.get(..start).is_some_and(|before| before.ends_with(b"/:"));
            let bare = (self.begins_word(start) || is_scoped)
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
            let is_part =
                |byte: &u8| secret_name::is_name(*byte) || matches!(byte, b'=' | b',' | b';');
            blanks + scan_cost::position(rest, |byte| !is_part(byte)).unwrap_or(rest.len())
        });
        start <= plain
    }
}
