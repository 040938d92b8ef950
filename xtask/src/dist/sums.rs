//! The sums of what was made, and the proof that a second run makes the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::EPOCH;
use super::archive::sha256;
use crate::architecture::Architecture;
use crate::command;
use crate::workspace::Workspace;

/// The file of sums, as sha256sum reads it.
pub const FILE: &str = "SHA256SUMS";

/// Writes the sums of every file in a folder, and returns them.
pub fn write(folder: &Path) -> Result<String> {
    let mut lines = String::new();
    for name in names(folder)? {
        let path = folder.join(&name);
        let data = fs::read(&path).with_context(|| path.display().to_string())?;
        lines.push_str(&format!("{}  {name}\n", sha256(&data)));
    }
    super::write(&folder.join(FILE), lines.as_bytes())?;
    Ok(lines)
}

/// Returns the names of the files in a folder, without that of the sums.
fn names(folder: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_file() && name != FILE {
            names.insert(name);
        }
    }
    Ok(names)
}

/// Makes sure that the source is as it was committed: the copy that a release is compared with is.
///
/// # Errors
/// Fails if a file differs, with the names of those that do.
pub fn require_committed(workspace: &Workspace) -> Result<()> {
    let mut status = Command::new("git");
    status.current_dir(&workspace.root).args(["status", "--porcelain"]);
    let changed = command::output(&mut status)?;
    if !changed.is_empty() {
        bail!("--twice compares with a copy of what is committed; not committed:\n{changed}");
    }
    Ok(())
}

/// Makes everything once more from a copy of the committed source in another folder, and compares.
///
/// # Errors
/// Returns an error that names the files that differ.
pub fn compare_with_a_copy(
    workspace: &Workspace,
    quick: bool,
    architectures: &[&Architecture],
    epoch: u64,
    made: &Path,
) -> Result<()> {
    let copy = workspace.target.join("dist/copy");
    if copy.exists() {
        fs::remove_dir_all(&copy).with_context(|| copy.display().to_string())?;
    }
    command::run(
        Command::new("git").args(["clone", "--quiet", "--local"]).arg(&workspace.root).arg(&copy),
    )?;
    // The tools are no part of what is compared, and take minutes to build.
    fs::create_dir_all(copy.join("target"))?;
    std::os::unix::fs::symlink(workspace.tools(), copy.join("target/tools"))?;
    let mut dist = workspace.cargo();
    dist.current_dir(&copy).env_remove("CARGO_TARGET_DIR").env_remove("IMDS_AUDIT_EBPF_OBJECT");
    dist.env(EPOCH, epoch.to_string());
    dist.args(["xtask", "dist"]);
    for architecture in architectures {
        dist.args(["--arch", architecture.name]);
    }
    if quick {
        dist.arg("--quick");
    }
    command::run(&mut dist)?;
    let again = copy.join("target/dist/release");
    let read = |folder: &Path| fs::read_to_string(folder.join(FILE)).context(FILE);
    let (first, second) = (read(made)?, read(&again)?);
    let differing: Vec<_> = first.lines().filter(|line| !second.contains(*line)).collect();
    if !differing.is_empty() || first.lines().count() != second.lines().count() {
        bail!("a second run made other bytes, in {}: {}", again.display(), differing.join(", "));
    }
    println!("a second run, in another folder, made the same {} files", first.lines().count());
    fs::remove_dir_all(&copy).with_context(|| copy.display().to_string())
}
