//! The events that the audit hands on, one kind a struct.
//!
//! The names are a contract with every reader of the JSON lines; the schema that is generated
//! from them is checked in as `schema/event.schema.json`. What is not known is null or absent.
//! Every text that came from outside is UTF-8, redacted, and bounded as
//! [`bound`](super::limit::bound) says.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::advice::Advice;
use super::class::{Class, Operation, Outcome, Resource, Version};
use super::client::Client;
use super::token::TokenHash;

/// The version of the event's form; it grows when a name changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// One line of the audit.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Event {
    /// The version of this form.
    pub schema: u32,
    /// What happened. A reader ignores kinds that it does not know.
    #[serde(flatten)]
    pub body: Body,
}

impl<B: Into<Body>> From<B> for Event {
    fn from(body: B) -> Self {
        Self { schema: SCHEMA, body: body.into() }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Body {
    /// A request, with what came of it.
    Request(Box<RequestEvent>),
    /// A connection over which no request was sent.
    Connection(Box<ConnectionEvent>),
    /// Something that was not observed or not written.
    Loss(LossEvent),
    /// Everything is attached: what happens from here on is audited.
    Start(Box<StartEvent>),
    /// The audit's end.
    Stop(Box<StopEvent>),
}

impl Body {
    /// Returns when it happened.
    pub fn time(&self) -> Time {
        match self {
            Self::Request(event) => event.time,
            Self::Connection(event) => event.time,
            Self::Loss(event) => event.time,
            Self::Start(event) => event.time,
            Self::Stop(event) => event.time,
        }
    }
}

macro_rules! body_from {
    ($($event:ty => $wrap:expr),* $(,)?) => {
        $(impl From<$event> for Body {
            fn from(event: $event) -> Self {
                $wrap(event)
            }
        })*
    };
}

body_from! {
    RequestEvent => |event| Self::Request(Box::new(event)),
    ConnectionEvent => |event| Self::Connection(Box::new(event)),
    LossEvent => Self::Loss,
    StartEvent => |event| Self::Start(Box::new(event)),
    StopEvent => |event| Self::Stop(Box::new(event)),
}

/// A point in time: RFC 3339, UTC, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub jiff::Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.0)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A point in time: RFC 3339, UTC, microseconds.",
            "type": "string",
            "format": "date-time"
        })
    }
}

/// A request, with what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct RequestEvent {
    /// When its first byte passed.
    pub time: Time,
    /// What it was to the metadata service.
    pub imds: Imds,
    /// Its HTTP; null where the class is `unknown`.
    pub http: Option<Http>,
    /// Its way.
    pub network: Network,
    /// Who made it.
    pub process: Process,
    /// The software: a hint, on which nothing else here is based but the advice.
    pub client: Option<Client>,
    /// What to do about a request that was made without a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<Advice>,
}

/// What a request was to the metadata service.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Imds {
    /// The protocol that it spoke.
    pub class: Class,
    /// The version of the protocol; null where the class is `foreign` or `unknown`.
    pub version: Option<Version>,
    /// What it wanted to do.
    pub operation: Option<Operation>,
    /// What it asked for.
    pub resource: Option<Resource>,
    /// What came of it.
    pub outcome: Outcome,
    /// From the request's first byte to the status line's, or to when it was certain that none
    /// would come.
    pub duration_us: Option<u64>,
    /// The service's address and port.
    pub endpoint: String,
    /// A keyed hash of the token that it carried; comparable within one run only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenHash>,
    /// Why the class is `unknown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<UnknownReason>,
}

/// Why nothing can be said of a request's class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownReason {
    /// The bytes are no HTTP request.
    NotHttp,
    /// The connection or the audit ended before the headers did.
    Cut,
    /// Bytes in between were lost on their way to the audit.
    Lost,
    /// The headers are longer than the audit keeps.
    TooLong,
}

impl UnknownReason {
    /// Returns the name that events carry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotHttp => "not-http",
            Self::Cut => "cut",
            Self::Lost => "lost",
            Self::TooLong => "too-long",
        }
    }
}

/// A request's HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Http {
    /// The method.
    pub method: String,
    /// The target as it was sent, with its query.
    pub path: String,
    /// The response's status.
    pub status: Option<u16>,
    /// The host header.
    pub host: Option<String>,
    /// The user agent.
    pub user_agent: Option<String>,
}

/// The way of a connection.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Network {
    /// The family of the packets.
    pub family: Family,
    /// The caller's address and port.
    pub source: Option<String>,
    /// The IP time to live (hop limit) of the response as it arrived.
    pub response_ttl: Option<u8>,
    /// The inode number of the caller's network namespace.
    pub netns: Option<u32>,
    /// Whether that is the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_network: Option<bool>,
    /// The socket is an IPv6 one that carries IPv4, as Java's are.
    #[serde(skip_serializing_if = "is_false")]
    #[schemars(default)]
    pub mapped: bool,
}

/// A family of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// Who made a request.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Process {
    /// The process in the initial pid namespace.
    pub pid: Option<u32>,
    /// The thread in the initial pid namespace.
    pub tid: Option<u32>,
    /// The process's name.
    pub name: Option<String>,
    /// The thread's name, where it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_name: Option<String>,
    /// The executable: its path, or only its file name.
    pub exe: Option<String>,
    /// The arguments.
    pub args: Option<Vec<String>>,
    /// Arguments are missing at the end.
    #[serde(skip_serializing_if = "is_false")]
    #[schemars(default)]
    pub args_truncated: bool,
    /// The real user, in the initial user namespace.
    pub uid: Option<u32>,
    /// The user's name on the host.
    pub user: Option<String>,
    /// The real group, in the initial user namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// The process in its own pid namespace, where that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_pid: Option<u32>,
    /// When it started.
    pub start_time: Option<Time>,
    /// How it is known that this process made the request.
    pub attribution: Attribution,
    /// Its parents, nearest first.
    pub ancestors: Vec<Ancestor>,
    /// Who answers for what it does: itself or an ancestor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub responsible: Option<Responsible>,
    /// Its cgroup v2 path.
    pub cgroup: Option<String>,
    /// Its systemd unit.
    pub unit: Option<String>,
    /// The slice that the unit is in, or that it is in itself where there is no unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice: Option<String>,
    /// Whose systemd runs the unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manager: Option<Manager>,
    /// Its container.
    pub container: Option<Container>,
    /// Its pod.
    pub pod: Option<Pod>,
}

/// How it is known that a process made a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Attribution {
    /// It sent the bytes.
    Writer,
    /// It was the last one certain to have sent bytes over the connection.
    LastWriter,
    /// It opened the connection; who wrote is not known.
    Connector,
    /// It is not known which process it was.
    Unknown,
}

/// A parent of a process.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Ancestor {
    /// The process in the initial pid namespace.
    pub pid: u32,
    /// Its name.
    pub name: Option<String>,
    /// Its arguments.
    pub args: Option<Vec<String>>,
}

/// The process that answers for a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Responsible {
    /// The process in the initial pid namespace.
    pub pid: u32,
    /// Its name.
    pub name: Option<String>,
    /// The script, module, class or archive that it runs, as its command line names it.
    pub script: Option<String>,
    /// Its arguments.
    pub args: Option<Vec<String>>,
    /// Why it is this one.
    pub rule: Rule,
}

/// Why a process answers for a request. The first that applies names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// It is the nearest one that runs a file in a shell or an interpreter.
    Script,
    /// It is the nearest one that runs a module in an interpreter.
    Module,
    /// It is the nearest one that runs a class in a Java virtual machine.
    Class,
    /// It is the nearest one that runs an archive in a Java virtual machine.
    Jar,
    /// It runs commands from its command line or its input.
    Command,
    /// It is the main process of the unit.
    Unit,
    /// It is the first process of the container.
    Container,
    /// It made the request itself, and nothing else is known to answer for it.
    Caller,
}

/// A systemd that runs units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Manager {
    /// The host's, or a container's own.
    System,
    /// A user's.
    User,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// What runs it.
    pub runtime: Option<String>,
}

/// A Kubernetes pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Pod {
    /// Its unique id.
    pub uid: String,
    /// Its namespace, as the kubelet's log folders name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The name of the container in it, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}

/// A connection over which no request was sent.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ConnectionEvent {
    /// When it was opened.
    pub time: Time,
    /// What became of it.
    pub connection: Connection,
    /// Its way.
    pub network: Network,
    /// Who opened it.
    pub process: Process,
}

/// What became of a connection.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Connection {
    /// The service's address and port.
    pub endpoint: String,
    /// How the attempt ended.
    pub fate: ConnectionFate,
    /// How long it was open or tried.
    pub duration_us: Option<u64>,
}

/// How an attempt to connect ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionFate {
    /// The service accepted it.
    Accepted,
    /// It was reset.
    Refused,
    /// Nothing came back.
    Unanswered,
    /// It cannot be said.
    Unobserved,
}

impl ConnectionFate {
    /// Returns the name that events carry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
            Self::Unobserved => "unobserved",
        }
    }
}

/// Something that was not observed or not written.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct LossEvent {
    /// When it was noticed.
    pub time: Time,
    /// The loss.
    pub loss: Loss,
}

/// A loss: how much of what, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Loss {
    /// Why, such as `request` (the ring was full for a request's bytes), `output` or `procfs`.
    pub reason: Cow<'static, str>,
    /// What was lost.
    pub what: LossUnit,
    /// How many, since the last such event (in `stop`: in all).
    pub count: u64,
    /// Whose it was, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<LossProcess>,
}

/// A process of which something was lost.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct LossProcess {
    /// The process in the initial pid namespace.
    pub pid: u32,
    /// The name of the thread that acted.
    pub name: Option<String>,
}

/// What can be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LossUnit {
    /// Records of the kernel half.
    Records,
    /// Bytes of requests or responses.
    Bytes,
    /// Connections that could not be followed.
    Connections,
    /// Snapshots of processes, or what procfs would have told of them.
    Processes,
    /// Events that could not be written.
    Events,
    /// Requests that no event tells of. Several that were sent in one packet count once.
    Requests,
}

impl LossUnit {
    /// Returns the name that events carry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Bytes => "bytes",
            Self::Connections => "connections",
            Self::Processes => "processes",
            Self::Events => "events",
            Self::Requests => "requests",
        }
    }
}

/// Everything is attached: what happens from here on is audited.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct StartEvent {
    /// When the last program was attached.
    pub time: Time,
    /// The host's name.
    pub host: Option<String>,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// The machine, such as `x86_64`.
    pub architecture: Option<String>,
    /// The version of this program.
    pub version: String,
    /// What was attached.
    pub programs: Vec<String>,
    /// The addresses and ports that are audited.
    pub endpoints: Vec<String>,
    /// What this host does not allow and what stands in for it.
    pub fallbacks: Vec<Fallback>,
    /// The inode number of the auditor's network namespace.
    pub netns: Option<u32>,
}

/// Something that the host does not allow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Fallback {
    /// What is missing.
    pub name: String,
    /// Why.
    pub reason: String,
    /// What that costs.
    pub consequence: String,
}

/// The audit's end.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct StopEvent {
    /// When it ended.
    pub time: Time,
    /// Why it ended.
    pub reason: StopReason,
    /// How long everything was attached.
    pub duration_us: u64,
    /// What was seen.
    pub totals: Totals,
    /// What was lost, in all.
    pub losses: Vec<Loss>,
}

/// Why the audit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// A signal asked for it.
    Signal,
    /// The time that was asked for is over.
    Duration,
    /// The input is at its end.
    EndOfInput,
    /// Nobody reads the output any more.
    OutputClosed,
    /// A condition of the user's is met.
    Condition,
    /// Something failed.
    Failure,
}

impl StopReason {
    /// Returns the name that events carry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Duration => "duration",
            Self::EndOfInput => "end-of-input",
            Self::OutputClosed => "output-closed",
            Self::Condition => "condition",
            Self::Failure => "failure",
        }
    }
}

/// What was seen in all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Totals {
    /// Requests.
    pub requests: u64,
    /// Connections without a request.
    pub connections: u64,
    /// Requests by class, then by outcome.
    pub classes: BTreeMap<Class, BTreeMap<Outcome, u64>>,
    /// The counters that CloudWatch keeps too.
    pub counters: Counters,
}

/// The counters that CloudWatch keeps under the same names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Counters {
    /// IMDSv1 requests that were served.
    pub metadata_no_token: u64,
    /// IMDSv1 requests that were rejected with 401.
    pub metadata_no_token_rejected: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
#[path = "event_tests.rs"]
pub(crate) mod tests;
