//! Debian's package, by dpkg-deb.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::EPOCH;
use super::archive::gzip;
use super::staging::{CONFIGURATION, DOCUMENTS, Files, MAINTAINER, Staged, Staging};
use crate::command;

/// Where Debian's zsh looks for completions of packages.
const ZSH: &str = "usr/share/zsh/vendor-completions";

/// Builds the package into a folder.
pub fn build(staging: &Staging<'_>, folder: &Path) -> Result<()> {
    let packages = staging.workspace.root.join("deploy/packages");
    let version = &staging.release.version;
    let mut files = staging.files(ZSH)?;
    let mut add = |path: String, data: Vec<u8>| files.insert(path, Staged { data, mode: 0o644 });
    add(format!("{DOCUMENTS}/copyright"), copyright(staging)?.into_bytes());
    add(format!("{DOCUMENTS}/changelog.gz"), gzip(changes(staging)?.as_bytes())?);
    let overrides = packages.join("imds-audit.lintian-overrides");
    let overrides = fs::read(&overrides).with_context(|| overrides.display().to_string())?;
    add("usr/share/lintian/overrides/imds-audit".into(), overrides);

    let tree = staging.lay_out(&files, "deb")?;
    let control = tree.join("DEBIAN");
    super::write(&control.join("control"), fields(staging, &files).as_bytes())?;
    super::write(&control.join("conffiles"), format!("/{CONFIGURATION}\n").as_bytes())?;
    super::write(&control.join("md5sums"), sums(&tree, &files)?.as_bytes())?;
    for name in ["postinst", "prerm", "postrm"] {
        let path = control.join(name);
        fs::copy(packages.join(name), &path).with_context(|| name.to_owned())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    fs::set_permissions(&control, fs::Permissions::from_mode(0o755))?;
    for name in ["control", "conffiles", "md5sums"] {
        fs::set_permissions(control.join(name), fs::Permissions::from_mode(0o644))?;
    }
    let path = folder.join(format!("imds-audit_{version}_{}.deb", staging.architecture.debian));
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.args(["--root-owner-group", "-Zxz", "--build"]).arg(&tree).arg(&path);
    command::output(dpkg.env(EPOCH, staging.release.epoch.to_string()))?;
    Ok(())
}

fn fields(staging: &Staging<'_>, files: &Files) -> String {
    let size: usize = files.values().map(|file| file.data.len().div_ceil(1024)).sum();
    format!(
        "Package: imds-audit\nVersion: {}\nArchitecture: {}\nMaintainer: {MAINTAINER}\n\
         Installed-Size: {size}\nSection: admin\nPriority: optional\n\
         Homepage: {}\nDescription: names every process that still uses IMDSv1\n \
         imds-audit watches every request to the EC2 instance metadata service on a\n \
         host, in every container, and reports whether it was IMDSv1 or IMDSv2, what\n \
         the service answered, and which process, script, unit or pod made it.\n",
        staging.release.version,
        staging.architecture.debian,
        env!("CARGO_PKG_REPOSITORY"),
    )
}

/// Returns the sums that `dpkg --verify` compares.
fn sums(tree: &Path, files: &Files) -> Result<String> {
    let mut md5sum = Command::new("md5sum");
    md5sum.current_dir(tree).arg("--");
    md5sum.args(files.keys().filter(|path| *path != CONFIGURATION));
    command::output(&mut md5sum)
}

/// Returns the package's change log: Debian wants one, and the program's own is in the source.
fn changes(staging: &Staging<'_>) -> Result<String> {
    Ok(format!(
        "imds-audit ({}) unstable; urgency=medium\n\n  \
         * Release {0}: see CHANGELOG.md in the source.\n\n -- {MAINTAINER}  {}\n",
        staging.release.version,
        staging.mail_date()?
    ))
}

/// Returns the copyright file (<https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/>).
fn copyright(staging: &Staging<'_>) -> Result<String> {
    let mut page = format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: imds-audit\nSource: {}\nComment:\n \
         THIRD-PARTY.gz has the licences of all that is linked into the program.\n\n\
         Files: *\nCopyright: the imds-audit authors\nLicense: MIT or Apache-2.0\n\n\
         License: MIT\n",
        env!("CARGO_PKG_REPOSITORY")
    );
    let path = staging.workspace.root.join("LICENSE-MIT");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    for line in text.trim().lines() {
        writeln!(page, " {}", if line.trim().is_empty() { "." } else { line.trim() })?;
    }
    page.push_str(
        "\nLicense: Apache-2.0\n On Debian systems the text of the Apache licence, version 2.0, is in\n \
         /usr/share/common-licenses/Apache-2.0.\n",
    );
    Ok(page)
}
