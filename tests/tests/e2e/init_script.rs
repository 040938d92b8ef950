//! The init script of clusters, in containers of a real runtime with the platforms' environments:
//! whatever is missing, the launch goes on, and what does not work is one line in the script's log.

mod faults;
mod first_boot;
mod page;
mod platforms;
mod real_spark;
mod rights;
mod systemd;
mod targets;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use imds_audit::simulator::Topology;
use imds_audit_tests::{Disk, Events, Node, NodeSetup, TestNetwork, program, root, skip, until};
use tempfile::TempDir;

/// The volume, and everything of the node.
const HOME: &str = "/Volumes/main/default/imds-audit";
const BASE: &str = "/opt/imds-audit";
const LOG: &str = "/opt/imds-audit/init.log";

/// What Databricks sets on a driver, among what is nobody's business.
const DRIVER: &str = "export DB_CLUSTER_ID=1126-173000-reef123 DB_IS_DRIVER=TRUE \
    DB_CLUSTER_NAME='job-77-run-901-nightly \"etl\" ü' DB_CONTAINER_IP=10.20.30.40 \
    WAREHOUSE_PASSWORD=secret-of-the-environment";
const CLUSTER: &str = "1126-173000-reef123";
const SECRET: &str = "secret-of-the-environment";

/// A script that uses IMDSv1, and lives until that is written.
const V1: &str = "#!/bin/sh\ncurl -s -m 20 -o /dev/null \
                  http://169.254.169.254/latest/meta-data/instance-id || exit 1\n\
                  until grep -q tag.sh /opt/imds-audit/events/events-*.jsonl; do sleep 0.05; done\n";

/// A file of the project.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

/// A node of a cluster, its disk, and the volume that it has in common with others.
struct Cluster {
    stage: TestNetwork,
    disk: Disk,
    volume: TempDir,
}

impl Cluster {
    /// Makes the volume with the two files; `None` where the test cannot run.
    fn new() -> Option<Self> {
        if !root() {
            return None;
        }
        program()?;
        let volume = tempfile::tempdir().unwrap();
        let script = path("deploy/databricks/imds-audit-init.sh");
        fs::copy(script, volume.path().join("imds-audit-init.sh")).unwrap();
        // The program is mounted here: the one under test may be large.
        fs::write(volume.path().join("imds-audit"), "").unwrap();
        fs::create_dir(volume.path().join("events")).unwrap();
        let disk = Disk::new();
        disk.write("opt/job/tag.sh", V1);
        Some(Self { stage: TestNetwork::new(Topology::Direct, None), disk, volume })
    }

    /// What a node with all rights needs.
    fn setup(&self) -> NodeSetup {
        let volume = format!("{}:{HOME}", self.volume.path().display());
        let program = format!("{}:{HOME}/imds-audit:ro", program().unwrap().display());
        NodeSetup { volumes: vec![volume, program], ..NodeSetup::default() }
    }

    fn start(&self, setup: &NodeSetup) -> Option<Node> {
        Node::start(&self.stage, &self.disk, setup)
    }

    /// Starts a node with all rights, and launches it as Databricks does a driver.
    fn launched(&self) -> Option<Node> {
        let mut node = self.start(&self.setup())?;
        launch(&mut node, DRIVER);
        node.wait_for(LOG, " attached; ");
        Some(node)
    }

    /// The folder of the volume that a driver's events go to.
    fn target(&self) -> PathBuf {
        self.volume.path().join(format!("events/cluster={CLUSTER}/host=10.20.30.40"))
    }

    /// Gives the events that came to the volume.
    fn events(&self) -> Events {
        let mut found = Vec::new();
        walk(&self.volume.path().join("events"), &mut found);
        let texts = found.iter().map(|path| {
            let text = fs::read_to_string(path).unwrap_or_default();
            assert!(text.is_empty() || text.ends_with('\n'), "half a line in {}", path.display());
            text
        });
        Events::read(&texts.collect::<String>())
    }

    /// Runs the program's report over the volume.
    fn report(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program().unwrap());
        command.arg("report").arg(self.volume.path().join("events")).args(arguments);
        command.output().unwrap()
    }
}

/// Finds the files of events at and below a folder.
fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.file_name().unwrap().to_str().unwrap().contains(".jsonl") {
            found.push(path);
        }
    }
}

/// Runs the script as the platform does, after these commands. Gives what it printed; how long it
/// took is shown with the test.
fn launch(node: &mut Node, before: &str) -> String {
    launch_by(node, before, "/bin/bash $script")
}

/// As [`launch`], in a way of the test's own.
fn launch_by(node: &mut Node, before: &str, way: &str) -> String {
    // Under a name of the platform's, from a folder of its own.
    let said = node.run_well(&format!(
        "{before}\nmkdir -p /databricks/init_scripts && cd /databricks/init_scripts &&\n\
         script=20261130_1_imds-audit-init.sh && cp {HOME}/imds-audit-init.sh $script &&\n\
         begun=$(date +%s%3N) && {way} &&\n\
         echo $(($(date +%s%3N) - begun)) >/launch.milliseconds"
    ));
    println!("the launch took {} ms", node.read("/launch.milliseconds").trim());
    said
}

/// Has everything in a node end, as its end does, and waits until the script has.
fn terminate(node: &mut Node) {
    node.run("kill -TERM -1");
    node.wait_for(LOG, "ended, as it was asked to");
    wait_until_gone(node);
}

/// Waits until nothing of the script runs any more.
fn wait_until_gone(node: &mut Node) {
    let gone = until(|| (node.run("flock -n /opt/imds-audit/lock true").0 == 0).then_some(()));
    assert!(gone.is_some(), "the script does not end: {}", node.read(LOG));
}

/// Runs a script that uses IMDSv1, and waits until its requests are written on the node's disk.
fn ask(node: &mut Node, requests: usize) {
    for _ in 0..requests {
        node.run_well("sh /opt/job/tag.sh");
    }
    let written = || {
        let count = node.run(&format!("cat {BASE}/events/events-*.jsonl* | grep -c instance-id")).1;
        (count.trim().parse::<usize>().ok()? >= requests).then_some(())
    };
    assert!(until(written).is_some(), "the requests do not come: {}", node.read(LOG));
}

/// The number of lines of a log with a text.
fn lines_with(log: &str, text: &str) -> usize {
    log.lines().filter(|line| line.contains(text)).count()
}

#[test]
fn shellcheck_finds_nothing_in_the_scripts() {
    if Command::new("shellcheck").arg("--version").output().is_err() {
        return skip("there is no shellcheck");
    }
    let script = path("deploy/databricks/imds-audit-init.sh");
    let output = Command::new("shellcheck").arg(&script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
