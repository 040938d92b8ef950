//! Literals in quotes, in a shell and in other languages.

use super::{
    key,
    value::{Extent, skip_blanks, word},
    work,
};

/// How many calls (`str(bytes("X"))`) are looked into for a literal.
const DEEPEST_CALL: usize = 3;

/// How many backslashes may stand before a quote: a script in a script in a script.
const MOST_BACKSLASHES: usize = 7;

/// A quote that encloses a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    byte: u8,
    /// It has a backslash before it, and so has its end.
    escaped: bool,
}

/// Returns whether a literal in backticks stands at `start`, as JavaScript has it: one word. A
/// shell's command has a word for what to do and others for to what.
pub fn is_template(bytes: &[u8], start: usize) -> bool {
    let Some(rest) = bytes.get(start..).and_then(|rest| rest.strip_prefix(b"`")) else {
        return false;
    };
    let end = work::position(rest, |byte| *byte == b'`' || byte.is_ascii_whitespace());
    end.is_some_and(|end| rest.get(end) == Some(&b'`'))
}

/// Returns the quote directly before `start`.
pub fn opening_quote(bytes: &[u8], start: usize) -> Option<Quote> {
    let byte = *bytes.get(start.checked_sub(1)?)?;
    let escaped = start.checked_sub(2).and_then(|index| bytes.get(index)) == Some(&b'\\');
    matches!(byte, b'"' | b'\'').then_some(Quote { byte, escaped })
}

/// Returns whether a literal in quotes stands at `start`.
pub fn is_literal(bytes: &[u8], start: usize) -> bool {
    open(bytes, start).0 > start
}

/// Returns the literal that is handed to the function whose name ends at `end`, perhaps through
/// others: `str("X")`.
pub fn handed(bytes: &[u8], end: usize) -> Option<Extent> {
    let mut open = end;
    for _ in 0..DEEPEST_CALL {
        if bytes.get(open) != Some(&b'(') {
            return None;
        }
        let inside = skip_blanks(bytes, open + 1);
        if is_literal(bytes, inside) {
            return Some(word(bytes, inside, false));
        }
        open = key::run(bytes, inside);
    }
    None
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

/// Returns how many backslashes stand at `start` before a quote.
pub fn backslashes(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start..).unwrap_or_default().iter().take(MOST_BACKSLASHES);
    rest.take_while(|byte| **byte == b'\\').count()
}

/// Steps over the quote at `start`, if there is one, and over the letter of a literal (`b'…'`).
pub fn open(bytes: &[u8], start: usize) -> (usize, Option<Quote>) {
    let quote = start + backslashes(bytes, start);
    match bytes.get(start..).unwrap_or_default() {
        [b'`', ..] if is_template(bytes, start) => {
            (start + 1, Some(Quote { byte: b'`', escaped: false }))
        }
        [byte @ (b'"' | b'\''), ..] => (start + 1, Some(Quote { byte: *byte, escaped: false })),
        [b'b' | b'f' | b'r' | b'u', byte @ (b'"' | b'\''), ..]
            if goes_on(bytes, start + 2, *byte) =>
        {
            (start + 2, Some(Quote { byte: *byte, escaped: false }))
        }
        _ => match bytes.get(quote) {
            Some(byte @ (b'"' | b'\'')) => (quote + 1, Some(Quote { byte: *byte, escaped: true })),
            _ => (start, None),
        },
    }
}

/// Returns where a value ends that may go on behind a quote, as `"a"b` does in a shell.
pub fn end(bytes: &[u8], start: usize, mut quote: Option<Quote>) -> usize {
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
            (None, b'\\') if matches!(next, Some(b'"' | b'\'' | b'n' | b'r')) => return index,
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
