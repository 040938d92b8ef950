//! Lends what is known of an actor in the form that events are built from.

use imds_audit_ebpf::{COMM_LENGTH, Task};

use super::auditor::Clock;
use super::build::{Found, FoundAncestor, FoundPod, FoundResponsible};
use super::event::{Manager, Rule, Spark, SparkPython, SparkRole};
use super::people::Actor;
use crate::flow::Timestamp;
use crate::process::{self, Part};

/// Lends what is known of an actor in the form that events are built from.
pub fn with_found<T>(
    actor: Option<&Actor>,
    clock: Clock,
    build: impl FnOnce(&Found<'_>) -> T,
) -> T {
    let Some(Actor { task, comm, process }) = actor else {
        return build(&Found::default());
    };
    let thread_name = trim(comm);
    let Some(process) = process.as_deref() else {
        return build(&nameless(*task, thread_name, clock));
    };
    let args: Option<Vec<&[u8]>> =
        process.arguments.as_ref().map(|arguments| arguments.iter().collect());
    let ancestor_args: Vec<Option<Vec<&[u8]>>> = process
        .ancestors
        .iter()
        .map(|ancestor| ancestor.arguments.as_ref().map(|args| args.iter().collect()))
        .collect();
    let ancestors: Vec<FoundAncestor<'_>> = process
        .ancestors
        .iter()
        .zip(&ancestor_args)
        .map(|(ancestor, args)| FoundAncestor {
            pid: ancestor.pid,
            name: Some(&ancestor.name).filter(|name| !name.is_empty()).map(|name| &**name),
            args: args.as_deref(),
        })
        .collect();
    let responsible = process.responsible.as_ref();
    let responsible_args: Option<Vec<&[u8]>> = responsible
        .and_then(|found| found.arguments.as_ref())
        .map(|arguments| arguments.iter().collect());
    let placement = &process.placement;
    let spark = process.spark.map(spark);
    let cluster = process.databricks();
    build(&Found {
        pid: Some(task.pid),
        tid: Some(task.tid),
        name: process.name.as_deref(),
        thread_name: thread_name.or(process.thread_name.as_deref()),
        exe: process.exe.as_ref().map(process::Executable::as_bytes),
        args: args.as_deref(),
        args_truncated: process.arguments.as_ref().is_some_and(|args| args.is_truncated()),
        uid: known_id(process.uid),
        user: process.user.as_deref(),
        gid: known_id(process.gid),
        namespace_pid: process.namespace_pid.filter(|&pid| pid != task.pid),
        start_time: process.start_time.map(|time| clock.time(Timestamp(time))),
        ancestors: &ancestors,
        responsible: responsible.map(|found| FoundResponsible {
            pid: found.pid,
            name: found.name.as_deref(),
            script: found.script.as_deref(),
            args: responsible_args.as_deref(),
            rule: rule(found.rule),
        }),
        spark: spark.as_ref(),
        cluster: cluster.map(|cluster| (&*cluster.id, cluster.name.as_deref())),
        cgroup: process.cgroup.as_deref(),
        unit: placement.unit.as_deref(),
        slice: placement.slice.as_deref(),
        manager: placement.manager.map(|manager| match manager {
            process::Manager::System => Manager::System,
            process::Manager::User => Manager::User,
        }),
        container: placement.container.as_ref().map(|container| {
            (&*container.id, container.runtime.map(|runtime| runtime.name().as_bytes()))
        }),
        pod: placement.pod.as_deref().map(|uid| FoundPod {
            uid,
            namespace: process.pod_names.as_ref().map(|names| &*names.namespace),
            name: process.pod_names.as_ref().map(|names| &*names.name),
            container: process.pod_names.as_ref().and_then(|names| names.container.as_deref()),
        }),
    })
}

fn spark(found: process::Spark) -> Spark {
    let role = found.machine.and_then(|(part, _)| match part {
        Part::Driver => Some(SparkRole::Driver),
        Part::Executor => Some(SparkRole::Executor),
        Part::Notebook | Part::Worker => None,
    });
    let python = found.python.and_then(|part| match part {
        Part::Notebook => Some(SparkPython::Notebook),
        Part::Worker => Some(SparkPython::Worker),
        Part::Driver | Part::Executor => None,
    });
    Spark { role, jvm: found.machine.map(|(_, pid)| pid), python }
}

fn rule(rule: process::Rule) -> Rule {
    use process::Rule as Found;
    match rule {
        Found::Script => Rule::Script,
        Found::Module => Rule::Module,
        Found::Class => Rule::Class,
        Found::Jar => Rule::Jar,
        Found::Command => Rule::Command,
        Found::Unit => Rule::Unit,
        Found::Container => Rule::Container,
        Found::Caller => Rule::Caller,
    }
}

/// What a segment alone tells of its writer.
fn nameless(task: Task, thread_name: Option<&[u8]>, clock: Clock) -> Found<'_> {
    Found {
        pid: Some(task.pid),
        tid: Some(task.tid),
        // The first thread's name is the process's.
        name: thread_name.filter(|_| task.pid == task.tid),
        thread_name,
        start_time: (task.start_time != 0).then(|| clock.time(Timestamp(task.start_time))),
        ..Found::default()
    }
}

/// Returns the bytes before the NUL; `None` for none.
fn trim(comm: &[u8; COMM_LENGTH]) -> Option<&[u8]> {
    comm.split(|&byte| byte == 0).next().filter(|name| !name.is_empty())
}

/// The kernel half writes the id of nobody, `(u32) -1`, where it could not read one.
fn known_id(id: u32) -> Option<u32> {
    (id != u32::MAX).then_some(id)
}
