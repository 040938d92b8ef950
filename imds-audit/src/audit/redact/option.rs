//! The options that take a secret inside a script: a login, a password, a cookie.

use super::{
    Scan,
    argument::Pending,
    key::{self, Command, Key},
    value::{self, Extent},
    work,
};

/// curl's options of one letter that take nothing, so that another may follow in the same word.
const FLAGS: &[u8] = b"#0123456BGIJLMNOQRSafgijklnpqsvZ";

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

    /// Returns where in `name` the letter of curl's stands that takes a login, a cookie or a
    /// proxy, behind others that take nothing (`-sSu`), and the letter.
    fn curl_letter(&self, name: &[u8]) -> Option<(usize, u8)> {
        let letters = name.strip_prefix(b"-").filter(|_| self.command.is_curl)?;
        let index = letters.iter().position(|letter| !FLAGS.contains(letter))?;
        let letter = *letters.get(index)?;
        matches!(letter, b'u' | b'U' | b'E' | b'b' | b'x').then_some((index + 1, letter))
    }

    /// Returns what the option `name` says of the word behind it; `Nothing` if it is no option
    /// that takes a login, a cookie or a proxy.
    pub(super) fn takes(&self, name: &[u8]) -> Pending {
        if !name.starts_with(b"-") {
            return Pending::Nothing;
        }
        let letter = self.curl_letter(name).filter(|(index, _)| index + 1 == name.len());
        match letter {
            Some((_, b'u' | b'U' | b'E')) => Pending::Login,
            Some((_, b'b')) => Pending::Cookie,
            Some((_, b'x')) => Pending::Proxy,
            _ if key::is_login_option(name) => Pending::Login,
            _ if key::is_cookie_option(name) => Pending::Cookie,
            _ if matches!(name, b"--proxy" | b"--preproxy") => Pending::Proxy,
            _ => Pending::Nothing,
        }
    }

    /// Redacts what is glued to an option: the password of `-uNAME:X` and `-u:X`, the cookie of
    /// `-bNAME=X` and `-b'NAME=X'`, the login of `-xNAME:X@HOST`. Returns where to go on, `None`
    /// where the name at `start..end` is no such option.
    pub(super) fn glued(&mut self, start: usize, end: usize) -> Option<usize> {
        let bytes = self.bytes;
        let name = bytes.get(start..end).filter(|name| name.starts_with(b"-"))?;
        let (index, letter) = match name {
            [b'-', b'u', ..] => (1, b'u'),
            _ => self.curl_letter(name)?,
        };
        let is_bare = index + 1 == name.len();
        let whole = self.whole && start == 0;
        let (from, until) = match (letter, self.at(end)?) {
            (b'b', b'=') if !is_bare && self.begins_word(start) => {
                let extent = value::word(bytes, end + 1, whole);
                (extent.start, extent.end)
            }
            (b'b', b'"' | b'\'') if is_bare && self.begins_word(start) => {
                return Some(self.cookie(end));
            }
            (b'x', b':') if !is_bare && self.begins_word(start) => {
                let extent = value::word(bytes, end + 1, whole);
                let at = memchr::memrchr(b'@', bytes.get(extent.start..extent.end)?)?;
                (extent.start, extent.start + at)
            }
            (b'u' | b'U' | b'E', b':') if self.at(end + 1) != Some(b'/') => {
                let extent = value::word(bytes, end + 1, whole);
                (extent.start, extent.end)
            }
            (b'u' | b'U' | b'E', b'"' | b'\'') if is_bare => return Some(self.login_at(end, end)),
            _ => return None,
        };
        self.secret(from, until);
        Some(until.max(end))
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

    /// Returns how the value is read of a key that is assigned to a variable (`KEY=…`) or stands
    /// in a query (`?key=…`).
    pub(super) fn assigned_key(&self, start: usize, end: usize) -> Option<Key> {
        if self.at(end) != Some(b'=') {
            return None;
        }
        let name = self.bytes.get(start..end)?;
        let before = start.checked_sub(1).and_then(|index| self.at(index));
        let in_query = matches!(before, Some(b'?' | b'&')) && name.eq_ignore_ascii_case(b"key");
        (in_query || key::is_variable_of_a_key(name)).then_some(Key::Word)
    }

    /// Redacts the password of `-u user:password` inside a script.
    pub(super) fn login(&mut self, end: usize) -> usize {
        let next = match self.at(end) {
            Some(b'=') => end + 1,
            _ => value::skip_blanks(self.bytes, end),
        };
        if next > end { self.login_at(end, next) } else { end }
    }

    /// Redacts the password of the login that begins at `next`, if one does; returns where to go
    /// on, `end` where there is none.
    fn login_at(&mut self, end: usize, next: usize) -> usize {
        let bytes = self.bytes;
        let user = bytes.get(next..).unwrap_or_default();
        let user = user.get(..LONGEST_USER).unwrap_or(user);
        let length = work::position(user, |byte| *byte == b':' || byte.is_ascii_whitespace());
        let Some(colon) = length.map(|length| next + length) else { return end };
        let is_url = bytes.get(colon..).unwrap_or_default().starts_with(b"://");
        if self.at(colon) != Some(b':') || is_url {
            return end;
        }
        let mut password = Extent { start: colon + 1, ..value::word(bytes, next, false) };
        if password.end + 1 == colon && matches!(self.at(password.end), Some(b'"' | b'\'')) {
            // `'user':'password'`.
            password = value::word(bytes, colon + 1, false);
        }
        if password.end <= password.start {
            // No password stands there: what does may be a name with a value of its own.
            return end;
        }
        self.secret(password.start, password.end);
        password.end
    }

    /// Redacts the login before the host of a proxy (`user:X@host:1`) inside a script.
    pub(super) fn proxy(&mut self, end: usize) -> usize {
        let next = match self.at(end) {
            Some(b'=') => end + 1,
            _ => value::skip_blanks(self.bytes, end),
        };
        let extent = value::word(self.bytes, next, false);
        if next == end || !self.proxy_login(extent) {
            return end;
        }
        extent.end
    }

    /// Redacts the password of a login that a word has before an `@`; returns whether it has one.
    /// One with a scheme is read as any URL.
    pub(super) fn proxy_login(&mut self, word: Extent) -> bool {
        let text = self.bytes.get(word.start..word.end).unwrap_or_default();
        let is_url = work::find(text, b"://").is_some();
        let place = memchr::memrchr(b'@', text).filter(|_| !is_url).and_then(|at| {
            let colon = memchr::memchr(b':', text.get(..at)?)?;
            Some((word.start + colon + 1, word.start + at))
        });
        if let Some((start, end)) = place {
            self.secret(start, end);
        }
        place.is_some()
    }
}
