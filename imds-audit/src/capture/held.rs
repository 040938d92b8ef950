//! Packets that wait until they are clean and their processes known, and the texts about them.

use imds_audit_ebpf::{COMM_LENGTH, Task};

use super::packet::Headers;
use crate::aggregate::caller_name;
use crate::audit::auditor::Auditor;
use crate::classify::classify;
use crate::event::Process;
use crate::flow::RequestHead;
use crate::redact::Known;
use crate::segment::{ConnectionId, Timestamp};
use crate::source::pcapng::note::{NotedTask, PacketNote};
use crate::text::terminal;

/// The longest text for people in a comment, in characters.
const MAX_TITLE: usize = 400;

/// A task and the name of its thread.
pub(super) type NamedTask = (Task, [u8; COMM_LENGTH]);

/// A packet that waits.
pub(super) struct Held {
    pub(super) connection: ConnectionId,
    pub(super) headers: Headers,
    pub(super) netns: Option<u32>,
    pub(super) time: Timestamp,
    /// Zeros where it is not known yet what may be written.
    pub(super) payload: Vec<u8>,
    pub(super) length: usize,
    pub(super) note: PacketNote,
    /// Whether bytes of a header block are awaited.
    pub(super) waits: bool,
    /// Whether the length of a response's body is awaited.
    pub(super) waits_for_body: bool,
    /// The tasks whose processes are described before it is written.
    pub(super) tasks: Option<Tasks>,
    /// The header blocks that it has parts of.
    pub(super) heads: Vec<RequestHead>,
}

/// The tasks that a packet's comment names.
#[derive(Clone, Copy)]
pub(super) struct Tasks {
    pub(super) writer: Option<NamedTask>,
    pub(super) connector: Option<NamedTask>,
}

impl Held {
    /// Describes its processes. Returns whether they are known as well as they will be. The owner
    /// of the connection's socket counts where nobody else is known.
    pub(super) fn describe(
        &mut self,
        owner: Option<NamedTask>,
        auditor: &mut Auditor,
        is_late: bool,
    ) -> bool {
        let Some(Tasks { writer, connector }) = self.tasks else { return true };
        let owner = owner.filter(|_| writer.is_none() && connector.is_none());
        let secrets = Known::of_headers(self.heads.iter().flat_map(RequestHead::headers));
        // A header block that was not seen whole may have a secret that stands in arguments too.
        let is_safe = self.payload.is_empty() || !self.heads.is_empty();
        let mut is_known = true;
        let mut note = |named: Option<NamedTask>| {
            let (task, comm) = named?;
            let (process, is_pending) = auditor.process_of(task, comm, self.time, &secrets);
            is_known &= !is_pending;
            let mut process = Process::clone(&process);
            if !is_safe {
                hide_arguments(&mut process);
            }
            Some(NotedTask {
                pid: task.pid,
                tid: task.tid,
                start: task.start_time,
                exec: task.exec_id,
                comm: name_of(&comm),
                process: Some(Box::new(process)),
            })
        };
        let (writer, connector, owner) = (note(writer), note(connector), note(owner));
        if !is_known && !is_late {
            return false;
        }
        // One description is enough for one task.
        let is_same = writer.as_ref().zip(connector.as_ref()).is_some_and(|(a, b)| a == b);
        let connector =
            connector.map(|task| NotedTask { process: task.process.filter(|_| !is_same), ..task });
        (self.note.writer, self.note.connector, self.note.owner) = (writer, connector, owner);
        self.tasks = None;
        true
    }

    /// Returns what its comment says to people of its process and its request; `None` if it has
    /// neither.
    pub(super) fn title(&self) -> Option<String> {
        let PacketNote { writer, connector, owner, .. } = &self.note;
        let task = writer.as_ref().or(connector.as_ref()).or(owner.as_ref())?;
        let mut title = match &task.process {
            Some(process) => {
                let home = caller_name::home(process)
                    .map(|home| format!(" in {}", terminal::escape(&home)));
                let command =
                    process.args.as_ref().map(|args| format!(": {}", terminal::command(args)));
                let process = caller_name::process(process);
                let (home, command) = (home.unwrap_or_default(), command.unwrap_or_default());
                format!("{}{home}{command}", terminal::escape(&process))
            }
            None => format!("process {}", task.pid),
        };
        if title.chars().count() > MAX_TITLE {
            title = title.chars().take(MAX_TITLE).chain(['…']).collect();
        }
        if let Some(head) = self.heads.first() {
            let class = classify(head.method(), head.target(), head.headers()).class;
            title = format!("{} {title}", class.name());
        }
        Some(title)
    }
}

/// Returns a short text about a task.
pub(super) fn short_title((task, comm): &NamedTask) -> String {
    format!("{}[{}]", terminal::escape(&name_of(comm)), task.pid)
}

fn hide_arguments(process: &mut Process) {
    process.args = None;
    process.ancestors.iter_mut().for_each(|ancestor| ancestor.args = None);
    if let Some(responsible) = &mut process.responsible {
        (responsible.args, responsible.script) = (None, None);
    }
}

/// Returns a thread's name without secrets.
fn name_of(comm: &[u8; COMM_LENGTH]) -> String {
    let name = comm.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(&crate::redact::text(name)).into_owned()
}
