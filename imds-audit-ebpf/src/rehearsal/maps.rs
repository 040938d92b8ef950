//! The rehearsal's maps.

use aya_ebpf::{
    btf_maps::{Array, HashMap, SkStorage},
    macros::btf_map,
};
use imds_audit_ebpf::rehearsal::{Address, Connect, FrontKey, MAX_ENDPOINTS, MAX_NETWORKS};

/// The endpoints, each with its number.
#[btf_map]
pub static ENDPOINTS: HashMap<Address, u32, MAX_ENDPOINTS> = HashMap::new();

/// The address of the front for an endpoint in a network namespace.
#[btf_map]
pub static FRONTS: HashMap<FrontKey, Address, { MAX_ENDPOINTS * MAX_NETWORKS }> = HashMap::new();

/// Where each redirected socket was meant to go. It ends with the socket.
#[btf_map]
pub static DESTINATIONS: SkStorage<Address> = SkStorage::new();

/// Connects to endpoints, by [`Connect`].
#[btf_map]
pub static CONNECTS: Array<u64, { Connect::ALL.len() }> = Array::new();

/// The cookie of the network namespace that was asked for last.
#[btf_map]
pub static COOKIE: Array<u64, 1> = Array::new();

/// Counts a connect.
#[inline(always)]
pub fn count(connect: Connect) {
    if let Some(counter) = CONNECTS.get_ptr_mut(connect as u32) {
        // SAFETY: the pointer is to a map value of eight bytes, which lives as long as the program
        // runs. The addition is atomic: another processor may count at the same time.
        unsafe {
            core::arch::asm!("lock *(u64 *)({counter} + 0) += {one}",
                counter = in(reg) counter, one = in(reg) 1u64);
        }
    }
}
