//! Process facts: identity from the kernel's snapshot, the rest from procfs.
//!
//! The snapshot is taken in the process's own context and is always right. Procfs is read later
//! and may then show another process with the same pid, or another program in the same process;
//! it counts only as far as [`ProcfsMatch`] says.
//!
//! Names, paths and arguments are bytes here: they become text at the event's edge.

mod ancestors;
mod arguments;
mod bounded_read;
mod cache;
mod cgroup;
mod cgroup_path;
mod container_form;
mod databricks;
mod enrich;
mod environment;
mod executable;
mod facts;
mod limits;
mod namespace_pids;
mod pods;
mod proc_stat;
mod proc_status;
mod process_folder;
mod procfs;
mod program_facts;
mod responsible;
mod roots;
mod script_path;
mod snapshot;
mod socket_diag;
mod socket_owner;
mod spark;
mod table;
mod timeout;
mod user_names;
mod workload;

#[cfg(test)]
pub(crate) mod fixture;

pub(crate) use arguments::Arguments;
#[cfg(test)]
pub(crate) use arguments::{MAX_ARGUMENT_BYTES, MAX_ARGUMENT_COUNT};
pub(crate) use cgroup::CgroupResolver;
pub(crate) use cgroup_path::CgroupLocation;
pub(crate) use container_form::Container;
pub(crate) use facts::{Ancestor, Process, Responsible};
pub(crate) use procfs::Procfs;
pub use roots::Roots;
#[cfg(any(test, fuzzing))]
pub(crate) use {cgroup::most_specific, proc_stat::Stat};
#[cfg(test)]
pub(crate) use {
    container_form::Runtime, databricks::Cluster, executable::Executable, facts::ProcfsMatch,
    pods::PodNames, workload::Workload,
};

pub(crate) use socket_diag::SocketDiag;
pub(crate) use socket_owner::{Question as SocketQuestion, SocketOwners};
pub(crate) use table::{Processes, RecordPids};

#[cfg(test)]
mod tests;
