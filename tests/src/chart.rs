//! The Helm chart, rendered by the real helm.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::prerequisites::{node_modules, python};

/// The chart, with the tools that render and check it.
#[derive(Debug)]
pub struct Chart {
    python: PathBuf,
    home: TempDir,
}

impl Chart {
    /// Finds the tools; `None` where they are not there, and the test was skipped.
    pub fn new() -> Option<Self> {
        let python = python("IMDS_AUDIT_PYTHON_CHARTS")?;
        Some(Self { python, home: tempfile::tempdir().unwrap() })
    }

    /// Gives the chart's folder.
    pub fn folder() -> PathBuf {
        deploy().join("helm/imds-audit")
    }

    /// Runs helm.
    pub fn helm(&self, arguments: &[&str]) -> Output {
        // Beside the Python of the environment, whose name is a link to elsewhere.
        let helm = self.python.with_file_name("helm");
        Command::new(helm).args(arguments).env("HOME", self.home.path()).output().unwrap()
    }

    /// Renders the chart for a release of Kubernetes, with values as `--set` takes them.
    ///
    /// # Panics
    /// Where helm refuses.
    pub fn render(&self, version: &str, values: &[&str]) -> String {
        let folder = Self::folder();
        let mut arguments = vec!["template", "imds-audit", folder.to_str().unwrap()];
        arguments.extend(["--kube-version", version, "--namespace", "imds-audit"]);
        for value in values {
            arguments.extend(["--set", value]);
        }
        let output = self.helm(&arguments);
        assert!(output.status.success(), "{values:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Validates manifests for releases of Kubernetes, and gives the kinds that were validated.
    ///
    /// # Panics
    /// Where one of them is not valid.
    pub fn validate(&self, manifests: &str, versions: &[&str]) -> Value {
        let output = self.script("check_manifests.py", versions, manifests);
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Tells whether manifests are valid for a release of Kubernetes.
    pub fn is_valid(&self, manifests: &str, version: &str) -> bool {
        self.script("check_manifests.py", &[version], manifests).status.success()
    }

    /// Parses manifests.
    pub fn parse(&self, manifests: &str) -> Vec<Value> {
        let output = self.script("yaml_to_json.py", &[], manifests);
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Validates the PodMonitors among manifests against the Prometheus operator's schema, and gives
    /// how many there are; `None` where the schema is not there, and the test was skipped.
    ///
    /// # Panics
    /// Where one of them is not valid.
    pub fn validate_pod_monitors(&self, manifests: &[Value]) -> Option<usize> {
        let modules = node_modules()?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("node/check_pod_monitor.mjs");
        let mut command = Command::new("node");
        let output = answer(command.arg(script).arg(modules), &Value::from(manifests).to_string());
        assert!(output.status.success(), "{}", text(&output.stderr));
        Some(text(&output.stdout).trim().parse().unwrap())
    }

    fn script(&self, name: &str, arguments: &[&str], input: &str) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name);
        let mut command = Command::new(&self.python);
        answer(command.arg(script).args(arguments), input)
    }
}

/// Runs a command with this on its standard input.
fn answer(command: &mut Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Gives the one manifest of a kind.
pub fn of_kind<'a>(manifests: &'a [Value], kind: &str) -> &'a Value {
    let mut of_it = manifests.iter().filter(|manifest| manifest["kind"] == kind);
    let found = of_it.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(of_it.next().is_none(), "more than one {kind}");
    found
}

/// Gives the agent's configuration in the manifests.
pub fn agent_config(manifests: &[Value]) -> &str {
    let found = manifests.iter().find_map(|manifest| manifest["data"]["imds-audit.toml"].as_str());
    found.expect("no configuration")
}

/// Gives the folder of what is deployed.
pub fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
