//! Secrets that go to a place in a format: `printf 'Token: %s\r\n' SECRET`.
//!
//! Which operand fills which place is not worked out: where one place of a format is a secret's,
//! every literal operand is removed.

use super::{Scan, extent::skip_blanks, literal, scan_cost, value};

impl Scan<'_> {
    /// Notes that a secret's value is a place in a format.
    pub(super) fn note_place(&mut self) {
        if self.places == 0 && self.whole {
            // The operands are the next arguments.
            scan_cost::count(self.bytes.len());
            self.places = self.bytes.iter().filter(|byte| matches!(byte, b'%' | b'{')).count();
        }
        self.places = self.places.max(1);
    }

    /// Returns whether the quote at `index` ends a format that has a place for a secret.
    pub(super) fn ends_format(&self, index: usize) -> bool {
        let escaped = index.checked_sub(1).and_then(|before| self.at(before)) == Some(b'\\');
        // Inside a format that is quoted itself, `\"` is a quote of the text, unless operands
        // follow it.
        let follows = self.at(index + 1).is_none_or(|byte| matches!(byte, b' ' | b',' | b'\t'));
        // One argument alone is the format itself, but where operands follow it inside of it
        // (`ssh host "printf 'Token: %s' SECRET"`).
        self.places > 0 && (follows || !(escaped || self.whole))
    }

    /// Redacts the operands behind the quote that ends a format; returns where to go on.
    pub(super) fn operands(&mut self, quote: usize) -> usize {
        let bytes = self.bytes;
        let mut index = quote + 1;
        if !self.whole {
            self.places = 0;
        }
        let mut literals_only = false;
        loop {
            index = skip_blanks(bytes, index);
            match self.at(index) {
                None | Some(b';' | b'|' | b'&' | b'<' | b'>' | b')' | b'\n' | b'`' | b'}') => {
                    return index;
                }
                // An operator of a program, in which a word without quotes is a variable.
                Some(b',' | b'%' | b'(' | b'.' | b'+') => {
                    literals_only = true;
                    index += 1;
                    continue;
                }
                Some(_) => {}
            }
            if value::is_substitution(bytes, index) {
                return index;
            }
            let is_quoted = literal::is_literal(bytes, index);
            if literals_only && !is_quoted {
                // A name: `format(t='X')`.
                index += 1;
                continue;
            }
            let extent = value::word(bytes, index, false);
            self.secret(extent.start, extent.end);
            self.places = 0;
            // The quote that closes the operand too.
            let closed = extent.end.max(index) + usize::from(is_quoted);
            if closed <= index {
                return index + 1;
            }
            index = closed;
        }
    }
}
