//! The interpreters that servers run, by the names that distributions give their files.

use super::grammar::{Grammar, Words};
use super::{Workload, erlang, java, languages, powershell, shell};

/// How an interpreter's command line is read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Interpreter {
    /// By its options alone.
    Options(&'static Grammar),
    /// A shell of POSIX's kind.
    Shell,
    /// `node`: options, but for its debugger.
    Node,
    /// `deno`: a command first.
    Deno,
    /// `bun`: a command first, or none.
    Bun,
    /// The host of .NET programs.
    Dotnet,
    /// PowerShell.
    PowerShell,
    /// Erlang's virtual machine.
    Erlang,
    /// A Java virtual machine.
    Java,
    /// Apache's starter of services in Java.
    Jsvc,
}

use Interpreter::{Bun, Deno, Dotnet, Erlang, Java, Jsvc, Node, Options, PowerShell, Shell};

/// Names without their versions.
static NAMES: [(&[u8], Interpreter); 59] = [
    (b"sh", Shell),
    (b"dash", Shell),
    (b"bash", Shell),
    (b"rbash", Shell),
    (b"ash", Shell),
    (b"hush", Shell),
    (b"zsh", Shell),
    (b"ksh", Shell),
    (b"mksh", Shell),
    (b"lksh", Shell),
    (b"oksh", Shell),
    (b"pdksh", Shell),
    (b"yash", Shell),
    (b"posh", Shell),
    (b"csh", Shell),
    (b"tcsh", Shell),
    (b"bsd-csh", Shell),
    (b"fish", Options(&shell::FISH)),
    (b"nu", Options(&shell::NU)),
    (b"python", Options(&languages::PYTHON)),
    // Enterprise Linux 8 runs its own tools with this one.
    (b"platform-python", Options(&languages::PYTHON)),
    (b"pypy", Options(&languages::PYTHON)),
    (b"graalpy", Options(&languages::PYTHON)),
    (b"micropython", Options(&languages::PYTHON)),
    (b"perl", Options(&languages::PERL)),
    (b"ruby", Options(&languages::RUBY)),
    // openSUSE.
    (b"ruby.ruby", Options(&languages::RUBY)),
    // Fedora.
    (b"ruby-mri", Options(&languages::RUBY)),
    (b"truffleruby", Options(&languages::RUBY)),
    (b"node", Node),
    (b"nodejs", Node),
    (b"deno", Deno),
    (b"bun", Bun),
    (b"php", Options(&languages::PHP)),
    (b"php-cgi", Options(&languages::PHP)),
    (b"php-cli", Options(&languages::PHP)),
    (b"lsphp", Options(&languages::PHP)),
    (b"lua", Options(&languages::LUA)),
    (b"luajit", Options(&languages::LUA)),
    (b"R", Options(&languages::R)),
    (b"Rscript", Options(&languages::RSCRIPT)),
    (b"tclsh", Options(&languages::TCL)),
    (b"wish", Options(&languages::TCL)),
    (b"expect", Options(&languages::EXPECT)),
    (b"awk", Options(&languages::AWK)),
    (b"gawk", Options(&languages::AWK)),
    (b"mawk", Options(&languages::AWK)),
    (b"nawk", Options(&languages::AWK)),
    (b"original-awk", Options(&languages::AWK)),
    (b"julia", Options(&languages::JULIA)),
    (b"guile", Options(&languages::GUILE)),
    (b"octave-cli", Options(&languages::OCTAVE)),
    (b"raku", Options(&languages::RAKU)),
    (b"rakudo", Options(&languages::RAKU)),
    (b"gjs", Options(&languages::GJS)),
    (b"gjs-console", Options(&languages::GJS)),
    (b"mono", Options(&languages::MONO)),
    (b"mono-sgen", Options(&languages::MONO)),
    (b"dotnet", Dotnet),
];
/// Names that have no version, or that are known with everything behind them.
static WHOLE_NAMES: [(&[u8], Interpreter); 13] = [
    (b"pwsh", PowerShell),
    (b"pwsh-preview", PowerShell),
    (b"pwsh-lts", PowerShell),
    (b"powershell", PowerShell),
    (b"beam.smp", Erlang),
    (b"beam", Erlang),
    (b"beam.debug.smp", Erlang),
    (b"java", Java),
    (b"javaw", Java),
    (b"jsvc", Jsvc),
    (b"jsvc.exec", Jsvc),
    // littler.
    (b"r", Options(&languages::LITTLER)),
    (b"dart", Deno),
];

/// What may follow a version's dash: the build, the platform, how the file is kept.
const VARIANTS: [&[u8]; 18] = [
    b"dbg",
    b"debug",
    b"static",
    b"wrapped",
    b"real",
    b"intel",
    b"alpha",
    b"beta",
    b"rc",
    b"c",
    b"x86_64",
    b"i386",
    b"i686",
    b"aarch64",
    b"arm",
    b"powerpc64",
    b"s390x",
    b"linux",
];
/// What may follow the whole name behind a dot.
const SUFFIXES: [&[u8]; 7] =
    [b".nosuid", b".suid", b".static", b".bin", b".real", b".distrib", b".exe"];

impl Interpreter {
    /// Recognises an interpreter by its file name, with or without a version, flags of its build
    /// (`python3.13t`), a platform (`perl5.36-x86_64-linux-gnu`) or a packager's mark
    /// (`.python3-wrapped` of nixpkgs).
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        let name = bare(name);
        let whole = WHOLE_NAMES.iter().find(|(known, _)| *known == name);
        whole
            .or_else(|| {
                NAMES.iter().find(|(known, _)| name.strip_prefix(*known).is_some_and(is_version))
            })
            .map(|(_, interpreter)| *interpreter)
    }

    /// Finds what the arguments behind the interpreter's own name make it run.
    pub(super) fn workload(self, words: &[&[u8]], truncated: bool) -> Workload {
        match self {
            Options(grammar) => grammar.workload(words, truncated),
            Shell => shell::workload(words, truncated),
            Node => node(words, truncated),
            Deno => deno(words, truncated),
            Bun => bun(words, truncated),
            Dotnet => dotnet(words, truncated),
            PowerShell => powershell::workload(words, truncated),
            Erlang => erlang::workload(words, truncated),
            Java => java::workload(words, truncated),
            Jsvc => java::service(words, truncated),
        }
    }

    /// Returns whether the other one is of the same language.
    pub(super) fn is_like(self, other: Self) -> bool {
        match (self, other) {
            (Options(own), Options(other)) => std::ptr::eq(own, other),
            _ => std::mem::discriminant(&self) == std::mem::discriminant(&other),
        }
    }
}

/// Returns a file name without what a packager put around it.
pub(super) fn bare(name: &[u8]) -> &[u8] {
    let name =
        name.strip_suffix(b"-wrapped").and_then(|name| name.strip_prefix(b".")).unwrap_or(name);
    SUFFIXES.iter().find_map(|suffix| name.strip_suffix(*suffix)).unwrap_or(name)
}

/// Returns whether nothing but a version stands behind a name: numbers, up to four letters of the
/// build right behind them, and a variant behind a dash.
fn is_version(rest: &[u8]) -> bool {
    let numbers = rest.iter().take_while(|byte| byte.is_ascii_digit() || b".-_".contains(byte));
    let (numbers, rest) = rest.split_at(numbers.count());
    if rest.is_empty() {
        // A dash or dot with nothing behind it ends no version.
        return numbers.last().is_none_or(u8::is_ascii_digit);
    }
    let Some(variant) = numbers.strip_suffix(b"-").map(|_| rest).or_else(|| {
        let flags = rest.iter().take_while(|byte| byte.is_ascii_lowercase()).count();
        let behind = rest.get(flags..)?;
        let is_build = numbers.last().is_some_and(u8::is_ascii_digit) && flags <= 4;
        match behind {
            [] if is_build => Some(b"debug".as_slice()),
            [b'-', variant @ ..] if is_build => Some(variant),
            _ => None,
        }
    }) else {
        return false;
    };
    VARIANTS.iter().any(|known| {
        variant
            .strip_prefix(*known)
            .is_some_and(|rest| !rest.first().is_some_and(u8::is_ascii_lowercase))
    })
}

/// nodejs.org/api/debugger.html: `node inspect` debugs the script behind it.
fn node(words: &[&[u8]], truncated: bool) -> Workload {
    let found = languages::NODE.workload(words, truncated);
    match found {
        Workload::Script(name) if matches!(&*name, b"inspect" | b"debug") => {
            let command = words.iter().position(|word| *word == &*name);
            let behind = command.and_then(|place| words.get(place + 1..)).unwrap_or_default();
            // `-p PID` and `HOST:PORT` are programs that run already.
            languages::NODE.workload(behind, truncated)
        }
        found => found,
    }
}

/// docs.deno.com, "Command line interface", and dart.dev/tools/dart-tool: without a command the
/// first word is a script.
fn deno(words: &[&[u8]], truncated: bool) -> Workload {
    const RUN: [&[u8]; 5] = [b"run", b"serve", b"test", b"bench", b"watch"];
    let mut taken = Words::new(words, truncated);
    let mut first = taken.take();
    // `deno -q run x.ts`: options of the whole program.
    while first.is_some_and(|word| word.starts_with(b"-") && word.len() > 1) {
        first = taken.take();
    }
    match first {
        Some(command) if RUN.contains(&command) => {
            languages::DENO.workload(taken.rest(), truncated)
        }
        Some(word) if is_path(word) => languages::DENO.workload(words, truncated),
        Some(_) => Workload::Commands,
        None => taken.end(),
    }
}

/// bun.com/docs: `bun run NAME` runs a file, or a line of package.json.
fn bun(words: &[&[u8]], truncated: bool) -> Workload {
    let mut found = languages::BUN.workload(words, truncated);
    if matches!(&found, Workload::Script(name) if **name == *b"run") {
        let command = words.iter().position(|word| *word == b"run");
        let behind = command.and_then(|place| words.get(place + 1..)).unwrap_or_default();
        found = languages::BUN.workload(behind, truncated);
    }
    match found {
        Workload::Script(name) if !is_path(&name) => Workload::Commands,
        found => found,
    }
}

/// learn.microsoft.com, "dotnet command": an application, or a command of the SDK.
fn dotnet(words: &[&[u8]], truncated: bool) -> Workload {
    let words = match words {
        [b"exec", rest @ ..] => rest,
        words => words,
    };
    match languages::DOTNET.workload(words, truncated) {
        Workload::Script(path) if super::base(&path) == b"pwsh.dll" => {
            let place = words.iter().position(|word| *word == &*path);
            let rest = place.and_then(|place| words.get(place + 1..)).unwrap_or_default();
            powershell::workload(rest, truncated)
        }
        Workload::Script(path) if !path.ends_with(b".dll") && !path.ends_with(b".exe") => {
            Workload::Other
        }
        found => found,
    }
}

/// Returns whether a word can only be a file or an address of one, and no command.
fn is_path(word: &[u8]) -> bool {
    word.iter().any(|byte| b"./:".contains(byte))
}
