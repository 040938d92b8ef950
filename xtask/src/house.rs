//! Rules of the house that the compiler does not keep: the direction of imports, files that import
//! each other, plain English, and the tests that the page on security names.

#[cfg(test)]
mod api;
mod imports;
mod named_tests;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// Checks the rules, and names each place that breaks one.
pub fn check(workspace: &Workspace) -> Result<()> {
    let files = sources(&workspace.root)?;
    let mut faults = imports::faults(&files);
    faults.extend(words::faults(&files));
    faults.extend(named_tests::faults(&files));
    if faults.is_empty() {
        return Ok(());
    }
    bail!("{} places break a rule of the house:\n{}", faults.len(), faults.join("\n"))
}

/// A file, by its path from the workspace's root.
#[derive(Debug)]
pub struct SourceFile {
    /// The path, with `/` between its parts.
    pub path: String,
    /// The text.
    pub text: String,
}

/// Reads the Rust files and the pages of the workspace.
fn sources(root: &Path) -> Result<Vec<SourceFile>> {
    let mut found = Vec::new();
    for folder in ["imds-audit/src", "imds-audit-ebpf/src", "xtask/src", "tests", "docs"] {
        walk(&root.join(folder), &mut found)?;
    }
    found.extend(["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root.join(name)));
    found.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let path = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        Ok(SourceFile { path, text })
    };
    found.into_iter().map(read).collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "node_modules" | "target" | "corpus") {
                walk(&path, found)?;
            }
        } else if name.ends_with(".rs") || name.ends_with(".md") {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_keeps_the_rules_of_the_house() {
        check(&Workspace::locate().unwrap()).unwrap();
    }
}
