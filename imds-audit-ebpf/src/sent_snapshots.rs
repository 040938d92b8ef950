//! Which processes have had their snapshot written, so that a process takes no more than its share
//! of the ring.

use aya_ebpf::{macros::map, maps::LruHashMap};
use imds_audit_ebpf::{Owner, ProcessKey, SentSnapshot, SnapshotKey};

/// The most processes remembered. The one unused the longest is forgotten, which costs an extra
/// snapshot.
const MAX_PROCESSES: u32 = 8192;

#[map]
static SNAPSHOTS: LruHashMap<SnapshotKey, SentSnapshot> =
    LruHashMap::with_max_entries(MAX_PROCESSES, 0);

/// Returns when the last snapshot was taken of a process with the same owner; `None` if it has had
/// none, or another owner since.
#[inline(always)]
pub fn last_sent(process: ProcessKey, owner: Owner) -> Option<u64> {
    let sent = SNAPSHOTS.get_ptr(SnapshotKey::from(process))?;
    // SAFETY: the pointer is to a map value, which lives as long as the program runs.
    let sent = unsafe { &*sent };
    if sent.owner == owner { Some(sent.time) } else { None }
}

/// Remembers that the snapshot of a process was written.
#[inline(always)]
pub fn remember(process: ProcessKey, time: u64, owner: Owner) {
    // On failure it is written once more.
    let _ = SNAPSHOTS.insert(SnapshotKey::from(process), SentSnapshot { time, owner }, 0);
}
