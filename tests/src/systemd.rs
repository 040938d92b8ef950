//! A systemd of a test's own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::caller::Running;
use super::cgroup::mount;
use super::prerequisites::skip;
use super::stage::Stage;
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
export container=test SYSTEMD_UNIT_PATH=$UNITS/system
exec $SYSTEMD --system --unit=test.target --log-target=null --show-status=no
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
        stage: &Stage,
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
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        for (place, units) in [("system", system), ("user", user)] {
            fs::create_dir(path.join(place)).unwrap();
            let manager = format!("user@{}.service", Self::USER);
            let mut wanted: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
            wanted.extend((place == "system").then_some(&*manager));
            let target = format!("[Unit]\nDefaultDependencies=no\nWants={}\n", wanted.join(" "));
            fs::write(path.join(place).join("test.target"), target).unwrap();
            for (name, service) in units {
                let text = format!("[Unit]\nDefaultDependencies=no\n[Service]\n{service}\n");
                fs::write(path.join(place).join(name), text).unwrap();
            }
        }
        let units = path.to_str().unwrap();
        let manager = USER_MANAGER.replace("UNITS", units).replace("PROGRAM", PROGRAM);
        fs::write(path.join("system/user@.service"), manager).unwrap();
        fs::write(path.join("boot.sh"), BOOT).unwrap();

        let group = root.join(format!("imds-audit-test-{}-{name}", std::process::id()));
        fs::create_dir(&group).unwrap();
        let mut command = stage.command("sh");
        command
            .args(["-c", ENTER, "sh", group.to_str().unwrap()])
            .arg(path.join("boot.sh"))
            .env("UNITS", units)
            .env("USER_MANAGER", Self::USER.to_string())
            .env("SYSTEMD", PROGRAM);
        let running = Some(stage.start_command(&mut command));
        Some(Self { running, group, _folder: folder })
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
