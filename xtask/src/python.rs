//! The Python environments of the end-to-end tests: real clients at pinned versions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;
use crate::workspace::Workspace;

/// The environments: the variable that tells the tests where its Python is, and its name, which
/// is also that of its requirements in `tests/python`.
const ENVIRONMENTS: [(&str, &str); 2] =
    [("IMDS_AUDIT_PYTHON_V1", "v1"), ("IMDS_AUDIT_PYTHON_CURRENT", "current")];

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
        .map(|&(variable, name)| {
            let python = environment(&sources, &folder, name)
                .with_context(|| format!("the Python environment {name} of the tests"))?;
            Ok((variable, python))
        })
        .collect()
}

/// Makes one environment, unless the one that is there was made from the same files.
fn environment(sources: &Path, folder: &Path, name: &str) -> Result<PathBuf> {
    let requirements = sources.join(name).with_extension("txt");
    let shim = sources.join(SHIM).with_extension("py");
    let made_from = [&requirements, &shim]
        .map(|path| fs::read_to_string(path).with_context(|| path.display().to_string()))
        .into_iter()
        .collect::<Result<String>>()?;

    let environment = folder.join(name);
    let python = environment.join("bin/python");
    let stamp = environment.join("made-from");
    // The interpreter is a link, and dangles once the machine's Python is gone.
    if python.exists() && fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == made_from) {
        return Ok(python);
    }

    println!("making the Python environment {name}");
    command::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
    command::run(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(["--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement"])
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
            .args(["-c", "import boto3, botocore.credentials, botocore.httpsession"])
            .env("AWS_EC2_METADATA_DISABLED", "true"),
    )?;
    fs::write(&stamp, made_from).with_context(|| stamp.display().to_string())?;
    Ok(python)
}
