//! Process that made a request: program, ancestors, unit, container, pod.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Time, is_false};

/// Who made a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// The process in the initial pid namespace.
    pub pid: Option<u32>,
    /// The thread in the initial pid namespace.
    pub tid: Option<u32>,
    /// The process's name.
    pub name: Option<String>,
    /// The thread's name, where it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_name: Option<String>,
    /// The executable: its path, or only its file name.
    pub exe: Option<String>,
    /// The arguments.
    pub args: Option<Vec<String>>,
    /// Arguments are missing at the end.
    #[serde(default, skip_serializing_if = "is_false")]
    #[schemars(default)]
    pub args_truncated: bool,
    /// The working directory, as the process's mount namespace has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// The real user, in the initial user namespace.
    pub uid: Option<u32>,
    /// The user's name on the host.
    pub user: Option<String>,
    /// The real group, in the initial user namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// The process in its own pid namespace, where that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_pid: Option<u32>,
    /// When it started.
    pub start_time: Option<Time>,
    /// How it is known that this process made the request.
    pub attribution: Attribution,
    /// Its parents, nearest first.
    pub ancestors: Vec<Ancestor>,
    /// The process responsible for the request: this one or an ancestor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub responsible: Option<Responsible>,
    /// The Spark application that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spark: Option<Spark>,
    /// The cluster of Databricks that it is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub databricks: Option<Databricks>,
    /// Its cgroup v2 path.
    pub cgroup: Option<String>,
    /// Its systemd unit.
    pub unit: Option<String>,
    /// The slice that the unit is in, or that it is in itself where there is no unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice: Option<String>,
    /// Whose systemd runs the unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manager: Option<Manager>,
    /// Its container.
    pub container: Option<Container>,
    /// Its pod.
    pub pod: Option<Pod>,
}

/// How it is known that a process made a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Attribution {
    /// It sent the bytes.
    Writer,
    /// It was the last one certain to have sent bytes over the connection.
    LastWriter,
    /// It opened the connection; who wrote is not known.
    Connector,
    /// It holds the connection's socket; who opened it or wrote is not known.
    SocketOwner,
    /// It is not known which process it was.
    #[serde(other)]
    Unknown,
}

/// A parent of a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ancestor {
    /// The process in the initial pid namespace.
    pub pid: u32,
    /// Its name.
    pub name: Option<String>,
    /// Its arguments.
    pub args: Option<Vec<String>>,
}

/// The process that answers for a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Responsible {
    /// The process in the initial pid namespace.
    pub pid: u32,
    /// Its name.
    pub name: Option<String>,
    /// The script, module, class or archive that it runs, as its command line names it.
    pub script: Option<String>,
    /// Its arguments.
    pub args: Option<Vec<String>>,
    /// Why it is this one.
    pub rule: Rule,
}

/// Why a process answers for a request. The first that applies names it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// It is the nearest one that runs a file in a shell or an interpreter.
    Script,
    /// It is the nearest one that runs a module in an interpreter.
    Module,
    /// It is the nearest one that runs a class in a Java virtual machine.
    Class,
    /// It is the nearest one that runs an archive in a Java virtual machine.
    Jar,
    /// It runs commands from its command line or its input.
    Command,
    /// It is the main process of the unit.
    Unit,
    /// It is the first process of the container.
    Container,
    /// It made the request itself, and nothing else is known to answer for it.
    #[serde(other)]
    Caller,
}

/// Where in a Spark application a process belongs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spark {
    /// What the Java virtual machine is that the process is, or that started it.
    pub role: Option<SparkRole>,
    /// That virtual machine's process in the initial pid namespace.
    pub jvm: Option<u32>,
    /// The Python that the process is, or that started it below the virtual machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python: Option<SparkPython>,
}

/// What a Java virtual machine is to a Spark application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SparkRole {
    /// It runs the application's own code and plans its work.
    Driver,
    /// It does the work.
    Executor,
}

/// A Python below a Java virtual machine of Spark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SparkPython {
    /// A notebook's, on Databricks.
    Notebook,
    /// One that runs functions in Python.
    Worker,
}

/// A cluster of Databricks, as the environment names it that the platform makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Databricks {
    /// Its id.
    pub cluster_id: String,
    /// What its owner calls it.
    pub cluster_name: Option<String>,
}

/// A systemd that runs units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Manager {
    /// The host's, or a container's own.
    System,
    /// A user's.
    User,
}

/// A container, or what an orchestrator has in the place of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Container {
    /// Its id, or its name where the runtime has no ids.
    pub id: String,
    /// The runtime or orchestrator, where the cgroup's path names it.
    pub runtime: Option<String>,
    /// What it is, if not just a container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ContainerKind>,
    /// A name beside the id: an allocation's task, a container's application, a job's step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who named it, if not the host: the container it is in, or the unit of the user whose own it
    /// is. What it says of itself is then no fact of the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
    /// The id of the innermost container in it, as the container itself names that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inner: Option<String>,
}

/// What a container is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ContainerKind {
    /// A step of an image's build, by BuildKit.
    Build,
    /// A task of an allocation, on Nomad.
    Allocation,
    /// A container of an application, on YARN.
    Application,
    /// A job, of Slurm or GitHub Actions.
    Job,
}

/// A Kubernetes pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pod {
    /// Its unique id.
    pub uid: String,
    /// Its namespace, as the kubelet's log folders name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name, from the same folders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The name of the container in it, from the same folders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}
