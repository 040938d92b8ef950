//! Origin of an event: host, run, labels, source.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::is_false;

/// The members that every event carries, so that a line can live alone in a fleet's store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// The audited host.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "host_or_its_name"
    )]
    pub host: Option<HostIdentity>,
    /// A random id of the run: one per start of the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Labels given with `--label` or in the configuration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How the requests were observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceKind>,
    /// The requests were made under a rehearsal: a front refused IMDSv1, whatever the instance does.
    #[serde(default, skip_serializing_if = "is_false")]
    #[schemars(default)]
    pub rehearsal: bool,
}

/// The host that was audited.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct HostIdentity {
    /// The host's name.
    #[serde(default)]
    pub name: Option<String>,
    /// The EC2 instance id, where the machine reveals it without the network.
    #[serde(default)]
    pub id: Option<String>,
}

/// How requests were observed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// By eBPF programs.
    Ebpf,
    /// By a packet socket.
    Packet,
    /// From a capture file, or by a source that this version does not know.
    #[serde(other)]
    Capture,
}

impl SourceKind {
    /// Returns the name that events carry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ebpf => "ebpf",
            Self::Packet => "packet",
            Self::Capture => "capture",
        }
    }
}

/// Reads a host, which was a bare name in the `start` events of versions before 0.2.
fn host_or_its_name<'de, D>(deserializer: D) -> Result<Option<HostIdentity>, D::Error>
where
    D: Deserializer<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Name(String),
        Identity(HostIdentity),
    }
    Ok(Option::<Form>::deserialize(deserializer)?.map(|form| match form {
        Form::Name(name) => HostIdentity { name: Some(name), id: None },
        Form::Identity(identity) => identity,
    }))
}
