//! Paths of the machine that built a release, which must stand nowhere in it.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::workspace::Workspace;

/// Fails if a file, or what is packed in it, has a path of this machine.
pub fn check(workspace: &Workspace, files: &[PathBuf]) -> Result<()> {
    let folders = folders(workspace);
    let scratch = workspace.target.join("dist/unpacked");
    for file in files {
        if scratch.exists() {
            fs::remove_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
        }
        fs::create_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
        unpack(file, &scratch)?;
        let mut grep = Command::new("grep");
        grep.args(["--recursive", "--text", "--fixed-strings", "--files-with-matches"]);
        for folder in &folders {
            grep.arg("-e").arg(folder);
        }
        // 0 where it finds something, 1 where it does not.
        let output = grep.arg(file).arg(&scratch).output().context("grep")?;
        match output.status.code() {
            Some(1) => {}
            Some(0) => {
                let found = String::from_utf8_lossy(&output.stdout);
                bail!("{}: a path of this machine stands in {}", file.display(), found.trim());
            }
            _ => bail!("{}", String::from_utf8_lossy(&output.stderr)),
        }
    }
    fs::remove_dir_all(&scratch).with_context(|| scratch.display().to_string())
}

/// Returns the folders that compilers and packagers have seen.
fn folders(workspace: &Workspace) -> Vec<PathBuf> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let below_home = |name: &str| home.as_ref().map(|home| home.join(name));
    let mut folders = vec![workspace.root.clone(), workspace.target.clone()];
    for (variable, name) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        folders.extend(env::var_os(variable).map(PathBuf::from));
        folders.extend(below_home(name));
    }
    // Behind symbolic links, such as the folder of tools.
    folders.extend(fs::canonicalize(workspace.tools()));
    folders.sort();
    folders.dedup();
    folders
}

/// Unpacks a file into a folder, and what a package says of itself; other files are left alone.
fn unpack(file: &Path, folder: &Path) -> Result<()> {
    let shell = |script: &str| {
        let mut sh = Command::new("sh");
        command::output(sh.args(["-ec", script, "sh"]).arg(file).current_dir(folder)).map(drop)
    };
    let name = file.file_name().and_then(OsStr::to_str).unwrap_or_default();
    match name.rsplit('.').next() {
        Some("deb") => shell("dpkg-deb -R \"$1\" tree; find tree -name '*.gz' -exec gunzip {} +"),
        Some("rpm") => shell(
            "rpm2cpio \"$1\" | cpio -idm --quiet; find . -name '*.gz' -exec gunzip {} +; \
             rpm -qp --nosignature --xml \"$1\" > header.xml",
        ),
        Some("tgz") => shell("tar -xzf \"$1\""),
        Some("tar") => shell(
            "tar -xf \"$1\"; for blob in blobs/sha256/*; do \
             if gzip -t \"$blob\" 2>/dev/null; then mkdir \"$blob.tree\"; tar -xzf \"$blob\" -C \"$blob.tree\"; fi; done",
        ),
        _ => Ok(()),
    }
}
