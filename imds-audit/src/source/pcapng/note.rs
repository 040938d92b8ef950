//! Comments that this program's own captures put on a packet, beyond what the packet holds.
//!
//! The first line is for people. The second one is for `replay`, so that it names the processes and
//! counts the losses that the capturing run did. Comments of a section and of an interface's
//! statistics have one too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::{HostIdentity, Loss, Process};
use crate::redact;
use crate::segment::RequestStart;

/// What the second line begins with.
const PREFIX: &str = "imds-audit/1 ";
/// The longest comment that is read or written, in bytes; an option's length has 16 bits.
pub(crate) const MAX_COMMENT: usize = 60_000;
/// The longest text of a process that is taken from a file, in bytes.
const MAX_TEXT: usize = 4_096;
/// The longest name of a host, run, label or loss that is taken from a file, in bytes.
const MAX_NAME: usize = 256;
/// The labels that are taken from a file.
const MAX_LABELS: usize = 64;
/// The losses that one note has.
pub(crate) const MAX_LOSSES: usize = 64;

/// What is known of all packets of a section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SectionNote {
    /// The host that was captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostIdentity>,
    /// The run that captured it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The run's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What the capturing run lost and reported.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LossNote {
    /// What was lost since the last such note: before its packet or, at the end, behind the last one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<Loss>,
}

/// What is known of a packet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PacketNote {
    /// The kernel's cookie of the socket.
    pub socket: u64,
    /// The inode number of the caller's network namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<u32>,
    /// The inode number of the host's network namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_netns: Option<u32>,
    /// The socket is an IPv6 one that carries IPv4.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mapped: bool,
    /// The task that sent it, where that is certain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<NotedTask>,
    /// The task that opened the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector: Option<NotedTask>,
    /// The task that holds the connection's socket, where that is all that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<NotedTask>,
    /// Whether it has a request's first bytes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub begins: NotedStart,
    /// The requests of the connection that were lost before it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lost_requests: u32,
    /// The records of the connection that were lost before it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lost_records: u32,
    /// Its bytes may have changed after they were read.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shared: bool,
    /// Address translation leads the connection to its endpoint.
    #[serde(default, skip_serializing_if = "is_default")]
    pub translated: bool,
    /// The packet stands for bytes of a body, which were not captured: replay passes over it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub body: bool,
}

/// A task, with its process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct NotedTask {
    /// The process in the initial pid namespace.
    pub pid: u32,
    /// The thread in the initial pid namespace.
    pub tid: u32,
    /// When the process started, in nanoseconds since boot.
    pub start: u64,
    /// How often it had called `exec`.
    pub exec: u64,
    /// The thread's name.
    #[serde(default)]
    pub comm: String,
    /// The process; absent where it was not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Box<Process>>,
}

/// Whether a packet has a request's first bytes, by the judgement of the capturing run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotedStart {
    /// It has not, or nobody says.
    #[default]
    No,
    /// It has.
    InTurn,
    /// It has, while others wait for their responses.
    Pipelined,
    /// It was sent before.
    Retransmitted,
}

impl From<RequestStart> for NotedStart {
    fn from(start: RequestStart) -> Self {
        match start {
            RequestStart::No => Self::No,
            RequestStart::InTurn => Self::InTurn,
            RequestStart::Pipelined => Self::Pipelined,
            RequestStart::Retransmitted => Self::Retransmitted,
        }
    }
}

impl From<NotedStart> for RequestStart {
    fn from(start: NotedStart) -> Self {
        match start {
            NotedStart::No => Self::No,
            NotedStart::InTurn => Self::InTurn,
            NotedStart::Pipelined => Self::Pipelined,
            NotedStart::Retransmitted => Self::Retransmitted,
        }
    }
}

impl PacketNote {
    /// Returns a comment: a line for people and this note. A note that has no room is written without
    /// its processes.
    pub(crate) fn comment(&self, people: &str) -> String {
        let render = |note: &Self| {
            let json = serde_json::to_string(note).unwrap_or_default();
            format!("{people}\n{PREFIX}{json}")
        };
        let whole = render(self);
        if whole.len() <= MAX_COMMENT {
            return whole;
        }
        let bare = |task: &Option<NotedTask>| {
            task.as_ref().map(|task| NotedTask { process: None, ..task.clone() })
        };
        let (writer, connector, owner) =
            (bare(&self.writer), bare(&self.connector), bare(&self.owner));
        render(&Self { writer, connector, owner, ..self.clone() })
    }

    /// Reads the note in a comment; `None` if it has none. The file may be a stranger's: texts are
    /// bounded, and redacted once more.
    pub(crate) fn parse(comment: &[u8]) -> Option<Self> {
        let mut note: Self = serde_json::from_str(json_of(comment)?).ok()?;
        for task in [&mut note.writer, &mut note.connector, &mut note.owner].into_iter().flatten() {
            if let Some(process) = &mut task.process {
                clean(process);
            }
        }
        Some(note)
    }
}

impl SectionNote {
    /// Returns a comment: a text for people and this note.
    pub(crate) fn comment(&self, people: &str) -> String {
        let json = serde_json::to_string(self).unwrap_or_default();
        format!("{people}\n{PREFIX}{json}")
    }

    /// Reads the note in a comment; `None` if it has none.
    pub(crate) fn parse(comment: &[u8]) -> Option<Self> {
        let mut note: Self = serde_json::from_str(json_of(comment)?).ok()?;
        if let Some(HostIdentity { name, id }) = &mut note.host {
            [name, id].into_iter().flatten().for_each(clean_name);
        }
        note.run.iter_mut().for_each(clean_name);
        let labels = std::mem::take(&mut note.labels).into_iter().take(MAX_LABELS);
        note.labels = labels
            .map(|(mut key, mut value)| {
                clean_name(&mut key);
                clean_name(&mut value);
                (key, value)
            })
            .collect();
        Some(note)
    }
}

impl LossNote {
    /// Returns a comment: a text for people and this note.
    pub(crate) fn comment(&self, people: &str) -> String {
        let json = serde_json::to_string(self).unwrap_or_default();
        format!("{people}\n{PREFIX}{json}")
    }

    /// Reads the note in a comment; `None` if it has none.
    pub(crate) fn parse(comment: &[u8]) -> Option<Self> {
        let mut note: Self = serde_json::from_str(json_of(comment)?).ok()?;
        clean_losses(&mut note.losses);
        Some(note)
    }
}

/// Returns the note of a comment.
fn json_of(comment: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(comment).ok()?;
    text.lines().find_map(|line| line.strip_prefix(PREFIX))
}

/// Bounds and redacts a name.
fn clean_name(name: &mut String) {
    let redacted = redact::text(name.as_bytes());
    let clean = String::from_utf8_lossy(&redacted);
    *name = clean.get(..clean.floor_char_boundary(MAX_NAME)).unwrap_or_default().to_owned();
}

/// Bounds and redacts losses.
fn clean_losses(losses: &mut Vec<Loss>) {
    losses.truncate(MAX_LOSSES);
    for loss in losses {
        clean_name(loss.reason.to_mut());
        if let Some(name) = loss.process.as_mut().and_then(|process| process.name.as_mut()) {
            clean_name(name);
        }
    }
}

/// Bounds and redacts the texts of a process.
fn clean(process: &mut Process) {
    let args = |args: &mut Option<Vec<String>>| {
        if let Some(args) = args {
            let redacted = redact::arguments(args.iter().map(String::as_bytes));
            let text =
                |bytes: std::borrow::Cow<'_, [u8]>| String::from_utf8_lossy(&bytes).into_owned();
            *args = redacted.into_iter().map(text).collect();
        }
    };
    let text = |text: &mut Option<String>| {
        if let Some(text) = text {
            let redacted = redact::text(text.as_bytes());
            let clean = String::from_utf8_lossy(&redacted);
            *text = clean.get(..clean.floor_char_boundary(MAX_TEXT)).unwrap_or_default().to_owned();
        }
    };
    args(&mut process.args);
    for part in [
        &mut process.name,
        &mut process.thread_name,
        &mut process.exe,
        &mut process.cwd,
        &mut process.user,
        &mut process.cgroup,
        &mut process.unit,
        &mut process.slice,
    ] {
        text(part);
    }
    for ancestor in &mut process.ancestors {
        args(&mut ancestor.args);
        text(&mut ancestor.name);
    }
    if let Some(responsible) = &mut process.responsible {
        args(&mut responsible.args);
        text(&mut responsible.name);
        text(&mut responsible.script);
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
