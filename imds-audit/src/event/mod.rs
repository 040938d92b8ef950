//! The events that the audit hands on, one kind a struct.
//!
//! The names are a contract with every reader of the JSON lines; the schema that is generated
//! from them is checked in as `schema/event.schema.json`. What is not known is null or absent.
//! Every text that came from outside is UTF-8, redacted, and bounded as
//! [`bound`](crate::text::bounded::bound) says.

mod advice;
mod caller;
mod client;
mod connection;
mod imds;
mod lifecycle;
mod loss;
mod origin;
mod process;
pub mod reader;
mod rehearsal;
mod request;
mod seal;
mod tally;
mod token;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use jiff::fmt::temporal::DateTimePrinter;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use advice::{Advice, Cause};
pub use caller::Caller;
pub use client::{Client, Hint, Trigger};
pub use connection::{Connection, ConnectionEvent, ConnectionFate};
pub use imds::{Class, Operation, Outcome, Resource, Version};
pub use lifecycle::{Counters, Fallback, StartEvent, StopEvent, StopReason, Totals};
pub use loss::{Loss, LossEvent, LossProcess, LossUnit};
pub use origin::{HostIdentity, Origin, SourceKind};
pub use process::{
    Ancestor, Attribution, Container, ContainerKind, Databricks, Manager, Pod, Process,
    Responsible, Rule, Spark, SparkPython, SparkRole,
};
pub use rehearsal::{
    LeftAlone, RehearsalEvent, RehearsalVerdict, RehearsedCaller, RehearsedCommand,
    RehearsedRequest, RehearsedSettings,
};
pub use request::{Family, Http, Imds, Network, RelayPart, RequestEvent, UnknownReason};
pub use seal::{Checkpoint, Seal};
pub use tally::{AskedClient, CallerAdvice, CallerTally, Classes, OtherCallers, TallyEvent};
pub use token::TokenHash;

/// The version of the event's form; it grows when a name changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// One line of the audit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// The version of this form.
    pub schema: u32,
    /// What happened. A reader ignores kinds that it does not know.
    #[serde(flatten)]
    pub body: Body,
    /// Where it comes from.
    #[serde(flatten)]
    pub origin: Arc<Origin>,
    /// The seal of the line, of an output that seals; only read, as it covers the written bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<Box<Seal>>,
}

impl<B: Into<Body>> From<B> for Event {
    fn from(body: B) -> Self {
        Self { schema: SCHEMA, body: body.into(), origin: Arc::default(), seal: None }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Totals of a time window.
    Tally(Box<TallyEvent>),
    /// The result of a rehearsal.
    Rehearsal(Box<RehearsalEvent>),
    /// A kind that this version does not know; only read, never written.
    #[serde(other, skip_serializing)]
    #[schemars(skip)]
    Other,
}

impl Body {
    /// Returns when it happened.
    pub fn time(&self) -> Option<Time> {
        Some(match self {
            Self::Request(event) => event.time,
            Self::Connection(event) => event.time,
            Self::Loss(event) => event.time,
            Self::Start(event) => event.time,
            Self::Stop(event) => event.time,
            Self::Tally(event) => event.time,
            Self::Rehearsal(event) => event.time,
            Self::Other => return None,
        })
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
    TallyEvent => |event| Self::Tally(Box::new(event)),
    RehearsalEvent => |event| Self::Rehearsal(Box::new(event)),
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
        const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
        // Without the formatter of `Display`, which takes as long as the rest of an event's line.
        let mut text = String::with_capacity("2026-11-22T01:02:03.123456Z".len());
        PRINTER.print_timestamp(&self.0, &mut text).map_err(S::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
pub(crate) mod tests;
