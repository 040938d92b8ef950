//! Secrets by the program that they are handed to: `mysql -pX`, `vault login X`,
//! `aws kms encrypt --plaintext X`.
//!
//! A pass of its own over the words of a command line or of a script. Programs nest
//! (`sudo sshpass … ssh … mysql`), so the rules of the last few apply together.

mod aws;
mod aws_members;
mod index;
mod redact;
mod stdin;
mod table;

use super::{extent::Extent, literal, scan_cost, value};
pub(super) use aws::Operation;
use redact::redact;
pub(super) use stdin::words as printed;
use table::{PROGRAMS, Rule, Takes};

/// How many programs of one command line are remembered.
const MOST_PROGRAMS: usize = 4;

/// How many words of one command line are remembered.
const MOST_WORDS: usize = 12;

/// A program of a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Running {
    /// Its place in the table.
    program: u8,
    /// How many words came before its own.
    since: usize,
}

/// What a command line has said so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Commands<'a> {
    /// Its programs, the last one first.
    programs: [Option<Running>; MOST_PROGRAMS],
    /// Its words and options behind the first program.
    words: [&'a [u8]; MOST_WORDS],
    count: usize,
    /// What the next word is.
    next: Option<Takes>,
    aws: Operation,
    stdin: stdin::Stdin,
}

impl<'a> Commands<'a> {
    /// Adds the secrets of one argument to `found`. Returns whether it is an option of the table,
    /// whose name then says nothing else.
    pub(super) fn argument(&mut self, argument: &'a [u8], found: &mut Vec<Extent>) -> bool {
        let whole = Extent { start: 0, end: argument.len() };
        if let Some(takes) = self.next.take()
            && redact(argument, whole, takes, found)
        {
            return false;
        }
        let is_option = matches!(argument.first(), Some(b'-' | b'/'))
            && self.option(argument, whole, true, found);
        if !is_option && !argument.contains(&b'\n') {
            self.word(argument, whole, found);
        }
        is_option
    }

    /// Adds the secrets of the commands in a script to `found`. Returns where their options of the
    /// table begin, in order: their names say nothing else.
    pub(super) fn script(&mut self, bytes: &'a [u8], found: &mut Vec<Extent>) -> Vec<usize> {
        let mut options = Vec::new();
        let mut index = 0;
        while let Some(byte) = bytes.get(index).copied() {
            // A line that goes on.
            if byte == b'\\' && matches!(bytes.get(index + 1), Some(b'\n' | b'\r')) {
                scan_cost::count(1);
                index += 2;
                continue;
            }
            if !is_bare(byte) {
                scan_cost::count(1);
                if byte == b'<' {
                    self.stdin.here(bytes, index, found);
                }
                if ends_command(bytes, index) {
                    self.end_command(bytes, index);
                }
                index += 1;
                continue;
            }
            let rest = bytes.get(index..).unwrap_or_default();
            let length = scan_cost::position(rest, |byte| !is_bare(*byte)).unwrap_or(rest.len());
            let token = Extent { start: index, end: index + length };
            index = self.token(bytes, token, found, &mut options);
        }
        options
    }

    /// Reads the word of a script at `token`; returns where to go on.
    fn token(
        &mut self,
        bytes: &'a [u8],
        token: Extent,
        found: &mut Vec<Extent>,
        options: &mut Vec<usize>,
    ) -> usize {
        let is_option = matches!(bytes.get(token.start), Some(b'-' | b'/'));
        if let Some(takes) = self.next.take() {
            let end = self.next_word(bytes, token, takes, found);
            if end >= token.end {
                return end;
            }
        }
        if is_option && self.option(bytes, token, false, found) {
            options.push(token.start);
            let Some(takes) = self.next else {
                // The value in the same word may go on in quotes.
                return found.last().map_or(token.end, |last| last.end.max(token.end));
            };
            let next = literal::next_word(bytes, token.end);
            return match bytes.get(next) {
                // The next word begins with a quote: it is the value, blanks and all.
                Some(b'"' | b'\'' | b'\\') if next > token.end => {
                    self.next = None;
                    let end =
                        self.next_word(bytes, Extent { start: next, end: next }, takes, found);
                    end.max(token.end)
                }
                _ => token.end,
            };
        }
        let quoted = token.start.checked_sub(1).and_then(|before| bytes.get(before));
        let from = if matches!(quoted, Some(b'"' | b'\'')) { token.start - 1 } else { token.start };
        let word = Extent { start: from, end: token.end };
        self.script_word(bytes, token, word, found)
    }

    /// Reads the value at `token` that the option before it announced; returns where to go on.
    fn next_word(
        &self,
        bytes: &'a [u8],
        token: Extent,
        takes: Takes,
        found: &mut Vec<Extent>,
    ) -> usize {
        let word = value::word(bytes, token.start, false);
        if redact(bytes, word, takes, found) { word.end.max(token.end) } else { token.start }
    }

    fn script_word(
        &mut self,
        bytes: &'a [u8],
        token: Extent,
        word: Extent,
        found: &mut Vec<Extent>,
    ) -> usize {
        if let Some(takes) = self.operand(bytes.get(token.start..token.end).unwrap_or_default()) {
            let word = value::word(bytes, word.start, false);
            redact(bytes, word, takes, found);
            self.note(bytes.get(token.start..token.end).unwrap_or_default());
            return word.end.max(token.end);
        }
        self.stdin.word(bytes, token, found);
        self.word(bytes, token, found);
        token.end
    }

    /// Reads a word that is no option.
    fn word(&mut self, bytes: &'a [u8], word: Extent, found: &mut Vec<Extent>) {
        let text = bytes.get(word.start..word.end).unwrap_or_default();
        if let Some(takes) = self.operand(text) {
            redact(bytes, word, takes, found);
        }
        if self.is_active() {
            self.note(text);
        }
        let name = file_name(text);
        let windows = || index::find(name.strip_suffix(b".exe")?);
        if let Some(program) = index::find(name).or_else(windows) {
            self.start(program);
        } else if self.is_aws() {
            self.aws.word(text);
        }
    }

    /// Returns what the operand `text` is, by its place or its name.
    fn operand(&self, text: &[u8]) -> Option<Takes> {
        if !self.is_active() {
            return None;
        }
        let named = |option: &str| option.ends_with('=') && text.starts_with(option.as_bytes());
        for (rule, since) in self.rules().filter(|(rule, _)| rule.has_operand) {
            let Some(since) = self.since(rule.after, since) else { continue };
            let place = 1 + self.operands_since(since);
            let is_plain = self.count - since + 1 == place;
            let is_place = |option: &str| {
                let plain = option.strip_prefix('!').filter(|_| is_plain);
                plain.unwrap_or(option).parse() == Ok(place)
            };
            let is_it = rule
                .options
                .split_ascii_whitespace()
                .any(|option| option == "*" || named(option) || is_place(option));
            if is_it {
                return Some(match rule.takes {
                    Takes::Secret if rule.options.contains('=') => Takes::Pair,
                    takes => takes,
                });
            }
        }
        None
    }

    /// Reads an option and the value in the same word; returns whether it takes a secret. What it
    /// takes is noted for the next word where this one has none.
    fn option(
        &mut self,
        bytes: &'a [u8],
        token: Extent,
        whole: bool,
        found: &mut Vec<Extent>,
    ) -> bool {
        let text = bytes.get(token.start..token.end).unwrap_or_default();
        if !whole {
            self.stdin.word(bytes, token, found);
        }
        if !self.is_active() || text.len() < 2 {
            return false;
        }
        let matched = self.match_option(text).or_else(|| {
            self.is_aws().then(|| self.aws.option(text)).flatten().map(|at| (Takes::Secret, at))
        });
        if text.starts_with(b"-") {
            self.note(text);
        }
        let Some((takes, at)) = matched else { return false };
        if takes == Takes::Nothing {
            return at == text.len();
        }
        let from = token.start + at;
        if at == text.len() && (whole || !is_attached(bytes, from, text)) {
            if takes != Takes::Attached {
                self.next = Some(takes);
            }
            return true;
        }
        let end = token.end;
        let extent =
            if whole { Extent { start: from, end } } else { value::word(bytes, from, false) };
        redact(bytes, extent, takes, found);
        true
    }

    /// Returns what an option takes and where in its word the value begins, which is the word's
    /// end where the value is another word.
    fn match_option(&self, text: &[u8]) -> Option<(Takes, usize)> {
        for (rule, since) in self.rules() {
            for option in rule.options.split_ascii_whitespace().map(str::as_bytes) {
                if option.get(1) != text.get(1) {
                    continue;
                }
                let Some(rest) = text.strip_prefix(option) else { continue };
                if self.since(rule.after, since).is_none() {
                    break;
                }
                let at = option.len();
                match rest.first() {
                    None => return Some((rule.takes, at)),
                    Some(b'=') => return Some((rule.takes, at + 1)),
                    // `/p:X`, `-storepass:env NAME`.
                    Some(b':') if option.first() == Some(&b'/') => {
                        return Some((rule.takes, at + 1));
                    }
                    Some(_) if option.last() == Some(&b':') => return Some((rule.takes, at)),
                    Some(_) if is_glued(option, rule.takes) => return Some((rule.takes, at)),
                    Some(_) => {}
                }
            }
        }
        None
    }

    /// Returns the rules of the programs at hand, each with the number of words before its
    /// program's.
    fn rules(&self) -> impl Iterator<Item = (&'static Rule, usize)> {
        self.programs.into_iter().flatten().flat_map(|running| {
            let program = PROGRAMS.get(usize::from(running.program));
            let rules = program.map(|program| program.rules).unwrap_or_default();
            rules.iter().map(move |rule| (rule, running.since))
        })
    }

    /// Returns the place behind the last of the words that a rule asks for, if all have come.
    fn since(&self, after: &str, first: usize) -> Option<usize> {
        let words = self.words.get(first..self.count).unwrap_or_default();
        let mut since = first;
        for wanted in after.split_ascii_whitespace().map(str::as_bytes) {
            let place = words.iter().position(|word| match wanted {
                // `-nbB` has the letters of `-b`.
                [b'-', letter] if letter.is_ascii_alphabetic() => {
                    word.len() < 7
                        && !word.starts_with(b"--")
                        && word.first() == Some(&b'-')
                        && word.contains(letter)
                }
                _ => *word == wanted,
            })?;
            since = since.max(first + place + 1);
        }
        Some(since)
    }

    /// Returns how many operands have come since the word at a place.
    fn operands_since(&self, since: usize) -> usize {
        let words = self.words.get(since..self.count).unwrap_or_default();
        words.iter().filter(|word| !word.starts_with(b"-")).count()
    }

    fn note(&mut self, word: &'a [u8]) {
        if let Some(place) = self.words.get_mut(self.count) {
            *place = word;
            self.count += 1;
        }
    }

    fn start(&mut self, program: u8) {
        let rules = PROGRAMS.get(usize::from(program)).map(|it| it.rules).unwrap_or_default();
        if rules.iter().any(|rule| rule.takes == Takes::End) {
            *self = Self { stdin: self.stdin, ..Self::default() };
            return;
        }
        self.programs.rotate_right(1);
        if let Some(first) = self.programs.first_mut() {
            *first = Some(Running { program, since: self.count });
        }
    }

    /// Returns whether a program of the table runs.
    pub(super) fn is_active(&self) -> bool {
        self.programs.first().is_some_and(Option::is_some)
    }

    fn is_aws(&self) -> bool {
        self.programs.iter().flatten().any(|running| running.program == index::AWS)
    }

    /// Returns the AWS CLI's operation at hand.
    pub(super) const fn operation(&self) -> Operation {
        self.aws
    }

    fn end_command(&mut self, bytes: &'a [u8], index: usize) {
        let mut stdin = self.stdin;
        stdin.end_command(bytes, index);
        // The members stay: the text around the command is read with them.
        *self = Self { stdin, aws: self.aws.ended(), ..Self::default() };
    }
}

/// Returns whether an option of one letter may have its value in the same word.
fn is_glued(option: &[u8], takes: Takes) -> bool {
    let is_letter = option.len() == 2 && option.first() == Some(&b'-');
    match takes {
        Takes::Attached => true,
        Takes::Secret | Takes::Token | Takes::Anything | Takes::Behind(_) => is_letter,
        Takes::Apart | Takes::Prefixed | Takes::Pair | Takes::Nothing | Takes::End => false,
    }
}

/// Returns whether a value in quotes is attached to the option that ends at `from`.
fn is_attached(bytes: &[u8], from: usize, option: &[u8]) -> bool {
    let is_quote = matches!(bytes.get(from), Some(b'"' | b'\''));
    let closes = bytes
        .get(from + 1)
        .is_none_or(|byte| byte.is_ascii_whitespace() || matches!(byte, b',' | b']' | b')' | b';'));
    is_quote && !closes && (option.len() == 2 || option.last() == Some(&b'='))
}

/// Returns the part of a path behind its last separator.
fn file_name(path: &[u8]) -> &[u8] {
    let near = path.get(path.len().saturating_sub(64)..).unwrap_or_default();
    near.rsplit(|byte| matches!(byte, b'/' | b'\\')).next().unwrap_or_default()
}

/// Returns whether a byte can stand in a word without quotes.
const fn is_bare(byte: u8) -> bool {
    !matches!(
        byte,
        b' ' | b'\t'
            | b'\n'
            | b'\r'
            | b'"'
            | b'\''
            | b'`'
            | b';'
            | b'|'
            | b'&'
            | b'('
            | b')'
            | b'<'
            | b'>'
            | b','
            | b'['
            | b']'
    )
}

/// Returns whether the byte at `index` ends a command: one that a URL may have too only where
/// blanks or others stand around it.
fn ends_command(bytes: &[u8], index: usize) -> bool {
    let before = index.checked_sub(1).and_then(|before| bytes.get(before)).copied();
    match bytes.get(index) {
        Some(b'\n') => before != Some(b'\\'),
        Some(b';' | b'|') => true,
        Some(b'&') => {
            let is_edge = |byte: u8| byte.is_ascii_whitespace() || byte == b'&';
            before.is_none_or(is_edge) || bytes.get(index + 1).is_none_or(|byte| is_edge(*byte))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
