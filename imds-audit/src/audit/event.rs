//! The events that the audit hands on, one kind a struct.
//!
//! The names are a contract with every reader of the JSON lines; the schema that is generated
//! from them is checked in as `schema/event.schema.json`. What is not known is null or absent.
//! Every text that came from outside is UTF-8, redacted, and bounded as
//! [`bound`](super::limit::bound) says.

mod connection;
mod loss;
mod process;
mod request;
mod run;

use std::borrow::Cow;
use std::fmt;

use jiff::fmt::temporal::DateTimePrinter;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::Error;
use serde::{Serialize, Serializer};

pub use connection::{Connection, ConnectionEvent, ConnectionFate};
pub use loss::{Loss, LossEvent, LossProcess, LossUnit};
pub use process::{
    Ancestor, Attribution, Container, Databricks, Manager, Pod, Process, Responsible, Rule, Spark,
    SparkPython, SparkRole,
};
pub use request::{Family, Http, Imds, Network, RequestEvent, UnknownReason};
pub use run::{Counters, Fallback, StartEvent, StopEvent, StopReason, Totals};

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
        const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
        // Without the formatter of `Display`, which takes as long as the rest of an event's line.
        let mut text = String::with_capacity("2026-11-22T01:02:03.123456Z".len());
        PRINTER.print_timestamp(&self.0, &mut text).map_err(S::Error::custom)?;
        serializer.serialize_str(&text)
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
#[path = "event_tests.rs"]
pub(crate) mod tests;
