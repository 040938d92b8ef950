//! The command line of PowerShell.

use super::Workload;
use super::grammar::{Operand, Operand::*, Words};

/// Parameters in the order in which they are tried, each with its shortest form and what it takes
/// (about_Pwsh; `ParseHelper` in CommandLineParameterParser.cs of PowerShell/PowerShell). A form
/// in between is taken too: `-NoP` for `-NoProfile`.
const PARAMETERS: [(&[u8], &[u8], Option<Operand>); 32] = [
    (b"version", b"v", None),
    (b"help", b"h", None),
    (b"login", b"l", None),
    (b"noexit", b"noe", None),
    (b"noprofileloadtime", b"noprofileloadtime", None),
    (b"noprofile", b"nop", None),
    (b"nologo", b"nol", None),
    (b"noninteractive", b"noni", None),
    (b"socketservermode", b"so", None),
    (b"servermode", b"s", None),
    (b"namedpipeservermode", b"nam", None),
    (b"sshservermode", b"sshs", None),
    (b"interactive", b"i", None),
    (b"configurationfile", b"configurationfile", Some(Value)),
    (b"configurationname", b"config", Some(Value)),
    (b"custompipename", b"cus", Some(Value)),
    (b"commandwithargs", b"commandwithargs", Some(Code)),
    (b"cwa", b"cwa", Some(Code)),
    (b"command", b"c", Some(Code)),
    (b"windowstyle", b"w", Some(Value)),
    (b"file", b"f", Some(File)),
    (b"outputformat", b"o", Some(Value)),
    (b"of", b"of", Some(Value)),
    (b"inputformat", b"inp", Some(Value)),
    (b"if", b"if", Some(Value)),
    (b"executionpolicy", b"ex", Some(Value)),
    (b"ep", b"ep", Some(Value)),
    (b"encodedcommand", b"e", Some(Code)),
    (b"ec", b"ec", Some(Code)),
    (b"settingsfile", b"settings", Some(Value)),
    (b"workingdirectory", b"wo", Some(Value)),
    (b"wd", b"wd", Some(Value)),
];

/// Finds what `pwsh` runs: `-File`, else the first word that is no parameter.
pub(super) fn workload(words: &[&[u8]], truncated: bool) -> Workload {
    let mut words = Words::new(words, truncated);
    while let Some(word) = words.take() {
        let name = word.strip_prefix(b"--").or_else(|| word.strip_prefix(b"-"));
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return words.named(Some(word), Workload::Script);
        };
        match operand(&name.to_ascii_lowercase()) {
            Some(Code) => return Workload::Commands,
            Some(File) => {
                let file = words.take();
                return words.named(file, Workload::Script);
            }
            Some(_) => drop(words.take()),
            None => {}
        }
    }
    words.end()
}

fn operand(name: &[u8]) -> Option<Operand> {
    let known = PARAMETERS
        .iter()
        .find(|(full, shortest, _)| full.starts_with(name) && name.starts_with(shortest));
    known.and_then(|(_, _, operand)| *operand)
}
