//! A systemd of a test's own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::caller::Running;
use super::cgroup::mount;
use super::prerequisites::skip;
use super::test_network::TestNetwork;
use super::wait::until;

/// The program; its path is the same in all of Debian's releases.
const PROGRAM: &str = "/lib/systemd/systemd";

/// Enters the control group, and has the rest run as the first process of its own namespaces,
/// which end with it.
const ENTER: &str = "echo $$ > \"$1/cgroup.procs\" && shift && \
                     exec unshare --kill-child --mount --pid --fork --cgroup --uts --mount-proc sh \"$@\"";

/// Gives systemd what it expects and nothing of the host's to change: control groups of version 2
/// alone, as it wants no other beside them where these are, an empty `/run`, settings of the
/// kernel that cannot be written, no generators of the host's units.
const BOOT: &str = "set -e
mount --make-rprivate /
umount -R /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs none /run
mount -o bind,ro /proc/sys /proc/sys
for folder in /lib/systemd/system-generators /etc/systemd/system-generators; do
  test ! -d $folder || mount -t tmpfs none $folder
done
mkdir -p -m 700 /run/user/$USER_MANAGER
chown $USER_MANAGER /run/user/$USER_MANAGER
eval \"$PREPARE\"
export container=test SYSTEMD_UNIT_PATH=$UNITS/system
exec $SYSTEMD --system --unit=test.target --log-target=null --show-status=no
";

/// Boots the system in a folder as its own root: control groups of version 2, folders of its own for
/// devices and what lives as long as the system runs, and nothing of the host's to write to.
const BOOT_ROOT: &str = "set -e
mount --make-rprivate /
umount -R /sys/fs/cgroup
mount --bind $ROOT $ROOT
cd $ROOT
mount -t proc none proc
mount -o bind,ro proc/sys proc/sys
mount -t sysfs -o ro none sys
mount -t cgroup2 none sys/fs/cgroup
mount -t tmpfs none dev
mkdir dev/pts dev/shm
for node in null zero full random urandom tty; do
  : > dev/$node
  mount --bind /dev/$node dev/$node
done
mount -t devpts -o newinstance,ptmxmode=666 none dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs none run
mkdir run/host
pivot_root . run/host
umount -l /run/host
rmdir /run/host
export container=test
exec $SYSTEMD --system --unit=basic.target --log-target=null --show-status=no
";

/// The template of the user managers' units, as systemd's own but for PAM: user@.service(5).
const USER_MANAGER: &str = "[Unit]
DefaultDependencies=no
[Service]
User=%i
Slice=user-%i.slice
Delegate=yes
Environment=XDG_RUNTIME_DIR=/run/user/%i SYSTEMD_UNIT_PATH=UNITS/user HOME=/
ExecStart=PROGRAM --user --unit=test.target
";

/// A systemd that is the first process of its own namespaces, but for the network's, and runs
/// units of a test; a user's manager is one of them. Gone, with all of theirs, when dropped.
#[derive(Debug)]
pub struct Systemd {
    running: Option<Running>,
    group: PathBuf,
    _folder: TempDir,
}

impl Systemd {
    /// The user whose manager is started.
    pub const USER: u32 = 65_534;

    /// Starts units, each with a name and its section `Service`, of the system's manager and of a
    /// user's; `None` where that is not possible.
    pub fn boot(
        stage: &TestNetwork,
        name: &str,
        system: &[(&str, String)],
        user: &[(&str, String)],
    ) -> Option<Self> {
        let Some(root) = mount().filter(|_| Path::new(PROGRAM).exists()) else {
            skip("there is no systemd, or no hierarchy of control groups of version 2");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        for (place, units) in [("system", system), ("user", user)] {
            fs::create_dir(path.join(place)).unwrap();
            let manager = format!("user@{}.service", Self::USER);
            let mut wanted: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
            wanted.extend((place == "system").then_some(&*manager));
            write_target(&path.join(place), &wanted);
            for (name, service) in units {
                let text = format!("[Unit]\nDefaultDependencies=no\n[Service]\n{service}\n");
                fs::write(path.join(place).join(name), text).unwrap();
            }
        }
        let units = path.to_str().unwrap();
        let manager = USER_MANAGER.replace("UNITS", units).replace("PROGRAM", PROGRAM);
        fs::write(path.join("system/user@.service"), manager).unwrap();
        Some(Self::start(stage, name, &root, folder, ""))
    }

    /// Starts units, whole files each, of the system's manager alone, after a shell has run what
    /// prepares the file systems of its mount namespace; `None` where that is not possible.
    pub fn boot_files(
        stage: &TestNetwork,
        name: &str,
        wanted: &[&str],
        files: &[(&str, String)],
        prepare: &str,
    ) -> Option<Self> {
        let Some(root) = mount().filter(|_| Path::new(PROGRAM).exists()) else {
            skip("there is no systemd, or no hierarchy of control groups of version 2");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let units = folder.path().join("system");
        fs::create_dir(&units).unwrap();
        write_target(&units, wanted);
        // What units have by default; the host's own would start the host's units.
        for target in ["sysinit", "basic", "local-fs", "shutdown", "multi-user"] {
            let text = "[Unit]\nDefaultDependencies=no\n";
            fs::write(units.join(format!("{target}.target")), text).unwrap();
        }
        for (name, text) in files {
            let path = units.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Some(Self::start(stage, name, &root, folder, prepare))
    }

    /// Boots the system that is installed in a folder, with its own units up to its basic target;
    /// `None` where that is not possible.
    pub fn boot_root(stage: &TestNetwork, name: &str, system: &Path) -> Option<Self> {
        let Some(root) = mount() else {
            skip("there is no hierarchy of control groups of version 2");
            return None;
        };
        let (folder, group) = (tempfile::tempdir().unwrap(), make_group(&root, name));
        fs::write(folder.path().join("boot.sh"), BOOT_ROOT).unwrap();
        let mut command = entering(stage, &group, folder.path());
        command.env("ROOT", system).env("SYSTEMD", PROGRAM);
        let running = Some(stage.start_command(&mut command));
        let booted = Self { running, group, _folder: folder };
        let is_up = || {
            let asked = booted.systemctl(&["is-active", "basic.target"]);
            asked.status.success().then_some(())
        };
        assert!(until(is_up).is_some(), "it does not boot: {:?}", booted.systemctl(&["status"]));
        Some(booted)
    }

    /// Starts it with the units in a folder.
    fn start(stage: &TestNetwork, name: &str, root: &Path, folder: TempDir, prepare: &str) -> Self {
        let path = folder.path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        let units = path.to_str().unwrap();
        fs::write(path.join("boot.sh"), BOOT).unwrap();

        let group = make_group(root, name);
        let mut command = entering(stage, &group, path);
        command
            .env("UNITS", units)
            .env("USER_MANAGER", Self::USER.to_string())
            .env("SYSTEMD", PROGRAM)
            .env("PREPARE", prepare);
        let running = Some(stage.start_command(&mut command));
        Self { running, group, _folder: folder }
    }
}

/// Makes the control group of a test's system.
fn make_group(root: &Path, name: &str) -> PathBuf {
    let group = root.join(format!("imds-audit-test-{}-{name}", std::process::id()));
    fs::create_dir(&group).unwrap();
    group
}

/// Prepares the boot script in a folder, to run in a control group as the first process of its own
/// namespaces.
fn entering(stage: &TestNetwork, group: &Path, folder: &Path) -> Command {
    let mut command = stage.command("sh");
    command.args(["-c", ENTER, "sh", group.to_str().unwrap()]).arg(folder.join("boot.sh"));
    command
}

/// Writes the target that is started, and what it wants.
fn write_target(folder: &Path, wanted: &[&str]) {
    let text = format!("[Unit]\nDefaultDependencies=no\nWants={}\n", wanted.join(" "));
    fs::write(folder.join("test.target"), text).unwrap();
}

impl Systemd {
    /// Puts a process into a control group of its own beside the units'.
    pub fn adopt(&self, pid: u32) {
        let folder = self.group.join("callers");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("cgroup.procs"), pid.to_string()).unwrap();
    }

    /// Gives the root folder of its mount namespace.
    pub fn root(&self) -> PathBuf {
        let init = until(|| self.init()).expect("systemd does not run");
        PathBuf::from(format!("/proc/{init}/root"))
    }

    /// Asks it something, as root in its namespaces.
    pub fn systemctl(&self, arguments: &[&str]) -> Output {
        self.command("systemctl").args(arguments).output().unwrap()
    }

    /// Prepares a program in its namespaces, as root.
    pub fn command(&self, program: &str) -> Command {
        let init = until(|| self.init());
        let mut command = Command::new("nsenter");
        command
            .args(["--mount", "--pid", "--cgroup", "--uts", "--target"])
            .arg(init.expect("systemd does not run").to_string())
            .arg(program)
            .stdin(Stdio::null());
        command
    }

    /// Gives its number, once it has taken the place of the script that prepares it: it is the only
    /// child of the process that made its namespaces.
    fn init(&self) -> Option<u32> {
        let pid = self.running.as_ref()?.pid();
        let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        let init = text.trim().parse().ok()?;
        let name = fs::read_to_string(format!("/proc/{init}/comm")).ok()?;
        (name.trim() == "systemd").then_some(init)
    }

    /// Gives the processes of a unit, those in the cgroups below its own among them.
    pub fn processes(&self, unit: &str) -> Vec<u32> {
        let mut folders = vec![(self.group.clone(), false)];
        let mut found = Vec::new();
        while let Some((folder, is_in_unit)) = folders.pop() {
            let is_in_unit = is_in_unit || folder.ends_with(unit);
            if is_in_unit {
                let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
                found.extend(text.lines().map(|line| line.parse::<u32>().unwrap()));
            }
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push((entry.path(), is_in_unit));
                }
            }
        }
        found
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        drop(self.running.take());
        // The namespaces' processes are killed with their first one, a little later.
        if until(|| remove(&self.group).ok()).is_none() {
            eprintln!("cannot remove {}", self.group.display());
        }
    }
}

/// Removes a control group with all below it.
fn remove(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}
