//! Snapshots for tests, made up or taken from a live process by way of procfs.

use std::fs;

use imds_audit_ebpf::{Snapshot, Task, kind, snapshot_flags};
use zerocopy::{FromZeros, IntoBytes};

/// Returns a snapshot that knows nothing but that everything could be read.
pub(crate) fn empty() -> Snapshot {
    let mut snapshot = Snapshot::new_zeroed();
    snapshot.kind = kind::CONNECT;
    snapshot.flags = snapshot_flags::KERNEL | snapshot_flags::ARGUMENTS;
    snapshot
}

/// Returns the record as it would lie in the ring.
pub(crate) fn bytes(mut snapshot: Snapshot, arguments: &[u8]) -> Vec<u8> {
    snapshot.arguments_captured = arguments.len().try_into().unwrap();
    [snapshot.as_bytes(), arguments].concat()
}

/// Returns the record that the eBPF programs would have made of a live process, with the start
/// time rounded down to a clock tick. It reads procfs in its own way, as an oracle.
pub(crate) fn of_live_process(pid: u32) -> (Snapshot, Vec<u8>) {
    let stat = fs::read(format!("/proc/{pid}/stat")).unwrap();
    let end = stat.iter().rposition(|&byte| byte == b')').unwrap();
    let comm = &stat[stat.iter().position(|&byte| byte == b'(').unwrap() + 1..end];
    let fields: Vec<u64> = String::from_utf8_lossy(&stat[end + 2..])
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    let mut snapshot = empty();
    let start_time = fields[22 - 3] * 10_000_000;
    snapshot.task = Task { pid, tid: pid, start_time, exec_id: 1 };
    snapshot.time = start_time + 20_000_000;
    (snapshot.arguments_start, snapshot.arguments_end) = (fields[48 - 3], fields[49 - 3]);
    snapshot.comm[..comm.len()].copy_from_slice(comm);
    snapshot.thread_comm = snapshot.comm;
    let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    let name = exe.file_name().unwrap().as_encoded_bytes();
    snapshot.exe[..name.len()].copy_from_slice(name);
    let mut arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    arguments.truncate(4096);
    (snapshot, arguments)
}
