//! Parts of a text, and the steps that every grammar of this module shares.

use super::scan_cost;

/// How many backslashes may stand before a quote: a script in a script in a script.
const MOST_BACKSLASHES: usize = 7;

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// The first byte.
    pub start: usize,
    /// The byte behind the last.
    pub end: usize,
}

/// Returns where the blanks at `start` end. A line break that a backslash joins is one, as in a
/// shell.
pub(super) fn skip_blanks(bytes: &[u8], start: usize) -> usize {
    let mut index = start;
    loop {
        let rest = bytes.get(index..).unwrap_or_default();
        let blanks = scan_cost::position(rest, |byte| !matches!(byte, b' ' | b'\t'));
        index += blanks.unwrap_or(rest.len());
        match bytes.get(index..).unwrap_or_default() {
            [b'\\', b'\n', ..] => index += 2,
            [b'\\', b'\r', b'\n', ..] => index += 3,
            _ => return index,
        }
    }
}

/// Returns where the white space at `start` ends, line breaks included.
pub(super) fn skip_space(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    start + scan_cost::position(rest, |byte| !byte.is_ascii_whitespace()).unwrap_or(rest.len())
}

/// Returns whether `text` begins with `prefix`, ASCII case ignored.
pub(super) fn begins(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Returns how many backslashes stand at `start`, before a quote perhaps.
pub(super) fn backslashes(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start..).unwrap_or_default().iter().take(MOST_BACKSLASHES);
    rest.take_while(|byte| **byte == b'\\').count()
}
