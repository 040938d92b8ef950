//! The seal of a line, and checkpoints of sealed outputs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The seal of a line, of an output that was asked to seal (`--seal`). It is the last member, so that
/// its hash covers every byte of the line before the hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Seal {
    /// A random id of the chain: one per output and start of the program.
    pub chain: String,
    /// The number of this line in its chain, from 1.
    pub line: u64,
    /// The `sha256` of the line before; zeros in the first line.
    pub previous: String,
    /// SHA-256 of this line's bytes up to `,"sha256":`.
    pub sha256: String,
}

/// The last line that a sealed output had written when an event was made. Kept elsewhere, it proves
/// what the output held by then.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct Checkpoint {
    /// The chain.
    pub chain: String,
    /// The number of the line.
    pub line: u64,
    /// That line's `sha256`.
    pub sha256: String,
}
