//! Counters of records that could not be written.

#[cfg(feature = "zerocopy")]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::COMM_LENGTH;

/// Why a record was lost: the index of its counter.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Loss {
    /// The ring was full for a snapshot at `connect`.
    Connect = 0,
    /// The ring was full for a snapshot of a writer.
    Writer = 1,
    /// The ring, or the share of it that its control group may have, was full for the first bytes of a
    /// request, which is therefore not reported.
    ///
    /// A request's first bytes are those of a packet that begins with a method or, where the bytes
    /// before it ended with a blank line, acknowledges more than they did; and a method behind a
    /// blank line ([`crate::request_start`]).
    Request = 2,
    /// The ring was full for a response header.
    Response = 3,
    /// The ring was full for a packet without bytes (opening, end, reset).
    Control = 4,
    /// A packet of an audited connection could not be read.
    Unreadable = 5,
    /// The ring was full for further bytes of a request that is reported or counted already.
    RequestRest = 6,
    /// A snapshot of a process that sent a request was not written because the ring was more than
    /// three quarters full: the rest of it is kept for requests.
    Snapshot = 7,
}

impl Loss {
    /// Every reason, in the order of its counter.
    pub const ALL: [Self; 8] = [
        Self::Connect,
        Self::Writer,
        Self::Request,
        Self::Response,
        Self::Control,
        Self::Unreadable,
        Self::RequestRest,
        Self::Snapshot,
    ];

    /// Returns the reason's name as events and metrics carry it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Writer => "writer",
            Self::Request => "request",
            Self::Response => "response",
            Self::Control => "control",
            Self::Unreadable => "unreadable",
            Self::RequestRest => "request-rest",
            Self::Snapshot => "snapshot",
        }
    }
}

/// Whose loss it was: the key of a [`LossCount`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct LossKey {
    /// The [`Loss`].
    pub loss: u32,
    /// The process in the initial pid namespace.
    pub pid: u32,
    /// When it started: nanoseconds since boot.
    pub start_time: u64,
    /// How often it called `exec`.
    pub exec_id: u64,
}

/// What of one process was lost for one reason.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "zerocopy", derive(FromBytes, IntoBytes, KnownLayout, Immutable))]
pub struct LossCount {
    /// How much, in the reason's unit, since the process was last forgotten.
    pub count: u64,
    /// The name of the thread that acted, ended by a NUL.
    pub comm: [u8; COMM_LENGTH],
}
