//! Tells the processes of a Spark application from others.

use super::program::{Program, jvm};

/// What a process is to a Spark application, as its command line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The virtual machine that runs the application's own code and plans its work.
    Driver,
    /// A virtual machine that does the work.
    Executor,
    /// The Python of a notebook, which a driver on Databricks starts.
    Notebook,
    /// The Python that a virtual machine starts for functions in Python.
    Worker,
}

/// Which virtual machine of a Spark application a process belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spark {
    /// The virtual machine's part, [`Part::Driver`] or [`Part::Executor`], and its process in the
    /// initial pid namespace; `None` where none is among the known ancestors.
    pub machine: Option<(Part, u32)>,
    /// The part of the Python below it, [`Part::Notebook`] or [`Part::Worker`].
    pub python: Option<Part>,
}

/// The main classes of drivers, but for [`jvm::SPARK_SUBMIT`]: Databricks' own (a driver's log,
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

impl Part {
    /// Reads the part from what a process runs and, for a virtual machine, from the words of its
    /// command line.
    pub(super) fn of(program: &Program, words: &[&[u8]], truncated: bool) -> Option<Self> {
        match program {
            Program::Module(name) => WORKERS.contains(&&**name).then_some(Self::Worker),
            Program::Script(path) if NOTEBOOKS.iter().any(|known| path.ends_with(known)) => {
                Some(Self::Notebook)
            }
            Program::Script(_) | Program::Class(_) | Program::Jar(_) | Program::Tool(_) => {
                Self::of_machine(words, truncated)
            }
            Program::Commands
            | Program::Wrapper
            | Program::Launcher
            | Program::Other
            | Program::Unknown => None,
        }
    }

    fn of_machine(words: &[&[u8]], truncated: bool) -> Option<Self> {
        let (class, rest) = jvm::main_class(words, truncated)?;
        if DRIVERS.contains(&class) || (class == jvm::SPARK_SUBMIT && !jvm::only_submits(rest)) {
            Some(Self::Driver)
        } else if EXECUTORS.contains(&class) {
            Some(Self::Executor)
        } else {
            None
        }
    }
}

impl Spark {
    /// Finds the nearest virtual machine of Spark, and the Python below it, among the parts of a
    /// process and of its ancestors, the process first, each with its number.
    pub fn of(chain: impl IntoIterator<Item = (Option<Part>, u32)>) -> Option<Self> {
        let mut python = None;
        for (part, pid) in chain {
            match part {
                Some(Part::Driver | Part::Executor) => {
                    return Some(Self { machine: part.map(|part| (part, pid)), python });
                }
                Some(Part::Notebook | Part::Worker) => python = python.or(part),
                None => {}
            }
        }
        python.map(|_| Self { machine: None, python })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Executable;

    fn part(exe: &str, words: &[&str]) -> Option<Part> {
        let memory = words.join("\0") + "\0";
        let exe = Executable::FileName(exe.as_bytes().into());
        Program::read(Some(&exe), memory.as_bytes(), false).1
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
                Some(Part::Driver),
            ),
            // Spark 3.5.5 of PyPI, by `ps`: the application is Python and starts this.
            (
                "java",
                &["java", "-cp", "/x/jars/*", "-Xmx1g", submit, "--conf", "a=b", "pyspark-shell"],
                Some(Part::Driver),
            ),
            ("java", &["java", submit, "--class", "com.x.Etl", "etl.jar"], Some(Part::Driver)),
            ("java", &["java", submit, "-v", "--deploy-mode", "cluster", "etl.jar"], None),
            ("java", &["java", submit, "--jars", "a.jar", "--deploy-mode=cluster", "x.py"], None),
            ("java", &["java", submit, "--conf", "spark.submit.deployMode=cluster", "x.py"], None),
            ("java", &["java", submit, "etl.jar", "--deploy-mode", "cluster"], Some(Part::Driver)),
            (
                "java",
                &["java", "org.apache.spark.deploy.yarn.ApplicationMaster", "--class", "x"],
                Some(Part::Driver),
            ),
            (
                "java",
                &["java", "org.apache.spark.executor.CoarseGrainedExecutorBackend", "--cores", "4"],
                Some(Part::Executor),
            ),
            (
                "java",
                &["java", "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend"],
                Some(Part::Executor),
            ),
            // Others of Spark's own, which run nobody's code.
            ("java", &["java", "org.apache.spark.deploy.worker.Worker", "spark://x:7077"], None),
            ("java", &["java", "-jar", "app.jar", DRIVER], None),
            // Spark 3.5.5 of PyPI, by `ps`.
            ("python3.11", &["python3", "-m", "pyspark.daemon"], Some(Part::Worker)),
            (
                "python3.10",
                &[
                    "/local_disk0/pythonVirtualEnvDirs/bin/python",
                    "/databricks/python_shell/scripts/db_ipykernel_launcher.py",
                    "-f",
                    "x.json",
                ],
                Some(Part::Notebook),
            ),
            (
                "python3.8",
                &["python", "/databricks/python_shell/scripts/PythonShell.py"],
                Some(Part::Notebook),
            ),
            ("python3.8", &["python", "/opt/PythonShell.py"], None),
            ("bash", &["bash", "/opt/x.sh", DRIVER], None),
        ] {
            assert_eq!(part(exe, words), expected, "{words:?}");
        }
    }

    const DRIVER: &str = "com.databricks.backend.daemon.driver.DriverDaemon";

    #[test]
    fn the_nearest_machine_counts_with_the_python_below_it() {
        let (worker, notebook) = (Some(Part::Worker), Some(Part::Notebook));
        let (driver, executor) = (Some(Part::Driver), Some(Part::Executor));
        for (chain, expected) in [
            (&[None, notebook, None, driver][..], Some((Some((Part::Driver, 3)), notebook))),
            (&[worker, worker, executor, driver], Some((Some((Part::Executor, 2)), worker))),
            (&[driver, notebook], Some((Some((Part::Driver, 0)), None))),
            (&[None, notebook], Some((None, notebook))),
            (&[None, None], None),
        ] {
            let chain = chain.iter().copied().zip(0..);
            let found = Spark::of(chain).map(|spark| (spark.machine, spark.python));
            assert_eq!(found, expected);
        }
    }
}
