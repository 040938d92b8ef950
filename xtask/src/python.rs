//! The Python environments of the end-to-end tests: real clients at pinned versions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;
use crate::workspace::Workspace;

/// The environments: the variable that carries the path of its Python to the tests; its name, which
/// is also that of its requirements in `tests/python`; the modules that it must be able to load.
const ENVIRONMENTS: [(&str, &str, &str); 4] = [
    ("IMDS_AUDIT_PYTHON_V1", "v1", BOTO3),
    ("IMDS_AUDIT_PYTHON_CURRENT", "current", BOTO3),
    (
        "IMDS_AUDIT_PYTHON_REPORTS",
        "reports",
        "duckdb, jsonschema, ocsf_json_schema, opentelemetry.semconv, sqlglot",
    ),
    CHARTS,
];

/// The environment of the tests of the chart, in the same form. Helm is beside its Python.
const CHARTS: (&str, &str, &str) =
    ("IMDS_AUDIT_PYTHON_CHARTS", "charts", "kubernetes_validate, yaml");

/// The environment of the tests of what is released, in the same form.
const RELEASE: (&str, &str) = ("sbom", "cyclonedx.schema, cyclonedx.validation.json");

/// The environment of Spark, in the same form, and the package of it that PyPI has as source only.
const SPARK: (&str, &str) = ("spark", "pyspark.sql");
const SPARK_SOURCE: &str = "pyspark";

/// The modules of the AWS SDK for Python.
const BOTO3: &str = "boto3, botocore.credentials, botocore.httpsession";

/// The module in `tests/python` that lets old releases run on a new Python.
const SHIM: &str = "collections_shim";

/// Tells whether the machine's Python can make virtual environments.
pub fn can_make_environments() -> bool {
    command::output(Command::new("python3").args(["-c", "import ensurepip, venv"])).is_ok()
}

/// Makes the environments that are not there or not up to date; returns the path of each one's
/// Python with the variable that carries it to the tests.
pub fn environments(workspace: &Workspace) -> Result<Vec<(&'static str, PathBuf)>> {
    let sources = workspace.root.join("tests/python");
    let folder = workspace.target.join("python");
    ENVIRONMENTS
        .iter()
        .map(|&(variable, name, modules)| {
            let python = environment(&sources, &folder, name, modules, None)
                .with_context(|| format!("the Python environment {name} of the tests"))?;
            Ok((variable, python))
        })
        .collect()
}

/// Makes the environment of the tests of the chart; returns its Python with the variable that carries
/// it to the tests.
pub fn of_charts(workspace: &Workspace) -> Result<(&'static str, PathBuf)> {
    let (variable, name, modules) = CHARTS;
    let sources = workspace.root.join("tests/python");
    let python = environment(&sources, &workspace.target.join("python"), name, modules, None)
        .with_context(|| format!("the Python environment {name}"))?;
    Ok((variable, python))
}

/// Makes the environment of the tests of what is released, and returns its Python.
pub fn of_release(workspace: &Workspace) -> Result<PathBuf> {
    let (name, modules) = RELEASE;
    let sources = workspace.root.join("tests/python");
    environment(&sources, &workspace.target.join("python"), name, modules, None)
        .with_context(|| format!("the Python environment {name}"))
}

/// Makes the environment of Spark, half a gigabyte once, and returns its Python.
pub fn of_spark(workspace: &Workspace) -> Result<PathBuf> {
    let (name, modules) = SPARK;
    let sources = workspace.root.join("tests/python");
    environment(&sources, &workspace.target.join("python"), name, modules, Some(SPARK_SOURCE))
        .with_context(|| format!("the Python environment {name}"))
}

/// Makes one environment, unless the one that is there was made from the same files. Every package
/// comes built, but for the one `from_source`.
fn environment(
    sources: &Path,
    folder: &Path,
    name: &str,
    modules: &str,
    from_source: Option<&str>,
) -> Result<PathBuf> {
    let requirements = sources.join(name).with_extension("txt");
    let shim = sources.join(SHIM).with_extension("py");
    // A step of its own that an environment may have.
    let further = sources.join(format!("{name}_setup.py"));
    let further = Some(further).filter(|path| path.exists());
    let made_from = [&requirements, &shim]
        .into_iter()
        .chain(&further)
        .map(|path| fs::read_to_string(path).with_context(|| path.display().to_string()))
        .collect::<Result<String>>()?;

    let environment = folder.join(name);
    let python = environment.join("bin/python");
    let stamp = environment.join("made-from");
    // The interpreter is a link, and dangles once the machine's Python is gone.
    if python.exists() && fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == made_from) {
        return Ok(python);
    }

    println!("making the Python environment {name}");
    command::quiet(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
    command::quiet(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(["--no-deps", "--only-binary", ":all:"])
            .args(from_source.into_iter().flat_map(|package| ["--no-binary", package]))
            .args(["--require-hashes", "--requirement"])
            .arg(&requirements),
    )?;
    let mut packages = Command::new(&python);
    packages.args(["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]);
    let packages = PathBuf::from(command::output(&mut packages)?.trim());
    // A .pth file and no sitecustomize: Debian's Python has one of its own, which would win.
    fs::copy(&shim, packages.join(SHIM).with_extension("py")).context("the shim")?;
    fs::write(packages.join(SHIM).with_extension("pth"), format!("import {SHIM}\n"))
        .context("the shim's .pth file")?;
    // Imported only: a session could ask this machine's own metadata service.
    command::output(
        Command::new(&python)
            .args(["-c", &format!("import {modules}")])
            .env("AWS_EC2_METADATA_DISABLED", "true"),
    )?;
    if let Some(script) = further {
        command::output(Command::new(&python).arg(script))?;
    }
    fs::write(&stamp, made_from).with_context(|| stamp.display().to_string())?;
    Ok(python)
}
