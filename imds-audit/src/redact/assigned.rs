//! Secrets that a place among others marks: the words of `set NAME X`, the command behind
//! `NAME=$(echo X)`, the arguments of a call that takes a login.

use super::{
    Scan,
    commands::printed,
    extent::{Extent, skip_blanks},
    literal::{self, is_literal},
    scan_cost, value,
};

/// Words before a name and its value: fish(1), csh(1), Tcl's `set`, jq(1), `npm config set`.
const SETTERS: [&[u8]; 10] =
    [b"set", b"setenv", b"-x", b"-gx", b"-xg", b"-Ux", b"-xU", b"--export", b"--arg", b"--set"];
/// How far a word reaches back at most, in bytes.
const LONGEST_WORD: usize = 128;
/// How far the literals of a call are looked for, in bytes.
const LONGEST_CALL: usize = 512;
/// The length of an access key id.
const KEY_ID: usize = 20;
/// Beginnings of access key ids (IAM User Guide, "IAM identifiers").
const KEY_IDS: [&[u8]; 2] = [b"AKIA", b"ASIA"];

/// Returns whether a word says that a name and its value follow.
pub(super) fn is_setter(word: &[u8]) -> bool {
    SETTERS.contains(&word)
}

impl Scan<'_> {
    /// Returns where a name in brackets ends (`TOKEN[0]=`, `env(TOKEN)`), which is `end` itself
    /// where it is in none.
    pub(super) fn subscript(&self, start: usize, end: usize) -> usize {
        let rest = self.bytes.get(end..).unwrap_or_default();
        let before = self.bytes.get(..start).unwrap_or_default();
        match rest {
            [b'[', digits @ ..] => {
                let count = digits.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
                let is_index = count > 0 && digits.get(count) == Some(&b']');
                if is_index { end + count + 2 } else { end }
            }
            [b')', ..] if before.ends_with(b"env(") => end + 1,
            _ => end,
        }
    }

    /// Redacts the word behind the name at `start..end` where a word such as `set` stands before
    /// it; returns where to go on.
    pub(super) fn set_by_word(&mut self, start: usize, end: usize) -> Option<usize> {
        let bytes = self.bytes;
        let near = bytes.get(start.saturating_sub(LONGEST_WORD)..start)?;
        let is_blank = |byte: &u8| byte.is_ascii_whitespace();
        let own = near.iter().rposition(is_blank)?;
        let above = near.get(..own)?.trim_ascii_end();
        let mut words = above.rsplit(is_blank).filter(|word| !word.is_empty());
        let setter = words.next()?;
        let is_printf =
            setter == b"-v" && words.next().is_some_and(|word| word.ends_with(b"printf"));
        let next = skip_blanks(bytes, end);
        scan_cost::count(near.len());
        let begins = self.at(next).is_some_and(|byte| !b"-=|&;<>)(#{}".contains(&byte));
        if next == end || !begins {
            return None;
        }
        if is_printf {
            return Some(self.printed_to_variable(next).max(end));
        }
        if !is_setter(setter) {
            return None;
        }
        let word = value::word(bytes, next, false);
        if value::expression(bytes, word.start).is_some_and(|kept| kept >= word.end)
            || value::is_substitution(bytes, word.start)
        {
            return None;
        }
        self.secret(word.start, word.end);
        Some(word.end.max(end))
    }

    /// Redacts what `printf -v NAME` puts together from the words that begin at `start`, but for its
    /// format; returns where to go on.
    fn printed_to_variable(&mut self, start: usize) -> usize {
        let bytes = self.bytes;
        let limit = bytes.len().min(start + LONGEST_CALL);
        let mut index = start;
        while index < limit {
            let is_end = |byte: u8| matches!(byte, b';' | b'|' | b'&' | b'<' | b'>' | b')' | b'`');
            if self.at(index).is_none_or(|byte| is_end(byte) || byte.is_ascii_whitespace())
                || value::is_substitution(bytes, index)
            {
                break;
            }
            let word = value::word(bytes, index, false);
            let is_format = index == start
                && bytes.get(word.start..word.end).is_some_and(|text| text.contains(&b'%'));
            if !is_format {
                self.secret(word.start, word.end);
            }
            let close = literal::closed(bytes, word.end).max(index + 1);
            index = skip_blanks(bytes, close);
        }
        index
    }

    /// Redacts the literal behind a keyword of Clojure (`:password "X"`), an atom of Erlang's
    /// (`{password, "X"}`) or one of Elixir's; returns where to go on.
    pub(super) fn tagged(&mut self, start: usize, end: usize) -> Option<usize> {
        let before = start.checked_sub(1).and_then(|before| self.at(before))?;
        let next = skip_blanks(self.bytes, end);
        let next = match (before, self.at(next)) {
            (b':' | b'{', Some(b',')) => skip_blanks(self.bytes, next + 1),
            (b':', Some(b'"')) if next > end => next,
            _ => return None,
        };
        if !is_literal(self.bytes, next) {
            return None;
        }
        let word = value::word(self.bytes, next, false);
        self.secret(word.start, word.end);
        Some(word.end.max(end))
    }

    /// Redacts what a command prints whose output is the value at `start`: `$(echo X)`.
    pub(super) fn printed_value(&mut self, start: usize) {
        let rest = self.bytes.get(start..).unwrap_or_default();
        let (open, close) = match rest {
            [b'$', b'(', ..] => (2, b')'),
            _ => (1, b'`'),
        };
        let inside = rest.get(open..).unwrap_or_default();
        let mut names = [&b"echo "[..], b"printf "].into_iter();
        let name = names.find(|name| inside.starts_with(name));
        let Some(name) = name else { return };
        let from = start + open + name.len();
        let words = self.bytes.get(from..).unwrap_or_default();
        let words = words.get(..LONGEST_CALL).unwrap_or(words);
        let end = scan_cost::position(words, |byte| *byte == close || *byte == b'|');
        printed(self.bytes, Extent { start: from, end: from + end.unwrap_or(0) }, &mut self.found);
    }

    /// Redacts the secret among the arguments of a call, or beside an access key id, at whose name
    /// `start..end` is; returns where to go on.
    pub(super) fn positional(&mut self, start: usize, end: usize) -> Option<usize> {
        let name = self.bytes.get(start..end)?;
        if name.len() == KEY_ID && KEY_IDS.iter().any(|known| name.starts_with(known)) {
            return self.beside(end);
        }
        let last = name.rsplit(|byte| *byte == b'.').next()?;
        let place = match last {
            b"simple_bind_s" | b"simple_bind" => 2,
            b"connect" | b"getConnection" | b"PDO" | b"mysqli" | b"mysqli_connect"
            | b"mysql_connect" | b"FTP" | b"FTP_TLS" => 3,
            b"new" if name.ends_with(b"FTP.new") => 3,
            _ => return None,
        };
        (self.at(end) == Some(b'(')).then_some(())?;
        self.nth_literal(end + 1, place)
    }

    /// Redacts the literal behind the access key id that ends at `end` (`'AKIA…', 'X'`).
    fn beside(&mut self, end: usize) -> Option<usize> {
        let comma = skip_blanks(self.bytes, literal::closed(self.bytes, end));
        let next = skip_blanks(self.bytes, comma + 1);
        if self.at(comma) != Some(b',') || !is_literal(self.bytes, next) {
            return None;
        }
        let word = value::word(self.bytes, next, false);
        self.secret(word.start, word.end);
        Some(word.end.max(end))
    }

    /// Redacts the literal in this place, from 1 on, of the call whose arguments begin at `start`.
    fn nth_literal(&mut self, start: usize, place: usize) -> Option<usize> {
        let limit = self.bytes.len().min(start + LONGEST_CALL);
        let (mut index, mut count) = (start, 0);
        while index < limit {
            scan_cost::count(1);
            if matches!(self.at(index)?, b')' | b';' | b'\n') {
                return None;
            }
            if !is_literal(self.bytes, index) {
                index += 1;
                continue;
            }
            let word = value::word(self.bytes, index, false);
            count += 1;
            if count == place {
                self.secret(word.start, word.end);
                return Some(word.end.max(index + 1));
            }
            index = literal::closed(self.bytes, word.end).max(index + 1);
        }
        None
    }
}

/// Returns the lines of a here-document of Ruby or a shell that stand behind `<<~NAME` at `start`.
pub(super) fn here_document(bytes: &[u8], start: usize) -> Option<Extent> {
    let rest = bytes.get(start..)?.strip_prefix(b"<<")?;
    let rest = rest.strip_prefix(b"~").or(rest.strip_prefix(b"-")).unwrap_or(rest);
    let quote = usize::from(matches!(rest.first(), Some(b'"' | b'\'')));
    let rest = rest.get(quote..)?;
    let length = rest.iter().take(32).take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let name = rest.get(..length).filter(|name| !name.is_empty())?;
    let from = start + scan_cost::position(bytes.get(start..)?, |byte| *byte == b'\n')? + 1;
    let text = bytes.get(from..)?;
    scan_cost::count(text.len());
    let mut end = 0;
    for line in text.split(|byte| *byte == b'\n') {
        if line.trim_ascii() == name {
            break;
        }
        end += line.len() + 1;
    }
    Some(Extent { start: from, end: (from + end).min(bytes.len()) })
}
