//! The options that take a secret inside a script: a login, a password, a cookie.

use super::{
    Command, Scan,
    argument::Pending,
    extent::{Extent, skip_blanks},
    literal, scan_cost,
    secret_name::{self, Key},
    value::{self, LONGEST_USER},
};

/// curl's options of one letter that take nothing, so that another may follow in the same word.
const FLAGS: &[u8] = b"#0123456BGIJLMNOQRSafgijklnpqsvZ";

/// How deep commands may be nested that print the user of a login.
const DEEPEST_COMMAND: usize = 4;

impl Scan<'_> {
    /// Notes the command that the name at `start..end` is, if it is one that matters.
    pub(super) fn command(&mut self, start: usize, end: usize) {
        let name = self.bytes.get(start..end).unwrap_or_default();
        if !matches!(name, b"curl" | b"login") {
            return;
        }
        let begins = self.begins_word(start)
            || self.bytes.get(..start).is_some_and(|before| before.ends_with(b"bin/"));
        let ends = self.at(end).is_none_or(|byte| byte.is_ascii_whitespace());
        if begins && ends {
            self.command = Command { is_curl: name == b"curl", is_login: name == b"login" };
        }
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
    pub(super) fn option_takes(&self, name: &[u8]) -> Pending {
        if !name.starts_with(b"-") {
            return Pending::Nothing;
        }
        let letter = self.curl_letter(name).filter(|(index, _)| index + 1 == name.len());
        match letter {
            Some((_, b'u' | b'U' | b'E')) => Pending::Login,
            Some((_, b'b')) => Pending::Cookie,
            Some((_, b'x')) => Pending::Proxy,
            _ if secret_name::is_login_option(name) => Pending::Login,
            _ if name == b"--cookie" => Pending::Cookie,
            _ if matches!(name, b"--proxy" | b"--preproxy") => Pending::Proxy,
            _ => Pending::Nothing,
        }
    }

    /// Redacts what is glued to an option: the password of `-uNAME:X` and `-u:X`, the cookie of
    /// `-bNAME=X` and `-b'NAME=X'`, the login of `-xNAME:X@HOST`. Returns where to go on, `None`
    /// where the name at `start..end` is no such option.
    pub(super) fn attached(&mut self, start: usize, end: usize) -> Option<usize> {
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
            // `['-u', 'me:X']`.
            (b'u' | b'U' | b'E', b'"' | b'\'')
                if is_bare && self.at(literal::closed(bytes, end)) == Some(b',') =>
            {
                return Some(self.login_at(end, literal::next_word(bytes, end)));
            }
            (b'u' | b'U' | b'E', b'"' | b'\'') if is_bare => return Some(self.login_at(end, end)),
            _ => return None,
        };
        self.secret(from, until);
        Some(until.max(end))
    }

    /// Redacts the cookie behind the option that ends at `end`.
    pub(super) fn cookie(&mut self, end: usize) -> usize {
        let next = skip_blanks(self.bytes, end);
        if !value::is_cookie(self.bytes, next) || self.at(next) == Some(b'-') {
            return end;
        }
        let extent = value::word(self.bytes, next, false);
        self.secret(extent.start, extent.end);
        extent.end
    }

    /// Returns how the value is read behind a name that is a secret's only in its place: a key that
    /// is assigned to a variable (`KEY=…`) or stands in a query (`?key=…`), the password of a
    /// connection string (`PWD=…`), a member of the AWS CLI's operation at hand.
    pub(super) fn weak_key(&self, start: usize, end: usize) -> Option<Key> {
        let name = self.bytes.get(start..end)?;
        if self.operation.is_member(name) {
            return Some(Key::Word);
        }
        if self.at(end) != Some(b'=') {
            return None;
        }
        let before = start.checked_sub(1).and_then(|index| self.at(index));
        let in_query = matches!(before, Some(b'?' | b'&')) && name.eq_ignore_ascii_case(b"key");
        (in_query || secret_name::is_variable_of_a_key(name)).then_some(Key::Word)
    }

    /// Returns whether the name at `start..end` is a part of an ARN (`…:secret:NAME`).
    pub(super) fn is_arn(&self, start: usize, end: usize) -> bool {
        let before = start.checked_sub(1).and_then(|index| self.at(index));
        before == Some(b':') && self.at(end) == Some(b':')
    }

    /// Returns whether the name at `start..end` is that of the working folder and not of a
    /// password: a variable, or one with a path.
    pub(super) fn is_working_folder(&self, start: usize, end: usize) -> bool {
        if !self.bytes.get(start..end).is_some_and(|name| name.eq_ignore_ascii_case(b"pwd")) {
            return false;
        }
        let before = start.checked_sub(1).and_then(|index| self.at(index));
        let Some(after) = value::separator(self.bytes, end) else { return true };
        let value = self.bytes.get(after.value..).unwrap_or_default();
        let is_path =
            matches!(value, [b'/' | b'$' | b'~' | b'.' | b'`', ..] | [_, b':', b'\\', ..]);
        matches!(before, Some(b'$' | b'{')) || (is_path && before != Some(b';'))
    }

    /// Redacts the password of `-u user:password` inside a script.
    pub(super) fn login(&mut self, end: usize) -> usize {
        let next = match self.at(end) {
            Some(b'=') => end + 1,
            _ => literal::next_word(self.bytes, end),
        };
        if next > end { self.login_at(end, next) } else { end }
    }

    /// Redacts the password of the login that begins at `next`, if one does; returns where to go
    /// on, `end` where there is none.
    pub(super) fn login_at(&mut self, end: usize, next: usize) -> usize {
        let bytes = self.bytes;
        let from = command_end(bytes, next);
        let user = bytes.get(from..).unwrap_or_default();
        let user = user.get(..LONGEST_USER).unwrap_or(user);
        let length = scan_cost::position(user, |byte| *byte == b':' || byte.is_ascii_whitespace());
        let Some(colon) = length.map(|length| from + length) else { return end };
        let is_url = bytes.get(colon..).unwrap_or_default().starts_with(b"://");
        if self.at(colon) != Some(b':') || is_url {
            return end;
        }
        let mut password = Extent { start: colon + 1, ..value::word_from(bytes, next, from) };
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
            _ => skip_blanks(self.bytes, end),
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
        let is_url = scan_cost::find(text, b"://").is_some();
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

/// Returns where the command ends that prints the user of the login at `start`, which is `start`
/// itself where none does.
fn command_end(bytes: &[u8], start: usize) -> usize {
    let inside = match bytes.get(start) {
        Some(b'`') => start,
        _ => literal::open(bytes, start).0,
    };
    let rest = bytes.get(inside..(inside + LONGEST_USER).min(bytes.len())).unwrap_or_default();
    let end = match rest {
        [b'$', b'(', ..] => {
            let mut depth = 0;
            scan_cost::position(rest, |byte| {
                match byte {
                    b'(' if depth < DEEPEST_COMMAND => depth += 1,
                    b')' => depth = depth.saturating_sub(1),
                    _ => return false,
                }
                depth == 0
            })
        }
        [b'`', inner @ ..] => scan_cost::position(inner, |byte| *byte == b'`').map(|at| at + 1),
        _ => None,
    };
    end.map_or(start, |end| inside + end + 1)
}
