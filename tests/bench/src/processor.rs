//! On which processor something runs.
//!
//! Where two that talk to each other run side by side on one, every step that one takes is a step
//! that the other waits for, and what a step costs is what is seen; on two, waking an idle
//! processor takes longer than all that is to be measured, and varies.

use std::io;

use rustix::thread::{CpuSet, sched_setaffinity};

/// A processor, or any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processor {
    /// The first.
    First,
    /// The second; the first where there is no other.
    Second,
    /// Whichever is free.
    Any,
}

/// Binds the calling thread, and what it starts from now on. It makes one system call and
/// allocates nothing.
///
/// # Errors
/// Returns an error if the kernel refuses.
pub fn pin(processor: Processor) -> io::Result<()> {
    let mut set = CpuSet::new();
    match processor {
        Processor::First => set.set(0),
        Processor::Second => set.set(1),
        Processor::Any => (0..CpuSet::MAX_CPU).for_each(|number| set.set(number)),
    }
    match sched_setaffinity(None, &set) {
        Err(_) if processor == Processor::Second => pin(Processor::First),
        result => Ok(result?),
    }
}
