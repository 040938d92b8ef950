//! Descriptions of processes that come from the kernel's record alone.

use std::sync::Arc;

use imds_audit_ebpf::snapshot_flags;

use super::arguments::Arguments;
use super::cgroup_path::CgroupLocation;
use super::executable::Executable;
use super::facts::{Ancestor, Process, ProcfsMatch};
use super::spark;
use crate::snapshot::SnapshotRecord;

impl<'a> SnapshotRecord<'a> {
    /// Returns the cgroup v2 id, where it was read.
    pub(super) fn cgroup_id(&self) -> Option<u64> {
        Some(self.snapshot().cgroup).filter(|&id| id != 0)
    }

    /// Returns the acting thread's name.
    pub fn thread_name(&self) -> Option<Box<[u8]>> {
        text(&self.snapshot().thread_comm)
    }

    /// Returns what the record alone says of the process.
    pub fn process(&self) -> Process {
        let snapshot = self.snapshot();
        let main = snapshot.task.pid == snapshot.task.tid;
        let name = text(&snapshot.comm).or_else(|| self.thread_name().filter(|_| main));
        let ancestors = snapshot.ancestors.iter().take(snapshot.ancestor_count as usize);
        let exe = self.exe_name().map(Executable::FileName);
        let line = self.argument_bytes().map(|bytes| (bytes, self.arguments_end_early(bytes)));
        let (workload, role) = line
            .map(|(bytes, cut)| spark::workload_and_role(exe.as_ref(), bytes, cut))
            .unwrap_or_default();
        Process {
            task: snapshot.task,
            thread_name: self.thread_name(),
            name,
            exe,
            arguments: line.map(|(bytes, cut)| Arguments::new(bytes, cut)),
            workload,
            role,
            working_directory: None,
            arguments_start: snapshot.arguments_start,
            cluster: None,
            uid: snapshot.uid,
            gid: snapshot.gid,
            user: None,
            namespace_pid: present(snapshot.namespace_pid),
            start_time: (snapshot.task.start_time != 0).then_some(snapshot.task.start_time),
            cgroup_id: self.cgroup_id(),
            cgroup_is_of_id: false,
            cgroup: None,
            location: CgroupLocation::default(),
            pod_names: None,
            ancestors: ancestors.map(ancestor).collect(),
            responsible: None,
            spark: None,
            netns: present(snapshot.ends.netns),
            procfs_match: ProcfsMatch::None,
            is_pending: false,
        }
    }

    /// Returns whether the kernel's structures were read, so that the identity can be proven.
    pub(super) fn is_verifiable(&self) -> bool {
        self.snapshot().flags & snapshot_flags::KERNEL != 0 && self.snapshot().task.start_time != 0
    }

    /// Returns the argument bytes, where they were read.
    pub(super) fn argument_bytes(&self) -> Option<&'a [u8]> {
        (self.snapshot().flags & snapshot_flags::ARGUMENTS != 0).then_some(self.arguments())
    }

    /// Returns the file name of the program.
    pub(super) fn exe_name(&self) -> Option<Box<[u8]>> {
        text(&self.snapshot().exe)
    }

    /// Returns whether what the record says, the thread apart, is what is known already.
    pub(super) fn matches_cached(&self, known: &Process) -> bool {
        let snapshot = self.snapshot();
        known.uid == snapshot.uid
            && known.gid == snapshot.gid
            && known.cgroup_id.unwrap_or(0) == snapshot.cgroup
            && known.netns == present(snapshot.ends.netns)
    }

    /// Returns whether the argument area goes on behind the captured bytes. An area whose last
    /// byte is no NUL was written over by a title that goes on behind its end.
    fn arguments_end_early(&self, bytes: &[u8]) -> bool {
        let area = self.snapshot().arguments_end.saturating_sub(self.snapshot().arguments_start);
        area > bytes.len() as u64 || bytes.last().is_some_and(|&byte| byte != 0)
    }
}

/// Takes an ancestor over.
fn ancestor(ancestor: &imds_audit_ebpf::Ancestor) -> Arc<Ancestor> {
    let name = text(&ancestor.comm).unwrap_or_default();
    Arc::new(Ancestor {
        exec_id: ancestor.exec_id,
        arguments_start: ancestor.arguments_start,
        ..Ancestor::new(ancestor.pid, ancestor.start_time, name)
    })
}

/// Returns the bytes before the first NUL, if any.
pub(super) fn text(field: &[u8]) -> Option<Box<[u8]>> {
    let end = memchr::memchr(0, field).unwrap_or(field.len());
    field.get(..end).filter(|text| !text.is_empty()).map(Into::into)
}

/// Turns the eBPF programs' "unknown" into ours.
fn present(number: u32) -> Option<u32> {
    (number != 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use imds_audit_ebpf::{MAX_ANCESTORS, Task};
    use proptest::prelude::*;

    use super::*;
    use crate::process::fixture;

    #[test]
    fn a_record_becomes_a_process() {
        let mut snapshot = fixture::empty();
        snapshot.task = Task { pid: 7, tid: 9, start_time: 11, exec_id: 2 };
        snapshot.comm[..4].copy_from_slice(b"curl");
        snapshot.thread_comm[..16].copy_from_slice(b"sixteen-bytes-xx");
        snapshot.exe[..6].copy_from_slice(b"curl-8");
        snapshot.arguments_end = 12;
        let process = SnapshotRecord::parse(&fixture::bytes(snapshot, b"curl\0\0-\xff\n\0zz\0"))
            .unwrap()
            .process();
        assert_eq!(process.name.as_deref(), Some(&b"curl"[..]));
        assert_eq!(process.thread_name.as_deref(), Some(&b"sixteen-bytes-xx"[..]));
        assert_eq!(process.exe, Some(Executable::FileName((*b"curl-8").into())));
        let arguments = process.arguments.unwrap();
        assert_eq!(arguments.iter().collect::<Vec<_>>(), [&b"curl"[..], b"", b"-\xff\n", b"zz"]);
        assert!(!arguments.is_truncated());
        assert_eq!((process.namespace_pid, process.netns, process.cgroup_id), (None, None, None));
    }

    #[test]
    fn bytes_behind_the_counted_ones_are_not_read() {
        let mut bytes = fixture::bytes(fixture::empty(), b"a\0");
        bytes.extend_from_slice(b"left over\0");
        let process = SnapshotRecord::parse(&bytes).unwrap().process();
        assert_eq!(process.arguments.unwrap().iter().collect::<Vec<_>>(), [b"a"]);
    }

    #[test]
    fn arguments_that_were_cut_are_marked() {
        let mut snapshot = fixture::empty();
        snapshot.arguments_end = 3;
        let bytes = fixture::bytes(snapshot, b"a\0");
        assert!(SnapshotRecord::parse(&bytes).unwrap().process().arguments.unwrap().is_truncated());
        snapshot.arguments_end = 5;
        let bytes = fixture::bytes(snapshot, b"title");
        assert!(SnapshotRecord::parse(&bytes).unwrap().process().arguments.unwrap().is_truncated());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..700), kind in 0u32..3) {
            let mut bytes = bytes;
            if let Some(head) = bytes.get_mut(..4) { head.copy_from_slice(&kind.to_ne_bytes()); }
            if let Ok(record) = SnapshotRecord::parse(&bytes) {
                let process = record.process();
                prop_assert!(process.ancestors.len() <= MAX_ANCESTORS);
            }
        }
    }
}
