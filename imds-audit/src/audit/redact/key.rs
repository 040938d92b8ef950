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

/// The names that end in one letter, each in lower case and without `-`, `_` and `.`. Most names in
/// a text end in a letter that no secret's name ends in, so the letter is asked for first.
struct Names {
    /// Endings of the names of secrets.
    words: &'static [&'static [u8]],
    /// Endings that are common inside other words: only as the last part of a name.
    part: Option<&'static [u8]>,
    /// The ending of a name whose value has several words.
    line: Option<&'static [u8]>,
    /// Names that end like a secret's and hold none: the working folder, and the scope of a
    /// signature, which has the access key id.
    harmless: &'static [&'static [u8]],
}

impl Names {
    const NONE: Self = Self { words: &[], part: None, line: None, harmless: &[] };

    /// Returns those that end in a letter; `None` where there are none.
    const fn ending_in(letter: u8) -> Option<Self> {
        Some(match letter {
            b'd' => Self {
                words: &[b"password", b"passwd"],
                part: Some(b"pwd"),
                harmless: &[b"pwd", b"oldpwd"],
                ..Self::NONE
            },
            b'e' => Self {
                words: &[b"passphrase", b"signature", b"secretvalue", b"tokenvalue"],
                line: Some(b"cookie"),
                ..Self::NONE
            },
            b'g' => Self { words: &[b"secretstring"], part: Some(b"sig"), ..Self::NONE },
            b'h' => Self { part: Some(b"auth"), ..Self::NONE },
            b'l' => Self { words: &[b"credential"], harmless: &[b"xamzcredential"], ..Self::NONE },
            b'n' => Self { words: &[b"token"], line: Some(b"authorization"), ..Self::NONE },
            b'r' => Self { words: &[b"oauth2bearer"], ..Self::NONE },
            b's' => Self { part: Some(b"pass"), ..Self::NONE },
            b't' => Self { words: &[b"secret"], part: Some(b"jwt"), ..Self::NONE },
            b'y' => Self {
                words: &[
                    b"secretkey",
                    b"accesskey",
                    b"apikey",
                    b"privatekey",
                    b"sessionkey",
                    b"authkey",
                    b"accountkey",
                    b"masterkey",
                    b"encryptionkey",
                ],
                ..Self::NONE
            },
            _ => return None,
        })
    }
}

/// The least length of them.
pub const SHORTEST_SHAPE: usize = 40;

/// Starts of the tokens that the metadata service and the token service give out, with the
/// length from which a word counts as one. The formats are not documented: this only catches
/// more than the names do.
const SHAPES: [(&[u8], usize); 5] = [
    (b"AQAE", SHORTEST_SHAPE),
    (b"AQAA", SHORTEST_SHAPE),
    (b"IQoJb3JpZ2luX2", 64),
    (b"FwoGZXIvYXdz", 64),
    (b"FQoGZXIvYXdz", 64),
];

impl Key {
    /// Returns how the value behind `name` is read; `None` if it is no secret.
    pub fn of(name: &[u8]) -> Option<Self> {
        // `PASSWORD1`, `token-2`: one of several.
        let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let stem = name.get(..name.len() - digits).unwrap_or_default();
        let stem = if digits > 0 { stem.strip_suffix(b"_").unwrap_or(stem) } else { stem };
        let last = stem.iter().rev().find(|byte| !is_joint(**byte))?;
        let names = Names::ending_in(last.to_ascii_lowercase())?;
        if digits == 0 {
            if names.harmless.iter().any(|known| is(name, known)) {
                return None;
            }
            if names.line.is_some_and(|ending| ends(name, ending)) {
                return Some(Self::Line);
            }
        }
        let is_part = |known: &[u8]| {
            let part = stem.rsplit(|byte| is_joint(*byte)).next().unwrap_or_default();
            part.eq_ignore_ascii_case(known)
        };
        let is_secret =
            names.words.iter().any(|ending| ends(stem, ending)) || names.part.is_some_and(is_part);
        is_secret.then_some(Self::Word)
    }
}

/// Which bytes can stand in a name: each byte of a text is looked up.
const NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || is_joint(byte);
        byte += 1;
    }
    table
};

/// Returns whether a byte can stand in a name.
pub const fn is_name(byte: u8) -> bool {
    NAME[byte as usize]
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
    if !matches!(rest.first(), Some(b'A' | b'I' | b'F')) {
        return None;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Every name, each with what it says.
    fn all() -> Vec<(&'static [u8], Option<Key>)> {
        let mut all = Vec::new();
        for letter in 0..=u8::MAX {
            let Some(Names { words, part, line, harmless }) = Names::ending_in(letter) else {
                continue;
            };
            let secret = words.iter().chain(part.as_slice()).filter(|n| !harmless.contains(n));
            all.extend(secret.map(|name| (*name, Some(Key::Word))));
            all.extend(line.map(|name| (name, Some(Key::Line))));
            all.extend(harmless.iter().map(|name| (*name, None)));
        }
        all
    }

    #[test]
    fn every_name_is_found_whatever_its_case_and_its_joints() {
        assert_eq!(all().len(), 20 + 4 + 2 + 3);
        for (name, key) in all() {
            let capitals = name.to_ascii_uppercase();
            let joined =
                [b"_", name.get(..2).unwrap(), b"-", name.get(2..).unwrap(), b"_"].concat();
            // A part stands alone.
            let joined = if name.len() < 5 { [b"x_", name].concat() } else { joined };
            for name in [name, &capitals] {
                assert_eq!(Key::of(name), key, "{}", name.escape_ascii());
            }
            if key.is_some() {
                assert_eq!(Key::of(&joined), key, "{}", joined.escape_ascii());
            }
            let numbered = [name, b"_2"].concat();
            let of_several = key.filter(|key| *key == Key::Word);
            if key != Some(Key::Line) && key.is_some() {
                assert_eq!(Key::of(&numbered), of_several, "{}", numbered.escape_ascii());
            }
        }
    }

    #[test]
    fn what_ends_otherwise_is_none() {
        for name in
            [&b"latest"[..], b"meta-data", b"compass", b"keyed", b"tokens", b"", b"-_.", b"7"]
        {
            assert_eq!(Key::of(name), None, "{}", name.escape_ascii());
        }
    }
}
