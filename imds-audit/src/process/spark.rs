//! Recognition of the processes of a Spark application.

use super::executable::Executable;
use super::workload::{self, Workload, java};
use crate::event::{Spark, SparkPython, SparkRole};

/// What a process is to a Spark application, as its command line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SparkPart {
    /// The virtual machine that runs the application's own code and plans its work.
    Driver,
    /// A virtual machine that does the work.
    Executor,
    /// The Python of a notebook, which a driver on Databricks starts.
    Notebook,
    /// The Python that a virtual machine starts for functions in Python.
    Worker,
}

/// The main classes of drivers, but for [`java::SPARK_SUBMIT`]: Databricks' own (a driver's log,
/// "Driver command is"; mspnp/spark-monitoring, SparkLookup.java), and Spark's where a cluster
/// runs the driver (deploy/yarn/ApplicationMaster.scala, deploy/worker/DriverWrapper.scala).
const DRIVERS: [&[u8]; 3] = [
    b"com.databricks.backend.daemon.driver.DriverDaemon",
    b"org.apache.spark.deploy.yarn.ApplicationMaster",
    b"org.apache.spark.deploy.worker.DriverWrapper",
];
/// Those of executors: executor/CoarseGrainedExecutorBackend.scala, which Databricks uses too,
/// executor/YarnCoarseGrainedExecutorBackend.scala and
/// scheduler/cluster/k8s/KubernetesExecutorBackend.scala.
const EXECUTORS: [&[u8]; 3] = [
    b"org.apache.spark.executor.CoarseGrainedExecutorBackend",
    b"org.apache.spark.executor.YarnCoarseGrainedExecutorBackend",
    b"org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend",
];
/// The modules of the Python below: core/src/main/scala/org/apache/spark/api/python,
/// PythonWorkerFactory.scala.
const WORKERS: [&[u8]; 2] = [b"pyspark.daemon", b"pyspark.worker"];
/// The scripts of a notebook's Python, before Databricks Runtime 11 and since then (databricks-bundle
/// of PyPI, `is_notebook_environment`).
const NOTEBOOKS: [&[u8]; 2] = [
    b"/databricks/python_shell/scripts/PythonShell.py",
    b"/databricks/python_shell/scripts/db_ipykernel_launcher.py",
];

/// Reads what a process runs, and what it is to a Spark application, from a command line as it
/// lies in memory, each argument ended by a NUL; `truncated` where it goes on behind those bytes.
pub(super) fn workload_and_role(
    exe: Option<&Executable>,
    memory: &[u8],
    truncated: bool,
) -> (Workload, Option<SparkPart>) {
    let (words, truncated) = workload::words(memory, truncated);
    let workload = Workload::read(exe, &words, truncated);
    let program = exe.map(Executable::as_bytes).or(words.first().copied()).unwrap_or_default();
    let role = SparkPart::of(
        &workload,
        workload::is_java(program),
        words.get(1..).unwrap_or_default(),
        truncated,
    );
    (workload, role)
}

impl SparkPart {
    /// Reads the role from what a process runs and, for a virtual machine, from the words of its
    /// command line.
    fn of(workload: &Workload, is_java: bool, words: &[&[u8]], truncated: bool) -> Option<Self> {
        let of_machine = || is_java.then(|| Self::of_machine(words, truncated)).flatten();
        match workload {
            Workload::Module(name) => WORKERS.contains(&&**name).then_some(Self::Worker),
            // A machine runs a script too: that of the application that was submitted to it.
            Workload::Script(path) => of_machine().or_else(|| {
                let is_notebook = NOTEBOOKS.iter().any(|known| path.ends_with(known));
                is_notebook.then_some(Self::Notebook)
            }),
            Workload::Class(_) | Workload::Jar(_) | Workload::Tool(_) => of_machine(),
            Workload::Supervisor { .. }
            | Workload::CompiledTool
            | Workload::Commands
            | Workload::Wrapper
            | Workload::Launcher
            | Workload::Other
            | Workload::Unknown => None,
        }
    }

    fn of_machine(words: &[&[u8]], truncated: bool) -> Option<Self> {
        let (class, rest) = java::main_class(words, truncated)?;
        if DRIVERS.contains(&class) || (class == java::SPARK_SUBMIT && !java::only_submits(rest)) {
            Some(Self::Driver)
        } else if EXECUTORS.contains(&class) {
            Some(Self::Executor)
        } else {
            None
        }
    }
}

/// Finds the nearest virtual machine of Spark, and the Python below it, among the parts of a
/// process and of its ancestors, the process first, each with its pid.
pub(super) fn application(
    chain: impl IntoIterator<Item = (Option<SparkPart>, u32)>,
) -> Option<Spark> {
    let mut python = None;
    for (part, pid) in chain {
        let role = match part {
            Some(SparkPart::Driver) => SparkRole::Driver,
            Some(SparkPart::Executor) => SparkRole::Executor,
            Some(SparkPart::Notebook) => {
                python = python.or(Some(SparkPython::Notebook));
                continue;
            }
            Some(SparkPart::Worker) => {
                python = python.or(Some(SparkPython::Worker));
                continue;
            }
            None => continue,
        };
        return Some(Spark { role: Some(role), jvm: Some(pid), python });
    }
    python.map(|python| Spark { role: None, jvm: None, python: Some(python) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(exe: &str, words: &[&str]) -> Option<SparkPart> {
        let memory = words.join("\0") + "\0";
        let exe = Executable::FileName(exe.as_bytes().into());
        workload_and_role(Some(&exe), memory.as_bytes(), false).1
    }

    #[test]
    fn the_processes_of_spark_are_told_apart() {
        let submit = "org.apache.spark.deploy.SparkSubmit";
        for (exe, words, expected) in [
            // A driver's log on Databricks, "Driver command is", shortened.
            (
                "java",
                &[
                    "/usr/lib/jvm/zulu8-ca-amd64/jre//bin/java",
                    "-Djava.io.tmpdir=/local_disk0/tmp",
                    "-Ddatabricks.serviceName=driver-1",
                    "-Xmx19372m",
                    "-Dspark.executor.extraJavaOptions=\"-Djava.io.tmpdir=/local_disk0/tmp",
                    "-Ddatabricks.serviceName=spark-executor-1\"",
                    "-cp",
                    "/databricks/hive/conf:/databricks/jars/*",
                    "com.databricks.backend.daemon.driver.DriverDaemon",
                ][..],
                Some(SparkPart::Driver),
            ),
            // Spark 3.5.5 of PyPI, by `ps`: the application is Python and starts this.
            (
                "java",
                &["java", "-cp", "/x/jars/*", "-Xmx1g", submit, "--conf", "a=b", "pyspark-shell"],
                Some(SparkPart::Driver),
            ),
            ("java", &["java", submit, "--class", "com.x.Etl", "etl.jar"], Some(SparkPart::Driver)),
            (
                "java",
                &["java", submit, "/databricks/python_shell/scripts/PythonShell.py"],
                Some(SparkPart::Driver),
            ),
            ("java", &["java", submit, "-v", "--deploy-mode", "cluster", "etl.jar"], None),
            ("java", &["java", submit, "--jars", "a.jar", "--deploy-mode=cluster", "x.py"], None),
            ("java", &["java", submit, "--conf", "spark.submit.deployMode=cluster", "x.py"], None),
            (
                "java",
                &["java", submit, "etl.jar", "--deploy-mode", "cluster"],
                Some(SparkPart::Driver),
            ),
            (
                "java",
                &["java", "org.apache.spark.deploy.yarn.ApplicationMaster", "--class", "x"],
                Some(SparkPart::Driver),
            ),
            (
                "java",
                &["java", "org.apache.spark.executor.CoarseGrainedExecutorBackend", "--cores", "4"],
                Some(SparkPart::Executor),
            ),
            (
                "java",
                &["java", "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend"],
                Some(SparkPart::Executor),
            ),
            // Spark's own services, which run no application code.
            ("java", &["java", "org.apache.spark.deploy.worker.Worker", "spark://x:7077"], None),
            ("java", &["java", "-jar", "app.jar", DRIVER], None),
            // Spark 3.5.5 of PyPI, by `ps`.
            ("python3.11", &["python3", "-m", "pyspark.daemon"], Some(SparkPart::Worker)),
            (
                "python3.10",
                &[
                    "/local_disk0/pythonVirtualEnvDirs/bin/python",
                    "/databricks/python_shell/scripts/db_ipykernel_launcher.py",
                    "-f",
                    "x.json",
                ],
                Some(SparkPart::Notebook),
            ),
            (
                "python3.8",
                &["python", "/databricks/python_shell/scripts/PythonShell.py"],
                Some(SparkPart::Notebook),
            ),
            ("python3.8", &["python", "/opt/PythonShell.py"], None),
            ("bash", &["bash", "/opt/x.sh", DRIVER], None),
            ("bash", &["bash", DRIVER], None),
            ("python3", &["python3", DRIVER], None),
        ] {
            assert_eq!(role(exe, words), expected, "{words:?}");
        }
    }

    const DRIVER: &str = "com.databricks.backend.daemon.driver.DriverDaemon";

    #[test]
    fn the_nearest_machine_counts_with_the_python_below_it() {
        let (worker, notebook) = (Some(SparkPart::Worker), Some(SparkPart::Notebook));
        let (driver, executor) = (Some(SparkPart::Driver), Some(SparkPart::Executor));
        let spark = |role, jvm, python| Some(Spark { role, jvm, python });
        let (drives, executes) = (Some(SparkRole::Driver), Some(SparkRole::Executor));
        for (chain, expected) in [
            (
                &[None, notebook, None, driver][..],
                spark(drives, Some(3), Some(SparkPython::Notebook)),
            ),
            (
                &[worker, worker, executor, driver],
                spark(executes, Some(2), Some(SparkPython::Worker)),
            ),
            (&[driver, notebook], spark(drives, Some(0), None)),
            (&[None, notebook], spark(None, None, Some(SparkPython::Notebook))),
            (&[None, None], None),
        ] {
            assert_eq!(application(chain.iter().copied().zip(0..)), expected);
        }
    }
}
