//! Where the value behind a secret's name begins and ends.

use super::{key::Bare, work};

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

/// A quote that encloses a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    byte: u8,
    /// It has a backslash before it, and so has its end.
    escaped: bool,
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
    rest.starts_with(b"$(") || rest.starts_with(b"`")
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
    let escaped = at(end) == Some(b'\\') && matches!(at(end + 1), Some(b'"' | b'\''));
    let quoted_name = escaped || matches!(at(end), Some(b'"' | b'\''));
    let close = end + usize::from(escaped) + usize::from(quoted_name);
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
    // A blank that a backslash keeps.
    if at(value) == Some(b'\\') && at(value + 1) == Some(b' ') {
        value = skip_blanks(bytes, value + 2);
    }
    Some(Separator { value, quoted_name })
}

/// Returns where the blanks at `start` end.
pub fn skip_blanks(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    start + work::position(rest, |byte| !matches!(byte, b' ' | b'\t')).unwrap_or(rest.len())
}

/// Returns the quote directly before `start`.
pub fn opening_quote(bytes: &[u8], start: usize) -> Option<Quote> {
    let byte = *bytes.get(start.checked_sub(1)?)?;
    let escaped = start.checked_sub(2).and_then(|index| bytes.get(index)) == Some(&b'\\');
    matches!(byte, b'"' | b'\'').then_some(Quote { byte, escaped })
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

/// Returns whether a literal in quotes stands at `start`.
pub fn is_literal(bytes: &[u8], start: usize) -> bool {
    open(bytes, start).0 > start
}

/// Returns the literal that goes on with a value whose own literal ends empty at `close`: the one
/// behind an operator (`'Token: ' + 'X'`), or the next one, as some languages join two that
/// stand side by side. A URL is none.
pub fn continued(bytes: &[u8], close: usize) -> Option<Extent> {
    // `token = ("" "X")`.
    let close = match bytes.get(close) {
        Some(b'(') => {
            let first = skip_blanks(bytes, close + 1);
            let (inside, _) = open(bytes, first);
            if inside == first {
                return None;
            }
            let extent = word(bytes, first, false);
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
    let mut next = skip_blanks(bytes, close + 1);
    if matches!(bytes.get(next), Some(b'.' | b'+')) {
        next = skip_blanks(bytes, next + 1);
        if bytes.get(next) == Some(&b'(') {
            next = skip_blanks(bytes, next + 1);
        }
    }
    let (start, _) = open(bytes, next);
    let is_url = bytes.get(start..).is_some_and(|rest| rest.starts_with(b"http"));
    (start > next && !is_url).then(|| word(bytes, next, false))
}

/// Steps over the quote at `start`, if there is one, and over the letter of a literal (`b'…'`).
fn open(bytes: &[u8], start: usize) -> (usize, Option<Quote>) {
    match bytes.get(start..).unwrap_or_default() {
        [byte @ (b'"' | b'\''), ..] => (start + 1, Some(Quote { byte: *byte, escaped: false })),
        [b'b' | b'f' | b'r' | b'u', byte @ (b'"' | b'\''), ..]
            if goes_on(bytes, start + 2, *byte) =>
        {
            (start + 2, Some(Quote { byte: *byte, escaped: false }))
        }
        [b'\\', byte @ (b'"' | b'\''), ..] => {
            (start + 2, Some(Quote { byte: *byte, escaped: true }))
        }
        _ => (start, None),
    }
}

/// Returns where a value ends that may go on behind a quote, as `"a"b` does in a shell.
fn end(bytes: &[u8], start: usize, mut quote: Option<Quote>) -> usize {
    let mut index = start;
    while let Some(byte) = bytes.get(index).copied() {
        work::count(1);
        let next = bytes.get(index + 1).copied();
        match (quote, byte) {
            (Some(open), b'\\') if open.escaped && next == Some(open.byte) => {
                if !goes_on(bytes, index + 2, open.byte) {
                    return index;
                }
                quote = None;
                index += 2;
            }
            (Some(open), b'\\') if open.byte == b'"' && !open.escaped => index += 2,
            // A shell's way to put a single quote between single quotes.
            (Some(open), b'\'')
                if open.byte == byte
                    && !open.escaped
                    && bytes.get(index..).is_some_and(|rest| rest.starts_with(b"'\\''")) =>
            {
                index += 4;
            }
            (Some(open), _) if byte == open.byte && !open.escaped => {
                if !goes_on(bytes, index + 1, open.byte) {
                    return index;
                }
                quote = None;
                index += 1;
            }
            (Some(_), _) => index += 1,
            (None, b'"' | b'\'') => {
                if !goes_on(bytes, index + 1, byte) {
                    return index;
                }
                quote = Some(Quote { byte, escaped: false });
                index += 1;
            }
            (None, b'\\') if matches!(next, Some(b'"' | b'\'' | b'n' | b'r' | b'\n')) => {
                return index;
            }
            (None, b'\\') => index += 2,
            (None, b';' | b'|' | b'&' | b'<' | b'>' | b'(' | b')' | b'`') => return index,
            (None, _) if byte.is_ascii_whitespace() => return index,
            (None, _) => index += 1,
        }
    }
    bytes.len()
}

/// Returns whether a word continues behind a quote: with a letter, or with another quote. One of
/// the other kind may also be the end of what the whole script stands in; then no letter follows.
fn goes_on(bytes: &[u8], index: usize, quote: u8) -> bool {
    let is_part = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || !byte.is_ascii()
            || matches!(byte, b'-' | b'_' | b'+' | b'/' | b'=' | b'.' | b'%' | b'$')
    };
    bytes.get(index).is_some_and(|byte| match byte {
        b'"' | b'\'' if *byte != quote => bytes.get(index + 1).is_some_and(is_part),
        _ => is_part(byte) || *byte == quote,
    })
}
