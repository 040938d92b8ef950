//! Tests of what was made: each format by its own checkers, then installed, run and removed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use auditable_serde::{DependencyKind, VersionInfo};

use super::{paths, sums};
use crate::apt::{self, Private, sources};
use crate::auditable;
use crate::command;
use crate::python;
use crate::supply_chain;
use crate::workspace::Workspace;

/// Debian's packages of the checkers, and of what installs and runs.
const PACKAGES: [&str; 12] = [
    "cpio",
    "curl",
    "debootstrap",
    "lintian",
    "mandoc",
    "podman",
    "python3-venv",
    "rpm",
    "rpmlint",
    "runc",
    "skopeo",
    "umoci",
];

/// Debian's packages that are unpacked for the tests, with a program of each: installed, the first
/// would start a service, and the second have the kernel emulate what it cannot run.
const UNPACKED: [(&str, &str); 2] =
    [("docker-registry", "docker-registry"), ("qemu-user-static", "qemu-aarch64-static")];

/// What the Debian root has beside the smallest system.
const ROOT_PACKAGES: [&str; 3] = ["man-db", "rpm", "systemd"];

/// The release of the reader of lists of crates.
const AUDIT_INFO: (&str, &str) = ("rust-audit-info", "0.5.4");

/// The variable that tells the tests where the release is.
const RELEASE: &str = "IMDS_AUDIT_RELEASE";
/// The variable that tells the tests where a Debian root is, to install in a copy of.
const ROOT: &str = "IMDS_AUDIT_DEBIAN_ROOT";
/// The variable that tells the tests where the unpacked programs are.
const TOOLS: &str = "IMDS_AUDIT_RELEASE_TOOLS";

/// Tests what is in a folder.
pub fn run(workspace: &Workspace, folder: &Path) -> Result<()> {
    if !command::is_root() {
        bail!("installing, chroot and containers need root: sudo -E cargo xtask dist --test");
    }
    apt::install(&apt::missing(&PACKAGES.map(str::to_owned)))?;
    command::output(
        Command::new("sha256sum").args(["--check", "--strict", sums::FILE]).current_dir(folder),
    )?;
    println!("ok: the sums are those of the files");
    let files = files(folder)?;
    paths::check(workspace, &files)?;
    println!("ok: no path of this machine is in {} files", files.len());
    check_parts(workspace, &files)?;
    check_pages(workspace)?;
    check_packages(workspace, &files)?;
    let (root, tools) = (debian_root(workspace)?, tools(workspace)?);
    let charts = python::of_charts(workspace)?;
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--locked", "-p", "imds-audit-tests", "--test", "e2e", "packages::"]);
    cargo.args(["--", "--ignored", "--test-threads", "1"]);
    cargo.env(RELEASE, folder).env(ROOT, root).env(TOOLS, tools).envs([charts]);
    command::run(&mut cargo)
}

/// Checks the lists of what is in the programs: by another reader, and against each other.
fn check_parts(workspace: &Workspace, files: &[PathBuf]) -> Result<()> {
    let found = with_end(files, ".THIRD-PARTY");
    let [notices] = found[..] else { bail!("not one THIRD-PARTY: {found:?}") };
    let notices = fs::read_to_string(notices).with_context(|| notices.display().to_string())?;
    let reader = supply_chain::tool(workspace, AUDIT_INFO.0, AUDIT_INFO.1)?;
    for program in files.iter().filter(|path| name(path).contains("-linux-")) {
        let list = auditable::read(program)?;
        let read = command::output(Command::new(&reader).arg(program))?;
        let read: VersionInfo = serde_json::from_str(&read).context(AUDIT_INFO.0)?;
        if read != list {
            bail!("{}: {} reads another list of crates", program.display(), AUDIT_INFO.0);
        }
        let in_program: BTreeSet<_> = list
            .packages
            .iter()
            .filter(|package| package.kind == DependencyKind::Runtime)
            .filter(|package| package.source == auditable_serde::Source::CratesIo)
            .map(|package| format!("{} {}", package.name, package.version))
            .collect();
        let first_words = |line: &str| line.split("  ").next().unwrap_or_default().to_owned();
        let in_notices: BTreeSet<_> = notices.lines().map(first_words).collect();
        let unnamed: Vec<_> = in_program.difference(&in_notices).collect();
        if in_program.is_empty() || !unnamed.is_empty() {
            bail!("{}: THIRD-PARTY does not have {unnamed:?}", program.display());
        }
        let (all, linked) = (list.packages.len(), in_program.len());
        println!("ok: {} lists {all} crates, and THIRD-PARTY the {linked} in it", name(program));
    }
    let python = python::of_release(workspace)?;
    for list in with_end(files, ".cdx.json") {
        let script = workspace.root.join("tests/python/check_sbom.py");
        command::output(Command::new(&python).arg(script).arg(list))?;
        println!("ok: {} is valid CycloneDX", name(list));
    }
    Ok(())
}

/// Has mandoc look at every manual page.
fn check_pages(workspace: &Workspace) -> Result<()> {
    let pages = self::files(&workspace.target.join("dist/manual/man1"))?;
    let mut mandoc = Command::new("mandoc");
    command::output(mandoc.args(["-T", "lint", "-W", "warning"]).args(&pages))?;
    println!("ok: mandoc has nothing to say of {} pages", pages.len());
    Ok(())
}

/// Has each format's own checker look at the packages.
fn check_packages(workspace: &Workspace, files: &[PathBuf]) -> Result<()> {
    for package in with_end(files, ".deb") {
        let mut lintian = Command::new("lintian");
        lintian.args(["--fail-on", "error,warning", "--allow-root"]).arg(package);
        command::run(&mut lintian)?;
        println!("ok: lintian has nothing to say of {}", name(package));
    }
    let rules = workspace.root.join("deploy/packages/rpmlint.toml");
    for package in with_end(files, ".rpm") {
        let mut rpmlint = Command::new("rpmlint");
        command::run(rpmlint.arg("--strict").arg("--config").arg(&rules).arg(package))?;
        println!("ok: rpmlint has nothing to say of {}", name(package));
    }
    Ok(())
}

/// Returns the files of a folder in the order of their names.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    Ok(paths)
}

fn with_end<'a>(files: &'a [PathBuf], end: &str) -> Vec<&'a PathBuf> {
    files.iter().filter(|path| name(path).ends_with(end)).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Unpacks programs that are not installed, once, and returns their folder.
fn tools(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.tools().join("release-tools");
    let programs = folder.join("usr/bin");
    if !UNPACKED.iter().all(|(_, program)| programs.join(program).exists()) {
        let packages = UNPACKED.map(|(package, _)| package.to_owned());
        println!("fetching {}", packages.join(" "));
        Private::of_this_machine(&workspace.tools().join("apt/release"))?
            .unpack(&packages, &folder)?;
    }
    Ok(programs)
}

/// Makes a small Debian of this machine's release, once, and returns its folder.
fn debian_root(workspace: &Workspace) -> Result<PathBuf> {
    let included = ROOT_PACKAGES;
    let root = workspace.tools().join(format!("debian-root-{}", included.join("-")));
    if root.exists() {
        return Ok(root);
    }
    let codename = sources::own_codename()?;
    let list = sources::of_suite(&codename, false)?;
    let address = list.split(' ').find(|word| word.contains("://"));
    let address = address.context("the machine's package sources name no address")?;
    // In one step, or an interrupted run would leave half of it.
    let fresh = workspace.tools().join("debian-root.new");
    if fresh.exists() {
        fs::remove_dir_all(&fresh).with_context(|| fresh.display().to_string())?;
    }
    println!("making a Debian root");
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.arg("--variant=minbase").arg(format!("--include={}", included.join(",")));
    command::output(debootstrap.arg(&codename).arg(&fresh).arg(address))?;
    fs::rename(&fresh, &root)?;
    Ok(root)
}
