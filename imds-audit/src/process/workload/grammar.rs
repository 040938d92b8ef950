//! Command lines of interpreters: a reader that finds the script among the options.

use super::{Workload, kept};

/// The operand of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// A value that does not matter here.
    Value,
    /// Code: the option is the program, and what follows are its arguments.
    Code,
    /// Code that runs before the script, or instead of one where none follows.
    Preamble,
    /// The file of the script.
    File,
    /// A module to run.
    Module,
}

/// The first word that is no option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Positional {
    /// The script.
    Script,
    /// Code, as for `awk`.
    Code,
    /// Data: the script stands behind an option, if anywhere.
    Data,
}

/// The options of one interpreter, as its manual has them.
#[derive(Debug)]
pub(super) struct Grammar {
    /// Short options with an operand: the rest of the word, else the next word.
    pub short: &'static [(u8, Operand)],
    /// Short options that take the rest of their word, if any, and never the next one.
    pub attached: &'static [u8],
    /// Long options, with their dashes, whose operand stands behind `=` or is the next word.
    pub long: &'static [(&'static [u8], Operand)],
    /// What the first word that is no option is.
    pub positional: Positional,
    /// Whether long options have a single dash too, so that letters do not stand together.
    pub single_dash: bool,
}

impl Grammar {
    /// No options with operands; the first other word is the script.
    pub(super) const PLAIN: Self = Self {
        short: &[],
        attached: &[],
        long: &[],
        positional: Positional::Script,
        single_dash: false,
    };

    /// Finds what the arguments behind the interpreter's own name make it run.
    pub(super) fn workload(&self, words: &[&[u8]], truncated: bool) -> Workload {
        let mut words = Words::new(words, truncated);
        let mut has_code = false;
        while let Some(word) = words.take() {
            let found = match word {
                b"--" => return self.positional(words.take(), has_code, &words),
                b"-" => return Workload::Commands,
                _ if word.first() != Some(&b'-') => {
                    return self.positional(Some(word), has_code, &words);
                }
                _ if self.single_dash || word.starts_with(b"--") => self.long(word, &mut words),
                _ => self.short(word, &mut words),
            };
            match found {
                Some((Operand::Code, _)) => return Workload::Commands,
                Some((Operand::Preamble, _)) => has_code = true,
                Some((Operand::File, name)) => return words.named(name, Workload::Script),
                Some((Operand::Module, name)) => return words.named(name, Workload::Module),
                Some((Operand::Value, _)) | None => {}
            }
        }
        words.end()
    }

    fn positional(&self, word: Option<&[u8]>, has_code: bool, words: &Words<'_>) -> Workload {
        match self.positional {
            Positional::Script => words.named(word, Workload::Script),
            Positional::Code => Workload::Commands,
            Positional::Data if has_code => Workload::Commands,
            Positional::Data => words.end(),
        }
    }

    /// Reads a long option; returns the operand that it has.
    fn long<'a>(
        &self,
        word: &'a [u8],
        words: &mut Words<'a>,
    ) -> Option<(Operand, Option<&'a [u8]>)> {
        let (name, value) = match word.iter().position(|&byte| byte == b'=') {
            Some(end) => (word.get(..end)?, word.get(end + 1..)),
            None => (word, None),
        };
        let (_, operand) = self.long.iter().find(|(known, _)| *known == name)?;
        Some((*operand, value.or_else(|| words.take())))
    }

    /// Reads a word of short options; returns the operand of the one that has one.
    fn short<'a>(
        &self,
        word: &'a [u8],
        words: &mut Words<'a>,
    ) -> Option<(Operand, Option<&'a [u8]>)> {
        for (index, letter) in word.iter().enumerate().skip(1) {
            if let Some((_, operand)) = self.short.iter().find(|(known, _)| known == letter) {
                let rest = word.get(index + 1..).filter(|rest| !rest.is_empty());
                return Some((*operand, rest.or_else(|| words.take())));
            }
            if self.attached.contains(letter) {
                return None;
            }
        }
        None
    }
}

/// The words of a command line, one after the other; the last one of a command line that was cut
/// off is missing.
pub(super) struct Words<'a> {
    words: &'a [&'a [u8]],
    next: usize,
    truncated: bool,
}

impl<'a> Words<'a> {
    /// Starts with the first word behind the interpreter's own name.
    pub(super) const fn new(words: &'a [&'a [u8]], truncated: bool) -> Self {
        Self { words, next: 0, truncated }
    }

    /// Returns the next word.
    pub(super) fn take(&mut self) -> Option<&'a [u8]> {
        let word = *self.words.get(self.next)?;
        self.next += 1;
        (!self.truncated || self.next < self.words.len()).then_some(word)
    }

    /// Returns the words that were not taken.
    pub(super) fn rest(&self) -> &'a [&'a [u8]] {
        self.words.get(self.next..).unwrap_or_default()
    }

    /// Returns what runs where no word is left: the interpreter reads its standard input then.
    pub(super) const fn end(&self) -> Workload {
        if self.truncated { Workload::Unknown } else { Workload::Commands }
    }

    /// Makes what a word names.
    pub(super) fn named(&self, word: Option<&[u8]>, make: fn(Box<[u8]>) -> Workload) -> Workload {
        match word {
            Some(b"-") => Workload::Commands,
            Some(word) if !word.is_empty() => make(kept(word)),
            Some(_) => Workload::Unknown,
            None => self.end(),
        }
    }
}
