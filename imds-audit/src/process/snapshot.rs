//! Reads the kernel half's record of a process.

use imds_audit_ebpf::{
    MAX_ANCESTORS, MAX_ARGUMENTS, ProcessKey, Snapshot, Task, kind, snapshot_flags,
};
use zerocopy::FromBytes;

use super::{Ancestor, Arguments, Completion, Executable, Placement, Process, Program};

/// The kernel's record of a process, with its lengths checked.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    snapshot: Snapshot,
    arguments: &'a [u8],
    bytes: &'a [u8],
}

/// Why bytes are no record of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// There are fewer bytes than the fixed part has.
    #[error("a process record needs {needed} bytes, got {0}", needed = size_of::<Snapshot>())]
    Short(usize),
    /// It is a record of another kind.
    #[error("a record of kind {0} is none of a process")]
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

impl<'a> Record<'a> {
    /// Reads a record; what follows its counted bytes is not looked at.
    ///
    /// # Errors
    ///
    /// Fails where a length does not fit: such a record is damaged as a whole.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let (snapshot, rest) =
            Snapshot::read_from_prefix(bytes).map_err(|_| RecordError::Short(bytes.len()))?;
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
        let counted = size_of::<Snapshot>().saturating_add(arguments.len());
        Ok(Self { snapshot, arguments, bytes: bytes.get(..counted).unwrap_or(bytes) })
    }

    /// Returns the fixed part.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Returns the record as it came, without what lies behind its counted bytes.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the cgroup v2 id, where it was read.
    pub(super) fn cgroup_id(&self) -> Option<u64> {
        Some(self.snapshot.cgroup).filter(|&id| id != 0)
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

    /// Returns the acting thread's name.
    pub fn thread_name(&self) -> Option<Box<[u8]>> {
        text(&self.snapshot.thread_comm)
    }

    /// Returns what the record alone says of the process.
    pub fn process(&self) -> Process {
        let snapshot = &self.snapshot;
        let main = snapshot.task.pid == snapshot.task.tid;
        let name = text(&snapshot.comm).or_else(|| self.thread_name().filter(|_| main));
        let ancestors = snapshot.ancestors.iter().take(snapshot.ancestor_count as usize);
        let exe = self.exe_name().map(Executable::FileName);
        let line = self.argument_bytes().map(|bytes| (bytes, self.arguments_end_early(bytes)));
        let (program, part) =
            line.map(|(bytes, cut)| Program::read(exe.as_ref(), bytes, cut)).unwrap_or_default();
        Process {
            task: snapshot.task,
            thread_name: self.thread_name(),
            name,
            exe,
            arguments: line.map(|(bytes, cut)| Arguments::new(bytes, cut)),
            program,
            part,
            cluster: None,
            uid: snapshot.uid,
            gid: snapshot.gid,
            user: None,
            namespace_pid: present(snapshot.namespace_pid),
            start_time: (snapshot.task.start_time != 0).then_some(snapshot.task.start_time),
            cgroup_id: self.cgroup_id(),
            cgroup: None,
            placement: Placement::default(),
            pod_names: None,
            ancestors: ancestors.map(ancestor).collect(),
            responsible: None,
            spark: None,
            netns: present(snapshot.ends.netns),
            completion: Completion::None,
        }
    }

    /// Returns whether the kernel's structures were read, so that the identity can be proven.
    pub(super) fn is_verifiable(&self) -> bool {
        self.snapshot.flags & snapshot_flags::KERNEL != 0 && self.snapshot.task.start_time != 0
    }

    /// Returns the argument bytes, where they were read.
    pub(super) fn argument_bytes(&self) -> Option<&'a [u8]> {
        (self.snapshot.flags & snapshot_flags::ARGUMENTS != 0).then_some(self.arguments)
    }

    /// Returns the file name of the program.
    pub(super) fn exe_name(&self) -> Option<Box<[u8]>> {
        text(&self.snapshot.exe)
    }

    /// Returns whether what the record says, the thread apart, is what is known already.
    pub(super) fn same_circumstances(&self, known: &Process) -> bool {
        let snapshot = &self.snapshot;
        known.uid == snapshot.uid
            && known.gid == snapshot.gid
            && known.cgroup_id.unwrap_or(0) == snapshot.cgroup
            && known.netns == present(snapshot.ends.netns)
    }

    /// Returns whether the argument area goes on behind the captured bytes. An area whose last
    /// byte is no NUL was written over by a title that goes on behind its end.
    fn arguments_end_early(&self, bytes: &[u8]) -> bool {
        let area = self.snapshot.arguments_end.saturating_sub(self.snapshot.arguments_start);
        area > bytes.len() as u64 || bytes.last().is_some_and(|&byte| byte != 0)
    }
}

/// Takes an ancestor over.
fn ancestor(ancestor: &imds_audit_ebpf::Ancestor) -> Ancestor {
    let name = text(&ancestor.comm).unwrap_or_default();
    Ancestor {
        exec_id: ancestor.exec_id,
        arguments_start: ancestor.arguments_start,
        ..Ancestor::new(ancestor.pid, ancestor.start_time, name)
    }
}

/// Returns the bytes before the first NUL, if any.
fn text(field: &[u8]) -> Option<Box<[u8]>> {
    let end = memchr::memchr(0, field).unwrap_or(field.len());
    field.get(..end).filter(|text| !text.is_empty()).map(Into::into)
}

/// Turns the kernel half's "unknown" into ours.
fn present(number: u32) -> Option<u32> {
    (number != 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fixture;
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    #[test]
    fn a_record_becomes_a_process() {
        let mut snapshot = fixture::empty();
        snapshot.task = Task { pid: 7, tid: 9, start_time: 11, exec_id: 2 };
        snapshot.comm[..4].copy_from_slice(b"curl");
        snapshot.thread_comm[..16].copy_from_slice(b"sixteen-bytes-xx");
        snapshot.exe[..6].copy_from_slice(b"curl-8");
        snapshot.arguments_end = 12;
        let process =
            Record::parse(&fixture::bytes(snapshot, b"curl\0\0-\xff\n\0zz\0")).unwrap().process();
        assert_eq!(process.name.as_deref(), Some(&b"curl"[..]));
        assert_eq!(process.thread_name.as_deref(), Some(&b"sixteen-bytes-xx"[..]));
        assert_eq!(process.exe, Some(Executable::FileName((*b"curl-8").into())));
        let arguments = process.arguments.unwrap();
        assert_eq!(arguments.iter().collect::<Vec<_>>(), [&b"curl"[..], b"", b"-\xff\n", b"zz"]);
        assert!(!arguments.is_truncated());
        assert_eq!((process.namespace_pid, process.netns, process.cgroup_id), (None, None, None));
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        let mut snapshot = fixture::empty();
        let good = fixture::bytes(snapshot, b"x\0");
        assert_eq!(Record::parse(&good[..623]).err(), Some(RecordError::Short(623)));
        assert_eq!(
            Record::parse(&good[..625]).err(),
            Some(RecordError::Arguments { claimed: 2, present: 1 })
        );
        snapshot.ancestor_count = 9;
        let bytes = fixture::bytes(snapshot, b"");
        assert_eq!(Record::parse(&bytes).err(), Some(RecordError::Ancestors(9)));
        snapshot.ancestor_count = 8;
        let bytes = fixture::bytes(snapshot, &[1; MAX_ARGUMENTS + 1]);
        assert!(matches!(Record::parse(&bytes), Err(RecordError::Arguments { .. })));
        snapshot.kind = kind::REQUEST;
        assert_eq!(Record::parse(snapshot.as_bytes()).err(), Some(RecordError::Kind(3)));
    }

    #[test]
    fn bytes_behind_the_counted_ones_are_not_read() {
        let mut bytes = fixture::bytes(fixture::empty(), b"a\0");
        bytes.extend_from_slice(b"left over\0");
        let process = Record::parse(&bytes).unwrap().process();
        assert_eq!(process.arguments.unwrap().iter().collect::<Vec<_>>(), [b"a"]);
    }

    #[test]
    fn arguments_that_were_cut_are_marked() {
        let mut snapshot = fixture::empty();
        snapshot.arguments_end = 3;
        let bytes = fixture::bytes(snapshot, b"a\0");
        assert!(Record::parse(&bytes).unwrap().process().arguments.unwrap().is_truncated());
        snapshot.arguments_end = 5;
        let bytes = fixture::bytes(snapshot, b"title");
        assert!(Record::parse(&bytes).unwrap().process().arguments.unwrap().is_truncated());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..700), kind in 0u32..3) {
            let mut bytes = bytes;
            if let Some(head) = bytes.get_mut(..4) { head.copy_from_slice(&kind.to_ne_bytes()); }
            if let Ok(record) = Record::parse(&bytes) {
                let process = record.process();
                prop_assert!(process.ancestors.len() <= MAX_ANCESTORS);
            }
        }
    }
}
