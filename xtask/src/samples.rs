//! Captures of other projects' tests, for the tests of `imds-audit replay`.
//!
//! They are taken from Debian's source packages, of pinned versions and hashes, and are no part of
//! this tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apt::{self, Private};
use crate::command;
use crate::workspace::Workspace;

/// The variable that carries their folder to the tests.
const VARIABLE: &str = "IMDS_AUDIT_SAMPLES";
/// The release of Debian that has the packages.
const SUITE: &str = "bookworm";

/// The packages: name, version, archive, its SHA-256, and the folder of captures in it.
const PACKAGES: [(&str, &str, &str, &str, &str); 2] = [
    (
        "tcpdump",
        "4.99.3-1",
        "tcpdump_4.99.3.orig.tar.gz",
        "ad75a6ed3dc0d9732945b2e5483cb41dc8b4b528a169315e499c6861952e73b3",
        "tcpdump-4.99.3/tests",
    ),
    (
        "libpcap",
        "1.10.3-1",
        "libpcap_1.10.3.orig.tar.gz",
        "2a8885c403516cf7b0933ed4b14d6caa30e02052489ebd414dc75ac52e7559e6",
        "libpcap-1.10.3/tests",
    ),
];

/// Fetches what is not there. Returns the variable and the folder that has a folder of captures for
/// each package.
pub fn folder(workspace: &Workspace) -> Result<(&'static str, PathBuf)> {
    let folder = workspace.target.join("samples");
    for package in PACKAGES {
        let (name, version, ..) = package;
        if !folder.join(format!("{name}-{version}")).exists() {
            println!("fetching the captures of {name} {version}");
            fetch(&folder, package).with_context(|| format!("the captures of {name} {version}"))?;
        }
    }
    Ok((VARIABLE, folder))
}

fn fetch(
    folder: &Path,
    (name, version, archive, sha256, captures): (&str, &str, &str, &str, &str),
) -> Result<()> {
    let place = folder.join("apt");
    fs::create_dir_all(&place)?;
    let sources = apt::sources::of_suite(SUITE, false)?.replace("deb [", "deb-src [");
    let private = Private::of_sources(&place, &sources, "amd64")?;
    let mut source = private.command("apt-get");
    command::quiet(
        source.args(["source", "-qq", "--download-only"]).arg(format!("{name}={version}")),
    )?;
    let sum = command::output(Command::new("sha256sum").arg(place.join(archive)))?;
    if !sum.starts_with(sha256) {
        bail!("{archive} is another one than was pinned: {sum}");
    }
    // In one step, or an interrupted run would leave half of it.
    let fresh = folder.join(format!("{name}.new"));
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    fs::create_dir_all(&fresh)?;
    let mut unpack = Command::new("tar");
    unpack.arg("-xf").arg(place.join(archive)).arg("-C").arg(&fresh);
    command::quiet(unpack.args(["--no-same-owner", "--strip-components=2", captures]))?;
    fs::rename(&fresh, folder.join(format!("{name}-{version}")))?;
    Ok(())
}
