//! Secrets that a script prints to a program's standard input:
//! `echo X | docker login --password-stdin`, `chpasswd <<< me:X`.

use super::super::{
    extent::{Extent, skip_blanks},
    literal, value,
};

/// How many words are removed that a script prints.
const MOST_WORDS: usize = 8;

/// What a script prints, and who reads it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stdin {
    /// Where the words begin that the command at hand prints.
    prints: Option<usize>,
    /// What the command before the pipe printed.
    piped: Option<Extent>,
    /// The command at hand is `sudo`, which takes a password with `-S`.
    is_sudo: bool,
    /// The command at hand has a word already, `sudo` aside.
    has_name: bool,
    /// The command at hand reads a secret.
    reads: bool,
}

impl Stdin {
    /// Reads a word of a script at `word`.
    pub(super) fn word(&mut self, bytes: &[u8], word: Extent, found: &mut Vec<Extent>) {
        let is_first = !self.has_name;
        self.has_name = true;
        let reads = match bytes.get(word.start..word.end).unwrap_or_default() {
            b"echo" | b"printf" => {
                self.prints = self.prints.or(Some(word.end));
                false
            }
            b"sudo" => {
                self.is_sudo = true;
                self.has_name = false;
                false
            }
            b"-S" => self.is_sudo,
            b"--password-stdin" | b"--pass-stdin" | b"--token-stdin" | b"--with-token"
            | b"--passphrase-fd" => true,
            b"chpasswd" | b"smbpasswd" | b"passwd" | b"cryptsetup" => is_first,
            _ => false,
        };
        if reads {
            self.reads = true;
            if let Some(piped) = self.piped.take() {
                words(bytes, piped, found);
            }
        }
    }

    /// Reads what ends a command at `index`.
    pub(super) fn end_command(&mut self, bytes: &[u8], index: usize) {
        let is_pipe = bytes.get(index) == Some(&b'|')
            && bytes.get(index + 1) != Some(&b'|')
            && index.checked_sub(1).and_then(|before| bytes.get(before)) != Some(&b'|');
        let piped = self.prints.map(|start| Extent { start, end: index });
        *self = Self { piped: piped.filter(|_| is_pipe), ..Self::default() };
    }

    /// Reads the `<` at `index`: a secret follows `<<<` where the command reads one.
    pub(super) fn here(&self, bytes: &[u8], index: usize, found: &mut Vec<Extent>) {
        if self.reads && bytes.get(index..).is_some_and(|rest| rest.starts_with(b"<<<")) {
            let start = skip_blanks(bytes, index + 3);
            secret(bytes, value::word(bytes, start, false), found);
        }
    }
}

/// Adds the words of `extent` to `found`, but for the options and the format of what prints them.
pub(in crate::redact) fn words(bytes: &[u8], extent: Extent, found: &mut Vec<Extent>) {
    let Some(bytes) = bytes.get(..extent.end) else { return };
    let mut index = extent.start;
    for _ in 0..MOST_WORDS {
        index = skip_blanks(bytes, index);
        if index >= extent.end {
            return;
        }
        let word = value::word(bytes, index, false);
        let text = bytes.get(word.start..word.end).unwrap_or_default();
        if !text.starts_with(b"-") && !text.contains(&b'%') {
            secret(bytes, word, found);
        }
        let quote = usize::from(literal::is_literal(bytes, index));
        index = word.end.max(index) + quote.max(usize::from(word.end <= index));
    }
}

/// Adds a word to `found`, but for the variable or the user's name that it begins with.
fn secret(bytes: &[u8], word: Extent, found: &mut Vec<Extent>) {
    let text = bytes.get(word.start..word.end).unwrap_or_default();
    let colon = memchr::memchr(b':', text.get(..value::LONGEST_USER).unwrap_or(text));
    let start = word.start + colon.map_or(0, |colon| colon + 1);
    let start = value::expression(bytes, start).unwrap_or(start);
    if start < word.end {
        found.push(Extent { start, end: word.end });
    }
}
