//! Facts about a request that its event does not carry.

use crate::classify::Traits;
use crate::segment::Timestamp;

/// One run of a process: its number, and its start by the kernel's clock. The start in an event is
/// a time of day, which can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ProcessInstance {
    /// The process in the initial pid namespace.
    pub pid: u32,
    /// When it started, in nanoseconds since boot.
    pub start_time: u64,
}

/// Facts about a request that its event does not carry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// The process that made it, where that is known.
    pub process: Option<ProcessInstance>,
    /// When its first byte passed.
    pub started: Timestamp,
    /// The peculiarities of its head.
    pub traits: &'a Traits,
    /// Whether the service ended the connection while the caller waited for a response.
    pub is_closed_by_service: bool,
}
