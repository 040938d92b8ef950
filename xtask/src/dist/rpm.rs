//! The package of the RPM distributions, by rpmbuild.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::EPOCH;
use super::staging::{CONFIGURATION, DOCUMENTS, Files, Staged, Staging};
use crate::command;

/// Where zsh looks for completions of packages.
const ZSH: &str = "usr/share/zsh/site-functions";

/// Folders that belong to this package alone.
const FOLDERS: [&str; 3] =
    ["etc/imds-audit", "usr/share/doc/imds-audit", "usr/share/doc/imds-audit/examples"];

/// Builds the package into a folder.
pub fn build(staging: &Staging<'_>, folder: &Path) -> Result<()> {
    let root = &staging.workspace.root;
    let mut files = staging.files(ZSH)?;
    for name in ["LICENSE-MIT", "LICENSE-APACHE"] {
        let data = fs::read(root.join(name)).with_context(|| name.to_owned())?;
        let path = format!("usr/share/licenses/imds-audit/{name}");
        files.insert(path, Staged { data, mode: 0o644 });
    }
    let data = fs::read(root.join("CHANGELOG.md")).context("CHANGELOG.md")?;
    files.insert(format!("{DOCUMENTS}/CHANGELOG.md"), Staged { data, mode: 0o644 });
    let tree = staging.lay_out(&files, "rpm")?;

    let template = root.join("deploy/packages/imds-audit.spec.in");
    let template = fs::read_to_string(&template).with_context(|| template.display().to_string())?;
    let spec = template
        .replace("@VERSION@", &staging.release.version)
        .replace("@TREE@", &tree.display().to_string())
        .replace("@FILES@", &list(&files));
    let top = tree.with_extension("top");
    if top.exists() {
        fs::remove_dir_all(&top).with_context(|| top.display().to_string())?;
    }
    let path = super::write(&top.join("imds-audit.spec"), spec.as_bytes())?;
    let architecture = staging.architecture.name;
    let mut rpmbuild = Command::new("rpmbuild");
    rpmbuild.args(["-bb", "--quiet", "--nodeps", "--target"]).arg(format!("{architecture}-linux"));
    for (name, value) in [
        ("_topdir", top.display().to_string().as_str()),
        ("_dbpath", top.join("database").display().to_string().as_str()),
        ("_buildhost", "localhost"),
        ("use_source_date_epoch_as_buildtime", "1"),
        ("clamp_mtime_to_source_date_epoch", "1"),
        ("source_date_epoch_from_changelog", "0"),
        // Every rpm since 4.8 reads it, so Amazon Linux 2's too.
        ("_binary_payload", "w6.xzdio"),
        ("_source_filedigest_algorithm", "8"),
        ("_binary_filedigest_algorithm", "8"),
        ("_unitdir", "/usr/lib/systemd/system"),
    ] {
        rpmbuild.arg("--define").arg(format!("{name} {value}"));
    }
    rpmbuild.arg(&path).env(EPOCH, staging.release.epoch.to_string());
    command::output(&mut rpmbuild)?;
    let name = format!("imds-audit-{}-1.{architecture}.rpm", staging.release.version);
    let built = top.join("RPMS").join(architecture).join(&name);
    if !built.exists() {
        bail!("rpmbuild made no {}", built.display());
    }
    fs::copy(&built, folder.join(name)).with_context(|| built.display().to_string())?;
    Ok(())
}

/// Returns the list of files as a spec has it.
fn list(files: &Files) -> String {
    let mut lines = vec!["%defattr(-,root,root,-)".to_owned()];
    lines.extend(FOLDERS.map(|folder| format!("%dir /{folder}")));
    lines.push("%dir /usr/share/licenses/imds-audit".to_owned());
    for path in files.keys() {
        let kind = if path == CONFIGURATION {
            "%config(noreplace) "
        } else if path.starts_with("usr/share/licenses/") {
            "%license "
        } else if path.starts_with(DOCUMENTS) {
            "%doc "
        } else {
            ""
        };
        lines.push(format!("{kind}/{path}"));
    }
    lines.join("\n")
}
