//! Logins in URLs and in front of hosts.

use super::{Scan, extent::Extent, scan_cost, value};

/// The longest login that is looked for in a URL whose password is not escaped, in bytes.
const LONGEST_LOGIN: usize = 256;

/// The length from which a user's name that stands alone is an access token.
const SHORTEST_TOKEN: usize = 20;

/// What stands before a colon and is no user's name: schemes without slashes, and prefixes of
/// packages and images.
const NO_USERS: [&[u8]; 18] = [
    b"mailto",
    b"sip",
    b"sips",
    b"xmpp",
    b"acct",
    b"npm",
    b"file",
    b"git",
    b"ssh",
    b"tel",
    b"docker",
    b"image",
    b"urn",
    b"arn",
    b"jdbc",
    b"workspace",
    b"http",
    b"https",
];

impl Scan<'_> {
    /// Redacts what stands before the `@` of an authority; returns where to go on.
    pub(super) fn authority(&mut self, start: usize) -> usize {
        let rest = self.bytes.get(start..).unwrap_or_default();
        let is_end = |byte: &u8| {
            matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'`' | b'\\')
                || byte.is_ascii_whitespace()
        };
        let length = scan_cost::position(rest, is_end).unwrap_or(rest.len());
        let authority = rest.get(..length).unwrap_or_default();
        let Some(at) = memchr::memrchr(b'@', authority) else {
            return self.unescaped_password(start, length).unwrap_or(start);
        };
        let user = authority.get(..at).unwrap_or_default();
        match memchr::memchr(b':', user) {
            Some(colon) => {
                // `https://TOKEN:x-oauth-basic@github.com/`.
                if is_token(user.get(..colon).unwrap_or_default()) {
                    self.secret(start, start + colon);
                }
                self.secret(start + colon + 1, start + at);
            }
            // One that is long by a mark in it was judged before.
            None if at >= SHORTEST_TOKEN && scan_cost::find(user, super::MARK).is_none() => {
                self.secret(start, start + at);
            }
            None => {}
        }
        start + at
    }

    /// Redacts a password with a `/`, `?` or `#` in it, which should have been escaped and ends
    /// the authority: what stands behind the colon of the first `length` bytes is no port, and an
    /// `@` follows in the same word. Returns where to go on, `None` where nothing is.
    fn unescaped_password(&mut self, start: usize, length: usize) -> Option<usize> {
        let rest = self.bytes.get(start..)?;
        let colon = memchr::memchr(b':', rest.get(..length)?)?;
        let port = rest.get(colon + 1..length)?;
        if matches!(port.first(), None | Some(b':' | b'$')) || port.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let near = rest.get(..LONGEST_LOGIN).unwrap_or(rest);
        let is_end = |byte: &u8| matches!(byte, b'"' | b'\'' | b'`') || byte.is_ascii_whitespace();
        let end = scan_cost::position(near, is_end).unwrap_or(near.len());
        let at = memchr::memrchr(b'@', near.get(..end)?).filter(|at| *at > length)?;
        self.remove(start + colon + 1, start + at);
        Some(start + at)
    }

    /// Redacts the password of a login before a host without a scheme (`me:X@host/`), whose user
    /// is the name at `start..end`; returns where to go on.
    pub(super) fn bare_login(&mut self, start: usize, end: usize) -> Option<usize> {
        let user = self.bytes.get(start..end)?;
        if self.at(end) != Some(b':') || !(self.begins_word(start) || user == b"thin") {
            return None;
        }
        let rest = self.bytes.get(end + 1..)?;
        // `jdbc:oracle:thin:me/X@host`.
        if user == b"thin" {
            let at = memchr::memchr(b'@', rest.get(..LONGEST_LOGIN).unwrap_or(rest))?;
            let slash = memchr::memchr(b'/', rest.get(..at)?)?;
            self.secret(end + 1 + slash + 1, end + 1 + at);
            return Some(end + 1 + at);
        }
        if NO_USERS.iter().any(|no_user| user.eq_ignore_ascii_case(no_user)) || user.len() > 64 {
            return None;
        }
        let near = rest.get(..LONGEST_LOGIN).unwrap_or(rest);
        let is_end = |byte: &u8| {
            matches!(
                byte,
                b'"' | b'\'' | b'`' | b'/' | b'\\' | b';' | b'|' | b'<' | b'>' | b',' | b'('
            ) || byte.is_ascii_whitespace()
        };
        let length = scan_cost::position(near, is_end).unwrap_or(near.len());
        let at = memchr::memrchr(b'@', near.get(..length)?).filter(|at| *at > 0)?;
        let password = near.get(..at)?;
        let host = near.get(at + 1..)?;
        let is_label =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let name = scan_cost::position(host, |byte| !is_label(byte)).unwrap_or(host.len());
        let behind = host.get(name).copied();
        let label = host.get(..name)?;
        let is_host = label.first().is_some_and(u8::is_ascii_alphanumeric)
            && !label.starts_with(b"sha256")
            && !label.starts_with(b"sha512")
            && (matches!((label, behind), (b"tcp" | b"unix", Some(b'(')))
                || behind.is_none_or(|byte| {
                    matches!(byte, b'/' | b':' | b'"' | b'\'' | b'`' | b';' | b'|' | b'?' | b',')
                        || byte.is_ascii_whitespace()
                }));
        // `group:artifact:version@aar`, `name:tag@1.2`.
        let is_package = behind != Some(b'/')
            && (password.contains(&b':') || user.contains(&b'.'))
            && !label.contains(&b'.');
        let is_version = label.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
            && label.iter().filter(|byte| **byte == b'.').count() != 3;
        let is_variable = value::expression(password, 0) == Some(password.len());
        if !is_host || is_package || is_version || is_variable {
            return None;
        }
        let password = Extent { start: end + 1, end: end + 1 + at };
        self.secret(password.start, password.end);
        Some(password.end)
    }
}

/// Returns whether a user's name is an access token: long, of letters and digits.
fn is_token(user: &[u8]) -> bool {
    user.len() >= SHORTEST_TOKEN
        && user.iter().any(u8::is_ascii_digit)
        && user
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}
