//! Who made a request, and where it ran.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Time, is_false};

/// Who made a request.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
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
    #[serde(skip_serializing_if = "is_false")]
    #[schemars(default)]
    pub args_truncated: bool,
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
    /// Who answers for what it does: itself or an ancestor.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Attribution {
    /// It sent the bytes.
    Writer,
    /// It was the last one certain to have sent bytes over the connection.
    LastWriter,
    /// It opened the connection; who wrote is not known.
    Connector,
    /// It is not known which process it was.
    Unknown,
}

/// A parent of a process.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Ancestor {
    /// The process in the initial pid namespace.
    pub pid: u32,
    /// Its name.
    pub name: Option<String>,
    /// Its arguments.
    pub args: Option<Vec<String>>,
}

/// The process that answers for a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
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
    Caller,
}

/// Where in a Spark application a process belongs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SparkRole {
    /// It runs the application's own code and plans its work.
    Driver,
    /// It does the work.
    Executor,
}

/// A Python below a Java virtual machine of Spark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SparkPython {
    /// A notebook's, on Databricks.
    Notebook,
    /// One that runs functions in Python.
    Worker,
}

/// A cluster of Databricks, as the environment names it that the platform makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Databricks {
    /// Its id.
    pub cluster_id: String,
    /// What its owner calls it.
    pub cluster_name: Option<String>,
}

/// A systemd that runs units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Manager {
    /// The host's, or a container's own.
    System,
    /// A user's.
    User,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// What runs it.
    pub runtime: Option<String>,
}

/// A Kubernetes pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Pod {
    /// Its unique id.
    pub uid: String,
    /// Its namespace, as the kubelet's log folders name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The name of the container in it, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}
