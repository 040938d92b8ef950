//! The command lines of shells.

use super::Workload;
use super::grammar::{Grammar, Operand::*, Words};

/// fish(1).
pub(super) static FISH: Grammar = Grammar {
    short: &[
        (b'c', Code),
        (b'C', Value),
        (b'd', Value),
        (b'o', Value),
        (b'D', Value),
        (b'f', Value),
        (b'p', Value),
    ],
    long: &[
        (b"--command", Code),
        (b"--init-command", Value),
        (b"--debug", Value),
        (b"--debug-output", Value),
        (b"--debug-stack-frames", Value),
        (b"--features", Value),
        (b"--profile", Value),
        (b"--profile-startup", Value),
    ],
    ..Grammar::PLAIN
};
/// nushell.sh/book, "Command-line flags".
pub(super) static NU: Grammar = Grammar {
    short: &[(b'c', Code), (b'e', Value), (b'I', Value), (b'm', Value), (b't', Value)],
    long: &[
        (b"--commands", Code),
        (b"--execute", Value),
        (b"--include-path", Value),
        (b"--table-mode", Value),
        (b"--error-style", Value),
        (b"--config", Value),
        (b"--env-config", Value),
        (b"--plugin-config", Value),
        (b"--plugins", Value),
        (b"--log-level", Value),
        (b"--log-target", Value),
        (b"--threads", Value),
        (b"--testbin", Code),
        (b"--ide-goto-def", Value),
    ],
    ..Grammar::PLAIN
};

/// Long options of bash(1) and zsh(1) with an operand in the next word.
const LONG_OPERANDS: [&[u8]; 3] = [b"--rcfile", b"--init-file", b"--emulate"];

/// Finds what a shell of POSIX's kind, or a C shell, runs: dash(1), bash(1), zsh(1), ksh(1),
/// csh(1). `-o` and `-O` take the next word wherever they stand, and `-c` none: the commands are
/// the first word that is no option.
pub(super) fn workload(words: &[&[u8]], truncated: bool) -> Workload {
    let mut words = Words::new(words, truncated);
    let mut has_commands = false;
    while let Some(word) = words.take() {
        match word {
            b"--" | b"-" if has_commands => return Workload::Commands,
            b"--" | b"-" => {
                let script = words.take();
                return words.named(script, Workload::Script);
            }
            _ if word.starts_with(b"--") => {
                if LONG_OPERANDS.contains(&word) {
                    words.take();
                }
            }
            [b'-', letters @ ..] => has_commands |= options(letters, &mut words),
            [b'+', letters @ ..] if !letters.is_empty() => drop(options(letters, &mut words)),
            _ if has_commands => return Workload::Commands,
            _ => return words.named(Some(word), Workload::Script),
        }
    }
    words.end()
}

/// Reads letters of options; returns whether commands, and no script, come from the command line
/// or the standard input.
fn options(letters: &[u8], words: &mut Words<'_>) -> bool {
    let mut has_commands = false;
    for letter in letters {
        match letter {
            b'c' | b's' => has_commands = true,
            b'o' | b'O' => drop(words.take()),
            _ => {}
        }
    }
    has_commands
}
