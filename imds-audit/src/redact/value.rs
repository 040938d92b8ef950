//! Bounds of the value behind a secret's name.

use super::{
    extent::{Extent, begins, skip_blanks},
    literal::{self, Quote, end, is_literal, is_template, open},
    scan_cost,
    secret_name::{self, Bare},
};

/// How many brackets are skipped behind a quoted name.
const DEEPEST_NAME: usize = 3;

/// The longest name of a cookie that is looked for, in bytes.
const LONGEST_COOKIE: usize = 128;

/// The longest user's name that a colon and a password are looked for behind, quote included, in
/// bytes.
pub(super) const LONGEST_USER: usize = 128;

/// The shortest word that counts as a secret behind a bare name, in bytes.
const SHORTEST_BARE: usize = 16;

/// What stands between a name and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Separator {
    /// Where the value starts, its quote included.
    pub value: usize,
    /// The name stood in quotes of its own, as in JSON.
    pub quoted_name: bool,
    /// It is a comma, as in a list or a call.
    pub is_comma: bool,
}

/// Makes an extent, empty where a command's output stands at its start: the end is not even
/// looked for, because the text inside is read again and one end would be found many times.
fn extent(bytes: &[u8], start: usize, end: impl FnOnce() -> usize) -> Extent {
    if is_substitution(bytes, start + scheme(bytes, start)) {
        return Extent { start, end: start };
    }
    Extent { start, end: end() }
}

/// Returns the token behind the quote at `close` of a header that ends with its scheme
/// (`'Authorization: Bearer' X`).
pub(super) fn split_token(bytes: &[u8], close: usize) -> Option<Extent> {
    if !matches!(bytes.get(close), Some(b'"' | b'\'')) {
        return None;
    }
    // A blank that a backslash keeps.
    let kept = usize::from(bytes.get(close + 1) == Some(&b'\\'));
    let next = skip_blanks(bytes, close + 1 + kept);
    let token = word(bytes, next, false);
    let text = bytes.get(token.start..token.end)?;
    let begins = text.first().is_some_and(u8::is_ascii_alphanumeric);
    let is_token =
        begins && next > close + 1 && !text.starts_with(b"-") && !text.starts_with(b"http");
    is_token.then_some(token)
}

/// Returns the length of the scheme and the blanks behind it that a value starts with.
pub(super) fn scheme(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    let word = rest.iter().take(20).position(|byte| *byte == b' ').unwrap_or(0);
    if secret_name::is_scheme(rest.get(..word).unwrap_or_default()) {
        skip_blanks(bytes, start + word) - start
    } else {
        0
    }
}

/// Returns whether a command's output stands at `start`: its text is read like any other.
pub(super) fn is_substitution(bytes: &[u8], start: usize) -> bool {
    let rest = bytes.get(start..).unwrap_or_default();
    rest.starts_with(b"$(") || (rest.starts_with(b"`") && !is_template(bytes, start))
}

/// Returns where the variable (`$NAME`, `${NAME}`) that stands at `start` ends. Of
/// `${NAME:-default}` only the name counts: the default may be a secret.
pub(super) fn expression(bytes: &[u8], start: usize) -> Option<usize> {
    let rest = bytes.get(start..)?.strip_prefix(b"$")?;
    let (brace, name) = match rest.strip_prefix(b"{") {
        Some(name) => (1, name),
        None => (0, rest),
    };
    // PowerShell's `$env:NAME`.
    let scope = if begins(name, b"env:") { b"env:".len() } else { 0 };
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let rest = name.get(scope..)?;
    let length = scope + scan_cost::position(rest, |byte| !is_part(byte)).unwrap_or(rest.len());
    if length == scope || (brace == 0 && name.first().is_some_and(u8::is_ascii_digit) && length > 1)
    {
        return None;
    }
    let end = start + 1 + brace + length;
    Some(if brace == 1 && bytes.get(end) == Some(&b'}') { end + 1 } else { end })
}

/// Returns what stands between the name that ends at `end` and its value: `:`, `=`, `=>`, `:=`,
/// `+=` or `?=`, and behind a quoted name a comma, or brackets (`h['name'] =`) and `=`.
pub(super) fn separator(bytes: &[u8], end: usize) -> Option<Separator> {
    let at = |index: usize| bytes.get(index).copied();
    let close = literal::closed(bytes, end);
    let quoted_name = close > end;
    let mut mark = skip_blanks(bytes, close);
    if quoted_name {
        let closed = (0..DEEPEST_NAME).fold(mark, |index, _| match at(index) {
            Some(b']' | b')' | b'}') => skip_blanks(bytes, index + 1),
            _ => index,
        });
        if closed > mark && at(closed) != Some(b'=') && default(bytes, closed).is_none() {
            return None;
        }
        mark = closed;
    }
    if let Some(value) = default(bytes, mark) {
        return Some(Separator { value, quoted_name, is_comma: false });
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
        let blank = scan_cost::position(rest, |byte| !byte.is_ascii_whitespace());
        let next = value + blank.unwrap_or(rest.len());
        if is_literal(bytes, next) {
            value = next;
        }
    }
    // A blank that a backslash keeps.
    if at(value) == Some(b'\\') && at(value + 1) == Some(b' ') {
        value = skip_blanks(bytes, value + 2);
    }
    Some(Separator { value, quoted_name, is_comma: at(mark) == Some(b',') })
}

/// Returns where the literal begins behind an operator that has a value's default
/// (`TOKEN || "X"`, `token ||= "X"`), or that assigns it in R.
pub(super) fn default(bytes: &[u8], start: usize) -> Option<usize> {
    const OPERATORS: [&[u8]; 7] = [b"||=", b"||", b"??=", b"??", b"?:", b"or ", b"<-"];
    let rest = bytes.get(start..)?;
    if !matches!(rest.first(), Some(b'|' | b'?' | b'o' | b'<')) {
        return None;
    }
    let operator = OPERATORS.iter().find(|operator| rest.starts_with(operator))?;
    let value = skip_blanks(bytes, start + operator.len());
    is_literal(bytes, value).then_some(value)
}

/// Returns where the value begins whose separator from the name that ends at `end` is escaped as
/// in a URL (`token%3D`, `Token%3A%20`).
pub(super) fn escaped_separator(bytes: &[u8], end: usize) -> Option<usize> {
    let rest = bytes.get(end..)?;
    // `password&quot;:&quot;X`.
    if let Some(rest) = rest.strip_prefix(b"&quot;") {
        let value = rest.strip_prefix(b":").or(rest.strip_prefix(b"="))?.trim_ascii_start();
        let value = value.strip_prefix(b"&quot;").unwrap_or(value);
        return Some(bytes.len() - value.len());
    }
    // JSON in a URL has its quotes escaped too.
    let rest = rest.strip_prefix(b"%22").unwrap_or(rest).strip_prefix(b"%3")?;
    let value = match rest {
        [b'D' | b'd' | b'A' | b'a', value @ ..] => value,
        _ => return None,
    };
    let value = value.strip_prefix(b"%20").or(value.strip_prefix(b"+")).unwrap_or(value);
    let value = value.strip_prefix(b"%22").unwrap_or(value);
    Some(bytes.len() - value.len())
}

/// Returns a value that `quote` encloses, opened before `start`.
pub(super) fn quoted(bytes: &[u8], start: usize, quote: Quote) -> Extent {
    extent(bytes, start, || end(bytes, start, Some(quote)))
}

/// Returns a value of one shell word; with `whole` it is the rest of the text.
pub(super) fn word(bytes: &[u8], start: usize, whole: bool) -> Extent {
    if whole {
        return Extent { start, end: bytes.len() };
    }
    let (start, quote) = open(bytes, start);
    extent(bytes, start, || end(bytes, start, quote))
}

/// Returns the rest of the word at `start` from `from` on.
pub(super) fn word_from(bytes: &[u8], start: usize, from: usize) -> Extent {
    if from == start {
        return word(bytes, start, false);
    }
    let (_, quote) = open(bytes, start);
    Extent { start: from, end: end(bytes, from, quote) }
}

/// Returns a value that runs to the end of its quotes, or without any to the end of the line
/// or to the quote that closes around it.
pub(super) fn line(bytes: &[u8], start: usize) -> Extent {
    let (start, quote) = open(bytes, start);
    if quote.is_some() {
        return extent(bytes, start, || end(bytes, start, quote));
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
    scan_cost::count(length);
    Extent { start, end: start + length }
}

/// Returns a value of a query's parameter.
pub(super) fn parameter(bytes: &[u8], start: usize) -> Extent {
    let is_end = |byte: &u8| {
        matches!(byte, b'&' | b'#' | b'"' | b'\'' | b'`' | b'\\' | b'<' | b'>')
            || byte.is_ascii_whitespace()
    };
    extent(bytes, start, || {
        let rest = bytes.get(start..).unwrap_or_default();
        start + scan_cost::position(rest, is_end).unwrap_or(rest.len())
    })
}

/// Returns whether `name=…` stands at `start`, perhaps quoted; else it is the name of a file.
pub(super) fn is_cookie(bytes: &[u8], start: usize) -> bool {
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
pub(super) fn is_bare(bytes: &[u8], start: usize, bare: Bare) -> bool {
    let (start, _) = open(bytes, start);
    let rest = bytes.get(start..).unwrap_or_default();
    let is_part = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'_' | b'-' | b'.')
    };
    let length = scan_cost::position(rest, |byte| !is_part(byte)).unwrap_or(rest.len());
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
pub(super) fn is_ports(text: &[u8]) -> bool {
    text.contains(&b':') && text.iter().all(|b| b.is_ascii_digit() || matches!(b, b':' | b'.'))
}

/// Returns whether a value is the path of a file that has the secret.
pub(super) fn is_path(value: &[u8]) -> bool {
    const TOPS: [&[u8]; 22] = [
        b"file://",
        b"fileb://",
        b"/etc/",
        b"/run/",
        b"/var/",
        b"/home/",
        b"/root/",
        b"/tmp/",
        b"/opt/",
        b"/usr/",
        b"/mnt/",
        b"/srv/",
        b"/secrets/",
        b"/dev/",
        b"/proc/",
        b"/data/",
        b"/app/",
        b"/vault/",
        b"/config/",
        b"./",
        b"../",
        b"~/",
    ];
    const ENDINGS: [&[u8]; 8] =
        [b".pem", b".key", b".p12", b".pfx", b".jks", b".crt", b".json", b".txt"];
    TOPS.iter().any(|top| value.starts_with(top))
        || (value.len() <= 128 && ENDINGS.iter().any(|ending| value.ends_with(ending)))
}

/// Returns whether a value only says that there is no secret, or names its kind.
pub(super) fn is_harmless(value: &[u8]) -> bool {
    const HARMLESS: [&[u8]; 16] = [
        b"seconds",
        b"minutes",
        b"hours",
        b"days",
        b"true",
        b"false",
        b"null",
        b"none",
        b"nil",
        b"undefined",
        b"yes",
        b"no",
        b"basic",
        b"digest",
        b"required",
        b"optional",
    ];
    let is_digit = matches!(value, [byte] if byte.is_ascii_digit());
    is_digit || value.len() <= 9 && HARMLESS.iter().any(|word| value.eq_ignore_ascii_case(word))
}
