//! Callers in Spark applications: real virtual machines whose main classes are called as Spark's
//! and Databricks' are, with the Python below them. No more of Spark runs here than that.

use std::fs;
use std::path::Path;
use std::process::Command;

use imds_audit::event::{Databricks, Rule, Spark, SparkPython, SparkRole};
use imds_audit_tests::{Comparison, Exchange, TestBed, skip};
use tempfile::TempDir;

pub(crate) const DRIVER: &str = "com.databricks.backend.daemon.driver.DriverDaemon";
pub(crate) const EXECUTOR: &str = "org.apache.spark.executor.CoarseGrainedExecutorBackend";
const URL: &str = "http://169.254.169.254/latest/meta-data/instance-id";

/// Starts the program that its arguments say and waits for it; without any it asks by itself.
const MACHINE: &str = r#"
    public static void main(String[] arguments) throws Exception {
        if (arguments.length > 0) {
            System.exit(new ProcessBuilder(arguments).inheritIO().start().waitFor());
        }
        java.net.URLConnection connection = new java.net.URL(URL).openConnection();
        try (java.io.InputStream answer = connection.getInputStream()) {
            answer.readAllBytes();
        }
        System.in.read();
    }
"#;

/// A notebook's: it asks, and then waits.
const NOTEBOOK: &str = "import sys, urllib.request\nurllib.request.urlopen(URL, timeout=20).read()\nsys.stdin.read()\n";
/// A notebook's with a cell of a shell.
const SHELL: &str = "import subprocess, sys\n\
                     subprocess.run(['curl', '-s', '-m', '20', URL], stdout=2, check=True)\n\
                     sys.stdin.read()\n";
/// As `pyspark.daemon` does: it starts workers, which are copies of it.
const DAEMON: &str = "import os, sys, urllib.request\n\
                      worker = os.fork()\n\
                      if worker == 0:\n    urllib.request.urlopen(URL, timeout=20).read()\n\
                      sys.stdin.read()\n\
                      if worker:\n    os.waitpid(worker, 0)\n";

/// The folder of the classes and scripts.
pub(crate) struct Application(TempDir);

impl Application {
    /// Compiles the classes and writes the scripts; `None` where there is no compiler of Java.
    pub(crate) fn make() -> Option<Self> {
        if Command::new("javac").arg("--version").output().is_err() {
            skip("there is no javac");
            return None;
        }
        let made = Self(tempfile::tempdir().unwrap());
        let url = format!("\"{URL}\"");
        for class in [DRIVER, EXECUTOR] {
            let (package, name) = class.rsplit_once('.').unwrap();
            let body = MACHINE.replace("URL)", &format!("{url})"));
            let text = format!("package {package};\npublic class {name} {{{body}}}\n");
            fs::write(made.path(&format!("{name}.java")), text).unwrap();
        }
        let sources = ["DriverDaemon.java", "CoarseGrainedExecutorBackend.java"];
        let compiled = Command::new("javac")
            .args(["-d", "."])
            .args(sources)
            .current_dir(made.0.path())
            .status()
            .unwrap();
        assert!(compiled.success());
        let scripts = "databricks/python_shell/scripts";
        fs::create_dir_all(made.path(scripts)).unwrap();
        fs::create_dir(made.path("pyspark")).unwrap();
        fs::write(made.path("pyspark/__init__.py"), "").unwrap();
        for (name, text) in [
            (format!("{scripts}/db_ipykernel_launcher.py"), NOTEBOOK),
            (format!("{scripts}/PythonShell.py"), SHELL),
            ("pyspark/daemon.py".to_owned(), DAEMON),
        ] {
            fs::write(made.path(&name), text.replace("URL", &url)).unwrap();
        }
        Some(made)
    }

    /// Gives a path in it.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs a virtual machine in a scene of its own, which is to make one request, with a class
    /// path of several KB and variables in its environment.
    fn run(
        &self,
        class: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Option<(Exchange, Comparison)> {
        let scene = TestBed::new()?;
        let library = Path::new("/databricks/jars/some-library-of-the-platform-1.2.3.jar:");
        let classes = library.to_str().unwrap().repeat(120) + &self.path("");
        let mut command = scene.command("java");
        command
            .args(["-Xmx64m", "-XX:TieredStopAtLevel=1", "-Ddatabricks.serviceName=driver-1"])
            .args(["-cp", "/databricks/hive/conf", "-cp", &classes, class])
            .args(arguments)
            .env("PYTHONPATH", self.0.path())
            .envs(variables.iter().copied());
        let (findings, _) = scene.finish_with(&mut command);
        assert_eq!(findings.verdicts(), [("v1", "served")]);
        Some((findings.exchanges[0].clone(), findings))
    }
}

/// What the platform sets, among what is nobody's business.
const CLUSTER: [(&str, &str); 4] = [
    ("DB_CLUSTER_ID", "1126-173000-reef123"),
    ("DB_CLUSTER_NAME", "etl nightly"),
    ("DB_IS_DRIVER", "TRUE"),
    ("WAREHOUSE_PASSWORD", "secret-of-the-environment"),
];

fn databricks() -> Option<Databricks> {
    Some(Databricks {
        cluster_id: "1126-173000-reef123".to_owned(),
        cluster_name: Some("etl nightly".to_owned()),
    })
}

/// Gives the virtual machine among the ancestors of a caller.
fn machine(found: &Exchange) -> Option<u32> {
    let mut ancestors = found.process().ancestors.iter();
    ancestors.find(|ancestor| ancestor.name.as_deref() == Some("java")).map(|java| java.pid)
}

#[test]
fn a_driver_a_notebook_s_python_and_its_shell_are_named_with_their_cluster() {
    let Some(application) = Application::make() else { return };
    let Some((found, findings)) = application.run(DRIVER, &[], &CLUSTER) else { return };
    let spark = Spark { role: Some(SparkRole::Driver), jvm: found.pid(), python: None };
    assert_eq!(found.process().spark, Some(spark), "{found:#?}");
    assert_eq!(found.process().databricks, databricks());
    let responsible = found.responsible();
    assert_eq!(responsible.rule, Rule::Class);
    assert_eq!(responsible.script.as_deref(), Some(DRIVER));
    assert_eq!(Some(responsible.pid), found.pid());
    assert_eq!(found.request.client.as_ref().unwrap().name, "Java");
    let command = found.advice().command.as_deref().unwrap();
    assert!(command.contains("glueCatalog.isolation"), "{command}");
    let everything = findings.report.everything();
    assert!(!everything.contains("secret-of-the-environment"));
    let title = format!("java {DRIVER}  (Spark driver, Databricks cluster 'etl nightly'");
    assert!(everything.contains(&title), "{everything}");

    for (script, name) in [("db_ipykernel_launcher.py", "python3"), ("PythonShell.py", "curl")] {
        let path = application.path(&format!("databricks/python_shell/scripts/{script}"));
        let arguments = ["python3", &path, "-f", "kernel.json"];
        let Some((found, findings)) = application.run(DRIVER, &arguments, &CLUSTER) else {
            return;
        };
        assert_eq!(found.process().name.as_deref(), Some(name), "{found:#?}");
        let jvm = machine(&found);
        assert!(jvm.is_some(), "{found:#?}");
        let python = Some(SparkPython::Notebook);
        let spark = Spark { role: Some(SparkRole::Driver), jvm, python };
        assert_eq!(found.process().spark, Some(spark), "{found:#?}");
        assert_eq!(found.process().databricks, databricks());
        let responsible = found.responsible();
        assert_eq!((responsible.rule, responsible.script.as_ref()), (Rule::Script, Some(&path)));
        let home = "(notebook of a Spark driver, Databricks cluster 'etl nightly'";
        assert!(findings.report.stderr.contains(home), "{}", findings.report.stderr);
    }
}

#[test]
fn an_executor_s_python_worker_is_named_with_its_virtual_machine() {
    let Some(application) = Application::make() else { return };
    let daemon = ["python3", "-m", "pyspark.daemon", "pyspark.worker"];
    let Some((found, _)) = application.run(EXECUTOR, &daemon, &[]) else { return };
    let jvm = machine(&found);
    assert!(jvm.is_some(), "{found:#?}");
    let python = Some(SparkPython::Worker);
    let spark = Spark { role: Some(SparkRole::Executor), jvm, python };
    assert_eq!(found.process().spark, Some(spark), "{found:#?}");
    assert_eq!(found.process().databricks, None, "nothing says that it is on Databricks");
    let responsible = found.responsible();
    assert_eq!(responsible.rule, Rule::Module, "{found:#?}");
    assert_eq!(responsible.script.as_deref(), Some("pyspark.daemon"));
    assert_eq!(responsible.pid, found.process().ancestors[0].pid, "{found:#?}");
}

#[test]
fn a_cluster_is_found_as_far_as_an_environment_is_read_and_no_other_is_made_up() {
    let Some(application) = Application::make() else { return };
    let fillers: Vec<(String, String)> = (0..16)
        // The most that Linux allows in one variable is 128 KiB.
        .map(|number| (format!("FILLER_{number}"), "nobody-reads-this-".repeat(7_000)))
        .collect();
    let fillers: Vec<_> = fillers.iter().map(|(name, text)| (&**name, &**text)).collect();
    let aurora = [("DB_CLUSTER_ID", "orders-aurora"), ("DB_CLUSTER_NAME", "orders")];
    for variables in [&[&fillers, &CLUSTER[..]].concat()[..], &aurora] {
        let Some((found, findings)) = application.run(EXECUTOR, &[], variables) else { return };
        // Variables are handed on in the order of their names: two MiB stand behind these.
        let expected = if variables == aurora { None } else { databricks() };
        assert_eq!(found.process().databricks, expected, "{found:#?}");
        let spark = found.process().spark.as_ref().unwrap();
        assert_eq!(spark.role, Some(SparkRole::Executor));
        assert!(!findings.report.everything().contains("nobody-reads-this-"));
    }
}
