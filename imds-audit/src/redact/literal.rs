//! Literals in quotes, in a shell and in other languages.

use super::{
    extent::{backslashes, skip_blanks},
    raw_string::RawString,
    scan_cost, secret_name,
};

/// The length of a quote between two others (`'"'"'`).
const REQUOTED: usize = 5;

/// A quote that encloses a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quote {
    byte: u8,
    /// It has a backslash before it, and so has its end.
    escaped: bool,
    /// It is `'"'"'` or `"'"'"`, as a script in quotes has it, and so is its end.
    requoted: bool,
    /// It is of a literal that ends with more than a quote.
    raw: Option<RawString>,
}

impl Quote {
    const fn plain(byte: u8) -> Self {
        Self { byte, escaped: false, requoted: false, raw: None }
    }
}

/// Returns how many letters stand at `start` before a quote that say what kind of literal it
/// encloses (`b'…'`, `rb'…'`, `N'…'`).
fn letters(bytes: &[u8], start: usize) -> usize {
    const LETTERS: &[u8] = b"bfruBFRUN";
    let rest = bytes.get(start..).unwrap_or_default();
    let count = rest.iter().take(3).take_while(|byte| LETTERS.contains(byte)).count();
    if count <= 2 && matches!(rest.get(count), Some(b'"' | b'\'')) { count } else { 0 }
}

/// Returns whether a literal in backticks stands at `start`, as JavaScript has it: one word. A
/// shell's command has a word for what to do and others for to what.
pub(super) fn is_template(bytes: &[u8], start: usize) -> bool {
    let Some(rest) = bytes.get(start..).and_then(|rest| rest.strip_prefix(b"`")) else {
        return false;
    };
    let end = scan_cost::position(rest, |byte| *byte == b'`' || byte.is_ascii_whitespace());
    end.is_some_and(|end| {
        let is_header =
            rest.get(end) == Some(&b' ') && rest.get(..end).is_some_and(secret_name::is_scheme);
        rest.get(end) == Some(&b'`') || is_header
    })
}

/// Returns the quote directly before `start`.
pub(super) fn opening_quote(bytes: &[u8], start: usize) -> Option<Quote> {
    let byte = *bytes.get(start.checked_sub(1)?)?;
    if matches!(byte, b'"' | b'\'')
        && let Some(from) = start.checked_sub(REQUOTED)
        && is_requoted(bytes, from, byte)
    {
        return Some(Quote { requoted: true, ..Quote::plain(byte) });
    }
    let escaped = start.checked_sub(2).and_then(|index| bytes.get(index)) == Some(&b'\\');
    matches!(byte, b'"' | b'\'').then_some(Quote { escaped, ..Quote::plain(byte) })
}

/// Returns whether a literal in quotes stands at `start`.
pub(super) fn is_literal(bytes: &[u8], start: usize) -> bool {
    open(bytes, start).0 > start
}

/// Returns where the quote that ends at `end` a name in quotes is over, which is `end` itself
/// where none stands there.
pub(super) fn closed(bytes: &[u8], end: usize) -> usize {
    let quote = end + backslashes(bytes, end);
    match bytes.get(quote) {
        Some(byte @ (b'"' | b'\'')) if is_requoted(bytes, quote, *byte) => quote + REQUOTED,
        Some(b'"' | b'\'') => quote + 1,
        _ => end,
    }
}

/// Returns where the word behind one that ends at `end` begins, also in a list of words in quotes
/// (`["--requirepass", "X"]`).
pub(super) fn next_word(bytes: &[u8], end: usize) -> usize {
    let close = closed(bytes, end);
    let next = skip_blanks(bytes, close);
    if close > end && bytes.get(next) == Some(&b',') { skip_blanks(bytes, next + 1) } else { next }
}

/// Steps over the quote at `start`, if there is one, and over the letters of a literal (`b'…'`).
pub(super) fn open(bytes: &[u8], start: usize) -> (usize, Option<Quote>) {
    let quote = start + backslashes(bytes, start);
    if let Some((content, raw)) = RawString::open(bytes, start) {
        return (content, Some(Quote { raw: Some(raw), ..Quote::plain(b'"') }));
    }
    let letters = letters(bytes, start);
    match bytes.get(start + letters..).unwrap_or_default() {
        [b'`', ..] if is_template(bytes, start) => (start + 1, Some(Quote::plain(b'`'))),
        [byte @ (b'"' | b'\''), ..] if is_requoted(bytes, start + letters, *byte) => {
            let quote = Quote { requoted: true, ..Quote::plain(*byte) };
            (start + letters + REQUOTED, Some(quote))
        }
        [byte @ (b'"' | b'\''), ..] if letters == 0 => (start + 1, Some(Quote::plain(*byte))),
        [byte @ (b'"' | b'\''), rest @ ..]
            if goes_on(bytes, start + letters + 1, *byte) || rest.starts_with(br"\''") =>
        {
            (start + letters + 1, Some(Quote::plain(*byte)))
        }
        // A shell's `$'…'`, `@"…"` and `$"…"` of C#.
        [b'$' | b'@', byte @ (b'"' | b'\''), ..] => (start + 2, Some(Quote::plain(*byte))),
        _ => match bytes.get(quote) {
            Some(byte @ (b'"' | b'\'')) => {
                (quote + 1, Some(Quote { escaped: true, ..Quote::plain(*byte) }))
            }
            _ => (start, None),
        },
    }
}

/// Returns where a value ends that may go on behind a quote, as `"a"b` does in a shell.
pub(super) fn end(bytes: &[u8], start: usize, mut quote: Option<Quote>) -> usize {
    let mut index = start;
    while let Some(byte) = bytes.get(index).copied() {
        scan_cost::count(1);
        let next = bytes.get(index + 1).copied();
        match (quote, byte) {
            (Some(Quote { raw: Some(raw), .. }), _) => {
                if raw.ends(bytes, index) {
                    return index;
                }
                index += 1;
            }
            (Some(open), _) if open.requoted => {
                if byte == open.byte && is_requoted(bytes, index, byte) {
                    return index;
                }
                index += 1;
            }
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
            // Another, which `shlex.quote` writes.
            (Some(open), _)
                if byte == open.byte && !open.escaped && is_requoted(bytes, index, byte) =>
            {
                index += REQUOTED;
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
                quote = Some(Quote::plain(byte));
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

/// Returns whether a quote is put between two quotes of its kind (`'"'"'`) at `index`.
fn is_requoted(bytes: &[u8], index: usize, quote: u8) -> bool {
    let other = if quote == b'"' { b'\'' } else { b'"' };
    bytes.get(index..).is_some_and(|rest| rest.starts_with(&[quote, other, quote, other, quote]))
}

/// Returns whether a word continues behind a quote: with a letter, or with another quote. One of
/// the other kind may also be the end of what the whole script stands in; then no letter follows.
fn goes_on(bytes: &[u8], index: usize, quote: u8) -> bool {
    let is_part = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || !byte.is_ascii()
            || matches!(
                byte,
                b'-' | b'_'
                    | b'+'
                    | b'/'
                    | b'='
                    | b'.'
                    | b'%'
                    | b'$'
                    | b'!'
                    | b'@'
                    | b'#'
                    | b'^'
                    | b'*'
                    | b'~'
            )
    };
    bytes.get(index).is_some_and(|byte| match byte {
        b'"' | b'\'' if *byte != quote => bytes.get(index + 1).is_some_and(is_part),
        _ => is_part(byte) || *byte == quote,
    })
}
