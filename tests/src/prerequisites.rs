//! Prerequisites of a test. A missing one is printed loudly; in CI it is a failure.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;

use tempfile::TempDir;

/// Says whether this is CI, where nothing may be skipped.
pub fn in_ci() -> bool {
    env::var_os("CI").is_some_and(|ci| ci == "true")
}

/// Says that the calling test is skipped, and why.
pub fn skip(reason: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    assert!(!in_ci(), "{test} must not be skipped in CI: {reason}");
    eprintln!("SKIPPED {test}: {reason}");
}

/// Says that the calling test is skipped for want of something in this kernel, which no set-up brings.
/// The guests of `cargo xtask vm` have other kernels.
pub fn skip_on_this_kernel(reason: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("SKIPPED {test}: {reason}");
}

/// Says whether this is root.
pub fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip("it loads programs into the kernel and needs root");
    }
    root
}

/// Gives the path of the program under test.
pub fn program() -> Option<PathBuf> {
    variable("IMDS_AUDIT")
}

/// Gives the Python interpreter that a variable names.
pub fn python(variable_name: &str) -> Option<PathBuf> {
    variable(variable_name)
}

/// Gives the folder of the Node packages.
pub fn node_modules() -> Option<PathBuf> {
    variable("IMDS_AUDIT_NODE_MODULES")
}

/// Gives the folder of other projects' captures.
pub fn samples() -> Option<PathBuf> {
    variable("IMDS_AUDIT_SAMPLES")
}

fn variable(name: &str) -> Option<PathBuf> {
    let path = env::var_os(name).map(PathBuf::from);
    if path.is_none() {
        skip(&format!("{name} is not set; run `cargo xtask test`"));
    }
    path
}

/// Copies a file to where every user may read and execute it, until the folder is dropped.
pub fn public_copy(file: &Path) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.path().join(file.file_name().unwrap());
    fs::copy(file, &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    (folder, copy)
}
