//! Program or script that a process runs, read from its command line.
//!
//! A command line is what a process says of itself: it may have been written over. What does not
//! look like the command line of the program that runs is [`Workload::Unknown`], never a guess.

mod erlang;
mod grammar;
mod interpreters;
pub(super) mod java;
mod languages;
mod names;
mod powershell;
mod shell;

use interpreters::Interpreter;
use names::Kind;

use super::executable::Executable;

/// The largest number of bytes kept of a script's, module's, class's or archive's name.
pub(super) const MAX_NAME: usize = 1024;
/// The largest number of words looked at.
const MAX_WORDS: usize = 4096;

/// What a process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Workload {
    /// A file that a shell or an interpreter reads, as the command line names it.
    Script(Box<[u8]>),
    /// A Python module (`-m`).
    Module(Box<[u8]>),
    /// A Java class, or a module with its class.
    Class(Box<[u8]>),
    /// A Java archive.
    Jar(Box<[u8]>),
    /// A script that starts and watches other programs, or sets a machine up: `supervisord`,
    /// `puppet`.
    Supervisor {
        /// The script or module.
        name: Box<[u8]>,
        /// How it is run.
        form: SupervisorForm,
    },
    /// An interpreted program that does what its caller says, as `curl` does: a script too, but
    /// seldom the one to change.
    Tool(Box<[u8]>),
    /// A compiled program that does what its caller says: `curl`.
    CompiledTool,
    /// Commands on the command line of a shell or an interpreter (`-c`, `-e`), or those that it
    /// reads from its standard input or another open file: a terminal, a pipe.
    Commands,
    /// A program that runs another one as its arguments say: `env`, `sudo`, `xargs`.
    Wrapper,
    /// A program that starts what others configured: `cron`, `sshd`, a container's monitor.
    Launcher,
    /// Any other program.
    Other,
    /// It cannot be said: the command line was not read, is cut off, or was written over.
    #[default]
    Unknown,
}

/// How a supervisor is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SupervisorForm {
    /// As a script.
    Script,
    /// As a Python module.
    Module,
    /// As a script whose name stands in the title that it wrote over its command line.
    Title,
}

impl Workload {
    /// Reads the words of a command line; `truncated` where it goes on behind them.
    pub fn read(exe: Option<&Executable>, words: &[&[u8]], truncated: bool) -> Self {
        Self::of_words(exe.map(Executable::as_bytes), words, truncated)
    }

    /// Reads the arguments of a program with this path, or file name where that is all.
    pub fn of_words(exe: Option<&[u8]>, words: &[&[u8]], truncated: bool) -> Self {
        let Some((&own, rest)) = words.split_first() else { return Self::Unknown };
        let own = own.strip_prefix(b"-").unwrap_or(own);
        let path = exe.unwrap_or(own);
        // One program with many names: the one that it was called by counts, which may stand
        // behind its own.
        match interpreters::bare(base(path)) {
            name if is_box(name) => match rest.split_first() {
                Some((applet, rest)) if is_box(interpreters::bare(base(own))) => {
                    Self::of_program(applet, applet, rest, truncated)
                }
                _ => Self::of_program(base(own), own, rest, truncated),
            },
            // coreutils(1), built as a single program.
            b"coreutils" => match rest {
                [option, _, rest @ ..] if option.starts_with(b"--coreutils-prog-shebang=") => {
                    let applet = option.get(25..).unwrap_or_default();
                    Self::of_program(applet, applet, rest, truncated)
                }
                [option, rest @ ..] if option.starts_with(b"--coreutils-prog=") => {
                    let applet = option.get(17..).unwrap_or_default();
                    Self::of_program(applet, applet, rest, truncated)
                }
                _ => Self::of_program(base(own), own, rest, truncated),
            },
            _ => Self::of_program(path, own, rest, truncated),
        }
    }

    /// Reads the arguments of the program at `path`, which calls itself `own`.
    fn of_program(path: &[u8], own: &[u8], rest: &[&[u8]], truncated: bool) -> Self {
        let name = base(path);
        let Some(interpreter) = Interpreter::of(name) else {
            return match names::kind(path, own) {
                Kind::Wrapper => Self::Wrapper,
                Kind::Launcher => Self::Launcher,
                Kind::Tool => Self::CompiledTool,
                Kind::Other => Self::Other,
            };
        };
        let calls_itself_so =
            || Interpreter::of(base(own)).is_some_and(|said| said.is_like(interpreter));
        // A title is one text, with blanks in it or without arguments behind it.
        if own.contains(&b' ') || (rest.is_empty() && !calls_itself_so()) {
            return match names::supervisor_in_title(own) {
                Some(name) => Self::Supervisor { name: kept(name), form: SupervisorForm::Title },
                None => Self::Unknown,
            };
        }
        let workload = interpreter.workload(rest, truncated);
        let run = match &workload {
            Self::Script(name) | Self::Module(name) => names::script_of_runner(name, rest),
            _ => None,
        };
        if let Some(script) = run {
            return Self::Script(kept(script));
        }
        match workload {
            Self::Script(path) if names::is_script_tool(&path) => Self::Tool(path),
            Self::Module(name) if names::is_module_tool(&name) => Self::Tool(name),
            Self::Script(name) if names::is_supervisor(&name) => {
                Self::Supervisor { name, form: SupervisorForm::Script }
            }
            Self::Module(name) if names::is_supervisor_module(&name) => {
                Self::Supervisor { name, form: SupervisorForm::Module }
            }
            Self::Script(path) if is_descriptor(&path) => Self::Commands,
            workload => workload,
        }
    }

    /// Returns the name of the script, module, class or archive.
    pub fn name(&self) -> Option<&[u8]> {
        match self {
            Self::Script(name)
            | Self::Module(name)
            | Self::Class(name)
            | Self::Jar(name)
            | Self::Supervisor { name, .. }
            | Self::Tool(name) => Some(name),
            Self::CompiledTool
            | Self::Commands
            | Self::Wrapper
            | Self::Launcher
            | Self::Other
            | Self::Unknown => None,
        }
    }

    /// Returns the file that is run, where the command line names it by a relative path.
    pub fn relative_path(&self) -> Option<&[u8]> {
        let (Self::Script(path)
        | Self::Jar(path)
        | Self::Tool(path)
        | Self::Supervisor { name: path, form: SupervisorForm::Script }) = self
        else {
            return None;
        };
        // An address (`s3://b/x.py`, `npm:cowsay`), a file of options (`@app.args`) and the name
        // of a class or module are no paths.
        let is_path = !path.starts_with(b"/")
            && !path.starts_with(b"@")
            && !path.contains(&b':')
            && **path != *java::SPARK_SUBMIT
            && !names::is_module_tool(path);
        is_path.then_some(path)
    }

    /// Puts another path in the place of the script's or archive's.
    pub fn set_path(&mut self, path: &[u8]) {
        if let Self::Script(own)
        | Self::Jar(own)
        | Self::Tool(own)
        | Self::Supervisor { name: own, .. } = self
        {
            *own = kept(path);
        }
    }
}

/// Splits a command line as it lies in memory, each argument ended by a NUL, into at most as many
/// words as are looked at. Says also whether it goes on behind them.
pub(super) fn words(memory: &[u8], truncated: bool) -> (Vec<&[u8]>, bool) {
    let memory = memory.strip_suffix(b"\0").unwrap_or(memory);
    if memory.is_empty() {
        return (Vec::new(), truncated);
    }
    let mut words: Vec<&[u8]> = memory.split(|&byte| byte == 0).take(MAX_WORDS + 1).collect();
    let truncated = truncated || words.len() > MAX_WORDS;
    words.truncate(MAX_WORDS);
    (words, truncated)
}

/// Returns whether this is one program with many names (busybox(1)).
fn is_box(name: &[u8]) -> bool {
    [&b"busybox"[..], b"toybox"].iter().any(|known| {
        name.strip_prefix(*known)
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'-' | b'.')))
    })
}

/// Says whether a path stands for an open file, as for `bash <(command)` and a script of a
/// here-document: which one it was when the process started cannot be said any more.
fn is_descriptor(path: &[u8]) -> bool {
    const FOLDERS: [&[u8]; 2] = [b"/dev/fd/", b"/proc/self/fd/"];
    path == b"/dev/stdin" || FOLDERS.iter().any(|folder| path.starts_with(folder))
}

/// Returns whether the program at a path runs a Java virtual machine.
pub(super) fn is_java(path: &[u8]) -> bool {
    matches!(Interpreter::of(base(path)), Some(Interpreter::Java | Interpreter::Jsvc))
}

/// Returns a path's last part.
fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}

/// Returns a name as it is kept.
fn kept(name: &[u8]) -> Box<[u8]> {
    name.get(..MAX_NAME).unwrap_or(name).into()
}

#[cfg(test)]
mod tests;
