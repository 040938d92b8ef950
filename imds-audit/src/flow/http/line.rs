//! The first line of an HTTP/1 message.

use std::ops::Range;

/// The longest method; what is longer before the first space is not HTTP.
pub(super) const MAX_METHOD: usize = 32;
pub(super) const VERSION_PREFIX: &[u8] = b"HTTP/1.";

/// Reads `METHOD SP TARGET SP HTTP/1.x`. A target with spaces in it is kept whole: there are
/// servers that accept one.
pub(super) fn request_line(line: &[u8]) -> Option<(Range<usize>, Range<usize>, u8)> {
    let end = line.iter().rposition(|b| !matches!(b, b' ' | b'\t'))? + 1;
    let line = line.get(..end)?;
    let method = line.iter().position(|&b| b == b' ')?;
    let version = line.iter().rposition(|&b| b == b' ')?;
    let minor = minor_version(line.get(version + 1..)?)?;
    let target = line.get(method..version)?;
    let start = method + target.iter().position(|&b| b != b' ')?;
    let end = method + target.iter().rposition(|&b| b != b' ')? + 1;
    let plausible = method > 0 && method <= MAX_METHOD && line.get(..method)?.iter().all(is_tchar);
    plausible.then_some((0..method, start..end, minor))
}

/// Reads `HTTP/1.x SP 3DIGIT`, with or without a reason.
pub(super) fn status_line(line: &[u8]) -> Option<(u16, u8)> {
    let (version, rest) = line.split_at_checked(VERSION_PREFIX.len() + 1)?;
    let minor = minor_version(version)?;
    let [b' ', digits @ ..] = rest else { return None };
    let (digits, after) = digits.split_at_checked(3)?;
    if !matches!(after.first(), None | Some(b' ')) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let status = digits.iter().fold(0, |n, d| n * 10 + u16::from(d - b'0'));
    (status >= 100).then_some((status, minor))
}

fn minor_version(version: &[u8]) -> Option<u8> {
    match version.strip_prefix(VERSION_PREFIX)? {
        [digit @ b'0'..=b'9'] => Some(digit - b'0'),
        _ => None,
    }
}

/// Returns whether a byte may stand in a method (RFC 9110, section 5.6.2).
pub(super) fn is_tchar(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}
