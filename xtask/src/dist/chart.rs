//! The Helm chart as one file.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Release;
use super::archive::{Archive, gzip};
use crate::workspace::Workspace;

/// The chart's folder.
const FOLDER: &str = "deploy/helm/imds-audit";

/// Writes the chart as `helm package` does, but with the release's time and a fixed order.
pub fn pack(workspace: &Workspace, release: &Release, folder: &Path) -> Result<()> {
    let mut files = BTreeMap::new();
    walk(&workspace.root.join(FOLDER), "imds-audit", &mut files)?;
    let mut archive = Archive::new(release.epoch);
    for (path, data) in files {
        archive.file(&path, 0o644, &data)?;
    }
    let path = folder.join(format!("imds-audit-{}.chart.tgz", release.version));
    super::write(&path, &gzip(&archive.finish()?)?)?;
    Ok(())
}

fn walk(folder: &Path, name: &str, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let inner = format!("{name}/{}", path.file_name().unwrap_or_default().to_string_lossy());
        if path.is_dir() {
            walk(&path, &inner, files)?;
        } else {
            files.insert(inner, fs::read(&path).with_context(|| path.display().to_string())?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_chart_has_the_program_s_version() {
        let chart = include_str!("../../../deploy/helm/imds-audit/Chart.yaml");
        for key in ["version", "appVersion"] {
            assert!(chart.contains(&format!("\n{key}: {}\n", env!("CARGO_PKG_VERSION"))), "{key}");
        }
    }
}
