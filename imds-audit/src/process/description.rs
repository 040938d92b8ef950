//! What is known of a process.

use imds_audit_ebpf::Task;

use super::{Arguments, Cluster, Part, Placement, PodNames, Program, Rule, Spark};

/// What is known of a process that made a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The acting task; its times are 0 where the kernel half could not read them.
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
    /// clock tick, where the completion is [`Completion::Unverified`].
    pub start_time: Option<u64>,
    /// The cgroup v2 id: the inode number of the cgroup's folder.
    pub cgroup_id: Option<u64>,
    /// The path of the cgroup that says most about the process.
    pub cgroup: Option<Box<[u8]>>,
    /// What that path says.
    pub placement: Placement,
    /// What people call the pod and its container.
    pub pod_names: Option<PodNames>,
    /// What the command line says that it runs.
    pub program: Program,
    /// What it says that the process is to a Spark application.
    pub part: Option<Part>,
    /// The cluster of Databricks that its environment names.
    pub cluster: Option<Cluster>,
    /// The parents, nearest first.
    pub ancestors: Vec<Ancestor>,
    /// Who answers for what the process does: itself or an ancestor.
    pub responsible: Option<Responsible>,
    /// The virtual machine of Spark that it is, or belongs to.
    pub spark: Option<Spark>,
    /// The inode number of the socket's network namespace.
    pub netns: Option<u32>,
    /// How much of this procfs told.
    pub completion: Completion,
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
    pub program: Program,
    /// What that says that it is to a Spark application.
    pub part: Option<Part>,
    /// The cluster of Databricks that its environment names.
    pub cluster: Option<Cluster>,
    /// Where it ran; `None` where that was not to be found out.
    pub placement: Option<Placement>,
}

impl Ancestor {
    /// Makes one of which nothing is known but which process it is; its `exec_id` and
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
            program: Program::Unknown,
            part: None,
            cluster: None,
            placement: None,
        }
    }
}

/// The process that answers for what another one does.
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

/// How much of a [`Process`] procfs told, and how certain that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Completion {
    /// Nothing: the process was gone, or the pid is another process's by now.
    #[default]
    None,
    /// The same process, but perhaps another program: only what `exec` does not change (cgroup,
    /// user) comes from procfs.
    Process,
    /// The same process and program: everything that procfs has.
    Program,
    /// A process with that pid that is old enough to be the one: the kernel half could not read
    /// what would prove it.
    Unverified,
}

/// A process's program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Executable {
    /// The full path, as the process's mount namespace has it.
    Path {
        /// The path.
        path: Box<[u8]>,
        /// Whether the file had been deleted, as after an upgrade.
        deleted: bool,
    },
    /// Only the file's name without its folders, from the kernel's snapshot.
    FileName(Box<[u8]>),
}

impl Executable {
    /// Returns the path, or the file's name where that is all.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Path { path, .. } => path,
            Self::FileName(name) => name,
        }
    }
}

impl Process {
    /// Returns the cluster of Databricks that the process is on: what its own environment names,
    /// or the nearest ancestor's that names one, as an environment is handed on.
    pub fn databricks(&self) -> Option<&Cluster> {
        let above = self.ancestors.iter().map(|ancestor| ancestor.cluster.as_ref());
        std::iter::once(self.cluster.as_ref()).chain(above).flatten().next()
    }
}
