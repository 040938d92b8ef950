//! Makes events from plain values: classifies, redacts, bounds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::address;
use super::class::{self, Outcome, TOKEN_HEADER, Verdict};
use super::client::Client;
use super::event::{
    Ancestor, Attribution, Container, Databricks, Family, Http, Imds, LossProcess, Manager,
    Network, Pod, Process, RequestEvent, Responsible, Rule, Spark, Time, UnknownReason,
};
use super::limit::{self, bound};
use super::redact::{self, Known};
use super::token::TokenHasher;

/// A request as it was seen.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// When its first byte passed.
    pub time: Time,
    /// Its ends.
    pub way: Way,
    /// Its header block, or why there is none.
    pub head: Result<Head<'a>, UnknownReason>,
    /// What came back.
    pub answer: Answer,
    /// How long that took, where it is known.
    pub duration: Option<Duration>,
}

/// The ends of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// The caller's end.
    pub source: Option<SocketAddr>,
    /// The service's end.
    pub endpoint: SocketAddr,
    /// Whether the socket is an IPv6 one that carries IPv4.
    pub mapped: bool,
    /// The caller's network namespace.
    pub netns: Option<u32>,
    /// Whether that is the host's.
    pub host_network: Option<bool>,
}

/// A request's header block.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a [u8],
    /// The target.
    pub target: &'a [u8],
    /// The headers, names and values.
    pub headers: &'a [(&'a [u8], &'a [u8])],
}

/// What came back for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A status line.
    Status {
        /// The status.
        status: u16,
        /// The time to live that it arrived with.
        ttl: Option<u8>,
    },
    /// Nothing.
    Nothing,
    /// It cannot be said.
    Unobserved,
}

/// A process as it was found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found<'a> {
    /// The process and the thread.
    pub pid: Option<u32>,
    /// The thread.
    pub tid: Option<u32>,
    /// The process's name.
    pub name: Option<&'a [u8]>,
    /// The thread's name.
    pub thread_name: Option<&'a [u8]>,
    /// The executable.
    pub exe: Option<&'a [u8]>,
    /// The arguments.
    pub args: Option<&'a [&'a [u8]]>,
    /// Whether arguments are missing at the end, or the last one is cut.
    pub args_truncated: bool,
    /// The user.
    pub uid: Option<u32>,
    /// The user's name.
    pub user: Option<&'a [u8]>,
    /// The group.
    pub gid: Option<u32>,
    /// The process in its own pid namespace, where that is another.
    pub namespace_pid: Option<u32>,
    /// When it started.
    pub start_time: Option<Time>,
    /// The parents, nearest first.
    pub ancestors: &'a [FoundAncestor<'a>],
    /// Who answers for it.
    pub responsible: Option<FoundResponsible<'a>>,
    /// The Spark application that it belongs to.
    pub spark: Option<&'a Spark>,
    /// The id of the Databricks cluster that it is on, and what its owner calls it.
    pub cluster: Option<(&'a [u8], Option<&'a [u8]>)>,
    /// The cgroup path.
    pub cgroup: Option<&'a [u8]>,
    /// The systemd unit.
    pub unit: Option<&'a [u8]>,
    /// The slice.
    pub slice: Option<&'a [u8]>,
    /// Whose systemd runs the unit.
    pub manager: Option<Manager>,
    /// The container's id and what runs it.
    pub container: Option<(&'a [u8], Option<&'a [u8]>)>,
    /// The pod.
    pub pod: Option<FoundPod<'a>>,
}

/// A pod.
#[derive(Clone, Copy, Debug, Default)]
pub struct FoundPod<'a> {
    /// Its unique id.
    pub uid: &'a [u8],
    /// Its namespace.
    pub namespace: Option<&'a [u8]>,
    /// Its name.
    pub name: Option<&'a [u8]>,
    /// The name of the container in it.
    pub container: Option<&'a [u8]>,
}

/// The process that answers for another one.
#[derive(Clone, Copy, Debug)]
pub struct FoundResponsible<'a> {
    /// The process.
    pub pid: u32,
    /// Its name.
    pub name: Option<&'a [u8]>,
    /// The script, module, class or archive that it runs.
    pub script: Option<&'a [u8]>,
    /// Its arguments.
    pub args: Option<&'a [&'a [u8]]>,
    /// Why it is this one.
    pub rule: Rule,
}

/// A parent of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct FoundAncestor<'a> {
    /// The process.
    pub pid: u32,
    /// Its name.
    pub name: Option<&'a [u8]>,
    /// Its arguments.
    pub args: Option<&'a [&'a [u8]]>,
}

/// Makes the event of a request.
///
/// The token that it carried, and what else its headers have that is secret, is removed wherever
/// else it stands: in the target, in the user agent, in the arguments of the process and of its
/// parents. It has no advice yet. `process` makes the part that says who it was, without what is
/// known to be secret.
pub fn request(
    seen: &Seen<'_>,
    process: impl FnOnce(&Known<'_>) -> Arc<Process>,
    hasher: &TokenHasher,
) -> RequestEvent {
    let head = seen.head.as_ref().ok();
    let headers = || head.map(|head| head.headers).unwrap_or_default().iter().copied();
    let verdict =
        head.map_or(Verdict::UNKNOWN, |head| class::classify(head.method, head.target, headers()));
    let token = headers()
        .filter(|(name, _)| name.eq_ignore_ascii_case(TOKEN_HEADER))
        .map(|(_, value)| value.trim_ascii())
        .find(|value| !value.is_empty())
        .unwrap_or_default();
    let known = Known::of_headers(headers());
    let clean = Clean { known: &known };
    let (status, outcome, ttl) = match seen.answer {
        Answer::Status { status, ttl } => (Some(status), Outcome::of_status(status), ttl),
        Answer::Nothing => (None, Outcome::NoResponse, None),
        Answer::Unobserved => (None, Outcome::Unobserved, None),
    };
    let user_agent = header(head, b"User-Agent");
    let process = process(&known);
    let client = Client::recognise(
        user_agent.map(|agent| known.remove(agent)).as_deref(),
        process.exe.as_deref(),
        process.args.as_deref(),
    );
    RequestEvent {
        time: seen.time,
        imds: Imds {
            class: verdict.class,
            version: verdict.class.version(),
            operation: verdict.operation,
            resource: verdict.resource,
            outcome,
            duration_us: seen.duration.map(microseconds),
            endpoint: address::text(seen.way.endpoint),
            token: hasher.hash(token),
            reason: seen.head.as_ref().err().copied(),
        },
        http: head.map(|head| Http {
            method: clean.text(head.method, bound::METHOD),
            path: clean.text(head.target, bound::PATH),
            status,
            host: header(Some(head), b"Host").map(|host| clean.text(host, bound::HOST)),
            user_agent: user_agent.map(|agent| clean.text(agent, bound::USER_AGENT)),
        }),
        network: network(&seen.way, ttl),
        process,
        client,
        advice: None,
    }
}

/// Makes the process of a loss, from the name of its thread that acted, ended by a NUL.
pub fn loser(pid: u32, comm: &[u8]) -> LossProcess {
    let name = comm.split(|&byte| byte == 0).next().filter(|name| !name.is_empty());
    let known = Known::default();
    LossProcess { pid, name: name.map(|name| Clean { known: &known }.text(name, bound::NAME)) }
}

/// Makes the part of an event that says who it was, without what is known to be secret.
pub fn process(found: &Found<'_>, attribution: Attribution, known: &Known<'_>) -> Process {
    Clean { known }.process(found, attribution)
}

/// Makes the part of an event that says which way it went.
pub fn network(way: &Way, ttl: Option<u8>) -> Network {
    Network {
        family: if way.endpoint.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 },
        source: way.source.map(address::text),
        response_ttl: ttl,
        netns: way.netns,
        host_network: way.host_network,
        mapped: way.mapped,
    }
}

/// Returns whole microseconds, at most what fits.
pub fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn header<'a>(head: Option<&Head<'a>>, wanted: &[u8]) -> Option<&'a [u8]> {
    let headers = head?.headers;
    headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value)
}

/// Cleans bytes of secrets, of those known above all, and bounds them.
struct Clean<'a, 'k> {
    /// What is known to be secret.
    known: &'a Known<'k>,
}

impl Clean<'_, '_> {
    fn text(&self, bytes: &[u8], limit: usize) -> String {
        limit::text(&redact::text(&self.known.remove(bytes)), limit)
    }

    fn arguments(&self, args: &[&[u8]], limit: usize) -> (Vec<String>, bool) {
        let count = args.len().min(bound::ARGUMENT_COUNT);
        let known: Vec<_> = args.iter().take(count).map(|arg| self.known.remove(arg)).collect();
        let mut left = limit;
        let mut texts = Vec::with_capacity(count);
        let mut cut = count < args.len();
        for argument in redact::arguments(known.iter().map(AsRef::as_ref)) {
            if left == 0 {
                cut = true;
                break;
            }
            let text = limit::text(&argument, left);
            cut |= text.len() > left;
            // An empty argument counts too, so that the bound holds for their number.
            left = left.saturating_sub(text.len().max(1));
            texts.push(text);
        }
        (texts, cut)
    }

    fn process(&self, found: &Found<'_>, attribution: Attribution) -> Process {
        let name = |bytes: &[u8]| self.text(bytes, bound::NAME);
        let args = found.args.map(|args| self.arguments(args, bound::ARGUMENTS));
        let cut = args.as_ref().is_some_and(|(_, cut)| *cut);
        Process {
            pid: found.pid,
            tid: found.tid,
            name: found.name.map(name),
            thread_name: found.thread_name.filter(|thread| Some(*thread) != found.name).map(name),
            exe: found.exe.map(|exe| self.text(exe, bound::FILE)),
            args: args.map(|(args, _)| args),
            args_truncated: found.args_truncated || cut,
            uid: found.uid,
            user: found.user.map(name),
            gid: found.gid,
            namespace_pid: found.namespace_pid,
            start_time: found.start_time,
            attribution,
            ancestors: found
                .ancestors
                .iter()
                .take(bound::ANCESTORS)
                .map(|ancestor| self.ancestor(ancestor))
                .collect(),
            responsible: found.responsible.map(|found| Responsible {
                pid: found.pid,
                name: found.name.map(name),
                script: found.script.map(|script| self.text(script, bound::FILE)),
                args: found.args.map(|args| self.arguments(args, bound::ANCESTOR_ARGUMENTS).0),
                rule: found.rule,
            }),
            spark: found.spark.cloned(),
            databricks: found.cluster.map(|(id, called)| Databricks {
                cluster_id: name(id),
                cluster_name: called.map(name),
            }),
            cgroup: found.cgroup.map(|cgroup| self.text(cgroup, bound::FILE)),
            unit: found.unit.map(name),
            slice: found.slice.map(name),
            manager: found.manager,
            container: found
                .container
                .map(|(id, runtime)| Container { id: name(id), runtime: runtime.map(name) }),
            pod: found.pod.map(|pod| Pod {
                uid: name(pod.uid),
                namespace: pod.namespace.map(name),
                name: pod.name.map(name),
                container: pod.container.map(name),
            }),
        }
    }

    fn ancestor(&self, found: &FoundAncestor<'_>) -> Ancestor {
        let args = found.args.map(|args| self.arguments(args, bound::ANCESTOR_ARGUMENTS).0);
        Ancestor { pid: found.pid, name: found.name.map(|name| self.text(name, bound::NAME)), args }
    }
}
