//! Descriptions: builds the events of requests and connections, and the process in them.
//!
//! Everything that leaves this module has been redacted and bounded by the [`Sanitizer`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use imds_audit_ebpf::{COMM_LENGTH, Task};

use super::attribution::Actor;
use super::clock::Clock;
use super::sanitizer::Sanitizer;
use super::token::TokenHasher;
use crate::aggregate::caller;
use crate::classify::{self, TOKEN_HEADER, Verdict};
use crate::diagnose::{recognise, script_above};
use crate::event::{
    Ancestor, Attribution, Caller, Class, Connection, ConnectionEvent, ConnectionFate, Container,
    Databricks, Family, Http, Imds, LossProcess, Network, Outcome, Pod, Process, RequestEvent,
    Responsible, UnknownReason,
};
use crate::flow::{ConnectResult, IdleConnection, Request, RequestHead, Response, Unreadable};
use crate::process::{self, Arguments};
use crate::redact::Known;
use crate::segment::{EndpointPair, Timestamp};
use crate::text::bounded::bound;
use crate::text::socket_addr;

/// A header's name and value.
type Header<'a> = (&'a [u8], &'a [u8]);

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

/// Builds events from what was observed.
#[derive(Debug)]
pub(crate) struct Describer {
    /// The conversion of times; the time of day may be set while the audit runs.
    pub clock: Clock,
    /// The host's network namespace, which tells who is behind a hop; `None` where it is not
    /// known.
    pub host_netns: Option<u32>,
    hasher: TokenHasher,
}

impl Describer {
    /// Creates a describer with a fresh key for tokens' hashes.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, host_netns: None, hasher: TokenHasher::new() }
    }

    /// Describes a request and its response, without advice.
    ///
    /// `secrets` are those of the request's own headers: they are removed from the target, the
    /// user agent and the host, as they must have been from `part`.
    pub(crate) fn request(
        &self,
        ends: &EndpointPair,
        request: &Request,
        response: &Response,
        part: ProcessPart,
        secrets: &Known<'_>,
    ) -> RequestEvent {
        let ProcessPart { process, caller } = part;
        let clean = Sanitizer { secrets };
        let head = request.head.as_ref().ok();
        let headers: Vec<Header<'_>> = head.into_iter().flat_map(RequestHead::headers).collect();
        let verdict = head.map_or(Verdict::UNKNOWN, |head| {
            classify::classify(head.method(), head.target(), headers.iter().copied())
        });
        // Its sender may have made it IMDSv1 after it was read here. The reverse gains nothing.
        let is_unproven = request.shared && head.is_some() && verdict.class != Class::V1;
        let verdict = if is_unproven { Verdict::UNKNOWN } else { verdict };
        let reason = match &request.head {
            Err(why) => Some(reason(*why)),
            Ok(_) => is_unproven.then_some(UnknownReason::SharedPages),
        };
        let (status, outcome, ttl, answered) = match response {
            Response::Answered { time, head, ttl } => {
                let status = head.status();
                (Some(status), Outcome::of_status(status), *ttl, Some(*time))
            }
            Response::None { time, .. } => (None, Outcome::NoResponse, None, Some(*time)),
            Response::Unobserved => (None, Outcome::Unobserved, None, None),
        };
        let user_agent = header(&headers, b"User-Agent");
        let own = || {
            recognise(
                user_agent.map(|agent| secrets.remove(agent)).as_deref(),
                process.exe.as_deref(),
                process.args.as_deref(),
            )
        };
        let client = script_above(&process).or_else(own);
        RequestEvent {
            time: self.clock.time(request.started),
            imds: Imds {
                class: verdict.class,
                version: verdict.class.version(),
                operation: verdict.operation,
                resource: verdict.resource,
                outcome,
                duration_us: answered.map(|time| microseconds(request.started, time)),
                endpoint: socket_addr::text(ends.endpoint),
                token: self.hasher.hash(token(&headers)),
                reason,
            },
            http: head.map(|head| Http {
                method: clean.text(head.method(), bound::METHOD),
                path: clean.text(head.target(), bound::PATH),
                status,
                host: header(&headers, b"Host").map(|host| clean.text(host, bound::HOST)),
                user_agent: user_agent.map(|agent| clean.text(agent, bound::USER_AGENT)),
                forwarded_for: classify::forwarded_for(headers.iter().copied())
                    .map(|address| address.to_string()),
            }),
            network: self.network(ends, ttl),
            process,
            caller,
            client,
            relay: None,
            advice: None,
            window: None,
        }
    }

    /// Describes a connection over which no request was sent.
    pub(crate) fn connection(
        &self,
        idle: &IdleConnection,
        process: Arc<Process>,
    ) -> ConnectionEvent {
        ConnectionEvent {
            time: self.clock.time(idle.opened),
            connection: Connection {
                endpoint: socket_addr::text(idle.ends.endpoint),
                fate: fate(idle.result),
                duration_us: Some(microseconds(idle.opened, idle.ended)),
                count: 1,
                last: None,
            },
            network: self.network(&idle.ends, None),
            process,
        }
    }

    fn network(&self, ends: &EndpointPair, ttl: Option<u8>) -> Network {
        let EndpointPair { source, endpoint, mapped, netns } = *ends;
        Network {
            family: family(endpoint),
            source: source.map(socket_addr::text),
            response_ttl: ttl,
            netns,
            host_network: netns.zip(self.host_netns).map(|(caller, host)| caller == host),
            mapped,
        }
    }
}

/// Returns the secrets that a request's headers carry.
pub(crate) fn secrets(request: &Request) -> Known<'_> {
    Known::of_headers(request.head.iter().flat_map(RequestHead::headers))
}

/// Returns the process of a loss, from the name of its thread that acted, ended by a NUL.
pub(crate) fn loss_process(pid: u32, comm: &[u8; COMM_LENGTH]) -> LossProcess {
    let secrets = Known::default();
    let clean = Sanitizer { secrets: &secrets };
    LossProcess { pid, name: text_of(comm).map(|name| clean.name(name)) }
}

/// Describes the process of an actor, without the given secrets.
pub(crate) fn process(
    actor: Option<&Actor>,
    attribution: Attribution,
    clock: Clock,
    secrets: &Known<'_>,
) -> Process {
    let clean = Sanitizer { secrets };
    match actor {
        None => nobody(attribution),
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

/// Describes nobody: no process is known.
fn nobody(attribution: Attribution) -> Process {
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
        ..nobody(attribution)
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

/// Returns the value of the first header with a name.
fn header<'a>(headers: &[Header<'a>], wanted: &[u8]) -> Option<&'a [u8]> {
    headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value)
}

/// Returns the token that a request carries: the first one that is not empty, or nothing.
fn token<'a>(headers: &[Header<'a>]) -> &'a [u8] {
    headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(TOKEN_HEADER))
        .map(|(_, value)| value.trim_ascii())
        .find(|value| !value.is_empty())
        .unwrap_or_default()
}

fn family(endpoint: SocketAddr) -> Family {
    if endpoint.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }
}

fn fate(result: ConnectResult) -> ConnectionFate {
    match result {
        ConnectResult::Accepted => ConnectionFate::Accepted,
        ConnectResult::Refused => ConnectionFate::Refused,
        ConnectResult::Unanswered => ConnectionFate::Unanswered,
        ConnectResult::Unobserved => ConnectionFate::Unobserved,
    }
}

fn reason(why: Unreadable) -> UnknownReason {
    match why {
        Unreadable::NotHttp => UnknownReason::NotHttp,
        Unreadable::Cut => UnknownReason::Cut,
        Unreadable::Lost => UnknownReason::Lost,
        Unreadable::TooLong => UnknownReason::TooLong,
        Unreadable::Urgent => UnknownReason::Urgent,
    }
}

/// Returns whole microseconds between two times, 0 where the second is the earlier one.
fn microseconds(from: Timestamp, to: Timestamp) -> u64 {
    let duration = Duration::from_nanos(to.0.saturating_sub(from.0));
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Returns the bytes before the NUL; `None` if there are none.
fn text_of(comm: &[u8; COMM_LENGTH]) -> Option<&[u8]> {
    comm.split(|&byte| byte == 0).next().filter(|name| !name.is_empty())
}

/// The eBPF programs write the id of nobody, `(u32) -1`, where they could not read one.
fn known_id(id: u32) -> Option<u32> {
    (id != u32::MAX).then_some(id)
}

#[cfg(test)]
mod tests;
