//! Both packages on a Debian that systemd has booted: installed, enabled, started, stopped, upgraded
//! and removed, by the commands of the README.

use imds_audit_tests::Systemd;

use super::*;

const README: &str = include_str!("../../../../README.md");
const EVENTS: &str = "var/log/imds-audit/events.jsonl";
const UNIT: &str = "imds-audit.service";
/// What `systemctl enable` makes.
const WANTED: &str = "etc/systemd/system/multi-user.target.wants/imds-audit.service";

/// A booted Debian, with a simulated metadata service in its network.
struct Host {
    systemd: Systemd,
    stage: TestNetwork,
    root: Root,
}

impl Host {
    fn boot(name: &str) -> Self {
        let root = Root::new();
        let stage = TestNetwork::new(Topology::Direct, None);
        let systemd = Systemd::boot_root(&stage, name, root.folder.path());
        Self { systemd: systemd.expect("a hierarchy of control groups to write to"), stage, root }
    }

    /// Has a shell inside run a command line, which is to succeed, and gives what it printed. `sudo`
    /// and `aws` are the test's.
    fn run(&self, line: &str) -> String {
        let mut command = self.systemd.command("sh");
        command.args(["-c", line]).env_clear().env("LC_ALL", "C.UTF-8");
        command.env("PATH", "/opt/test:/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
        well(&mut command)
    }

    /// Puts a script into the test's folder of programs.
    fn add_program(&self, name: &str, script: &str) {
        let path = self.root.path("opt/test").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The number of the agent's process; `None` if it does not run.
    fn agent(&self) -> Option<u32> {
        let is_agent = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line == b"/usr/bin/imds-audit\0agent\0"
        };
        self.systemd.processes(UNIT).into_iter().find(is_agent)
    }

    /// Has a new caller ask without a token, and waits until the installed agent has written it.
    fn audit_one(&self) -> u32 {
        let ask = ["stdin-line", "connect", SERVICE, "send", GET_V1, "receive"];
        let mut caller = self.stage.start(CLIENT, &ask);
        self.systemd.adopt(caller.pid());
        caller.say("go on\n");
        let caller = caller.wait();
        assert!(caller.status.success(), "{caller:?}");
        let is_its = |request: &RequestEvent| request.process.pid == Some(caller.pid);
        let request = until(|| self.events().requests().into_iter().find(is_its));
        let request =
            request.unwrap_or_else(|| panic!("{}", self.run("systemctl status imds-audit")));
        let imds = &request.imds;
        assert_eq!((imds.class, imds.outcome), (Class::V1, Outcome::Served), "{request:#?}");
        caller.pid
    }

    fn events(&self) -> Events {
        Events::read_file(&self.root.path(EVENTS))
    }

    /// Runs a command line that ends the agent, and makes sure that nothing is left of it in the kernel.
    fn end_by(&self, line: &str) {
        let held = held(self.agent().expect("the agent runs"));
        assert!(!held.is_empty());
        self.run(line);
        assert_eq!(self.agent(), None, "{line}");
        let left = || held.iter().copied().filter(|&(kind, id)| is_there(kind, id).unwrap());
        let is_gone = until(|| left().next().is_none().then_some(()));
        assert!(is_gone.is_some(), "{line}: still there: {:?}", left().collect::<Vec<_>>());
    }

    /// Starts, stops and restarts the service, and audits a caller each time.
    fn start_stop_restart(&self) {
        self.audit_one();
        let first = self.agent();
        self.run("systemctl restart imds-audit");
        assert_ne!(self.agent(), first);
        self.audit_one();
        self.run("systemctl reload imds-audit");
        self.audit_one();
        self.end_by("systemctl stop imds-audit");
        self.run("systemctl start imds-audit");
        self.audit_one();
        let failed = self.run("systemctl list-units --failed --no-legend imds-audit.service");
        assert_eq!(failed, "");
    }

    /// The files of the package and of the agent that are there.
    fn traces(&self) -> Vec<PathBuf> {
        let paths = self.root.files(&["var/lib/dpkg", "var/lib/rpm"]).into_keys();
        paths.filter(|path| path.to_str().unwrap().contains("imds-audit")).collect()
    }
}

/// Gives the README's commands to install, those below a comment that begins so.
fn commands(comment: &str) -> Vec<&'static str> {
    let (_, install) = README.split_once("\n## Install\n").unwrap();
    let (_, block) =
        install.split_once(&format!("\n# {comment}")).expect("a comment of the README");
    let block = block.split("\n```").next().unwrap().split("\n\n").next().unwrap();
    let lines: Vec<_> =
        block.lines().skip(1).map(|line| line.split(" #").next().unwrap().trim_end()).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    lines
}

#[test]
#[ignore = "takes minutes: cargo xtask dist --test"]
fn the_deb_serves_under_systemd_from_the_readme_s_three_commands_until_it_is_purged() {
    let host = Host::boot("deb");
    host.add_program("sudo", "exec \"$@\"");
    let package = artefact("_amd64.deb");
    fs::copy(&package, host.root.path(package.file_name().unwrap().to_str().unwrap())).unwrap();
    let [install, enable, report]: [&str; 3] = commands("A host").try_into().unwrap();
    host.run(install);
    assert_eq!(host.agent(), None, "it is not started by its installation");
    host.run(enable);
    assert!(host.root.path(WANTED).is_symlink());
    host.start_stop_restart();
    let told = host.run(report);
    assert!(told.contains("NOT READY") && told.contains("imds-audit-test"), "{told}");

    let first = host.agent();
    super::deb::newer(&host.root, &package);
    host.run("dpkg --force-confdef --force-confold -i /new.deb");
    assert_ne!(host.agent(), first, "a running agent becomes the new one");
    host.audit_one();
    host.end_by("dpkg --remove imds-audit");
    assert!(!host.root.path(WANTED).is_symlink());
    assert!(!host.events().is_empty(), "what was found outlives the package");
    host.run("dpkg --purge imds-audit");
    for file in ["new.deb", package.file_name().unwrap().to_str().unwrap()] {
        fs::remove_file(host.root.path(file)).unwrap();
    }
    let left = host.traces();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
#[ignore = "takes minutes: cargo xtask dist --test"]
fn the_rpm_serves_under_systemd_from_the_readme_s_user_data_until_it_is_erased() {
    let host = Host::boot("rpm");
    let package = artefact(".x86_64.rpm");
    let name = package.file_name().unwrap().to_str().unwrap();
    // In place of the bucket: `aws s3 cp s3://BUCKET/NAME /tmp/`.
    host.add_program(
        "aws",
        "test \"$1 $2\" = 's3 cp' && cp \"/opt/bucket/${3#s3://BUCKET/}\" \"$4\"",
    );
    // Debian's rpm knows no package that has /bin/sh.
    host.add_program("rpm", "exec /usr/bin/rpm --nodeps \"$@\"");
    fs::create_dir_all(host.root.path("opt/bucket")).unwrap();
    fs::copy(&package, host.root.path("opt/bucket").join(name)).unwrap();
    for command in commands("EC2 user data") {
        host.run(command);
    }
    assert!(host.root.path(WANTED).is_symlink());
    host.start_stop_restart();

    let first = host.agent();
    let folder = tempfile::tempdir().unwrap();
    let new = super::rpm::newer(&host.root, folder.path());
    fs::copy(new, host.root.path("opt/bucket/new.rpm")).unwrap();
    host.run("rpm -U /opt/bucket/new.rpm");
    assert_ne!(host.agent(), first, "a running agent becomes the new one");
    host.audit_one();
    host.end_by("rpm -e imds-audit");
    assert!(!host.root.path(WANTED).is_symlink());
    // What was found outlives an rpm, which is never purged.
    assert!(!host.events().is_empty());
    fs::remove_dir_all(host.root.path("var/log/imds-audit")).unwrap();
    fs::remove_dir_all(host.root.path("opt/bucket")).unwrap();
    fs::remove_file(host.root.path("tmp").join(name)).unwrap();
    let left = host.traces();
    assert!(left.is_empty(), "left behind: {left:?}");
}
