//! The tree of files that both package formats install.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::archive::gzip;
use super::{Release, date};
use crate::architecture::Architecture;
use crate::workspace::Workspace;

/// The configuration, which a package manager must not overwrite.
pub const CONFIGURATION: &str = "etc/imds-audit/imds-audit.toml";
/// The folder of documents.
pub const DOCUMENTS: &str = "usr/share/doc/imds-audit";
/// What both formats say of the maker.
pub const MAINTAINER: &str = "imds-audit maintainers <maintainers@imds-audit.invalid>";

/// What a package is made of.
#[derive(Clone, Copy)]
pub struct Staging<'a> {
    /// The source.
    pub workspace: &'a Workspace,
    /// The release.
    pub release: &'a Release,
    /// The architecture.
    pub architecture: &'a Architecture,
    /// The program.
    pub program: &'a Path,
    /// The licences of its parts.
    pub notices: &'a str,
    /// The list of its parts.
    pub list: &'a str,
}

/// A file of a package.
pub struct Staged {
    /// The content.
    pub data: Vec<u8>,
    /// The permissions.
    pub mode: u32,
}

/// The files of a package, by their path without a leading slash.
pub type Files = BTreeMap<String, Staged>;

impl Staging<'_> {
    /// Collects the files; completions of zsh go where the format's distributions look for them.
    pub fn files(&self, zsh: &str) -> Result<Files> {
        let root = &self.workspace.root;
        let manual = self.workspace.target.join("dist/manual");
        let mut files = Files::new();
        let mut add =
            |path: String, mode: u32, data: Vec<u8>| files.insert(path, Staged { data, mode });
        add("usr/bin/imds-audit".into(), 0o755, read(self.program)?);
        add(CONFIGURATION.into(), 0o644, read(&root.join("deploy/imds-audit.toml"))?);
        let units = root.join("deploy/systemd");
        let unit = "usr/lib/systemd/system/imds-audit.service";
        add(unit.into(), 0o644, read(&units.join("imds-audit.service"))?);
        let early = format!("{DOCUMENTS}/examples/imds-audit-early.conf");
        add(early, 0o644, read(&units.join("imds-audit-early.conf"))?);
        for page in list(&manual.join("man1"))? {
            let name = format!("usr/share/man/man1/{}.gz", name_of(&page));
            add(name, 0o644, gzip(&read(&page)?)?);
        }
        let completions = [
            ("imds-audit.bash", "usr/share/bash-completion/completions/imds-audit".to_owned()),
            ("imds-audit.fish", "usr/share/fish/vendor_completions.d/imds-audit.fish".to_owned()),
            ("_imds-audit", format!("{zsh}/_imds-audit")),
        ];
        for (name, path) in completions {
            add(path, 0o644, read(&manual.join("completions").join(name))?);
        }
        let document = |name: &str| format!("{DOCUMENTS}/{name}");
        add(document("THIRD-PARTY.gz"), 0o644, gzip(self.notices.as_bytes())?);
        add(document("imds-audit.cdx.json.gz"), 0o644, gzip(self.list.as_bytes())?);
        Ok(files)
    }

    /// Writes files into an empty folder, and returns it.
    pub fn lay_out(&self, files: &Files, format: &str) -> Result<PathBuf> {
        let folder = self.workspace.target.join("dist/staging");
        let folder = folder.join(format!("{format}-{}", self.architecture.debian));
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
        for (path, staged) in files {
            let path = super::write(&folder.join(path), &staged.data)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(staged.mode))?;
        }
        // Whatever the umask of whoever runs this.
        open_folders(&folder)?;
        Ok(folder)
    }

    /// Returns the release's time as the change log of a package has it.
    pub fn mail_date(&self) -> Result<String> {
        date(self.release.epoch, "+%a, %d %b %Y %H:%M:%S +0000")
    }
}

fn open_folders(folder: &Path) -> Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_folders(&entry.path())?;
        }
    }
    Ok(())
}

/// Returns the files of a folder in the order of their names.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    Ok(paths)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| path.display().to_string())
}
