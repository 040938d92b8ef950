//! Counts of lines and files.

use schemars::JsonSchema;
use serde::Serialize;

/// What was read. Whatever was not understood is counted here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Input {
    /// Files that were read.
    pub files: u64,
    /// Bytes in them, as they are stored.
    pub bytes: u64,
    /// Files that were left out, because another one has the same lines.
    pub duplicate_files: u64,
    /// Files that could be read in part only.
    pub damaged_files: u64,
    /// Events.
    pub events: u64,
    /// Tallies that were read before.
    pub duplicates: u64,
    /// Requests during a rehearsal, which count for its result only.
    pub rehearsed: u64,
    /// Events outside the time that was asked for.
    pub outside: u64,
    /// Lines of other programs.
    pub foreign: u64,
    /// Damaged events, a torn last line among them.
    pub malformed: u64,
    /// Lines that are too long to be an event.
    pub too_long: u64,
    /// Events of hosts and runs beyond the bounds on their number.
    pub beyond_bounds: u64,
}

impl Input {
    /// Adds other counts.
    pub(crate) fn merge(&mut self, other: &Self) {
        let Self {
            files,
            bytes,
            duplicate_files,
            damaged_files,
            events,
            duplicates,
            rehearsed,
            outside,
            foreign,
            malformed,
            too_long,
            beyond_bounds,
        } = other;
        self.files += files;
        self.bytes += bytes;
        self.duplicate_files += duplicate_files;
        self.damaged_files += damaged_files;
        self.events += events;
        self.duplicates += duplicates;
        self.rehearsed += rehearsed;
        self.outside += outside;
        self.foreign += foreign;
        self.malformed += malformed;
        self.too_long += too_long;
        self.beyond_bounds += beyond_bounds;
    }
}
