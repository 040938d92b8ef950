//! The Node packages of the end-to-end tests: real clients at locked versions.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;
use crate::workspace::Workspace;

/// The variable that tells the tests where the packages are.
const VARIABLE: &str = "IMDS_AUDIT_NODE_MODULES";

/// The files in `tests/node` that say which packages; the lock file has each one's hash.
const FILES: [&str; 2] = ["package.json", "package-lock.json"];

/// The packages that the tests load.
const PACKAGES: [&str; 6] = [
    "aws-sdk",
    "aws-sdk-2019",
    "@aws-sdk/credential-provider-node",
    "@kubernetes-models/prometheus-operator",
    "axe-core",
    "playwright-core",
];

/// Installs the packages, unless those that are there were installed from the same files; returns
/// their folder with the variable that carries it to the tests.
pub fn packages(workspace: &Workspace) -> Result<(&'static str, PathBuf)> {
    install(workspace).map(|folder| (VARIABLE, folder)).context("the Node packages of the tests")
}

fn install(workspace: &Workspace) -> Result<PathBuf> {
    let sources = workspace.root.join("tests/node");
    let folder = workspace.target.join("node");
    let modules = folder.join("node_modules");
    let stamp = folder.join("made-from");
    let made_from = FILES
        .iter()
        .map(|file| fs::read_to_string(sources.join(file)).with_context(|| (*file).to_owned()))
        .collect::<Result<String>>()?;
    if fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == made_from) {
        return Ok(modules);
    }

    println!("installing the Node packages");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    for file in FILES {
        fs::copy(sources.join(file), folder.join(file)).with_context(|| file.to_owned())?;
    }
    command::quiet(
        Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"])
            .current_dir(&folder),
    )?;
    // Loaded only: a credential chain could ask this machine's own metadata service.
    for package in PACKAGES {
        command::output(
            Command::new("node")
                .args(["-e", &format!("import('{package}')")])
                .current_dir(&folder)
                .env("AWS_EC2_METADATA_DISABLED", "true"),
        )?;
    }
    fs::write(&stamp, made_from).with_context(|| stamp.display().to_string())?;
    Ok(modules)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_lock_file_has_a_hash_for_each_package_and_names_no_registry() {
        let lock = include_str!("../../tests/node/package-lock.json");
        let packages = lock.matches("\n    \"node_modules/").count();
        assert!(packages > 2);
        assert_eq!(lock.matches("\"integrity\": \"sha512-").count(), packages);
        assert!(!lock.contains("\"resolved\""));
    }
}
