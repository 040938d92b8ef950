//! The programs that make other traffic, from Debian's packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::apt;
use crate::command;
use crate::workspace::Workspace;

/// Each program, and its package. Redis's server is a name of `redis-check-rdb`, which comes with
/// its clients; the package of the server would start one.
const PROGRAMS: [(&str, &str); 4] = [
    ("iperf3", "iperf3"),
    ("redis-benchmark", "redis-tools"),
    ("redis-check-rdb", "redis-tools"),
    ("wrk", "wrk"),
];

/// The tools beside which the program is measured, and their packages.
const RIVALS: [(&str, &str); 4] = [
    ("tcpdump", "tcpdump"),
    ("strace", "strace"),
    ("bpftrace", "bpftrace"),
    ("tcpconnect-bpfcc", "bpfcc-tools"),
];

/// nginx's package, which is only unpacked: installed, it would start a server on the host.
const NGINX: &str = "nginx";
/// The libraries that it needs.
const NGINX_LIBRARIES: [&str; 4] = ["libcrypt1", "libpcre2-8-0", "libssl3", "zlib1g"];

/// Installs what is missing, and returns where nginx is.
pub fn install(workspace: &Workspace) -> Result<PathBuf> {
    let mut packages = missing(&PROGRAMS);
    let folder = workspace.target.join("bench");
    let nginx = folder.join("nginx/usr/sbin/nginx");
    if !nginx.exists() {
        packages.extend(apt::missing(&NGINX_LIBRARIES.map(str::to_owned)));
        apt::install(&packages)?;
        unpack(&folder)?;
    } else {
        apt::install(&packages)?;
    }
    Ok(nginx)
}

/// Installs the tools beside which the program is measured.
pub fn install_rivals(workspace: &Workspace) -> Result<()> {
    install(workspace)?;
    apt::install(&missing(&RIVALS))
}

/// Returns the packages of those programs that are not there.
fn missing(programs: &[(&str, &str)]) -> Vec<String> {
    let missing = programs.iter().filter(|(program, _)| command::find(program).is_none());
    let mut packages: Vec<_> = missing.map(|&(_, package)| package.to_owned()).collect();
    packages.dedup();
    packages
}

/// Downloads nginx's package and unpacks it, in one step for whoever looks.
fn unpack(folder: &Path) -> Result<()> {
    let download = folder.join("download");
    fs::create_dir_all(&download)?;
    let mut apt_get = Command::new("apt-get");
    // Else apt, as root, would download as a user who may not write here.
    apt_get.args(["download", "-qq", "-o", "APT::Sandbox::User=", NGINX]).current_dir(&download);
    command::quiet(&mut apt_get)?;
    let package = fs::read_dir(&download)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get download left no package")?;
    let fresh = folder.join("nginx.new");
    command::quiet(Command::new("dpkg").arg("-x").arg(&package).arg(&fresh))?;
    fs::remove_dir_all(&download)?;
    fs::rename(&fresh, folder.join("nginx")).context("cannot put nginx in its place")
}
