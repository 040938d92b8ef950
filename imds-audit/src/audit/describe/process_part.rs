//! Description of a process, free of secrets.

use std::sync::Arc;

use imds_audit_ebpf::{COMM_LENGTH, Task};

use crate::aggregate::caller;
use crate::audit::attribution::Actor;
use crate::audit::clock::Clock;
use crate::audit::sanitizer::Sanitizer;
use crate::event::{
    Ancestor, Attribution, Caller, Container, Databricks, LossProcess, Pod, Process, Responsible,
};
use crate::process::{self, Arguments};
use crate::redact::Known;
use crate::segment::Timestamp;
use crate::text::bounded::bound;

/// The description of a process, and the caller that it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct ProcessPart {
    /// The process.
    pub process: Arc<Process>,
    /// The caller.
    pub caller: Arc<Caller>,
}

impl ProcessPart {
    /// Describes an actor's process, without the given secrets.
    pub(crate) fn describe(
        actor: Option<&Actor>,
        attribution: Attribution,
        clock: Clock,
        secrets: &Known<'_>,
    ) -> Self {
        let process = process(actor, attribution, clock, secrets);
        let caller = Arc::new(caller::of(&process));
        Self { process: Arc::new(process), caller }
    }

    /// Takes a process that was described before, and is free of secrets.
    pub(crate) fn of_described(process: &Arc<Process>, attribution: Attribution) -> Self {
        let process = Arc::new(Process { attribution, ..Process::clone(process) });
        let caller = Arc::new(caller::of(&process));
        Self { process, caller }
    }
}

/// Returns the process of a loss, from the name of its thread that acted, ended by a NUL.
pub(crate) fn loss_process(pid: u32, comm: &[u8; COMM_LENGTH]) -> LossProcess {
    let secrets = Known::default();
    let clean = Sanitizer { secrets: &secrets };
    LossProcess { pid, name: text_of(comm).map(|name| clean.name(name)) }
}

/// Describes the process of an actor, without the given secrets.
fn process(
    actor: Option<&Actor>,
    attribution: Attribution,
    clock: Clock,
    secrets: &Known<'_>,
) -> Process {
    let clean = Sanitizer { secrets };
    match actor {
        None => unknown(attribution),
        Some(Actor { task, comm, process: None }) => {
            nameless(task, text_of(comm), attribution, clock, clean)
        }
        Some(Actor { task, comm, process: Some(process) }) => {
            // The snapshot may have been taken in another thread.
            let own = process.thread_name.as_deref().filter(|_| process.task == *task);
            let thread = text_of(comm).or(own);
            known(task, thread, process, attribution, clock, clean)
        }
    }
}

/// Describes a process without anything known.
fn unknown(attribution: Attribution) -> Process {
    Process {
        pid: None,
        tid: None,
        name: None,
        thread_name: None,
        exe: None,
        args: None,
        args_truncated: false,
        cwd: None,
        uid: None,
        user: None,
        gid: None,
        namespace_pid: None,
        start_time: None,
        attribution,
        ancestors: Vec::new(),
        responsible: None,
        spark: None,
        databricks: None,
        cgroup: None,
        unit: None,
        slice: None,
        manager: None,
        container: None,
        pod: None,
    }
}

/// Describes a process that is known only from the segment that it sent.
fn nameless(
    task: &Task,
    thread: Option<&[u8]>,
    attribution: Attribution,
    clock: Clock,
    clean: Sanitizer<'_, '_>,
) -> Process {
    // The first thread's name is the process's.
    let is_first = task.pid == task.tid;
    let thread = thread.map(|name| clean.name(name));
    let (name, thread_name) = if is_first { (thread, None) } else { (None, thread) };
    Process {
        pid: Some(task.pid),
        tid: Some(task.tid),
        name,
        thread_name,
        start_time: (task.start_time != 0).then(|| clock.time(Timestamp(task.start_time))),
        ..unknown(attribution)
    }
}

/// Describes a process that has a snapshot.
fn known(
    task: &Task,
    thread: Option<&[u8]>,
    process: &process::Process,
    attribution: Attribution,
    clock: Clock,
    clean: Sanitizer<'_, '_>,
) -> Process {
    let name = |bytes: &[u8]| clean.name(bytes);
    let args = process.arguments.as_ref();
    let (args, cut) = match args.map(|args| arguments(args, bound::ARGUMENTS, clean)) {
        Some((texts, cut)) => (Some(texts), cut),
        None => (None, false),
    };
    let is_truncated = process.arguments.as_ref().is_some_and(Arguments::is_truncated);
    let location = &process.location;
    let pod_names = process.pod_names.as_ref();
    // Of a process that is gone the cgroup alone is known.
    let is_gone = task.pid == 0;
    Process {
        pid: (!is_gone).then_some(task.pid),
        tid: (!is_gone).then_some(task.tid),
        name: process.name.as_deref().map(name),
        thread_name: thread.filter(|thread| Some(*thread) != process.name.as_deref()).map(name),
        exe: process.exe.as_ref().map(|exe| clean.path(exe.as_bytes())),
        args,
        args_truncated: is_truncated || cut,
        cwd: process.working_directory.as_deref().map(|path| clean.path(path)),
        uid: known_id(process.uid),
        user: process.user.as_deref().map(name),
        gid: known_id(process.gid),
        namespace_pid: process.namespace_pid.filter(|&pid| pid != task.pid),
        start_time: process.start_time.filter(|_| !is_gone).map(|time| clock.time(Timestamp(time))),
        attribution,
        ancestors: process
            .ancestors
            .iter()
            .take(bound::ANCESTORS)
            .map(|found| ancestor(found, clean))
            .collect(),
        responsible: process.responsible.as_ref().map(|found| responsible(found, clean)),
        spark: process.spark.clone(),
        databricks: process.databricks().map(|cluster| Databricks {
            cluster_id: name(&cluster.id),
            cluster_name: cluster.name.as_deref().map(name),
        }),
        cgroup: process.cgroup.as_deref().map(|cgroup| clean.path(cgroup)),
        unit: location.unit.as_deref().map(name),
        slice: location.slice.as_deref().map(name),
        manager: location.manager,
        container: location.container.as_ref().map(|container| Container {
            id: name(&container.id),
            runtime: container.runtime.map(|runtime| runtime.name().to_owned()),
            kind: container.kind,
            name: container.name.as_deref().map(name),
            within: container.within.as_deref().map(name),
            inner: container.inner.as_deref().map(name),
        }),
        pod: location.pod.as_deref().map(|uid| Pod {
            uid: name(uid),
            namespace: pod_names.map(|names| name(&names.namespace)),
            name: pod_names.map(|names| name(&names.name)),
            container: pod_names.and_then(|names| names.container.as_deref()).map(name),
        }),
    }
}

fn ancestor(found: &process::Ancestor, clean: Sanitizer<'_, '_>) -> Ancestor {
    Ancestor {
        pid: found.pid,
        name: Some(&*found.name).filter(|name| !name.is_empty()).map(|name| clean.name(name)),
        args: ancestor_arguments(found.arguments.as_ref(), clean),
    }
}

fn responsible(found: &process::Responsible, clean: Sanitizer<'_, '_>) -> Responsible {
    Responsible {
        pid: found.pid,
        name: found.name.as_deref().map(|name| clean.name(name)),
        script: found.script.as_deref().map(|script| clean.path(script)),
        args: ancestor_arguments(found.arguments.as_ref(), clean),
        rule: found.rule,
    }
}

fn ancestor_arguments(args: Option<&Arguments>, clean: Sanitizer<'_, '_>) -> Option<Vec<String>> {
    args.map(|args| arguments(args, bound::ANCESTOR_ARGUMENTS, clean).0)
}

fn arguments(args: &Arguments, limit: usize, clean: Sanitizer<'_, '_>) -> (Vec<String>, bool) {
    let words: Vec<&[u8]> = args.iter().collect();
    clean.arguments(&words, limit)
}

/// Returns the bytes before the NUL; `None` if there are none.
fn text_of(comm: &[u8; COMM_LENGTH]) -> Option<&[u8]> {
    comm.split(|&byte| byte == 0).next().filter(|name| !name.is_empty())
}

/// The eBPF programs write the id of nobody, `(u32) -1`, where they could not read one.
fn known_id(id: u32) -> Option<u32> {
    (id != u32::MAX).then_some(id)
}
