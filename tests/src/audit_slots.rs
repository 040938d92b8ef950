//! Bounds how many audits run at once.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How many audits may run at once. The kernel attaches at most 64 programs of a type to a
/// cgroup (`BPF_CGROUP_MAX_PROGS`), and a second test run may be about.
const PLACES: usize = 8;

static TAKEN: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

/// A place among the audits that run at once; given back when dropped.
#[derive(Debug)]
pub(crate) struct AuditSlot(());

impl AuditSlot {
    /// Waits for a place.
    pub(crate) fn take() -> Self {
        let mut taken = FREED
            .wait_while(taken(), |taken| *taken >= PLACES)
            .unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
        Self(())
    }
}

impl Drop for AuditSlot {
    fn drop(&mut self) {
        *taken() -= 1;
        FREED.notify_one();
    }
}

fn taken() -> MutexGuard<'static, usize> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}
