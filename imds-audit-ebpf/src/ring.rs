//! The ring buffer of records, and the counters of those that did not fit.
//!
//! A record is reserved in the ring and filled there. A scratch buffer per CPU would not do: an
//! egress program in process context may be interrupted by an ingress program on the same CPU,
//! or preempted by another process's, and both would write to the same scratch. The verifier
//! wants a reservation's size to be a constant, so records come in a few sizes.

use core::arch::asm;

use aya_ebpf::{
    helpers::generated::{
        bpf_ringbuf_discard, bpf_ringbuf_query, bpf_ringbuf_reserve, bpf_ringbuf_submit,
    },
    macros::map,
    maps::{LruHashMap, PerCpuArray, RingBuf},
};
use imds_audit_ebpf::{COMM_LENGTH, Loss, LossCount, LossKey, ProcessKey};

/// The records. Userspace may choose another size when it loads the map.
#[map]
static RECORDS: RingBuf = RingBuf::with_byte_size(2 << 20, 0);

/// Lost records by [`Loss`], counted on the CPU where it happened.
#[map]
static LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(Loss::ALL.len() as u32, 0);

/// The most processes, times reasons, whose losses are told apart. The longest unused is
/// forgotten; the counts of [`LOSSES`] hold without it.
const MAX_LOSS_OWNERS: u32 = 1024;

/// Lost records by reason and process, as far as that is known.
#[map]
static LOSSES_BY_PROCESS: LruHashMap<LossKey, LossCount> =
    LruHashMap::with_max_entries(MAX_LOSS_OWNERS, 0);

/// `BPF_NOEXIST`: another CPU that adds the same key at the same time must not be overwritten.
const ONLY_NEW: u64 = 1;

/// Counts losses of a process, beside [`count`], which counts all.
#[inline(always)]
pub fn count_for_process(loss: u32, process: &ProcessKey, comm: &[u8; COMM_LENGTH], number: u64) {
    let ProcessKey { pid, start_time, exec_id } = *process;
    if pid == 0 {
        return;
    }
    let key = LossKey { loss, pid, start_time, exec_id };
    if LOSSES_BY_PROCESS.get_ptr_mut(key).is_none() {
        // On failure the look-up below decides.
        let _ = LOSSES_BY_PROCESS.insert(key, LossCount { count: 0, comm: *comm }, ONLY_NEW);
    }
    if let Some(entry) = LOSSES_BY_PROCESS.get_ptr_mut(key) {
        // SAFETY: the pointer is to a map value, which lives as long as the program runs, and
        // begins with the count.
        unsafe { add(entry.cast(), number) };
    }
}

/// Adds to a counter that others may be adding to.
///
/// The target has no `fetch_add`: with a result it is an instruction of Linux 5.12, without one it
/// has always been there.
///
/// # Safety
/// The pointer must be to a counter.
#[inline(always)]
unsafe fn add(counter: *mut u64, number: u64) {
    // SAFETY: the caller's promise; the instruction writes nothing else.
    unsafe {
        asm!(
            "lock *(u64 *)({counter} + 0) += {number}",
            counter = in(reg) counter,
            number = in(reg) number,
        );
    }
}

/// Counts losses.
#[inline(always)]
pub fn count(loss: Loss, number: u64) {
    if let Some(counter) = LOSSES.get_ptr_mut(loss as u32) {
        // Two programs that interrupt each other between load and store would count one loss for
        // two.
        // SAFETY: the pointer is to this CPU's counter.
        unsafe { add(counter, number) };
    }
}

/// `BPF_RB_AVAIL_DATA`, `BPF_RB_RING_SIZE`, `BPF_RB_CONS_POS` and `BPF_RB_PROD_POS`, what
/// `bpf_ringbuf_query` is asked for.
const UNREAD: u64 = 0;
const CAPACITY: u64 = 1;
const CONSUMED: u64 = 2;
const PRODUCED: u64 = 3;

#[inline(always)]
fn query(what: u64) -> u64 {
    // SAFETY: the map is a ring buffer.
    unsafe { bpf_ringbuf_query((&raw const RECORDS).cast_mut().cast(), what) }
}

/// Returns how many bytes userspace has not taken yet.
#[inline(always)]
pub fn unread() -> u64 {
    query(UNREAD)
}

/// Returns the size of the ring.
#[inline(always)]
pub fn capacity() -> u64 {
    query(CAPACITY)
}

/// Returns how many bytes userspace has ever taken.
#[inline(always)]
pub fn consumed() -> u64 {
    query(CONSUMED)
}

/// Returns how many bytes were ever reserved.
#[inline(always)]
pub fn produced() -> u64 {
    query(PRODUCED)
}

/// Returns whether more than so many quarters of the ring are full. What anybody can cause without
/// reaching the service has to leave the rest to requests.
#[inline(always)]
pub fn is_fuller_than(quarters: u64) -> bool {
    unread() * 4 > capacity() * quarters
}

/// A piece of the ring of `SIZE` bytes, which must be submitted or discarded.
///
/// Its bytes are whatever was there before.
#[must_use]
pub struct Reservation<const SIZE: usize>(*mut u8);

impl<const SIZE: usize> Reservation<SIZE> {
    /// Reserves; `None` where the ring is full.
    #[inline(always)]
    pub fn new() -> Option<Self> {
        // SAFETY: the map is a ring buffer. The `RingBuf` method of aya-ebpf answers with a
        // slice, whose length checks the compiler cannot drop and the verifier cannot follow.
        let memory =
            unsafe { bpf_ringbuf_reserve((&raw const RECORDS).cast_mut().cast(), SIZE as u64, 0) };
        if memory.is_null() { None } else { Some(Self(memory.cast())) }
    }

    /// Returns the place at a byte offset.
    #[inline(always)]
    pub fn at<T>(&self, offset: usize) -> *mut T {
        // SAFETY: callers stay inside SIZE, which the verifier checks.
        unsafe { self.0.add(offset).cast() }
    }

    /// Hands the record to userspace.
    #[inline(always)]
    pub fn submit(self) {
        // SAFETY: the memory came from a reservation that nobody else has.
        unsafe { bpf_ringbuf_submit(self.0.cast(), 0) };
    }

    /// Gives the record up.
    #[inline(always)]
    pub fn discard(self) {
        // SAFETY: as above.
        unsafe { bpf_ringbuf_discard(self.0.cast(), 0) };
    }
}
