//! Packages of `cargo xtask dist`: installed on a clean root, auditing a caller there, and removed
//! without trace. These tests take minutes, so `cargo xtask dist --test` runs them.

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use imds_audit::event::{Class, Outcome, RequestEvent};
use imds_audit::simulator::Topology;
use imds_audit_tests::{Events, Running, TestNetwork, bpf::is_there, until, written_so_far};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{CLIENT, GET_V1, SERVICE, unloading::held};

mod arm64;
mod booted;
mod deb;
mod image;
mod pod;
mod rpm;

/// Shows a root the kernel's own file systems, in a mount namespace that goes with the program, and
/// has the rest run inside.
const INSIDE: &str = "set -e; root=$1; shift
mount --make-rprivate /
mount -t proc proc \"$root/proc\"
mount --rbind /sys \"$root/sys\"
exec chroot \"$root\" \"$@\"";

/// Returns the release's one file whose name ends so.
fn artefact(end: &str) -> PathBuf {
    let folder = env::var_os("IMDS_AUDIT_RELEASE").expect("run `cargo xtask dist --test`");
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = files.filter(|path| path.to_str().unwrap().ends_with(end)).collect();
    assert_eq!(found.len(), 1, "*{end} in {folder:?}: {found:?}");
    found.remove(0)
}

/// Returns the path of a program that is unpacked for these tests.
fn tool(name: &str) -> PathBuf {
    let folder = env::var_os("IMDS_AUDIT_RELEASE_TOOLS").expect("run `cargo xtask dist --test`");
    Path::new(&folder).join(name)
}

/// A small Debian of a test's own.
struct Root {
    folder: TempDir,
}

impl Root {
    fn new() -> Self {
        let original =
            env::var_os("IMDS_AUDIT_DEBIAN_ROOT").expect("run `cargo xtask dist --test`");
        let folder = tempfile::tempdir().unwrap();
        let mut copy = Command::new("cp");
        copy.args(["-a", "--reflink=auto"]).arg(Path::new(&original).join(".")).arg(folder.path());
        well(&mut copy);
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Prepares a program inside.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", INSIDE, "sh"]).arg(self.folder.path()).args(words);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
        command
    }

    /// Runs a program inside, which is to succeed, and gives what it printed.
    fn run(&self, words: &[&str]) -> String {
        well(&mut self.command(words))
    }

    /// Gives every file, but for those in which the package manager remembers what it did.
    fn files(&self, without: &[&str]) -> BTreeMap<PathBuf, (u32, u64)> {
        let mut found = BTreeMap::new();
        let mut open = vec![self.folder.path().to_owned()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let data = path.symlink_metadata().unwrap();
                let inner = path.strip_prefix(self.folder.path()).unwrap().to_owned();
                if without.iter().any(|start| inner.starts_with(start)) {
                    continue;
                }
                if data.is_dir() {
                    open.push(path);
                    found.insert(inner, (data.mode(), 0));
                } else {
                    found.insert(inner, (data.mode(), data.len()));
                }
            }
        }
        found
    }
}

/// Runs a command that is to succeed, and gives what it printed.
fn well(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}

/// An installed program that audits, and writes JSON lines to its standard output.
struct Auditing {
    child: Child,
    stage: TestNetwork,
    folder: TempDir,
}

impl Auditing {
    /// Starts it and waits until it is attached.
    fn start(mut program: Command) -> Self {
        let stage = TestNetwork::new(Topology::Direct, None);
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| fs::File::create(folder.path().join(name)).unwrap();
        program.stdin(Stdio::null()).stdout(file("output")).stderr(file("log"));
        let auditing = Self { child: program.spawn().unwrap(), stage, folder };
        assert!(auditing.wait_for("start"), "it does not start: {}", auditing.log());
        auditing
    }

    fn log(&self) -> String {
        written_so_far(&self.folder.path().join("log"))
    }

    /// Gives the events that it wrote so far.
    fn events(&self) -> Events {
        Events::read_file(&self.folder.path().join("output"))
    }

    /// Waits for an event of a kind; `false` if none comes.
    fn wait_for(&self, kind: &str) -> bool {
        until(|| (self.events().count(kind) > 0).then_some(())).is_some()
    }

    /// Starts a caller that asks once without a token, after its standard input has a line, and lives
    /// until that ends.
    fn caller(&self) -> Running {
        let ask = ["stdin-line", "connect", SERVICE, "send", GET_V1, "receive", "stdin"];
        self.stage.start(CLIENT, &ask)
    }

    /// Has the caller ask, and gives what is reported of its request.
    fn report_of(&self, mut caller: Running) -> RequestEvent {
        caller.say("\n");
        let netns = Some(self.stage.network.client_inode());
        let is_its = |request: &RequestEvent| request.network.netns.map(u64::from) == netns;
        let request = until(|| self.events().requests().into_iter().find(is_its));
        let request = request.unwrap_or_else(|| panic!("no request: {}", self.log()));
        let caller = caller.wait();
        assert!(caller.status.success(), "{caller:?}");
        let imds = &request.imds;
        assert_eq!((imds.class, imds.outcome), (Class::V1, Outcome::Served), "{request:#?}");
        assert_eq!(request.process.pid, Some(caller.pid), "{request:#?}");
        request
    }

    /// Ends it, and makes sure that nothing is left of it in the kernel.
    fn stop(mut self, pid: u32) {
        let held = held(pid);
        assert!(!held.is_empty(), "{pid} is not the process that audits");
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log());
        assert!(self.wait_for("stop"), "{}", self.log());
        let left = || held.iter().copied().filter(|&(kind, id)| is_there(kind, id).unwrap());
        let is_gone = until(|| left().next().is_none().then_some(()));
        assert!(is_gone.is_some(), "still there: {:?}", left().collect::<Vec<_>>());
    }

    /// Has a caller ask once, and ends it.
    fn audit_one(self) {
        self.report_of(self.caller());
        let pid = self.child.id();
        self.stop(pid);
    }
}

impl Drop for Auditing {
    fn drop(&mut self) {
        // It has ended already in a test that goes well.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
