//! A node of a cluster: a container of a real runtime, in which a shell does what a test says.
//!
//! Its programs are the host's, mounted into it; the rest of its root is a folder of the test's. Its
//! network is a stage's, and it sees its own part of the control groups alone, so that an audit in it
//! sees its own callers and no others.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::caller::Running;
use super::prerequisites::{root, skip};
use super::test_network::TestNetwork;
use super::wait::until;

/// Mounts version 2 of control groups alone where the runtime looks for them, as it refuses a
/// host with both versions, and then goes on with the rest, bounded.
const UNIFIED: &str = "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup && \
                       exec timeout 600 \"$@\"";

/// What is mounted into each node, as far as the host has it: programs, and what Java's are
/// configured with.
const FROM_HOST: [&str; 4] =
    ["/usr", "/etc/alternatives", "/etc/java-17-openjdk", "/etc/java-21-openjdk"];

/// How a node is made.
#[derive(Clone, Debug, Default)]
pub struct NodeSetup {
    /// Rights that it has not, as setpriv(1) names them.
    pub without: Vec<&'static str>,
    /// What is mounted into it, as `podman run --volume` takes it.
    pub volumes: Vec<String>,
    /// Further arguments of `podman run`.
    pub arguments: Vec<String>,
}

/// A node that runs. Gone, with all that runs in it, when dropped.
#[derive(Debug)]
pub struct Node {
    running: Option<Running>,
    root: PathBuf,
    folder: TempDir,
    commands: usize,
}

/// The root of a node, which may outlive it.
#[derive(Debug)]
pub struct Disk(TempDir);

impl Disk {
    /// Makes the root of a node as an Ubuntu of the platform has it.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "etc/systemd/system",
            "opt",
            "tmp",
            "proc",
            "sys",
            "dev",
            "usr",
            "run",
            "root",
            "mnt",
            "Volumes",
            "var/log",
            "commands",
        ] {
            DirBuilder::new().recursive(true).mode(0o755).create(folder.path().join(name)).unwrap();
        }
        for name in ["bin", "lib", "lib64", "sbin"] {
            symlink(format!("usr/{name}"), folder.path().join(name)).unwrap();
        }
        let disk = Self(folder);
        disk.write("etc/passwd", "root:x:0:0::/root:/bin/bash\nnobody:x:65534:65534::/:/bin/sh\n");
        disk.write("etc/os-release", "NAME=\"Ubuntu\"\nID=ubuntu\nVERSION_ID=\"24.04\"\n");
        disk
    }

    /// Gives a path on it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name.trim_start_matches('/'))
    }

    /// Writes a file on it.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}

impl Node {
    /// Starts a node with a shell; `None` where the test cannot run and has been skipped.
    pub fn start(stage: &TestNetwork, disk: &Disk, setup: &NodeSetup) -> Option<Self> {
        Self::start_with(stage, disk, setup, &["/bin/bash"])
    }

    /// As [`Node::start`], with a first process of the test's own.
    pub fn start_with(
        stage: &TestNetwork,
        disk: &Disk,
        setup: &NodeSetup,
        first: &[&str],
    ) -> Option<Self> {
        if !is_possible() {
            return None;
        }
        for said in fs::read_dir(disk.path("commands")).unwrap() {
            // Another node's, which had this disk before.
            fs::remove_file(said.unwrap().path()).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).into_os_string();
        let mut command = stage.command("unshare");
        command.args(["-m", "sh", "-c", UNIFIED, "sh", "podman"]);
        for (option, value) in [
            ("--root", path("store")),
            ("--runroot", path("state")),
            ("--storage-driver", "vfs".into()),
            ("--cgroup-manager", "cgroupfs".into()),
            ("--runtime", "crun".into()),
            ("--events-backend", "file".into()),
        ] {
            command.args([OsString::from(option), value]);
        }
        // Privileged, and what the test takes away is taken by the first process: to bound devices,
        // the runtime would need rights that a root in a container has not.
        command.args(["run", "--rm", "-i", "--privileged", "--pids-limit", "0"]);
        command.args(["--network", "host", "--cgroupns", "private"]);
        command.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]);
        command.arg("--pidfile").arg(folder.path().join("pid"));
        for shared in FROM_HOST.into_iter().filter(|path| Path::new(path).is_dir()) {
            command.args(["--volume", &format!("{shared}:{shared}:ro")]);
        }
        for volume in &setup.volumes {
            command.args(["--volume", volume]);
        }
        command.args(&setup.arguments).arg("--rootfs").arg(disk.path(""));
        if !setup.without.is_empty() {
            let less: Vec<_> = setup.without.iter().map(|right| format!("-{right}")).collect();
            command.args(["setpriv", &format!("--bounding-set={}", less.join(","))]);
        }
        let running = Some(stage.start_command(command.args(first)));
        let node = Self { running, root: disk.path(""), folder, commands: 0 };
        assert!(until(|| node.pid()).is_some(), "podman does not start a container");
        Some(node)
    }

    /// Gives the number of its first process on the host.
    fn pid(&self) -> Option<i32> {
        fs::read_to_string(self.folder.path().join("pid")).ok()?.trim().parse().ok()
    }

    /// Says whether a process of the host is in this node: the number may be another's by now.
    fn is_first(&self, pid: i32) -> bool {
        let number = |path: &Path| fs::metadata(path).map(|found| found.ino()).ok();
        let seen = number(&PathBuf::from(format!("/proc/{pid}/root/commands")));
        seen.is_some() && seen == number(&self.path("commands"))
    }

    /// Has the shell run a command, and waits until it has. Gives its exit code and what it wrote.
    pub fn run(&mut self, command: &str) -> (i32, String) {
        self.commands += 1;
        let name = format!("commands/{}", self.commands);
        let text = format!(
            "(\n{command}\n) </dev/null >/{name}.said 2>&1\n\
             echo $? >/{name}.new; mv /{name}.new /{name}.code\n"
        );
        self.running.as_mut().unwrap().say(&text);
        let read = |ending: &str| fs::read_to_string(self.path(&format!("{name}.{ending}")));
        let code = until(|| read("code").ok());
        let said = read("said").unwrap_or_default();
        (
            code.unwrap_or_else(|| panic!("no end of {command}: {said}")).trim().parse().unwrap(),
            said,
        )
    }

    /// As [`Node::run`], of a command that succeeds. Gives what it wrote.
    pub fn run_well(&mut self, command: &str) -> String {
        let (code, said) = self.run(command);
        assert_eq!(code, 0, "{command}: {said}");
        said
    }

    /// Gives a path on its disk.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name.trim_start_matches('/'))
    }

    /// Reads a file on its disk; one that is not there is empty.
    pub fn read(&self, name: &str) -> String {
        fs::read(self.path(name))
            .map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits until a file on its disk has a text. Gives all of it.
    pub fn wait_for(&self, name: &str, text: &str) -> String {
        let found = until(|| Some(self.read(name)).filter(|found| found.contains(text)));
        found.unwrap_or_else(|| panic!("no {text:?} in {name}: {}", self.read(name)))
    }

    /// Sends a signal to its first process, by its number: systemd takes real-time ones.
    pub fn signal(&self, number: i32) {
        let pid = self.pid().unwrap().to_string();
        let killed = Command::new("kill").args([format!("-{number}"), pid]).status();
        assert!(killed.unwrap().success());
    }

    /// Waits until its first process has ended.
    pub fn wait(mut self) {
        self.running.take().unwrap().wait();
    }

    /// Ends it at once, as a power failure would.
    pub fn kill(self) {}
}

impl Drop for Node {
    fn drop(&mut self) {
        let pid = self.pid().filter(|pid| self.is_first(*pid)).and_then(Pid::from_raw);
        if let (Some(running), Some(pid)) = (self.running.take(), pid) {
            // All in it end with its first process, and then the runtime does.
            kill_process(pid, Signal::KILL).ok();
            running.wait();
        }
    }
}

fn is_possible() -> bool {
    if !root() {
        return false;
    }
    let missing = ["podman", "crun"]
        .into_iter()
        .find(|program| Command::new(program).arg("--version").output().is_err());
    if let Some(program) = missing {
        skip(&format!("there is no {program}"));
    }
    missing.is_none()
}
