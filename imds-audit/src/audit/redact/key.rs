//! The names that say that a secret follows.

use super::work;

/// How far the value of a secret's name reaches where nothing encloses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// To the end of the word.
    Word,
    /// To the end of the line: credentials and cookies have several words.
    Line,
}

/// Endings of names, compared in lower case without `-`, `_` and `.`.
const WORDS: [&[u8]; 20] = [
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
    b"accountkey",
    b"masterkey",
    b"encryptionkey",
    b"secretstring",
    b"secretvalue",
    b"tokenvalue",
];

/// Endings that are common inside other words: only as the last part of a name.
const PARTS: [&[u8]; 5] = [b"pass", b"pwd", b"auth", b"sig", b"jwt"];

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
        // `PASSWORD1`, `token-2`: one of several.
        let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let name = name.get(..name.len() - digits).unwrap_or_default();
        let name = if digits > 0 { name.strip_suffix(b"_").unwrap_or(name) } else { name };
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
    start + work::position(rest, |byte| !is_name(*byte)).unwrap_or(rest.len())
}

/// Returns whether an option takes `user:password`, or a file and its password.
pub fn is_login_option(name: &[u8]) -> bool {
    matches!(name, b"-u" | b"-U" | b"--user" | b"--proxy-user" | b"--cert" | b"--proxy-cert")
}

/// Returns whether a header has cookies.
pub fn is_cookie(name: &[u8]) -> bool {
    ends(name, b"cookie")
}

/// Returns whether an option takes a cookie, or the name of a file with cookies.
pub fn is_cookie_option(name: &[u8]) -> bool {
    matches!(name, b"-b" | b"--cookie")
}

/// How a name alone says that the next word is a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bare {
    /// It has several parts (`aws configure set aws_secret_access_key X`): a long word is one.
    Joined,
    /// It is a word of any text (`token X`): a long word that looks like a secret is one.
    Alone,
}

impl Bare {
    /// Returns how `name` announces a secret; `None` if it does not.
    pub fn of(name: &[u8]) -> Option<Self> {
        if name.starts_with(b"-") || Key::of(name) != Some(Key::Word) {
            return None;
        }
        let is_joined = name.iter().any(|byte| is_joint(*byte));
        Some(if is_joined { Self::Joined } else { Self::Alone })
    }
}

/// Returns whether `name` is a secret's when something is assigned to it as to a variable, though
/// the word means much else in other places: `KEY=…`, `SIGNING_KEY=…`, `API_TOKENS=…`. A public
/// key is no secret.
pub fn is_variable_of_a_key(name: &[u8]) -> bool {
    let is_variable = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let mut parts = name.rsplit(|byte| *byte == b'_');
    matches!(parts.next(), Some(b"KEY" | b"PAT" | b"TOKENS" | b"SECRETS" | b"PASSWORDS"))
        && parts.next() != Some(b"PUBLIC")
        && name.iter().all(|byte| is_variable(byte) || *byte == b'_')
}

/// What a command makes of its options of one letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// The one that takes a password.
    pub letter: Option<Letter>,
    /// `-b` takes a cookie, also without a blank between.
    pub is_curl: bool,
}

/// The letter of an option that takes a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The letter.
    pub byte: u8,
    /// The word behind it is the password even where it begins with a hyphen.
    pub takes_any: bool,
}

impl Command {
    /// Returns the command that is called `word`, if its options are known.
    pub fn of(word: &[u8]) -> Option<Self> {
        let password =
            |byte, takes_any| Self { letter: Some(Letter { byte, takes_any }), is_curl: false };
        match word {
            b"login" | b"sshpass" => Some(password(b'p', true)),
            // Without a blank only: behind one is the name of a database, or an option.
            b"mysql" | b"mysqldump" | b"mysqladmin" | b"mysqlimport" | b"mysqlcheck"
            | b"mysqlshow" | b"mysqlsh" | b"mariadb" | b"mariadb-dump" | b"7z" | b"7za" => {
                Some(password(b'p', false))
            }
            // HTTPie takes `user:password` so, of which all goes.
            b"redis-cli" | b"http" | b"https" => Some(password(b'a', true)),
            b"zip" | b"unzip" => Some(password(b'P', true)),
            b"ldapsearch" | b"ldapadd" | b"ldapmodify" | b"ldapdelete" | b"ldapwhoami" => {
                Some(password(b'w', true))
            }
            b"curl" => Some(Self { letter: None, is_curl: true }),
            b"ssh" | b"scp" | b"sftp" | b"mkdir" | b"ps" | b"cp" => Some(Self::default()),
            _ => None,
        }
    }
}

/// Returns where the token that starts at `start` ends, if it looks like one.
pub fn token_shape(bytes: &[u8], start: usize) -> Option<usize> {
    let rest = bytes.get(start..)?;
    let (_, least) = SHAPES.iter().find(|(prefix, _)| rest.starts_with(prefix))?;
    let is_end = |byte: &u8| {
        !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b'/' | b'='))
    };
    let length = work::position(rest, is_end).unwrap_or(rest.len());
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
