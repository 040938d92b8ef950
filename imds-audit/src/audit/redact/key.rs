//! The names that say that a secret follows.

/// How far the value of a secret's name reaches where nothing encloses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// To the end of the word.
    Word,
    /// To the end of the line: credentials and cookies have several words.
    Line,
}

/// Endings of names, compared in lower case without `-`, `_` and `.`.
const WORDS: [&[u8]; 14] = [
    b"token",
    b"secret",
    b"password",
    b"passwd",
    b"passphrase",
    b"secretkey",
    b"accesskey",
    b"apikey",
    b"privatekey",
    b"sessionkey",
    b"signature",
    b"authkey",
    b"credential",
    b"oauth2bearer",
];

/// Endings that are common inside other words: only as the last part of a name.
const PARTS: [&[u8]; 4] = [b"pass", b"pwd", b"auth", b"sig"];

const LINES: [&[u8]; 2] = [b"authorization", b"cookie"];

/// Names that end like a secret's and hold none: the working folder, and the scope of a
/// signature, which has the access key id.
const HARMLESS: [&[u8]; 3] = [b"pwd", b"oldpwd", b"xamzcredential"];

/// Starts of the tokens that the metadata service and the token service give out, with the
/// length from which a word counts as one. The formats are not documented: this only catches
/// more than the names do.
const SHAPES: [(&[u8], usize); 5] = [
    (b"AQAE", 40),
    (b"AQAA", 40),
    (b"IQoJb3JpZ2luX2", 64),
    (b"FwoGZXIvYXdz", 64),
    (b"FQoGZXIvYXdz", 64),
];

impl Key {
    /// Returns how the value behind `name` is read; `None` if it is no secret.
    pub fn of(name: &[u8]) -> Option<Self> {
        if HARMLESS.iter().any(|known| is(name, known)) {
            return None;
        }
        if LINES.iter().any(|ending| ends(name, ending)) {
            return Some(Self::Line);
        }
        let part = name.rsplit(|byte| is_joint(*byte)).next().unwrap_or_default();
        let secret = WORDS.iter().any(|ending| ends(name, ending))
            || PARTS.iter().any(|known| part.eq_ignore_ascii_case(known));
        secret.then_some(Self::Word)
    }
}

/// Returns whether a byte can stand in a name.
pub const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || is_joint(byte)
}

const fn is_joint(byte: u8) -> bool {
    matches!(byte, b'-' | b'_' | b'.')
}

/// Returns where the name that starts at `start` ends.
pub fn run(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    start + rest.iter().position(|byte| !is_name(*byte)).unwrap_or(rest.len())
}

/// Returns whether an option takes `user:password`.
pub fn is_login_option(name: &[u8]) -> bool {
    matches!(name, b"-u" | b"-U" | b"--user" | b"--proxy-user")
}

/// Returns whether an option takes a cookie, or the name of a file with cookies.
pub fn is_cookie_option(name: &[u8]) -> bool {
    matches!(name, b"-b" | b"--cookie")
}

/// Returns whether `name` alone says that the next word is a secret, as `aws configure set`
/// has it: only a name of several parts, since `token` is a word of any text.
pub fn is_bare(name: &[u8]) -> bool {
    !name.starts_with(b"-")
        && name.iter().any(|byte| is_joint(*byte))
        && Key::of(name) == Some(Key::Word)
}

/// Returns what the command `word` makes of options of one letter: the letter that takes a
/// password, `Some(None)` if it gives them another meaning, `None` if it is no such command.
pub fn password_letter(word: &[u8]) -> Option<Option<u8>> {
    match word {
        b"login" | b"mysql" | b"mysqldump" | b"mysqladmin" | b"mariadb" | b"mariadb-dump"
        | b"sshpass" => Some(Some(b'p')),
        b"redis-cli" => Some(Some(b'a')),
        b"ssh" | b"scp" | b"sftp" | b"mkdir" | b"ps" | b"cp" => Some(None),
        _ => None,
    }
}

/// Returns where the token that starts at `start` ends, if it looks like one.
pub fn token_shape(bytes: &[u8], start: usize) -> Option<usize> {
    let rest = bytes.get(start..)?;
    let (_, least) = SHAPES.iter().find(|(prefix, _)| rest.starts_with(prefix))?;
    let length = rest
        .iter()
        .position(|byte| {
            !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b'/' | b'='))
        })
        .unwrap_or(rest.len());
    (length >= *least).then_some(start + length)
}

/// Returns whether `name` without its joints ends with `ending`, ASCII case ignored.
fn ends(name: &[u8], ending: &[u8]) -> bool {
    let mut letters = name.iter().rev().filter(|byte| !is_joint(**byte));
    ending.iter().rev().all(|want| letters.next().is_some_and(|b| b.eq_ignore_ascii_case(want)))
}

fn is(name: &[u8], known: &[u8]) -> bool {
    let letters = name.iter().filter(|byte| !is_joint(**byte)).count();
    letters == known.len() && ends(name, known)
}
