//! Values that are more than one word: calls, lists, literals with a language's own delimiters,
//! blocks of YAML.

use super::{
    Scan, assigned,
    extent::{Extent, begins, skip_blanks, skip_space},
    literal::{self, is_literal},
    markup,
    pair::Object,
    scan_cost, secret_name, value,
};

/// How many calls (`str(bytes("X"))`) are looked into for a literal.
const DEEPEST_CALL: usize = 3;

/// How many literals of a call or a list are removed.
const MOST_LITERALS: usize = 16;

/// How far the literals of a call or a list are looked for, in bytes.
const LONGEST_LIST: usize = 1024;

/// The longest type between a variable and its value (`token: Optional[str] = "X"`), in bytes.
const LONGEST_TYPE: usize = 40;

/// Types of a variable that has a secret.
const TYPES: [&[u8]; 22] = [
    b"str",
    b"string",
    b"String",
    b"bytes",
    b"byte",
    b"char",
    b"Optional",
    b"Final",
    b"None",
    b"Any",
    b"any",
    b"Union",
    b"Option",
    b"SecretStr",
    b"Secret",
    b"static",
    b"undefined",
    b"null",
    b"u8",
    b"Vec",
    b"CharSequence",
    b"ClassVar",
];

/// Functions whose first argument says where a value is read, and is none.
const LOOKUPS: [&[u8]; 22] = [
    b"get",
    b"getenv",
    b"env",
    b"fetch",
    b"open",
    b"read",
    b"readFile",
    b"readFileSync",
    b"prompt",
    b"getpass",
    b"input",
    b"getProperty",
    b"getOrDefault",
    b"LookupEnv",
    b"Getenv",
    b"lookup",
    b"file_get_contents",
    b"getParameter",
    b"get_parameter",
    b"get_secret_value",
    b"require",
    b"getString",
];

/// Beginnings of the names of functions that return a secret and take none.
const GETTERS: [&[u8]; 12] = [
    b"get", b"read", b"fetch", b"load", b"has", b"is", b"check", b"find", b"lookup", b"ask",
    b"prompt", b"csrf",
];

/// Functions that take a user and a password.
const LOGINS: [&[u8]; 7] =
    [b"basicauth", b"digestauth", b"ntlmauth", b"httpauth", b"basic", b"auth", b"credential"];

impl Scan<'_> {
    /// Redacts the value at `start` of the key that ends at `end`, if it is of a kind that has
    /// more than one word. Returns where to go on.
    pub(super) fn structure(&mut self, key: Extent, start: usize) -> Option<usize> {
        let bytes = self.bytes;
        let name = bytes.get(key.start..key.end)?;
        match self.at(start)? {
            b'{' => {
                let inside = skip_space(bytes, start + 1);
                let (from, quote) = literal::open(bytes, inside);
                let close = secret_name::run(bytes, from);
                let is_object = close > from
                    && value::separator(bytes, close).is_some()
                    && (quote.is_some() || self.at(close) == Some(b':'));
                if !is_object {
                    return None;
                }
                self.object = Object::of_secret(usize::MAX);
                Some(start + 1)
            }
            b'[' | b'(' => self.list(name, start),
            b'%' | b'q' => {
                let literal = markup::percent_literal(bytes, start)?;
                self.secret(literal.start, literal.end);
                Some(literal.end)
            }
            b'<' => {
                let lines = assigned::here_document(bytes, start)?;
                self.remove(lines.start, lines.end);
                Some(lines.end)
            }
            b'|' | b'>' => {
                let block = markup::block(bytes, key.start, start)?;
                self.remove(block.start, block.end);
                Some(block.end)
            }
            _ => self.call(start).or_else(|| {
                let sign = skip_blanks(bytes, key.end);
                (self.at(sign) == Some(b':')).then(|| self.annotated(start))?
            }),
        }
    }

    /// Redacts the literals of the list at `start`: all of them, or behind a name of a login
    /// (`auth=('me', 'X')`) those but for the first.
    fn list(&mut self, name: &[u8], start: usize) -> Option<usize> {
        let first = skip_space(self.bytes, start + 1);
        let is_login = name.len() >= 4
            && name.get(name.len() - 4..).is_some_and(|end| end.eq_ignore_ascii_case(b"auth"));
        let close = if self.at(start) == Some(b'[') { b']' } else { b')' };
        if !is_literal(self.bytes, first) {
            // `auth=(user, "X")`.
            let comma = secret_name::run(self.bytes, first);
            let is_pair = is_login && self.at(skip_blanks(self.bytes, comma)) == Some(b',');
            return if is_pair { self.literals(comma, close, false) } else { None };
        }
        self.literals(start + 1, close, is_login)
    }

    /// Redacts the literals up to `close`; where several stand there and `keeps_first`, the first
    /// one stays. Returns where to go on.
    fn literals(&mut self, start: usize, close: u8, keeps_first: bool) -> Option<usize> {
        let bytes = self.bytes;
        let limit = bytes.len().min(start + LONGEST_LIST);
        let mut first: Option<Extent> = None;
        let mut count = 0;
        let mut index = start;
        while index < limit && count < MOST_LITERALS {
            scan_cost::count(1);
            let byte = self.at(index)?;
            if byte == close || matches!(byte, b';' | b'\n') && count == 0 {
                index += usize::from(byte == close);
                break;
            }
            if is_literal(bytes, index) {
                let word = value::word(bytes, index, false);
                count += 1;
                if count == 1 && keeps_first {
                    first = Some(word);
                } else {
                    self.secret(word.start, word.end);
                }
                index = literal::closed(bytes, word.end).max(index + 1);
            } else {
                index += 1;
            }
        }
        if let (Some(first), 1) = (first, count) {
            self.secret(first.start, first.end);
        }
        (count > 0).then_some(index.min(bytes.len()))
    }

    /// Redacts the literals of the call at `start`, perhaps one inside of others; returns where to
    /// go on, `None` where none stands there.
    fn call(&mut self, start: usize) -> Option<usize> {
        let bytes = self.bytes;
        let mut open = secret_name::run(bytes, start);
        for _ in 0..DEEPEST_CALL {
            // A macro of Rust.
            if self.at(open) == Some(b'!') {
                open += 1;
            }
            // A path of Rust or C++.
            while bytes.get(open..).is_some_and(|rest| rest.starts_with(b"::")) {
                open = secret_name::run(bytes, open + 2);
            }
            // `ENV['TOKEN'] || "X"` is read like any other text.
            if open > start && self.at(open) == Some(b'[') && is_literal(bytes, open + 1) {
                return Some(open);
            }
            if open == start || self.at(open) != Some(b'(') {
                return None;
            }
            let inside = skip_blanks(bytes, open + 1);
            if is_literal(bytes, inside) {
                let name = bytes.get(start..open)?;
                let last = name.rsplit(|byte| matches!(byte, b'.' | b'(' | b' ')).next()?;
                let is_lookup = LOOKUPS.contains(&last);
                if is_lookup {
                    return self.defaults(inside);
                }
                return self.literals(open + 1, b')', is_login(last));
            }
            open = secret_name::run(bytes, inside);
        }
        None
    }

    /// Redacts the literals behind the first one of a call (`get("NAME", "X")`).
    fn defaults(&mut self, first: usize) -> Option<usize> {
        let end = literal::closed(self.bytes, value::word(self.bytes, first, false).end);
        let next = skip_blanks(self.bytes, end);
        if self.at(next) != Some(b',') {
            // `getenv("NAME") ?: "X"`.
            let behind = skip_blanks(self.bytes, next + 1);
            if let Some(default) = value::default(self.bytes, behind) {
                let word = value::word(self.bytes, default, false);
                self.secret(word.start, word.end);
                return Some(word.end);
            }
            return Some(end.min(self.bytes.len()));
        }
        self.literals(next + 1, b')', false).or(Some(next))
    }

    /// Redacts the user's password in a call that is named for a login
    /// (`HTTPBasicAuth("me", "X")`), whose name stands at `start..end`.
    pub(super) fn login_call(&mut self, start: usize, end: usize) -> Option<usize> {
        if self.at(end) != Some(b'(') {
            return None;
        }
        let name = self.bytes.get(start..end)?;
        let last = name.rsplit(|byte| *byte == b'.').next()?;
        let inside = skip_blanks(self.bytes, end + 1);
        let is_call = is_login(last) || last == b"login" || last == b"setBasicAuth";
        if !is_call || !is_literal(self.bytes, inside) {
            return None;
        }
        let second = literal::closed(self.bytes, value::word(self.bytes, inside, false).end);
        if self.at(skip_blanks(self.bytes, second)) != Some(b',') {
            return None;
        }
        self.literals(end + 1, b')', true)
    }

    /// Redacts the literal behind the type that stands at `start` (`token: str = "X"`).
    fn annotated(&mut self, start: usize) -> Option<usize> {
        let bytes = self.bytes;
        let near = bytes.get(start..(start + LONGEST_TYPE).min(bytes.len()))?;
        let is_type = |byte: &u8| {
            byte.is_ascii_alphanumeric()
                || matches!(
                    byte,
                    b'_' | b'.' | b'[' | b']' | b'<' | b'>' | b'&' | b'|' | b'?' | b'*'
                )
                || *byte == b' '
        };
        let sign = start + scan_cost::position(near, |byte| !is_type(byte))?;
        let is_sign = self.at(sign) == Some(b'=') && self.at(sign + 1) != Some(b'=');
        let words = bytes.get(start..sign)?.split(|byte| *byte == b' ');
        let is_long = words.filter(|word| !word.is_empty()).count() > 3;
        let names = bytes.get(start..sign)?.split(|byte| !byte.is_ascii_alphanumeric());
        let is_known = names.filter(|name| !name.is_empty()).all(|name| TYPES.contains(&name));
        if sign == start || is_long || !is_known || !is_sign || self.at(sign - 1) != Some(b' ') {
            return None;
        }
        let literal = skip_blanks(bytes, sign + 1);
        if !is_literal(bytes, literal) {
            return self.call(literal);
        }
        let word = value::word(bytes, literal, false);
        self.secret(word.start, word.end);
        Some(word.end.max(start))
    }

    /// Redacts the literal behind a type that stands between a name and `=` (`token string = "X"`);
    /// returns where to go on.
    pub(super) fn typed(&mut self, end: usize) -> Option<usize> {
        let next = skip_blanks(self.bytes, end);
        if next == end || !self.at(next)?.is_ascii_alphabetic() {
            return None;
        }
        let type_end = secret_name::run(self.bytes, next);
        if self.at(skip_blanks(self.bytes, type_end)) != Some(b'=') {
            return None;
        }
        self.annotated(next)
    }

    /// Redacts what is handed to a function that is named for a secret (`.password("X")`), whose
    /// name stands at `start..end`; returns where to go on.
    pub(super) fn setter(&mut self, start: usize, end: usize) -> Option<usize> {
        let name = self.bytes.get(start..end)?;
        let last = name.rsplit(|byte| *byte == b'.').next()?;
        let is_getter = GETTERS.iter().any(|getter| begins(last, getter));
        let inside = skip_blanks(self.bytes, end + 1);
        if self.at(end) != Some(b'(') || is_getter || !is_literal(self.bytes, inside) {
            return None;
        }
        self.literals(end + 1, b')', false)
    }
}

/// Returns whether a function takes a user and a password, by its name.
fn is_login(function: &[u8]) -> bool {
    let letters = function.iter().filter(|byte| **byte != b'_').count();
    LOGINS.iter().any(|login| {
        let mut letters = function.iter().rev().filter(|byte| **byte != b'_');
        login.iter().rev().all(|want| letters.next().is_some_and(|b| b.eq_ignore_ascii_case(want)))
    }) && letters >= 5
}

/// Returns the literal that goes on with a value whose own literal ends empty at `close`: the one
/// behind an operator (`'Token: ' + 'X'`), or the next one, as some languages join two that
/// stand side by side. A URL is none.
pub(super) fn continued(bytes: &[u8], close: usize) -> Option<Extent> {
    // `token = ("" "X")`.
    let close = match bytes.get(close) {
        Some(b'(') => {
            let first = skip_blanks(bytes, close + 1);
            let (inside, _) = literal::open(bytes, first);
            if inside == first {
                return None;
            }
            let extent = value::word(bytes, first, false);
            if extent.start < extent.end {
                return Some(extent);
            }
            extent.end
        }
        _ => close,
    };
    if !matches!(bytes.get(close), Some(b'"' | b'\'')) {
        return None;
    }
    // A blank that a backslash keeps.
    if bytes.get(close + 1..).is_some_and(|rest| rest.starts_with(b"\\ ")) {
        return Some(value::word(bytes, close + 3, false));
    }
    let mut next = skip_blanks(bytes, literal::closed(bytes, close));
    if matches!(bytes.get(next), Some(b'.' | b'+')) {
        next = skip_blanks(bytes, next + 1);
        if bytes.get(next) == Some(&b'(') {
            next = skip_blanks(bytes, next + 1);
        }
    }
    let (start, _) = literal::open(bytes, next);
    let is_url = bytes.get(start..).is_some_and(|rest| rest.starts_with(b"http"));
    (start > next && !is_url).then(|| value::word(bytes, next, false))
}
