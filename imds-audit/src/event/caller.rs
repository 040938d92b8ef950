//! A caller: what is the same software on every host and every day.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A caller, by which requests are grouped.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct Caller {
    /// A short hash of what makes a caller the same on every host and every day: script, class or
    /// unit, and the pod's owner, with random parts of paths folded. 16 hexadecimal digits.
    pub id: String,
    /// The caller for people: its script or command line.
    pub title: String,
    /// The place it runs in: Spark application, cluster, pod, container or unit.
    #[serde(default)]
    pub home: Option<String>,
}
