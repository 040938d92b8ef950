//! Installs what the other tasks need, and nothing that is there already.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apt;
use crate::command;
use crate::node;
use crate::python;
use crate::samples;
use crate::toolchain::{Compiler, Linker, Pins, Toolchain};
use crate::workspace::Workspace;

/// The programs that the end-to-end tests call, each with Debian's package for it.
const TEST_PROGRAMS: [(&str, &str); 26] = [
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("iptables", "iptables"),
    ("curl", "curl"),
    ("wget", "wget"),
    ("perl", "perl"),
    ("python3", "python3"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("podman", "podman"),
    ("crun", "crun"),
    ("runc", "runc"),
    ("javac", "default-jdk-headless"),
    ("chromium", "chromium"),
    ("systemctl", "systemd"),
    ("systemd-nspawn", "systemd-container"),
    ("prometheus", "prometheus"),
    ("promtool", "prometheus"),
    ("prometheus-node-exporter", "prometheus-node-exporter"),
    ("logrotate", "logrotate"),
    ("tshark", "tshark"),
    ("capinfos", "wireshark-common"),
    ("editcap", "wireshark-common"),
    ("tcpdump", "tcpdump"),
    ("ssh-keygen", "openssh-client"),
    ("shellcheck", "shellcheck"),
];

/// Debian's packages of clients that the end-to-end tests run: a program of the same name from
/// elsewhere will not do.
const TEST_PACKAGES: [&str; 6] =
    ["awscli", "ruby-aws-sdk-core", "httpie", "aria2", "netcat-openbsd", "libwww-perl"];

/// Prepares the machine for a build and prints what it found.
pub fn run(workspace: &Workspace) -> Result<()> {
    let toolchain = toolchain(workspace, false)?;
    let host = command::output(workspace.cargo().arg("--version"))?;
    println!("userspace side       {}", host.trim());
    print!("{toolchain}");
    Ok(())
}

/// Finds the eBPF programs' compiler and linker, and installs what is missing of them; of its
/// clippy only where a test wants it.
pub fn toolchain(workspace: &Workspace, with_clippy: bool) -> Result<Toolchain> {
    let pins = Pins::read(&workspace.root)?;
    let compiler = Compiler::find(&pins);
    let linker = Linker::find(&pins, &workspace.tools());

    let mut missing = Vec::new();
    if compiler.is_err() {
        // Asked for even where installed: an outdated one is brought up to date.
        missing.extend(pins.debian.compiler.iter().cloned());
    }
    let lacks_clippy = |compiler: &Compiler| compiler.is_debian() && !compiler.has_clippy();
    if with_clippy && compiler.as_ref().map_or(true, lacks_clippy) {
        missing.extend(pins.debian.clippy.iter().cloned());
    }
    if linker.is_none() {
        missing.extend(apt::missing(&pins.debian.linker));
    }
    apt::install(&missing).with_context(|| without_apt(&pins))?;

    let compiler = match compiler {
        Ok(compiler) => compiler,
        Err(_) => Compiler::find(&pins).with_context(|| without_apt(&pins))?,
    };
    if with_clippy && !compiler.has_clippy() {
        bail!(
            "the eBPF programs' compiler has no clippy: {} is missing",
            compiler.clippy().display()
        );
    }
    let linker = match linker {
        Some(linker) => linker,
        None => install_linker(workspace, &pins)?,
    };
    Ok(Toolchain::new(compiler, linker, pins))
}

/// Says how to get a compiler where Debian's packages cannot be had.
fn without_apt(pins: &Pins) -> String {
    let release = &pins.compiler.release;
    format!(
        "the eBPF programs need rustc {release} with its library's source; without Debian's packages: \
         rustup toolchain install {release} --profile minimal --component rust-src,clippy"
    )
}

/// Builds the pinned bpf-linker into the project's own folder; two minutes on two cores.
fn install_linker(workspace: &Workspace, pins: &Pins) -> Result<Linker> {
    let tools = workspace.tools();
    let version = &pins.linker.version;
    println!("building bpf-linker {version} on LLVM {}", pins.linker.llvm);
    command::quiet(
        workspace
            .cargo()
            .args(["install", "bpf-linker", "--quiet", "--locked", "--force", "--version", version])
            .args(["--no-default-features", "--features", &format!("llvm-{}", pins.linker.llvm)])
            .arg("--root")
            .arg(&tools)
            .arg("--target-dir")
            .arg(tools.join("build"))
            .env("LLVM_PREFIX", format!("/usr/lib/llvm-{}", pins.linker.llvm)),
    )?;
    Linker::find(pins, &tools).with_context(|| {
        format!("the bpf-linker just built is not {version} on LLVM {}", pins.linker.llvm)
    })
}

/// Makes sure that formatter and linter of the userspace side are there.
pub fn host_components(workspace: &Workspace) -> Result<()> {
    for component in ["rustfmt", "clippy"] {
        let subcommand = if component == "rustfmt" { "fmt" } else { component };
        if command::output(workspace.cargo().args([subcommand, "--version"])).is_ok() {
            continue;
        }
        println!("installing Rust's component {component}");
        command::quiet(Command::new("rustup").args(["component", "add", component]))
            .with_context(|| format!("the tests need Rust's component {component}"))?;
    }
    Ok(())
}

/// Makes sure that the programs which the end-to-end tests call are there, and the Python and
/// Node packages.
pub fn test_clients(workspace: &Workspace) -> Result<Vec<(&'static str, PathBuf)>> {
    let mut packages: Vec<_> = TEST_PROGRAMS
        .iter()
        .filter(|(program, _)| !is_program(program))
        .map(|&(_, package)| package.to_owned())
        .collect();
    packages.extend(apt::missing(&TEST_PACKAGES.map(str::to_owned)));
    if !python::can_make_environments() {
        packages.push("python3-venv".to_owned());
    }
    apt::install(&packages)?;
    let mut clients = python::environments(workspace)?;
    clients.push(node::packages(workspace)?);
    clients.push(samples::folder(workspace)?);
    Ok(clients)
}

/// Tells whether a program is there; `ip` is not always on an ordinary user's path.
fn is_program(program: &str) -> bool {
    command::find(program).is_some()
        || ["/usr/sbin", "/sbin"].iter().any(|folder| Path::new(folder).join(program).exists())
}
