//! The options that take a secret inside a script: a login, a password, a cookie.

use super::{
    Scan,
    key::{self, Command, Key},
    value, work,
};

/// The longest user name that a colon and a password are looked for behind, quote included.
const LONGEST_USER: usize = 128;

impl Scan<'_> {
    /// Returns what the name at `start..end` makes of options, if it is a command.
    pub(super) fn command(&self, start: usize, end: usize) -> Option<Command> {
        let command = Command::of(self.bytes.get(start..end)?)?;
        let begins = self.begins_word(start) || self.bytes.get(..start)?.ends_with(b"bin/");
        let ends = self.at(end).is_none_or(|byte| byte.is_ascii_whitespace());
        (begins && ends).then_some(command)
    }

    /// Returns whether `-p` or `-pX` stands at `start..end`, where the command takes a password.
    pub(super) fn is_password(&self, start: usize, end: usize) -> bool {
        let option = match (self.bytes.get(start..end), self.command.letter) {
            (Some(b"-password" | b"-pass" | b"-auth"), _) => false,
            (Some([b'-', option, ..]), Some(letter)) => *option == letter.byte,
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
        let takes_any = self.command.letter.take().is_some_and(|letter| letter.takes_any);
        let glued = end > start + 2 || matches!(self.at(end), Some(b'"' | b'\'' | b'='));
        let next = if glued { start + 2 } else { value::skip_blanks(bytes, end) };
        let usable = self.at(next).is_some_and(|byte| {
            !matches!(byte, b'|' | b'&' | b';' | b'<' | b'>' | b'(' | b')' | b'\n')
                && (byte != b'-' || takes_any || glued)
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

    /// Redacts the cookie of `-bNAME=VALUE` and `-b'NAME=VALUE'`; returns where to go on, `None`
    /// where the name at `start..end` is no such option.
    pub(super) fn glued_cookie(&mut self, start: usize, end: usize) -> Option<usize> {
        let bytes = self.bytes;
        let name = bytes.get(start..end)?.strip_prefix(b"-b")?;
        if !self.begins_word(start) {
            return None;
        }
        match self.at(end)? {
            b'=' if !name.is_empty() => {
                let extent = value::word(bytes, end + 1, self.whole && start == 0);
                self.secret(extent.start, extent.end);
                Some(extent.end.max(end))
            }
            b'"' | b'\'' if name.is_empty() => Some(self.cookie(end)),
            _ => None,
        }
    }

    /// Returns how the value is read of a key that is assigned to a variable (`KEY=…`) or stands
    /// in a query (`?key=…`).
    pub(super) fn assigned_key(&self, start: usize, end: usize) -> Option<Key> {
        let name = self.bytes.get(start..end)?;
        let before = start.checked_sub(1).and_then(|index| self.at(index));
        let in_query = matches!(before, Some(b'?' | b'&')) && name.eq_ignore_ascii_case(b"key");
        let is_assigned = self.at(end) == Some(b'=');
        (is_assigned && (in_query || key::is_variable_of_a_key(name))).then_some(Key::Word)
    }

    /// Redacts the password of `-u user:password` inside a script.
    pub(super) fn login(&mut self, start: usize, end: usize) -> usize {
        let next = match self.at(end) {
            Some(b'=') => end + 1,
            _ => value::skip_blanks(self.bytes, end),
        };
        let user = self.bytes.get(next..).unwrap_or_default();
        let user = user.get(..LONGEST_USER).unwrap_or(user);
        let length = work::position(user, |byte| *byte == b':' || byte.is_ascii_whitespace());
        match length.map(|length| next + length) {
            Some(colon)
                if next > end
                    && self.at(colon) == Some(b':')
                    && !self.bytes.get(colon..).unwrap_or_default().starts_with(b"://") =>
            {
                let whole = self.whole && start == 0;
                let extent = value::word(self.bytes, next, whole);
                if extent.end <= colon + 1 {
                    // No password stands there: what does may be a name with a value of its own.
                    return end;
                }
                self.secret(colon + 1, extent.end);
                extent.end
            }
            _ => end,
        }
    }
}
