//! Record of a process, as the kernel's side writes it, with its lengths checked.
//!
//! It is parsed once, where it leaves the ring; what follows takes the checked form.

use std::fmt;
use std::sync::Arc;

use imds_audit_ebpf::{
    BegunProgram, MAX_ANCESTORS, MAX_ARGUMENTS, ProcessKey, Snapshot, Task, kind,
};
use zerocopy::FromBytes;

/// What processes began to run, as a source keeps it beyond their end.
pub(crate) trait BegunPrograms: fmt::Debug + Send + Sync {
    /// Returns what a process has run since its last `exec`, unless that is forgotten.
    fn find(&self, process: ProcessKey) -> Option<BegunProgram>;
}

/// A record of a process, where it lies in the ring.
#[derive(Clone, Copy)]
pub struct SnapshotRecord<'a> {
    snapshot: &'a Snapshot,
    arguments: &'a [u8],
}

/// A record of a process that was copied out of the ring.
pub struct OwnedSnapshotRecord {
    snapshot: Snapshot,
    arguments: Box<[u8]>,
}

/// A malformed record of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// There are fewer bytes than the fixed part has.
    #[error("a process record needs {needed} bytes, got {0}", needed = size_of::<Snapshot>())]
    Short(usize),
    /// It is a record of another kind.
    #[error("a record of kind {0} is not one of a process")]
    Kind(u32),
    /// It counts more argument bytes than it has or than may be.
    #[error("a process record claims {claimed} argument bytes, {present} are there")]
    Arguments {
        /// The number that the record says.
        claimed: u32,
        /// The number of bytes behind the fixed part.
        present: usize,
    },
    /// It counts more ancestors than it has places for.
    #[error("a process record claims {0} ancestors, it holds {MAX_ANCESTORS}")]
    Ancestors(u32),
}

impl<'a> SnapshotRecord<'a> {
    /// Reads a record that lies at a multiple of eight bytes, as the ring's do; what follows its
    /// counted bytes is ignored.
    ///
    /// # Errors
    ///
    /// Returns an error if a length does not fit: such a record is damaged as a whole.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let (snapshot, rest) =
            Snapshot::ref_from_prefix(bytes).map_err(|_| RecordError::Short(bytes.len()))?;
        if !matches!(snapshot.kind, kind::CONNECT | kind::WRITER) {
            return Err(RecordError::Kind(snapshot.kind));
        }
        if snapshot.ancestor_count as usize > MAX_ANCESTORS {
            return Err(RecordError::Ancestors(snapshot.ancestor_count));
        }
        let claimed = snapshot.arguments_captured;
        let arguments = rest
            .get(..claimed as usize)
            .filter(|arguments| arguments.len() <= MAX_ARGUMENTS)
            .ok_or(RecordError::Arguments { claimed, present: rest.len() })?;
        Ok(Self { snapshot, arguments })
    }

    /// Returns the fixed part.
    pub fn snapshot(&self) -> &'a Snapshot {
        self.snapshot
    }

    /// Returns the argument bytes that were captured.
    pub fn arguments(&self) -> &'a [u8] {
        self.arguments
    }

    /// Copies the record.
    pub fn to_shared(self) -> Arc<OwnedSnapshotRecord> {
        Arc::new(OwnedSnapshotRecord { snapshot: *self.snapshot, arguments: self.arguments.into() })
    }

    /// Returns the identity of the process.
    pub fn key(&self) -> ProcessKey {
        self.snapshot.task.process()
    }

    /// Returns when the record was taken, in nanoseconds since boot.
    pub fn time(&self) -> u64 {
        self.snapshot.time
    }

    /// Returns the acting task.
    pub fn task(&self) -> Task {
        self.snapshot.task
    }
}

impl OwnedSnapshotRecord {
    /// Makes a record; what lies behind the bounds of one is cut off.
    pub fn new(mut snapshot: Snapshot, arguments: &[u8]) -> Self {
        let arguments = arguments.get(..MAX_ARGUMENTS).unwrap_or(arguments);
        snapshot.arguments_captured = u32::try_from(arguments.len()).unwrap_or(0);
        snapshot.ancestor_count =
            snapshot.ancestor_count.min(u32::try_from(MAX_ANCESTORS).unwrap_or(0));
        Self { snapshot, arguments: arguments.into() }
    }

    /// Borrows the record.
    pub fn record(&self) -> SnapshotRecord<'_> {
        SnapshotRecord { snapshot: &self.snapshot, arguments: &self.arguments }
    }

    /// Returns the number of bytes that the record takes.
    pub fn size(&self) -> usize {
        size_of::<Snapshot>() + self.arguments.len()
    }
}

impl fmt::Debug for SnapshotRecord<'_> {
    /// Leaves the arguments out: they have not been redacted yet.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotRecord").field("task", &self.snapshot.task).finish_non_exhaustive()
    }
}

impl fmt::Debug for OwnedSnapshotRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.record().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;
    use crate::process::fixture;

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        let mut snapshot = fixture::empty();
        let good = fixture::bytes(snapshot, b"x\0");
        assert_eq!(SnapshotRecord::parse(&good[..623]).err(), Some(RecordError::Short(623)));
        assert_eq!(
            SnapshotRecord::parse(&good[..625]).err(),
            Some(RecordError::Arguments { claimed: 2, present: 1 })
        );
        snapshot.ancestor_count = 9;
        let bytes = fixture::bytes(snapshot, b"");
        assert_eq!(SnapshotRecord::parse(&bytes).err(), Some(RecordError::Ancestors(9)));
        snapshot.ancestor_count = 8;
        let bytes = fixture::bytes(snapshot, &[1; MAX_ARGUMENTS + 1]);
        assert!(matches!(SnapshotRecord::parse(&bytes), Err(RecordError::Arguments { .. })));
        snapshot.kind = kind::REQUEST;
        assert_eq!(SnapshotRecord::parse(snapshot.as_bytes()).err(), Some(RecordError::Kind(3)));
    }
}
