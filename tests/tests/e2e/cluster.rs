//! The commands of `docs/kubernetes.md`, by the real helm and kubectl, against a stand-in for a
//! cluster's API server.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use imds_audit_tests::{chart::deploy, python};
use serde_json::Value;
use tempfile::TempDir;

const PAGE: &str = include_str!("../../../docs/kubernetes.md");
const NODES: [&str; 2] = ["node-1", "node-2"];

/// Commands that are not run here: the first is run on the released image against a registry
/// (`packages::image`), and for the second a pod would have to be there.
const NOT_RUN: [&str; 2] =
    ["skopeo copy --all ", "kubectl --namespace imds-audit exec daemonset/imds-audit -- "];

/// A stand-in for a cluster, gone when dropped, and a folder with the project's files to deploy.
struct Cluster {
    api: Child,
    folder: TempDir,
}

impl Cluster {
    fn start() -> Option<Self> {
        let python = python("IMDS_AUDIT_PYTHON_CHARTS")?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/kube_api.py");
        let mut serve = Command::new(&python);
        serve.arg(script).args(NODES).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut api = serve.spawn().unwrap();
        let mut port = String::new();
        BufReader::new(api.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\nusers: [{{name: test, user: {{}}}}]\n\
             clusters: [{{name: test, cluster: {{server: 'http://127.0.0.1:{}'}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n",
            port.trim()
        );
        fs::write(folder.path().join("kubeconfig"), config).unwrap();
        // Beside the Python of the environment, whose name is a link to elsewhere.
        for name in ["helm", "kubectl"] {
            let link = folder.path().join(name);
            std::os::unix::fs::symlink(python.with_file_name(name), link).unwrap();
        }
        let copied = Command::new("cp").arg("-r").arg(deploy()).arg(folder.path()).status();
        assert!(copied.unwrap().success());
        Some(Self { api, folder })
    }

    /// Runs a command line, which is to succeed, and gives what it printed.
    fn run(&self, line: &str) -> String {
        let (folder, path) = (self.folder.path(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        shell.args(["-ec", line]).current_dir(folder).env_clear().stdin(Stdio::null());
        shell.env("PATH", format!("{}:{path}", folder.display())).env("HOME", folder);
        let output = shell.env("KUBECONFIG", folder.join("kubeconfig")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Everything in the cluster.
    fn objects(&self) -> Vec<Value> {
        serde_json::from_str(&self.run("kubectl get --raw /objects")).unwrap()
    }

    /// Asserts that a command prints the log of the pod on each node.
    fn has_a_line_of_each_node(&self, command: &str) {
        let lines = self.run(command);
        for node in NODES {
            let line = format!("[pod/imds-audit-{node}/imds-audit] ");
            assert!(lines.contains(&line) && lines.contains(&format!("\"{node}\"")), "{lines}");
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.api.kill().ok();
        self.api.wait().ok();
    }
}

/// Gives the commands of the page's blocks, as they are typed where the registry is that one.
fn blocks() -> Vec<Vec<String>> {
    let blocks = PAGE.split("\n```sh\n").skip(1).map(|rest| rest.split("\n```").next().unwrap());
    let command = |line: &str| line.replace("REGISTRY", "registry.test");
    let is_run = |line: &&str| !NOT_RUN.iter().any(|start| line.starts_with(start));
    blocks.map(|block| block.lines().filter(is_run).map(command).collect()).collect()
}

#[test]
fn the_page_s_commands_install_read_and_remove() {
    let Some(cluster) = Cluster::start() else { return };
    let blocks = blocks();
    let [helm, plain, check, helm_removed, plain_removed] = &blocks[..] else {
        panic!("{blocks:#?}")
    };
    assert_eq!(check, &[""; 0]);
    let ways = [(helm, helm_removed), (plain, plain_removed)];
    let [install, logs] = &helm[..] else { panic!("{helm:?}") };
    for (way, removed) in ways {
        for command in way.iter().filter(|command| *command != logs) {
            cluster.run(command);
        }
        let objects = cluster.objects();
        let image = objects.iter().find(|one| one["kind"] == "DaemonSet").expect("a DaemonSet");
        let image = &image["spec"]["template"]["spec"]["containers"][0]["image"];
        let image = image.as_str().unwrap();
        assert!(image.starts_with("registry.test/imds-audit:"), "{image}");
        cluster.has_a_line_of_each_node(logs);
        for command in removed {
            cluster.run(command);
        }
        assert_eq!(cluster.objects(), [Value::Null; 0], "after {removed:?}");
    }

    // What helm prints after an installation under another name.
    cluster.run(&install.replace("install imds-audit ", "install other-imds-audit "));
    let notes = cluster.run("helm get notes other-imds-audit --namespace imds-audit");
    let command = notes.lines().find(|line| line.contains(" logs ")).expect("a command to read");
    let lines = cluster.run(command.trim());
    assert_eq!(lines.lines().count(), NODES.len(), "{lines}");
}
