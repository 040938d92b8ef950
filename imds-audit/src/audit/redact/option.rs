//! The options that take a secret inside a script: a login, a password, a cookie.

use super::{Scan, key, value};

/// The longest user name that a colon and a password are looked for behind, quote included.
const LONGEST_USER: usize = 128;

impl Scan<'_> {
    /// Returns what the name at `start..end` makes of options, if it is a command.
    pub(super) fn command(&self, start: usize, end: usize) -> Option<Option<u8>> {
        let letter = key::password_letter(self.bytes.get(start..end)?)?;
        let begins = self.begins_word(start) || self.bytes.get(..start)?.ends_with(b"bin/");
        let ends = self.at(end).is_none_or(|byte| byte.is_ascii_whitespace());
        (begins && ends).then_some(letter)
    }

    /// Returns whether `-p` or `-pX` stands at `start..end`, where the command takes a password.
    pub(super) fn is_password(&self, start: usize, end: usize) -> bool {
        let option = match (self.bytes.get(start..end), self.letter) {
            (Some(b"-password" | b"-pass" | b"-auth"), _) => false,
            (Some([b'-', option, ..]), Some(letter)) => *option == letter,
            _ => false,
        };
        option && self.begins_word(start)
    }

    /// Redacts the password of `-p X` and `-pX`, where the command takes one.
    pub(super) fn password(&mut self, start: usize, end: usize) -> usize {
        let bytes = self.bytes;
        if !self.is_password(start, end) {
            return end;
        }
        self.letter = None;
        let glued = end > start + 2 || matches!(self.at(end), Some(b'"' | b'\'' | b'='));
        let next = if glued { start + 2 } else { value::skip_blanks(bytes, end) };
        let usable = self.at(next).is_some_and(|byte| {
            !matches!(byte, b'-' | b'|' | b'&' | b';' | b'<' | b'>' | b'(' | b')' | b'\n')
        });
        if !usable || (next == end && !glued) {
            return end;
        }
        let extent = value::word(bytes, next, self.whole && start == 0);
        if value::is_ports(bytes.get(extent.start..extent.end).unwrap_or_default()) {
            return end;
        }
        self.secret(extent.start, extent.end);
        extent.end.max(next)
    }

    /// Redacts the cookie behind the option that ends at `end`.
    pub(super) fn cookie(&mut self, end: usize) -> usize {
        let next = value::skip_blanks(self.bytes, end);
        if !value::is_cookie(self.bytes, next) || self.at(next) == Some(b'-') {
            return end;
        }
        let extent = value::word(self.bytes, next, false);
        self.secret(extent.start, extent.end);
        extent.end
    }

    /// Redacts the password of `-u user:password` inside a script.
    pub(super) fn login(&mut self, start: usize, end: usize) -> usize {
        let next = match self.at(end) {
            Some(b'=') => end + 1,
            _ => value::skip_blanks(self.bytes, end),
        };
        let user = self.bytes.get(next..).unwrap_or_default();
        let user = user.get(..LONGEST_USER).unwrap_or(user);
        let length = user.iter().position(|byte| *byte == b':' || byte.is_ascii_whitespace());
        match length.map(|length| next + length) {
            Some(colon)
                if next > end
                    && self.at(colon) == Some(b':')
                    && !self.bytes.get(colon..).unwrap_or_default().starts_with(b"://") =>
            {
                let whole = self.whole && start == 0;
                let extent = value::word(self.bytes, next, whole);
                self.secret(colon + 1, extent.end);
                extent.end.max(colon)
            }
            _ => end,
        }
    }
}
