//! Commands in a script: its words, and where each command ends.

use super::super::{extent::Extent, literal, scan_cost, value};
use super::{Commands, redact::redact, table::Takes};

impl<'a> Commands<'a> {
    /// Adds the secrets of the commands in a script to `found`. Returns where their options of the
    /// table begin, in order: their names say nothing else.
    pub(in super::super) fn script(
        &mut self,
        bytes: &'a [u8],
        found: &mut Vec<Extent>,
    ) -> Vec<usize> {
        let mut options = Vec::new();
        let mut index = 0;
        while let Some(byte) = bytes.get(index).copied() {
            // A line that goes on.
            if byte == b'\\' && matches!(bytes.get(index + 1), Some(b'\n' | b'\r')) {
                scan_cost::count(1);
                index += 2;
                continue;
            }
            if !is_bare(byte) {
                scan_cost::count(1);
                if byte == b'<' {
                    self.stdin.here(bytes, index, found);
                }
                if ends_command(bytes, index) {
                    self.end_command(bytes, index);
                }
                index += 1;
                continue;
            }
            let rest = bytes.get(index..).unwrap_or_default();
            let length = scan_cost::position(rest, |byte| !is_bare(*byte)).unwrap_or(rest.len());
            let token = Extent { start: index, end: index + length };
            index = self.token(bytes, token, found, &mut options);
        }
        options
    }

    /// Reads the word of a script at `token`; returns where to go on.
    fn token(
        &mut self,
        bytes: &'a [u8],
        token: Extent,
        found: &mut Vec<Extent>,
        options: &mut Vec<usize>,
    ) -> usize {
        let is_option = matches!(bytes.get(token.start), Some(b'-' | b'/'));
        if let Some(takes) = self.next.take() {
            let end = self.next_word(bytes, token, takes, found);
            if end >= token.end {
                return end;
            }
        }
        if is_option && self.option(bytes, token, false, found) {
            options.push(token.start);
            let Some(takes) = self.next else {
                // The value in the same word may go on in quotes.
                return found.last().map_or(token.end, |last| last.end.max(token.end));
            };
            let next = literal::next_word(bytes, token.end);
            return match bytes.get(next) {
                // The next word begins with a quote: it is the value, blanks and all.
                Some(b'"' | b'\'' | b'\\') if next > token.end => {
                    self.next = None;
                    let end =
                        self.next_word(bytes, Extent { start: next, end: next }, takes, found);
                    end.max(token.end)
                }
                _ => token.end,
            };
        }
        let quoted = token.start.checked_sub(1).and_then(|before| bytes.get(before));
        let from = if matches!(quoted, Some(b'"' | b'\'')) { token.start - 1 } else { token.start };
        let word = Extent { start: from, end: token.end };
        self.script_word(bytes, token, word, found)
    }

    /// Reads the value at `token` that the option before it announced; returns where to go on.
    fn next_word(
        &self,
        bytes: &'a [u8],
        token: Extent,
        takes: Takes,
        found: &mut Vec<Extent>,
    ) -> usize {
        let word = value::word(bytes, token.start, false);
        if redact(bytes, word, takes, found) { word.end.max(token.end) } else { token.start }
    }

    fn script_word(
        &mut self,
        bytes: &'a [u8],
        token: Extent,
        word: Extent,
        found: &mut Vec<Extent>,
    ) -> usize {
        if let Some(takes) = self.operand(bytes.get(token.start..token.end).unwrap_or_default()) {
            let word = value::word(bytes, word.start, false);
            redact(bytes, word, takes, found);
            self.note(bytes.get(token.start..token.end).unwrap_or_default());
            return word.end.max(token.end);
        }
        self.stdin.word(bytes, token, found);
        self.word(bytes, token, found);
        token.end
    }

    fn end_command(&mut self, bytes: &'a [u8], index: usize) {
        let mut stdin = self.stdin;
        stdin.end_command(bytes, index);
        // The members stay: the text around the command is read with them.
        *self = Self { stdin, aws: self.aws.ended(), ..Self::default() };
    }
}

/// Returns whether a byte can stand in a word without quotes.
const fn is_bare(byte: u8) -> bool {
    !matches!(
        byte,
        b' ' | b'\t'
            | b'\n'
            | b'\r'
            | b'"'
            | b'\''
            | b'`'
            | b';'
            | b'|'
            | b'&'
            | b'('
            | b')'
            | b'<'
            | b'>'
            | b','
            | b'['
            | b']'
    )
}

/// Returns whether the byte at `index` ends a command: one that a URL may have too only where
/// blanks or others stand around it.
fn ends_command(bytes: &[u8], index: usize) -> bool {
    let before = index.checked_sub(1).and_then(|before| bytes.get(before)).copied();
    match bytes.get(index) {
        Some(b'\n') => before != Some(b'\\'),
        Some(b';' | b'|') => true,
        Some(b'&') => {
            let is_edge = |byte: u8| byte.is_ascii_whitespace() || byte == b'&';
            before.is_none_or(is_edge) || bytes.get(index + 1).is_none_or(|byte| is_edge(*byte))
        }
        _ => false,
    }
}
