//! The names that say that a secret follows.

mod endings;

use endings::Names;

use super::scan_cost;

/// How far the value of a secret's name reaches where nothing encloses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// To the end of the word.
    Word,
    /// To the end of the line: credentials and cookies have several words.
    Line,
}

impl Key {
    /// Returns how the value behind `name` is read; `None` if it is no secret.
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        let letters = Letters::of(name);
        let digits = letters.digits;
        let letters = letters.as_bytes();
        let [.., before, last] = letters else { return None };
        if !may_end(*before, *last) {
            return None;
        }
        let names = Names::ending_in(*last)?;
        // `PASSWORD1`, `token-2`: one of several.
        let stem = name.get(..name.len() - digits).unwrap_or_default();
        let stem = if digits > 0 { stem.strip_suffix(b"_").unwrap_or(stem) } else { stem };
        let part = stem.rsplit(|byte| is_joint(*byte)).next().unwrap_or_default();
        let is_word = |known: &&[u8]| letters == *known || part.eq_ignore_ascii_case(known);
        if names.harmless.iter().any(is_word) {
            return None;
        }
        // `--no-password`.
        if name.strip_prefix(b"-").is_some_and(is_negation) {
            return None;
        }
        if digits == 0 && names.line.is_some_and(|ending| letters.ends_with(ending)) {
            return Some(Self::Line);
        }
        let is_secret = names.words.iter().any(|ending| letters.ends_with(ending))
            || names.parts.iter().any(|part| is_last_part(stem, part));
        is_secret.then_some(Self::Word)
    }
}

/// The last letters of a name in lower case, without joints and digits behind them.
struct Letters {
    letters: [u8; LONGEST_ENDING],
    /// How many of them there are, at the end.
    count: usize,
    /// How many digits stand behind them.
    digits: usize,
}

impl Letters {
    fn of(name: &[u8]) -> Self {
        let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let mut letters = [0; LONGEST_ENDING];
        let mut count = 0;
        let stem = name.get(..name.len() - digits).unwrap_or_default();
        for byte in stem.iter().rev().filter(|byte| !is_joint(**byte)) {
            let Some(place) = LONGEST_ENDING.checked_sub(count + 1) else { break };
            if let Some(place) = letters.get_mut(place) {
                *place = byte.to_ascii_lowercase();
            }
            count += 1;
            // The last two letters rule out most names.
            if count == 2
                && let [.., before, last] = letters
                && !may_end(before, last)
            {
                break;
            }
        }
        Self { letters, count, digits }
    }

    fn as_bytes(&self) -> &[u8] {
        self.letters.get(LONGEST_ENDING - self.count..).unwrap_or_default()
    }
}

/// The longest ending of a name, in letters, and more.
const LONGEST_ENDING: usize = 32;

/// The letters before the last one of every ending, by the last one: a bit each.
const LAST_TWO: [u32; 256] = {
    let mut pairs = [0; 256];
    let mut letter = 0_u8;
    while letter < 128 {
        if let Some(names) = Names::ending_in(letter) {
            let mut index = 0;
            while index < names.words.len() {
                pairs[letter as usize] |= before_last(names.words[index]);
                index += 1;
            }
            index = 0;
            while index < names.parts.len() {
                pairs[letter as usize] |= before_last(names.parts[index]);
                index += 1;
            }
            if let Some(line) = names.line {
                pairs[letter as usize] |= before_last(line);
            }
        }
        letter += 1;
    }
    pairs
};

const fn before_last(name: &[u8]) -> u32 {
    1 << (name[name.len() - 2] & 31)
}

/// Returns whether a secret's name may end in two letters.
const fn may_end(before: u8, last: u8) -> bool {
    before.is_ascii_lowercase() && LAST_TWO[last as usize] & (1 << (before & 31)) != 0
}

/// Returns whether an option, without its first hyphen, switches something off.
fn is_negation(option: &[u8]) -> bool {
    let option = option.strip_prefix(b"-").unwrap_or(option);
    option.starts_with(b"no-")
}

/// Returns whether `name` ends with a part: all of it, what stands behind a joint, or a hump
/// (`dbPwd`).
fn is_last_part(name: &[u8], part: &[u8]) -> bool {
    let last = name.rsplit(|byte| is_joint(*byte)).next().unwrap_or_default();
    let Some(before) = last.len().checked_sub(part.len()) else { return false };
    let hump = last.get(before..).unwrap_or_default();
    if !hump.eq_ignore_ascii_case(part) {
        return false;
    }
    let previous = before.checked_sub(1).and_then(|index| last.get(index));
    previous.is_none_or(|previous| {
        !previous.is_ascii_uppercase() && hump.first().is_some_and(u8::is_ascii_uppercase)
    })
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
pub(super) const fn is_name(byte: u8) -> bool {
    NAME[byte as usize]
}

const fn is_joint(byte: u8) -> bool {
    matches!(byte, b'-' | b'_' | b'.')
}

/// Returns where the name that starts at `start` ends.
pub(super) fn run(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    start + scan_cost::position(rest, |byte| !is_name(*byte)).unwrap_or(rest.len())
}

/// Returns whether an option takes `user:password`, or a file and its password.
pub(super) fn is_login_option(name: &[u8]) -> bool {
    matches!(name, b"-u" | b"-U" | b"--user" | b"--proxy-user" | b"--cert" | b"--proxy-cert")
}

/// Names of authentication schemes (RFC 9110, section 11) that stand before a secret.
const SCHEMES: [&[u8]; 7] =
    [b"Bearer", b"Basic", b"Digest", b"Negotiate", b"Token", b"AWS4-HMAC-SHA256", b"ApiKey"];

/// Returns whether a text is the name of an authentication scheme.
pub(super) fn is_scheme(bytes: &[u8]) -> bool {
    SCHEMES.iter().any(|scheme| bytes.eq_ignore_ascii_case(scheme))
}

/// Returns whether a header has cookies.
pub(super) fn is_cookie(name: &[u8]) -> bool {
    ends(name, b"cookie")
}

/// How a name alone says that the next word is a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bare {
    /// It has several parts (`aws configure set aws_secret_access_key X`): a long word is one.
    Joined,
    /// It is a word of any text (`token X`): a long word that looks like a secret is one.
    Alone,
}

impl Bare {
    /// Returns how `name` announces a secret; `None` if it does not.
    pub(super) fn of(name: &[u8]) -> Option<Self> {
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
pub(super) fn is_variable_of_a_key(name: &[u8]) -> bool {
    let is_variable = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let mut parts = name.rsplit(|byte| *byte == b'_');
    matches!(parts.next(), Some(b"KEY" | b"PAT" | b"TOKENS" | b"SECRETS" | b"PASSWORDS"))
        && parts.next() != Some(b"PUBLIC")
        && name.iter().all(|byte| is_variable(byte) || *byte == b'_')
}

/// Returns whether `name` without its joints ends with `ending`, ASCII case ignored.
fn ends(name: &[u8], ending: &[u8]) -> bool {
    let mut letters = name.iter().rev().filter(|byte| !is_joint(**byte));
    ending.iter().rev().all(|want| letters.next().is_some_and(|b| b.eq_ignore_ascii_case(want)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every name, each with what it says.
    fn all() -> Vec<(&'static [u8], Option<Key>)> {
        let mut all = Vec::new();
        for letter in 0..=u8::MAX {
            let Some(Names { words, parts, line, harmless }) = Names::ending_in(letter) else {
                continue;
            };
            let secret = words.iter().chain(parts).filter(|n| !harmless.contains(n));
            all.extend(secret.map(|name| (*name, Some(Key::Word))));
            all.extend(line.map(|name| (name, Some(Key::Line))));
            all.extend(harmless.iter().map(|name| (*name, None)));
        }
        all
    }

    #[test]
    fn every_name_is_found_whatever_its_case_and_its_joints() {
        assert_eq!(all().len(), 96);
        for (name, key) in all() {
            let capitals = name.to_ascii_uppercase();
            let joined =
                [b"_", name.get(..2).unwrap(), b"-", name.get(2..).unwrap(), b"_"].concat();
            // A part stands alone.
            let parts = Names::ending_in(*name.last().unwrap()).unwrap().parts;
            let joined = if parts.contains(&name) { [b"x_", name].concat() } else { joined };
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
