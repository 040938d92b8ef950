//! Facts about a process.

use std::sync::Arc;

use imds_audit_ebpf::Task;

use super::arguments::Arguments;
use super::cgroup_path::CgroupLocation;
use super::databricks::Cluster;
use super::executable::Executable;
use super::pods::PodNames;
use super::spark::SparkPart;
use super::workload::Workload;
use crate::event::{Rule, Spark};

/// What is known of a process that made a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The acting task; its times are 0 where the eBPF programs could not read them.
    pub task: Task,
    /// The acting thread's name.
    pub thread_name: Option<Box<[u8]>>,
    /// The process's name (`comm`), at most 15 bytes.
    pub name: Option<Box<[u8]>>,
    /// The program.
    pub exe: Option<Executable>,
    /// The command line.
    pub arguments: Option<Arguments>,
    /// The real user, in the initial user namespace.
    pub uid: u32,
    /// The real group, in the initial user namespace.
    pub gid: u32,
    /// The user's name in the process's own root folder.
    pub user: Option<Box<[u8]>>,
    /// The process in its own pid namespace.
    pub namespace_pid: Option<u32>,
    /// When the process started, in nanoseconds since boot; from procfs, rounded down to a
    /// clock tick, where the completion is [`ProcfsMatch::Unverified`].
    pub start_time: Option<u64>,
    /// The cgroup v2 id: the inode number of the cgroup's folder.
    pub cgroup_id: Option<u64>,
    /// The path of the cgroup that says most about the process.
    pub cgroup: Option<Box<[u8]>>,
    /// Whether that is the path of the cgroup with the id, and not one of a hierarchy of version 1.
    pub cgroup_is_of_id: bool,
    /// What that path says.
    pub location: CgroupLocation,
    /// What people call the pod and its container.
    pub pod_names: Option<PodNames>,
    /// What the command line says that it runs.
    pub workload: Workload,
    /// Its working directory.
    pub working_directory: Option<Box<[u8]>>,
    /// Where its arguments lie in its memory; 0 where that is not known.
    pub arguments_start: u64,
    /// What it says that the process is to a Spark application.
    pub role: Option<SparkPart>,
    /// The cluster of Databricks that its environment names.
    pub cluster: Option<Cluster>,
    /// The parents, nearest first. Those of the same parent share them.
    pub ancestors: Vec<Arc<Ancestor>>,
    /// The process responsible for what the process does: itself or an ancestor.
    pub responsible: Option<Responsible>,
    /// The virtual machine of Spark that it is, or belongs to.
    pub spark: Option<Spark>,
    /// The inode number of the socket's network namespace.
    pub netns: Option<u32>,
    /// How much of this procfs confirmed.
    pub procfs_match: ProcfsMatch,
    /// Whether procfs is still being read, so that a fuller description follows.
    pub is_pending: bool,
}

/// A parent of a process, or a parent of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// The process in the initial pid namespace.
    pub pid: u32,
    /// When it started, in nanoseconds since boot.
    pub start_time: u64,
    /// How often it had called `exec`; 0 where that is not known.
    pub exec_id: u64,
    /// Where its arguments lay in its memory; 0 where that is not known.
    pub arguments_start: u64,
    /// Its name (`comm`).
    pub name: Box<[u8]>,
    /// Its program, where it was still running.
    pub exe: Option<Executable>,
    /// Its command line, where it was still running.
    pub arguments: Option<Arguments>,
    /// What that says that it runs.
    pub workload: Workload,
    /// What that says that it is to a Spark application.
    pub role: Option<SparkPart>,
    /// The cluster of Databricks that its environment names.
    pub cluster: Option<Cluster>,
    /// Where it ran; `None` where that was not to be found out.
    pub location: Option<CgroupLocation>,
}

impl Ancestor {
    /// Makes one about which nothing is known but its identity; its `exec_id` and
    /// `arguments_start` are 0.
    pub(super) const fn new(pid: u32, start_time: u64, name: Box<[u8]>) -> Self {
        Self {
            pid,
            start_time,
            exec_id: 0,
            arguments_start: 0,
            name,
            exe: None,
            arguments: None,
            workload: Workload::Unknown,
            role: None,
            cluster: None,
            location: None,
        }
    }
}

/// The process responsible for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Responsible {
    /// The process in the initial pid namespace.
    pub pid: u32,
    /// Its name (`comm`).
    pub name: Option<Box<[u8]>>,
    /// Its command line.
    pub arguments: Option<Arguments>,
    /// The script, module, class or archive that it runs.
    pub script: Option<Box<[u8]>>,
    /// Why it is this one.
    pub rule: Rule,
}

/// How much of a [`Process`] procfs confirmed, and how certain that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProcfsMatch {
    /// Nothing: the process was gone, or the pid is another process's by now.
    #[default]
    None,
    /// The same process, but perhaps another program: only what `exec` does not change (cgroup,
    /// user) comes from procfs.
    Process,
    /// The same process and program: everything that procfs has.
    Program,
    /// A process with that pid that is old enough to be the one: the eBPF programs could not read
    /// what would prove it.
    Unverified,
}

impl Process {
    /// Returns the cluster of Databricks that the process is on: what its own environment names,
    /// or the nearest ancestor's that names one, as an environment is handed on.
    pub fn databricks(&self) -> Option<&Cluster> {
        let above = self.ancestors.iter().map(|ancestor| ancestor.cluster.as_ref());
        std::iter::once(self.cluster.as_ref()).chain(above).flatten().next()
    }
}
