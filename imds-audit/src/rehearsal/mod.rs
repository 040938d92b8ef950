//! Rehearsal of IMDSv2 enforcement for one cgroup: a front that refuses IMDSv1 as an instance with
//! `HttpTokens=required` does, without touching the instance.
//!
//! This is the only part of the program that changes traffic.
//!
//! ```text
//! target ── the cgroup that is rehearsed        group ── a cgroup of a command's own
//! redirection
//!   programs ── eBPF: connects to the endpoints lead to the front of their network namespace
//!   networks ── namespaces of the cgroup's processes, each with a
//!   front ── connection ── refusal (IMDSv1), relay (everything else), hops
//! verdict ── what each caller did when it was refused
//! ```

mod error;
pub(crate) mod existing;
pub(crate) mod front;
pub(crate) mod group;
mod networks;
pub(crate) mod programs;
pub(crate) mod redirection;
pub(crate) mod target;
pub(crate) mod text;
pub(crate) mod verdict;
