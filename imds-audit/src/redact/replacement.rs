//! Replacements of a placeholder that is named like a secret: `sed s/__TOKEN__/X/`.

use super::{Scan, scan_cost, value};

/// How many marks may stand on each side of a placeholder's name (`{{ NAME }}`).
const MOST_MARKS: usize = 8;

/// The longest replacement that is looked for, in bytes.
const LONGEST: usize = 512;

impl Scan<'_> {
    /// Redacts the text that replaces the placeholder whose name is at `start..end`; returns where
    /// to go on.
    pub(super) fn replacement(&mut self, start: usize, end: usize) -> Option<usize> {
        let bytes = self.bytes;
        let name = bytes.get(start..end)?;
        let first = self.separator_of_replacement(start)?;
        let delimiter = self.at(first)?;
        let behind = bytes.get(end..)?.iter().take(MOST_MARKS + 1);
        let marks = behind.take_while(|byte| **byte != delimiter && is_mark(**byte)).count();
        let second = end + marks;
        let is_constant = name.iter().all(|byte| {
            byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
        });
        let is_marked =
            (marks > 0 && first + 1 < start) || (name.starts_with(b"_") && name.ends_with(b"_"));
        if self.at(second) != Some(delimiter) || !(is_constant || is_marked) {
            return None;
        }
        let rest = bytes.get(second + 1..)?;
        let rest = rest.get(..LONGEST).unwrap_or(rest);
        let mut is_escaped = false;
        let length = scan_cost::position(rest, |byte| {
            let ends = matches!(byte, b'\n') || (*byte == delimiter && !is_escaped);
            is_escaped = *byte == b'\\' && !is_escaped;
            ends
        })?;
        let text = rest.get(..length)?;
        // `'s/TOKEN/'"$TOKEN"'/'`.
        let quotes = text.iter().take_while(|byte| matches!(byte, b'"' | b'\'' | b'\\')).count();
        let from = second + 1;
        if rest.get(length) != Some(&delimiter)
            || value::is_substitution(bytes, from + quotes)
            || (quotes > 0 && value::expression(bytes, from + quotes).is_some())
            || value::is_harmless(text)
            || value::is_path(text)
        {
            return None;
        }
        self.secret(from, from + length);
        Some(from + length)
    }

    /// Returns where the first separator stands of the command `s` (sed(1), perlop(1)) whose pattern
    /// has a name at `start`, with nothing before it but marks.
    fn separator_of_replacement(&self, start: usize) -> Option<usize> {
        let is_separator = |place: &usize| {
            let is_boundary =
                |byte: u8| !byte.is_ascii_alphabetic() && byte != b'_' && byte != b'-';
            let before = place.checked_sub(2).and_then(|before| self.at(before));
            place.checked_sub(1).and_then(|command| self.at(command)) == Some(b's')
                && before.is_none_or(is_boundary)
                && self.at(*place).is_some_and(|byte| byte.is_ascii_punctuation())
        };
        let nearest = start.checked_sub(1)?;
        let places = (0..=MOST_MARKS).filter_map(|back| nearest.checked_sub(back));
        let mut places = places
            .take_while(|place| *place == nearest || self.at(*place + 1).is_some_and(is_mark));
        places.find(is_separator)
    }
}

/// Returns whether a byte may stand between a separator and a placeholder's name.
fn is_mark(byte: u8) -> bool {
    byte == b' ' || (byte.is_ascii_punctuation() && !matches!(byte, b'"' | b'\'' | b';'))
}
