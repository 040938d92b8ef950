//! Shares of the ring: what one control group may take of it, so that whoever floods leaves room for
//! the others.
//!
//! The bound is not a fixed part but the room that is left, counted once a quarter of the ring is full:
//! one who floods alone fills no more than five eighths, two three quarters, and there is always room
//! for somebody who has little in it. Up to three quarters there is room for snapshots too, so that
//! whoever comes into a flood is still named.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_skb_ancestor_cgroup_id, bpf_skb_cgroup_id},
    macros::map,
    maps::LruHashMap,
};

use crate::ring::{capacity, consumed, produced, unread};

/// The most control groups that are told apart. The longest unused is forgotten, which gives it
/// another share.
const MAX_GROUPS: u32 = 1024;

/// The level of the group that is looked at: below it a service, a container or a user may make groups
/// of its own. `system.slice/a.service` is at the second level, a pod at the third.
const LEVEL: i32 = 3;

/// The id of the root group. Who is in it is not told apart: on a host without version 2 of control
/// groups everybody is.
const ROOT: u64 = 1;

/// What a group has in the ring, counted in two windows between positions of the ring. The second
/// begins where the ring's end was when userspace came to the beginning of the first; so both together
/// are never less than what the group has in the ring.
#[repr(C)]
#[derive(Clone, Copy)]
struct GroupShare {
    /// Where the current window began.
    start: u64,
    /// Where the group's latest record was.
    latest: u64,
    /// Its bytes in the window before.
    before: u64,
    /// Its bytes in the current window.
    bytes: u64,
}

#[map]
static SHARES: LruHashMap<u64, GroupShare> = LruHashMap::with_max_entries(MAX_GROUPS, 0);

/// Returns 1 if the ring has room for a record of `size` bytes of the packet's control group, and
/// counts it there.
///
/// A global function in the object: see [`crate::segment::write_part`]. CPUs that count for one group
/// at the same time may lose a record's bytes.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn is_within_share(skb: *mut __sk_buff, size: u32) -> u32 {
    let (capacity, unread) = (capacity(), unread());
    if unread.wrapping_mul(4) < capacity {
        return 1;
    }
    let group = group(skb);
    if group <= ROOT {
        return 1;
    }
    let (consumed, produced) = (consumed(), produced());
    let size = u64::from(size);
    let Some(share) = SHARES.get_ptr_mut(group) else {
        let share = GroupShare { start: produced, latest: produced, before: 0, bytes: size };
        // On failure it is not counted.
        let _ = SHARES.insert(group, share, 0);
        return 1;
    };
    // SAFETY: the pointer is to a map value, which lives as long as the program runs.
    let share = unsafe { &mut *share };
    if consumed > share.latest {
        // Nothing of it is in the ring.
        share.start = produced;
        share.before = 0;
        share.bytes = 0;
    } else if consumed >= share.start {
        share.start = produced;
        share.before = share.bytes;
        share.bytes = 0;
    }
    let held = share.before.wrapping_add(share.bytes).wrapping_add(size);
    let room = capacity.wrapping_sub(unread);
    if held > room {
        return 0;
    }
    share.bytes = share.bytes.wrapping_add(size);
    share.latest = produced;
    1
}

/// Returns the id of a packet's control group, or of the one above it that is looked at.
#[inline(always)]
fn group(skb: *mut __sk_buff) -> u64 {
    // SAFETY: the helper reads the packet's socket.
    let above = unsafe { bpf_skb_ancestor_cgroup_id(skb, LEVEL) };
    if above != 0 {
        return above;
    }
    // SAFETY: as above.
    unsafe { bpf_skb_cgroup_id(skb) }
}
