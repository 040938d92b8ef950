//! Tells from a command line what a process runs.
//!
//! A command line is what a process says of itself: it may have been written over. What does not
//! look like the command line of the program that runs is [`Program::Unknown`], never a guess.

mod grammar;
pub(super) mod jvm;

use grammar::Language;

use super::Executable;
use super::spark::Part;

/// The largest number of bytes kept of a script's, module's, class's or archive's name.
pub const MAX_NAME: usize = 1024;
/// The largest number of words looked at.
const MAX_WORDS: usize = 4096;

/// What a process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Program {
    /// A file that a shell or an interpreter reads, as the command line names it.
    Script(Box<[u8]>),
    /// A Python module (`-m`).
    Module(Box<[u8]>),
    /// A Java class, or a module with its class.
    Class(Box<[u8]>),
    /// A Java archive.
    Jar(Box<[u8]>),
    /// An interpreted program that does what its caller says, as `curl` does: a script too, but
    /// seldom the one to change.
    Tool(Box<[u8]>),
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

/// Programs that run another one as their arguments say, and wait for it.
const WRAPPERS: [&[u8]; 42] = [
    b"env",
    b"sudo",
    b"doas",
    b"su",
    b"runuser",
    b"setpriv",
    b"gosu",
    b"su-exec",
    b"xargs",
    b"timeout",
    b"nohup",
    b"nice",
    b"ionice",
    b"chrt",
    b"taskset",
    b"numactl",
    b"prlimit",
    b"setsid",
    b"stdbuf",
    b"unbuffer",
    b"time",
    b"watch",
    b"find",
    b"flock",
    b"chroot",
    b"unshare",
    b"nsenter",
    b"setarch",
    b"linux64",
    b"capsh",
    b"bwrap",
    b"firejail",
    b"strace",
    b"ltrace",
    b"script",
    b"tini",
    b"dumb-init",
    b"docker-init",
    b"catatonit",
    b"systemd-run",
    b"systemd-inhibit",
    b"dbus-run-session",
];

/// Programs that start what others configured, or what somebody typed elsewhere.
const LAUNCHERS: [&[u8]; 28] = [
    b"cron",
    b"crond",
    b"anacron",
    b"fcron",
    b"atd",
    b"sshd",
    b"sshd-session",
    b"dropbear",
    b"login",
    b"agetty",
    b"tmux",
    b"tmux: server",
    b"screen",
    b"systemd",
    b"systemd-executor",
    b"init",
    b"conmon",
    b"runc",
    b"crun",
    b"containerd-shim",
    b"containerd-shim-runc-v1",
    b"containerd-shim-runc-v2",
    b"dockerd",
    b"kubelet",
    b"amazon-ssm-agent",
    b"ssm-document-worker",
    b"ssm-session-worker",
    // Its demonstration starts callers.
    b"imds-audit",
];

/// Scripts that do what their caller says: the AWS CLI, Amazon Linux's and Ubuntu's readers of
/// the metadata service, GNU parallel, the runner of cron's folders.
const TOOLS: [&[u8]; 6] =
    [b"aws", b"ec2-metadata", b"ec2metadata", b"parallel", b"run-parts", b"s3cmd"];

impl Program {
    /// Reads a command line as it lies in memory, each argument ended by a NUL; `truncated`
    /// where it goes on behind those bytes. Says also what the process is to a Spark application.
    pub fn read(exe: Option<&Executable>, memory: &[u8], truncated: bool) -> (Self, Option<Part>) {
        let memory = memory.strip_suffix(b"\0").unwrap_or(memory);
        if memory.is_empty() {
            return (Self::Unknown, None);
        }
        let mut words: Vec<&[u8]> = memory.split(|&byte| byte == 0).take(MAX_WORDS + 1).collect();
        let truncated = truncated || words.len() > MAX_WORDS;
        words.truncate(MAX_WORDS);
        let program = Self::of_words(exe.map(|exe| base(exe.as_bytes())), &words, truncated);
        let part = Part::of(&program, words.get(1..).unwrap_or_default(), truncated);
        (program, part)
    }

    /// Reads the arguments of a program with this file name.
    pub fn of_words(exe: Option<&[u8]>, words: &[&[u8]], truncated: bool) -> Self {
        let Some((&own, rest)) = words.split_first() else { return Self::Unknown };
        let said = base(own.strip_prefix(b"-").unwrap_or(own));
        let (name, said, rest) = match exe.unwrap_or(said) {
            // One program with many names: the one that it was called by counts, which may
            // stand behind its own.
            b"busybox" | b"toybox" => match rest.split_first() {
                Some((applet, rest)) if matches!(said, b"busybox" | b"toybox") => {
                    (*applet, *applet, rest)
                }
                _ => (said, said, rest),
            },
            name => (name, said, rest),
        };
        if name == b"java" {
            return jvm::program(rest, truncated);
        }
        let Some(language) = Language::of(name) else { return Self::of_name(name, said) };
        // A title is one text, with blanks in it or without arguments behind it.
        if own.contains(&b' ') || (rest.is_empty() && Language::of(said) != Some(language)) {
            return Self::Unknown;
        }
        match language.program(rest, truncated) {
            Self::Script(path) if TOOLS.contains(&base(&path)) => Self::Tool(path),
            Self::Script(path) if is_descriptor(&path) => Self::Commands,
            program => program,
        }
    }

    /// Returns the name of the script, module, class or archive.
    pub fn name(&self) -> Option<&[u8]> {
        match self {
            Self::Script(name)
            | Self::Module(name)
            | Self::Class(name)
            | Self::Jar(name)
            | Self::Tool(name) => Some(name),
            Self::Commands | Self::Wrapper | Self::Launcher | Self::Other | Self::Unknown => None,
        }
    }

    fn of_name(name: &[u8], said: &[u8]) -> Self {
        // cron's children call themselves CRON.
        let is_in = |names: &[&[u8]]| {
            names.iter().any(|known| name == *known || said.eq_ignore_ascii_case(known))
        };
        if is_in(&WRAPPERS) {
            Self::Wrapper
        } else if is_in(&LAUNCHERS) {
            Self::Launcher
        } else {
            Self::Other
        }
    }
}

/// Says whether a path stands for an open file, as for `bash <(command)` and a script of a
/// here-document: which one it was when the process started cannot be said any more.
fn is_descriptor(path: &[u8]) -> bool {
    const FOLDERS: [&[u8]; 2] = [b"/dev/fd/", b"/proc/self/fd/"];
    path == b"/dev/stdin" || FOLDERS.iter().any(|folder| path.starts_with(folder))
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
#[path = "program/tests.rs"]
mod tests;
