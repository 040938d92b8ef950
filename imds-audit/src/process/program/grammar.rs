//! The options of shells and interpreters, as far as needed to find the script among them.

use super::{Program, kept};

/// A language whose programs are files that another program reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Shell,
    Python,
    Perl,
    Ruby,
    Node,
    Php,
}

/// What an interpreter's options mean.
struct Grammar {
    /// Short options whose operand is code.
    code: &'static [u8],
    /// Short options with an operand: the rest of the word, else the next word.
    operand: &'static [u8],
    /// Short options that take the rest of the word, if any.
    attached: &'static [u8],
    /// The short option whose operand is a module to run.
    module: &'static [u8],
    /// The short option whose operand is the script.
    file: &'static [u8],
    /// Long options whose operand is code.
    long_code: &'static [&'static [u8]],
    /// Long options with an operand in the next word where there is no `=`.
    long_operand: &'static [&'static [u8]],
}

/// dash(1), bash(1), zsh(1), ksh(1): `-o` and `-O` take the next word wherever they stand.
const SHELL: Grammar = Grammar {
    code: b"c",
    operand: b"",
    attached: b"",
    module: b"",
    file: b"",
    long_code: &[b"--command"],
    long_operand: &[b"--rcfile", b"--init-file", b"--init-command"],
};
/// python3(1).
const PYTHON: Grammar = Grammar {
    code: b"c",
    operand: b"WXQ",
    attached: b"",
    module: b"m",
    file: b"",
    long_code: &[],
    long_operand: &[b"--check-hash-based-pycs"],
};
/// perlrun(1).
const PERL: Grammar = Grammar {
    code: b"eE",
    operand: b"I",
    attached: b"iMmxdDCF",
    module: b"",
    file: b"",
    long_code: &[],
    long_operand: &[],
};
/// ruby(1).
const RUBY: Grammar = Grammar {
    code: b"e",
    operand: b"IrCE",
    attached: b"iKWTxF",
    module: b"",
    file: b"",
    long_code: &[],
    long_operand: &[b"--encoding", b"--external-encoding", b"--internal-encoding"],
};
/// nodejs.org/api/cli.html.
const NODE: Grammar = Grammar {
    code: b"ep",
    operand: b"rC",
    attached: b"",
    module: b"",
    file: b"",
    long_code: &[b"--eval", b"--print"],
    long_operand: &[
        b"--require",
        b"--import",
        b"--loader",
        b"--experimental-loader",
        b"--conditions",
        b"--env-file",
        b"--title",
        b"--input-type",
        b"--unhandled-rejections",
    ],
};
/// php(1).
const PHP: Grammar = Grammar {
    code: b"rBRE",
    operand: b"dczSt",
    attached: b"",
    module: b"",
    file: b"fF",
    long_code: &[b"--run", b"--process-begin", b"--process-code", b"--process-end"],
    long_operand: &[b"--define", b"--php-ini", b"--zend-extension", b"--server", b"--docroot"],
};

impl Language {
    /// Recognises an interpreter by its file name, with or without a version.
    pub fn of(name: &[u8]) -> Option<Self> {
        let versioned = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
        let end = name.iter().rposition(|byte| !versioned(byte)).map_or(0, |last| last + 1);
        Some(match name.get(..end)? {
            b"sh" | b"dash" | b"bash" | b"rbash" | b"ash" | b"zsh" | b"ksh" | b"mksh" | b"lksh"
            | b"pdksh" | b"yash" | b"posh" | b"fish" | b"csh" | b"tcsh" => Self::Shell,
            b"python" | b"pypy" => Self::Python,
            b"perl" => Self::Perl,
            b"ruby" => Self::Ruby,
            b"node" | b"nodejs" => Self::Node,
            b"php" => Self::Php,
            _ => return None,
        })
    }

    fn grammar(self) -> &'static Grammar {
        match self {
            Self::Shell => &SHELL,
            Self::Python => &PYTHON,
            Self::Perl => &PERL,
            Self::Ruby => &RUBY,
            Self::Node => &NODE,
            Self::Php => &PHP,
        }
    }

    /// Finds what the arguments behind the interpreter's own name make it run.
    pub fn program(self, words: &[&[u8]], truncated: bool) -> Program {
        let mut reader = Reader { words, next: 0, truncated };
        reader.program(self)
    }
}

/// Reads words one after the other; the last one of a cut command line is none.
struct Reader<'a> {
    words: &'a [&'a [u8]],
    next: usize,
    truncated: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self) -> Option<&'a [u8]> {
        let word = *self.words.get(self.next)?;
        self.next += 1;
        (!self.truncated || self.next < self.words.len()).then_some(word)
    }

    /// What it is where the words are at their end: the standard input is read then.
    fn end(&self) -> Program {
        if self.truncated { Program::Unknown } else { Program::Commands }
    }

    fn named(&self, word: Option<&[u8]>, make: fn(Box<[u8]>) -> Program) -> Program {
        match word {
            Some(word) if !word.is_empty() => make(kept(word)),
            Some(_) => Program::Unknown,
            None => self.end(),
        }
    }

    fn program(&mut self, language: Language) -> Program {
        let shell = language == Language::Shell;
        let mut commands = false;
        while let Some(word) = self.take() {
            let is_option = word.len() > 1
                && (word.first() == Some(&b'-') || (shell && word.first() == Some(&b'+')));
            match word {
                // A shell takes both for the end of its options, others `-` for their input.
                b"--" => return self.operand(commands),
                b"-" if shell => return self.operand(commands),
                b"-" => return Program::Commands,
                _ if word.starts_with(b"--") => match self.long(language.grammar(), word) {
                    Some(program) => return program,
                    None => continue,
                },
                _ if is_option && shell => commands |= self.shell_options(word),
                _ if is_option => match self.short(language.grammar(), word) {
                    Some(program) => return program,
                    None => continue,
                },
                _ if commands => return Program::Commands,
                _ => return self.named(Some(word), Program::Script),
            }
        }
        self.end()
    }

    /// What follows the end of the options.
    fn operand(&mut self, commands: bool) -> Program {
        if commands {
            return Program::Commands;
        }
        let word = self.take();
        self.named(word, Program::Script)
    }

    /// Returns whether commands, and no script, come from the command line or the input.
    fn shell_options(&mut self, word: &[u8]) -> bool {
        let mut commands = false;
        for letter in word.get(1..).unwrap_or_default() {
            match letter {
                b'c' | b's' => commands = true,
                b'o' | b'O' => drop(self.take()),
                _ => {}
            }
        }
        commands && word.first() == Some(&b'-')
    }

    fn long(&mut self, grammar: &Grammar, word: &[u8]) -> Option<Program> {
        let name = word.split(|&byte| byte == b'=').next().unwrap_or(word);
        if grammar.long_code.contains(&name) {
            return Some(Program::Commands);
        }
        if grammar.long_operand.contains(&name) && name.len() == word.len() {
            self.take();
        }
        None
    }

    fn short(&mut self, grammar: &Grammar, word: &'a [u8]) -> Option<Program> {
        for (index, letter) in word.iter().enumerate().skip(1) {
            let rest = word.get(index + 1..).filter(|rest| !rest.is_empty());
            if grammar.code.contains(letter) {
                return Some(Program::Commands);
            }
            if grammar.module.contains(letter) {
                let name = rest.or_else(|| self.take());
                return Some(self.named(name, Program::Module));
            }
            if grammar.file.contains(letter) {
                let name = rest.or_else(|| self.take());
                return Some(self.named(name, Program::Script));
            }
            if grammar.operand.contains(letter) {
                if rest.is_none() {
                    self.take();
                }
                return None;
            }
            if grammar.attached.contains(letter) {
                return None;
            }
        }
        None
    }
}
