//! The command line of the Erlang virtual machine, which runs Elixir too.

use super::Workload;
use super::grammar::{Grammar, Operand::*};

/// The options of elixir(1) and iex(1) behind `-extra`. A file of `-r` is read before the script.
static ELIXIR: Grammar = Grammar {
    long: &[
        (b"-e", Code),
        (b"--eval", Code),
        (b"--rpc-eval", Code),
        (b"-r", Value),
        (b"-pr", Value),
        (b"-S", File),
        (b"-pa", Value),
        (b"-pz", Value),
        (b"--app", Value),
        (b"--boot", Value),
        (b"--cookie", Value),
        (b"--dot-iex", Value),
        (b"--erl", Value),
        (b"--erl-config", Value),
        (b"--name", Value),
        (b"--sname", Value),
        (b"--pipe-to", Value),
        (b"--remsh", Value),
        (b"--vm-args", Value),
    ],
    single_dash: true,
    ..Grammar::PLAIN
};

/// Finds what the virtual machine runs. escript(1) and elixir(1) start it with their own program
/// before `-extra` and what they were given behind it; a release has its own boot file and is a
/// program like any other.
pub(super) fn workload(words: &[&[u8]], truncated: bool) -> Workload {
    let has =
        |sequence: &[&[u8]]| words.windows(sequence.len().max(1)).any(|window| window == sequence);
    let extra = words.iter().position(|word| *word == b"-extra");
    let behind = extra.and_then(|place| words.get(place + 1..));
    match behind {
        Some(given) if has(&[b"-s", b"elixir", b"start_cli"]) => ELIXIR.workload(given, truncated),
        Some(given) if has(&[b"escript", b"start"]) => Grammar::PLAIN.workload(given, truncated),
        _ if truncated => Workload::Unknown,
        _ if has(&[b"-eval"]) => Workload::Commands,
        _ => Workload::Other,
    }
}
