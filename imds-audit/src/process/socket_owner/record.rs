//! Records of socket owners, in the format of the eBPF programs' records.

use std::sync::Arc;

use imds_audit_ebpf::{
    Ancestor, COMM_LENGTH, MAX_ANCESTORS, MAX_ARGUMENTS, Snapshot, Task, kind, snapshot_flags,
};
use zerocopy::FromZeros;

use super::Question;
use crate::process::ancestors;
use crate::process::proc_stat::Stat;
use crate::process::process_folder::ProcessFolder;
use crate::process::procfs::Procfs;
use crate::process::socket_diag::SocketInfo;
use crate::snapshot::OwnedSnapshotRecord;

/// Builds a record from what procfs shows of a process.
pub(super) fn of_process(
    procfs: &Procfs,
    folder: &ProcessFolder,
    stat: &Stat,
    pid: u32,
    (socket, question): (&SocketInfo, &Question),
) -> Option<OwnedSnapshotRecord> {
    let status = folder.status()?;
    let (arguments, _) = folder.command_line(MAX_ARGUMENTS)?;
    let mut snapshot = of_socket(socket, question);
    // An exiting process has no arguments left.
    if !arguments.is_empty() {
        snapshot.flags |= snapshot_flags::ARGUMENTS;
    }
    let start_time = procfs.time(stat.start_ticks);
    let exec_id = exec_of(stat.arguments_start, &arguments);
    snapshot.task = Task { pid, tid: pid, start_time, exec_id };
    (snapshot.arguments_start, snapshot.arguments_end) = (stat.arguments_start, stat.arguments_end);
    (snapshot.uid, snapshot.gid) = (status.uid, status.gid);
    snapshot.namespace_pid = status.namespace_pid.unwrap_or(0);
    copy_name(&mut snapshot.comm, &stat.name);
    snapshot.thread_comm = snapshot.comm;
    if let Some(exe) = folder.exe() {
        let name = exe.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        copy_name(&mut snapshot.exe, name);
    }
    let above = ancestors::ancestors(pid, stat, procfs);
    for (slot, ancestor) in snapshot.ancestors.iter_mut().zip(&above) {
        let mut comm = [0; COMM_LENGTH];
        copy_name(&mut comm, &ancestor.name);
        *slot = Ancestor {
            pid: ancestor.pid,
            start_time: ancestor.start_time,
            exec_id: exec_of(ancestor.arguments_start, &[]),
            arguments_start: ancestor.arguments_start,
            comm,
            ..Ancestor::new_zeroed()
        };
    }
    snapshot.ancestor_count = u32::try_from(above.len().min(MAX_ANCESTORS)).unwrap_or(0);
    Some(OwnedSnapshotRecord::new(snapshot, &arguments))
}

/// Begins a record with the socket's own data.
fn of_socket(socket: &SocketInfo, question: &Question) -> Snapshot {
    let mut snapshot = Snapshot::new_zeroed();
    snapshot.kind = kind::CONNECT;
    snapshot.flags = snapshot_flags::KERNEL;
    snapshot.time = question.time;
    snapshot.socket = question.ticket;
    snapshot.ends.netns = question.netns.unwrap_or(0);
    snapshot.cgroup = socket.cgroup.unwrap_or(0);
    snapshot
}

/// Builds a record without a process, with the cgroup in which a socket was created. Returns `None`
/// if that is unknown.
pub(super) fn without_process(
    socket: &SocketInfo,
    question: &Question,
) -> Option<Arc<OwnedSnapshotRecord>> {
    let cgroup = socket.cgroup.filter(|cgroup| *cgroup != 0)?;
    let mut snapshot = of_socket(socket, question);
    // One identity per cgroup, so that its name is looked up once.
    snapshot.task = Task { pid: 0, tid: 0, start_time: 1, exec_id: cgroup };
    (snapshot.uid, snapshot.gid) = (u32::MAX, u32::MAX);
    Some(Arc::new(OwnedSnapshotRecord::new(snapshot, &[])))
}

/// Returns a number that changes when a process executes another program. It replaces the kernel's
/// counter, which procfs does not show: a hash of the arguments' address, which is random, or of the
/// arguments if the address is hidden.
pub(super) fn exec_of(arguments_start: u64, arguments: &[u8]) -> u64 {
    // The constants of FNV-1a.
    let hash = |bytes: &[u8]| {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    match (arguments_start, arguments) {
        (0, []) => 0,
        (0, arguments) => hash(arguments) | 1,
        (start, _) => hash(&start.to_ne_bytes()) | 1,
    }
}

/// Copies a name, truncated to leave room for a terminating NUL.
fn copy_name(room: &mut [u8], name: &[u8]) {
    let length = name.len().min(room.len().saturating_sub(1));
    if let (Some(room), Some(name)) = (room.get_mut(..length), name.get(..length)) {
        room.copy_from_slice(name);
    }
}
