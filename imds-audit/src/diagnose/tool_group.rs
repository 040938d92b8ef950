//! The command-line tools that one script or one line of commands runs.

use std::hash::{BuildHasher, RandomState};

use super::client;
use crate::event::{Process, RequestEvent, Rule};

/// Shells: a script's subshells and the lines that it runs are shells below it.
const SHELLS: [&str; 12] = [
    "bash", "sh", "dash", "ash", "busybox", "zsh", "ksh", "mksh", "fish", "rbash", "yash", "ksh93",
];
/// Programs that run another one in their place.
const WRAPPERS: [&str; 27] = [
    "timeout",
    "env",
    "nice",
    "ionice",
    "sudo",
    "doas",
    "xargs",
    "time",
    "nohup",
    "setsid",
    "stdbuf",
    "flock",
    "taskset",
    "chronic",
    "su",
    "runuser",
    "setpriv",
    "gosu",
    "su-exec",
    "chroot",
    "unshare",
    "nsenter",
    "strace",
    "ltrace",
    "watch",
    "parallel",
    "systemd-cat",
];
/// Programs that run each line of one file in a shell of its own.
const RECIPES: [&str; 8] = ["make", "gmake", "just", "task", "ninja", "rake", "mage", "tup"];

/// The identity of the tools that one process is responsible for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ToolGroup {
    pid: u32,
    /// The script of the responsible process: a process number is used again.
    script: Option<String>,
    container: Option<String>,
}

impl ToolGroup {
    /// Returns the group of a command-line tool: that of the script or the line of commands that
    /// runs it, which is the same in every subshell and function; `None` for a program that makes
    /// its own token requests.
    pub(super) fn of(event: &RequestEvent) -> Option<Self> {
        let process = &event.process;
        let requests_tokens = event.client.as_ref().is_some_and(client::requests_tokens_itself);
        if requests_tokens || !client::is_command_line_tool(process) {
            return None;
        }
        let pid = owner(process)?;
        let script = process.responsible.as_ref().filter(|found| found.pid == pid);
        Some(Self {
            pid,
            script: script.and_then(|found| found.script.clone()),
            container: process.container.as_ref().map(|container| container.id.clone()),
        })
    }
}

/// Recognises the script that calls another one to fetch a token for it.
#[derive(Debug, Default)]
pub(super) struct ScriptCalls(RandomState);

impl ScriptCalls {
    /// Returns the keys of the script that called the one which runs a tool, one for each process
    /// that may be it: the script itself and its subshells have the same arguments.
    pub(super) fn callers(&self, event: &RequestEvent) -> Vec<u64> {
        let process = &event.process;
        let Some(helper) = script(process) else { return Vec::new() };
        let own = process.ancestors.iter().position(|ancestor| ancestor.pid == helper);
        let above = own.and_then(|own| process.ancestors.get(own + 1..)).unwrap_or_default();
        let args = above.first().and_then(|ancestor| ancestor.args.as_ref());
        let is_shell = above
            .first()
            .and_then(|ancestor| ancestor.name.as_deref())
            .is_some_and(|name| SHELLS.contains(&name));
        let Some(args) = args.filter(|args| is_shell && args.len() > 1) else { return Vec::new() };
        let same = above.iter().take_while(|ancestor| ancestor.args.as_ref() == Some(args));
        same.map(|ancestor| self.key(process, ancestor.pid, args)).collect()
    }

    /// Returns the key of the script that runs a tool.
    pub(super) fn caller(&self, event: &RequestEvent) -> Option<u64> {
        let process = &event.process;
        let pid = script(process)?;
        let args = process.responsible.as_ref()?.args.as_ref()?;
        Some(self.key(process, pid, args))
    }

    /// A process number is used again, so the arguments count too.
    fn key(&self, process: &Process, pid: u32, args: &[String]) -> u64 {
        let container = process.container.as_ref().map(|container| &container.id);
        self.0.hash_one((pid, args, container))
    }
}

/// Returns the process whose script runs a tool, where that is responsible for it.
fn script(process: &Process) -> Option<u32> {
    let found = process.responsible.as_ref().filter(|found| found.rule == Rule::Script)?;
    (owner(process) == Some(found.pid)).then_some(found.pid)
}

/// Returns the process whose script or commands run a tool.
///
/// That is the responsible process, unless another program stands between the two: its tools are
/// not those of what started it. Then it is the outermost of the shells below that program.
fn owner(process: &Process) -> Option<u32> {
    let responsible = process.responsible.as_ref().filter(|found| match found.rule {
        Rule::Script | Rule::Module | Rule::Class | Rule::Jar | Rule::Command => true,
        // The first process of a unit or of a container may have started many programs.
        _ => false,
    });
    if let Some(found) = responsible
        && Some(found.pid) == process.pid
    {
        return process.pid;
    }
    let mut outermost = None;
    for ancestor in &process.ancestors {
        let name = ancestor.name.as_deref().unwrap_or_default();
        let is_worker = || responsible.is_some_and(|found| found.name.as_deref() == Some(name));
        if responsible.is_some_and(|found| found.pid == ancestor.pid) {
            return Some(ancestor.pid);
        }
        if SHELLS.contains(&name) {
            outermost = Some(ancestor.pid);
        } else if RECIPES.contains(&name) {
            return Some(ancestor.pid);
        } else if !WRAPPERS.contains(&name) && !is_worker() {
            return outermost.or(Some(ancestor.pid));
        }
    }
    responsible.map(|found| found.pid).or(outermost)
}
