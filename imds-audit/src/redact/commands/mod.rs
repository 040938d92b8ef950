//! Secrets by the program that they are handed to: `mysql -pX`, `vault login X`,
//! `aws kms encrypt --plaintext X`.
//!
//! A pass of its own over the words of a command line or of a script. Programs nest
//! (`sudo sshpass … ssh … mysql`), so the rules of the last few apply together.

mod aws;
mod aws_members;
mod index;
mod redact;
mod script;
mod stdin;
mod table;

use super::{extent::Extent, value};
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

#[cfg(test)]
mod tests;
