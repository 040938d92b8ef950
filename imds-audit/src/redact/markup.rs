//! Values in notations other than a shell's: elements of XML, blocks of YAML, literals of Ruby and
//! Perl, places in a format.

use super::{extent::Extent, scan_cost, secret_name};

/// The longest place in a format, in bytes.
const LONGEST_PLACE: usize = 40;

/// How far right a key of YAML may stand, in bytes.
const DEEPEST_KEY: usize = 256;

/// The longest tag of XML that is looked through, in bytes.
const LONGEST_TAG: usize = 128;

/// Returns the text of an element of XML whose name stands at `start..end`, perhaps with a prefix
/// or attributes, or one of whose attributes names it (`<entry key="token">X`).
pub(super) fn element(bytes: &[u8], start: usize, end: usize) -> Option<Extent> {
    let close = match bytes.get(end)? {
        b'>' => end,
        b' ' => {
            let near = bytes.get(end..(end + LONGEST_TAG).min(bytes.len()))?;
            let opens = start.checked_sub(1).and_then(|before| bytes.get(before)).copied();
            let opens = matches!(opens, Some(b'<' | b':'));
            let close = scan_cost::position(near, |byte| matches!(byte, b'<' | b'>'));
            end + close.filter(|close| opens && near.get(*close) == Some(&b'>'))?
        }
        b'"' | b'\'' if bytes.get(end + 1) == Some(&b'>') => end + 1,
        _ => return None,
    };
    let before = bytes.get(start.saturating_sub(LONGEST_TAG)..start)?;
    let open = before.iter().rposition(|byte| matches!(byte, b'<' | b'>'))?;
    let between = before.get(open + 1..)?;
    let is_prefix = between.last().is_none_or(|byte| *byte == b':')
        && between.iter().all(|byte| secret_name::is_name(*byte) || *byte == b':');
    if before.get(open) != Some(&b'<') || (bytes.get(end) != Some(&b'"') && !is_prefix) {
        return None;
    }
    let text = bytes.get(close + 1..)?;
    let length = scan_cost::position(text, |byte| *byte == b'<').unwrap_or(text.len());
    Some(Extent { start: close + 1, end: close + 1 + length })
}

/// Returns where the place for a value that stands at `start` ends: `%s` of printf with flags and
/// width, `%(name)s` of Python, `{}` and `{name}` of `str.format`.
pub(super) fn place(bytes: &[u8], start: usize) -> Option<usize> {
    let near = bytes.get(start..(start + LONGEST_PLACE).min(bytes.len()))?;
    let length = match near {
        [b'%', rest @ ..] => {
            let name = match rest.first() {
                Some(b'(') => rest.iter().position(|byte| *byte == b')')? + 1,
                _ => 0,
            };
            let rest = rest.get(name..)?;
            let is_flag = |byte: &u8| {
                byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'#' | b'.' | b'*' | b'$')
            };
            let flags = rest.iter().position(|byte| !is_flag(byte))?;
            let is_conversion = rest.get(flags).is_some_and(|byte| {
                matches!(
                    byte,
                    b's' | b'b' | b'q' | b'r' | b'v' | b'd' | b'i' | b'u' | b'x' | b'c' | b'a'
                )
            });
            is_conversion.then_some(name + flags + 2)?
        }
        [b'{', rest @ ..] => {
            let close = rest.iter().position(|byte| *byte == b'}')?;
            let name = rest.get(..close)?;
            let is_part = |byte: &u8| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'!' | b':')
            };
            let is_name = name
                .first()
                .is_none_or(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b':'));
            let is_number = name.len() <= 2 && name.iter().all(u8::is_ascii_digit);
            ((is_name || is_number) && name.iter().all(is_part)).then_some(close + 2)?
        }
        _ => return None,
    };
    let is_end = match near.get(length..).unwrap_or_default() {
        [] | [b'"' | b'\'' | b',' | b'&' | b' ' | b'`' | b'\n' | b'\r' | b';', ..] => true,
        [b'\\', next, ..] => matches!(next, b'r' | b'n' | b't' | b'"' | b'\''),
        _ => false,
    };
    is_end.then_some(start + length)
}

/// Returns the text of a literal of Ruby or Perl whose delimiters follow a letter: `%q(X)`,
/// `%(X)`, `qq{X}`, `q/X/`.
pub(super) fn percent_literal(bytes: &[u8], start: usize) -> Option<Extent> {
    let rest = bytes.get(start..)?;
    let letters = match rest {
        [b'%', b'q' | b'Q' | b'w' | b'W', ..] | [b'q', b'q', ..] => 2,
        [b'%' | b'q', ..] => 1,
        _ => return None,
    };
    let close = match rest.get(letters)? {
        b'(' => b')',
        b'{' => b'}',
        b'[' => b']',
        b'<' => b'>',
        mark @ (b'/' | b'|' | b'!' | b'~' | b'#')
            if letters == 2 || rest.first() == Some(&b'q') =>
        {
            *mark
        }
        _ => return None,
    };
    let from = start + letters + 1;
    let text = bytes.get(from..)?;
    let length = scan_cost::position(text, |byte| *byte == close || *byte == b'\n');
    Some(Extent { start: from, end: from + length.unwrap_or(text.len()) })
}

/// Returns the lines of a block of YAML (`key: |`) that stand further right than its key, which
/// begins at `key`; the mark stands at `start`.
pub(super) fn block(bytes: &[u8], key: usize, start: usize) -> Option<Extent> {
    let rest = bytes.get(start + 1..)?;
    let is_mark = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b' ' | b'\r');
    let marks = scan_cost::position(rest, |byte| !is_mark(byte))?;
    if rest.get(marks) != Some(&b'\n') {
        return None;
    }
    let line = bytes.get(..key)?;
    let line = line.get(line.len().saturating_sub(DEEPEST_KEY)..)?;
    let line = line.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let indent = line.iter().take_while(|byte| matches!(byte, b' ' | b'-')).count();
    let first = start + 1 + marks + 1;
    let mut end = first;
    let mut text = None;
    for line in bytes.get(first..)?.split_inclusive(|byte| *byte == b'\n') {
        scan_cost::count(line.len());
        let blanks = line.iter().take_while(|byte| **byte == b' ').count();
        let is_blank = line.trim_ascii().is_empty();
        if !is_blank && blanks <= indent {
            break;
        }
        if !is_blank && text.is_none() {
            text = Some(end + blanks);
        }
        end += line.len();
    }
    let end = if bytes.get(end.wrapping_sub(1)) == Some(&b'\n') { end - 1 } else { end };
    Some(Extent { start: text?, end })
}
