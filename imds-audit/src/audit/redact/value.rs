//! Where the value behind a secret's name begins and ends.

use super::{
    key::Bare,
    literal::{Quote, backslashes, end, is_literal, is_template, open},
    work,
};

/// How many brackets are skipped behind a quoted name.
const DEEPEST_NAME: usize = 3;

/// The longest name of a cookie that is looked for, in bytes.
const LONGEST_COOKIE: usize = 128;

/// The shortest word that counts as a secret behind a bare name, in bytes.
const SHORTEST_BARE: usize = 16;

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The first byte.
    pub start: usize,
    /// The byte behind the last.
    pub end: usize,
}

/// What stands between a name and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Separator {
    /// Where the value starts, its quote included.
    pub value: usize,
    /// The name stood in quotes of its own, as in JSON.
    pub quoted_name: bool,
}

impl Extent {
    /// Makes an extent, empty where a command's output stands at its start: the end is not even
    /// looked for, as the text inside is read again and one end would be found many times.
    fn new(bytes: &[u8], start: usize, end: impl FnOnce() -> usize) -> Self {
        if is_substitution(bytes, start + scheme(bytes, start)) {
            return Self { start, end: start };
        }
        Self { start, end: end() }
    }
}

const SCHEMES: [&[u8]; 7] =
    [b"Bearer", b"Basic", b"Digest", b"Negotiate", b"Token", b"AWS4-HMAC-SHA256", b"ApiKey"];

/// Returns whether a text is the name of an authentication scheme.
pub fn is_scheme(bytes: &[u8]) -> bool {
    SCHEMES.iter().any(|scheme| bytes.eq_ignore_ascii_case(scheme))
}

/// Returns the length of the scheme and the blanks behind it that a value starts with.
pub fn scheme(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    let word = rest.iter().take(20).position(|byte| *byte == b' ').unwrap_or(0);
    if is_scheme(rest.get(..word).unwrap_or_default()) {
        skip_blanks(bytes, start + word) - start
    } else {
        0
    }
}

/// Returns whether a command's output stands at `start`: its text is read like any other.
pub fn is_substitution(bytes: &[u8], start: usize) -> bool {
    let rest = bytes.get(start..).unwrap_or_default();
    rest.starts_with(b"$(") || (rest.starts_with(b"`") && !is_template(bytes, start))
}

/// Returns where the variable (`$NAME`, `${NAME}`) that stands at `start` ends. Of
/// `${NAME:-default}` only the name counts: the default may be a secret.
pub fn expression(bytes: &[u8], start: usize) -> Option<usize> {
    let rest = bytes.get(start..)?.strip_prefix(b"$")?;
    let (brace, name) = match rest.strip_prefix(b"{") {
        Some(name) => (1, name),
        None => (0, rest),
    };
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let length = work::position(name, |byte| !is_part(byte)).unwrap_or(name.len());
    if length == 0 || (brace == 0 && name.first().is_some_and(u8::is_ascii_digit) && length > 1) {
        return None;
    }
    let end = start + 1 + brace + length;
    Some(if brace == 1 && bytes.get(end) == Some(&b'}') { end + 1 } else { end })
}

/// Returns what stands between the name that ends at `end` and its value: `:`, `=`, `=>`, `:=`,
/// `+=` or `?=`, and behind a quoted name a comma, or brackets (`h['name'] =`) and `=`.
pub fn separator(bytes: &[u8], end: usize) -> Option<Separator> {
    let at = |index: usize| bytes.get(index).copied();
    let quote = end + backslashes(bytes, end);
    let quoted_name = matches!(at(quote), Some(b'"' | b'\''));
    let close = if quoted_name { quote + 1 } else { end };
    let mut mark = skip_blanks(bytes, close);
    if quoted_name {
        let closed = (0..DEEPEST_NAME).fold(mark, |index, _| match at(index) {
            Some(b']' | b')' | b'}') => skip_blanks(bytes, index + 1),
            _ => index,
        });
        if closed > mark && at(closed) != Some(b'=') {
            return None;
        }
        mark = closed;
    }
    let adjacent = mark == close;
    if matches!(at(mark), Some(b'+' | b'?')) && at(mark + 1) == Some(b'=') {
        mark += 1;
    }
    match at(mark)? {
        b':' if at(mark + 1) != Some(b':') => {}
        b'=' => {
            // `TOKEN= command` sets it to nothing; `token = "…"` is code.
            if adjacent && matches!(at(mark + 1), Some(b' ' | b'\t')) {
                return None;
            }
        }
        b',' if quoted_name => {}
        _ => return None,
    }
    let behind = if at(mark + 1) == Some(b'>') { mark + 2 } else { mark + 1 };
    let behind = if at(behind) == Some(b'=') && behind == mark + 1 { behind + 1 } else { behind };
    let mut value = skip_blanks(bytes, behind);
    // A literal on the next line; a shell's `TOKEN=` ends with its own.
    if matches!(at(value), Some(b'\r' | b'\n')) && !(adjacent && at(mark) == Some(b'=')) {
        let rest = bytes.get(value..).unwrap_or_default();
        let blank = work::position(rest, |byte| !byte.is_ascii_whitespace());
        let next = value + blank.unwrap_or(rest.len());
        if is_literal(bytes, next) {
            value = next;
        }
    }
    // A blank that a backslash keeps.
    if at(value) == Some(b'\\') && at(value + 1) == Some(b' ') {
        value = skip_blanks(bytes, value + 2);
    }
    Some(Separator { value, quoted_name })
}

/// Returns where the value begins whose separator from the name that ends at `end` is escaped as
/// in a URL (`token%3D`, `Token%3A%20`).
pub fn escaped_separator(bytes: &[u8], end: usize) -> Option<usize> {
    let rest = bytes.get(end..)?.strip_prefix(b"%3")?;
    let value = match rest {
        [b'D' | b'd' | b'A' | b'a', value @ ..] => value,
        _ => return None,
    };
    let value = value.strip_prefix(b"%20").or(value.strip_prefix(b"+")).unwrap_or(value);
    Some(bytes.len() - value.len())
}

/// Returns the text of an element of XML whose name stands at `start..end`.
pub fn element(bytes: &[u8], start: usize, end: usize) -> Option<Extent> {
    let opens = start.checked_sub(1).and_then(|before| bytes.get(before)) == Some(&b'<');
    let text = bytes.get(end..)?.strip_prefix(b">").filter(|_| opens)?;
    let length = work::position(text, |byte| *byte == b'<').unwrap_or(text.len());
    Some(Extent { start: end + 1, end: end + 1 + length })
}

/// Returns where the blanks at `start` end.
pub fn skip_blanks(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    start + work::position(rest, |byte| !matches!(byte, b' ' | b'\t')).unwrap_or(rest.len())
}

/// Returns a value that `quote` encloses, opened before `start`.
pub fn quoted(bytes: &[u8], start: usize, quote: Quote) -> Extent {
    Extent::new(bytes, start, || end(bytes, start, Some(quote)))
}

/// Returns a value of one shell word; with `whole` it is the rest of the text.
pub fn word(bytes: &[u8], start: usize, whole: bool) -> Extent {
    if whole {
        return Extent { start, end: bytes.len() };
    }
    let (start, quote) = open(bytes, start);
    Extent::new(bytes, start, || end(bytes, start, quote))
}

/// Returns a value that runs to the end of its quotes, or without any to the end of the line
/// or to the quote that closes around it.
pub fn line(bytes: &[u8], start: usize) -> Extent {
    let (start, quote) = open(bytes, start);
    if quote.is_some() {
        return Extent::new(bytes, start, || end(bytes, start, quote));
    }
    let rest = bytes.get(start..).unwrap_or_default();
    let length = rest
        .iter()
        .enumerate()
        .position(|(index, byte)| match byte {
            b'\n' | b'\r' | b'"' | b'\'' => true,
            b'\\' => matches!(rest.get(index + 1), Some(b'n' | b'r' | b'"' | b'\'')),
            b'$' => rest.get(index + 1) == Some(&b'('),
            b'`' => true,
            _ => false,
        })
        .unwrap_or(rest.len());
    work::count(length);
    Extent { start, end: start + length }
}

/// Returns a value of a query's parameter.
pub fn parameter(bytes: &[u8], start: usize) -> Extent {
    let is_end = |byte: &u8| {
        matches!(byte, b'&' | b'#' | b'"' | b'\'' | b'`' | b'\\' | b'<' | b'>')
            || byte.is_ascii_whitespace()
    };
    Extent::new(bytes, start, || {
        let rest = bytes.get(start..).unwrap_or_default();
        start + work::position(rest, is_end).unwrap_or(rest.len())
    })
}

/// Returns whether `name=…` stands at `start`, perhaps quoted; else it is the name of a file.
pub fn is_cookie(bytes: &[u8], start: usize) -> bool {
    let (start, _) = open(bytes, start);
    let name = bytes.get(start..).unwrap_or_default();
    let mut name = name.iter().take(LONGEST_COOKIE);
    name.find(|byte| {
        matches!(byte, b'=' | b'/' | b'"' | b'\'' | b';' | b'|' | b'&' | b'(' | b'`')
            || byte.is_ascii_whitespace()
    }) == Some(&b'=')
}

/// Returns whether the word at `start` is long enough for a secret behind a bare name and is not
/// the name of a variable in capitals. Behind a name that is a word of any text it must have
/// letters and digits too, and be no path.
pub fn is_bare(bytes: &[u8], start: usize, bare: Bare) -> bool {
    let (start, _) = open(bytes, start);
    let rest = bytes.get(start..).unwrap_or_default();
    let is_part = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'_' | b'-' | b'.')
    };
    let length = work::position(rest, |byte| !is_part(byte)).unwrap_or(rest.len());
    let word = rest.get(..length).unwrap_or_default();
    let looks_like_one = word.iter().any(u8::is_ascii_digit)
        && word.iter().any(u8::is_ascii_alphabetic)
        && !matches!(word.first(), Some(b'/' | b'.'));
    length >= SHORTEST_BARE
        && !word.starts_with(b"-")
        && !word.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_')
        && (bare == Bare::Joined || looks_like_one)
}

/// Returns whether a text is a mapping of ports (`127.0.0.1:80:8080`), which `-p` also takes.
pub fn is_ports(text: &[u8]) -> bool {
    text.contains(&b':') && text.iter().all(|b| b.is_ascii_digit() || matches!(b, b':' | b'.'))
}

/// Returns whether a place for a value (`%s`) stands at `start`.
pub fn is_place(bytes: &[u8], start: usize) -> bool {
    let rest = bytes.get(start..).unwrap_or_default();
    rest.strip_prefix(b"%s").is_some_and(|rest| match rest {
        [] | [b'"' | b'\'' | b',' | b'&', ..] => true,
        [b'\\', next, ..] => matches!(next, b'r' | b'n' | b't' | b'"'),
        _ => false,
    })
}
