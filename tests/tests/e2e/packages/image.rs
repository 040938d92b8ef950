//! The container image.

use std::ffi::OsString;

use serde_json::Value;

use super::*;

/// The page whose commands are run.
const PAGE: &str = include_str!("../../../../docs/kubernetes.md");

/// Mounts version 2 of control groups alone where the runtime looks for them, as it refuses a
/// host with both versions, and then goes on with the rest.
const UNIFIED: &str = "mount --make-rprivate /; umount -R /sys/fs/cgroup; \
                       mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";

/// A podman with a store of its own, in which the image is.
pub(super) struct Podman {
    folder: TempDir,
}

impl Podman {
    pub(super) fn new() -> Self {
        let podman = Self::empty();
        let mut pull = OsString::from("oci-archive:");
        pull.push(artefact(".oci.tar"));
        let image = well(podman.command().args(["pull", "-q"]).arg(pull));
        podman.tag(image.trim());
        podman
    }

    /// Makes one without an image.
    fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// Has [`Self::run`] run an image.
    fn tag(&self, image: &str) {
        well(self.command().args(["tag", image, "imds-audit-test"]));
    }

    fn command(&self) -> Command {
        let path = |name: &str| self.folder.path().join(name);
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", UNIFIED, "sh", "podman", "--root"]).arg(path("store"));
        command.arg("--runroot").arg(path("state")).args(["--storage-driver", "vfs"]);
        command.args([
            "--cgroup-manager",
            "cgroupfs",
            "--runtime",
            "runc",
            "--events-backend",
            "file",
        ]);
        command
    }

    /// Prepares a container of the image with options. The bounds are what a root without
    /// CAP_SYS_RESOURCE may set.
    pub(super) fn run(&self, options: &[&str], arguments: &[&str]) -> Command {
        let mut command = self.command();
        command.args(["run", "--rm", "--pids-limit=-1", "--network", "none", "--pidfile"]);
        command.arg(self.folder.path().join("pid"));
        command.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]);
        command.args(options).arg("imds-audit-test").args(arguments);
        command
    }

    /// Gives the number of the container's process.
    pub(super) fn pid(&self) -> u32 {
        fs::read_to_string(self.folder.path().join("pid")).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.command().args(["rm", "-af", "-t", "0"]).output().ok();
    }
}

#[test]
#[ignore = "takes minutes: cargo xtask dist --test"]
fn skopeo_and_umoci_read_the_image_of_both_architectures() {
    let folder = tempfile::tempdir().unwrap();
    let archive = format!("oci-archive:{}", artefact(".oci.tar").display());
    for architecture in ["amd64", "arm64"] {
        let layout = folder.path().join(architecture);
        let copied = format!("oci:{}:image", layout.display());
        let mut copy = Command::new("skopeo");
        copy.args(["--override-arch", architecture, "copy", "-q", &archive, &copied]);
        well(&mut copy);
        let about = well(Command::new("skopeo").args([
            "inspect",
            "--override-arch",
            architecture,
            &copied,
        ]));
        let about: Value = serde_json::from_str(&about).unwrap();
        assert_eq!((&about["Architecture"], &about["Os"]), (&architecture.into(), &"linux".into()));
        assert_eq!(about["Labels"]["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
        let bundle = folder.path().join(format!("{architecture}-bundle"));
        let mut unpack = Command::new("umoci");
        unpack.args(["unpack", "--image", &format!("{}:image", layout.display())]).arg(&bundle);
        well(&mut unpack);
        let name = if architecture == "amd64" { "-linux-x86_64" } else { "-linux-aarch64" };
        let program = fs::read(bundle.join("rootfs/imds-audit")).unwrap();
        assert!(program == fs::read(artefact(name)).unwrap());
    }
}

/// A registry on a loopback address of its own, gone when dropped.
struct Registry {
    child: Child,
    address: String,
    _folder: TempDir,
}

impl Registry {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (config, log) = (folder.path().join("config.yml"), folder.path().join("log"));
        let store = folder.path().join("store");
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:0'}}\n",
            store.display()
        );
        fs::write(&config, text).unwrap();
        let mut serve = Command::new(tool("docker-registry"));
        serve.arg("serve").arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
        let child = serve.stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
        let mut registry = Self { child, address: String::new(), _folder: folder };
        let read = || written_so_far(&log);
        let address = until(|| {
            let text = read();
            let (_, rest) = text.split_once("listening on ")?;
            let end = rest.find(['"', ',', ' ', '\n'])?;
            Some(rest[..end].to_owned())
        });
        registry.address = address.unwrap_or_else(|| panic!("it does not listen: {}", read()));
        registry
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
#[ignore = "takes minutes: cargo xtask dist --test"]
fn the_page_s_command_pushes_the_image_of_both_architectures_to_a_registry() {
    let registry = Registry::start();
    let line = PAGE.lines().find(|line| line.starts_with("skopeo copy --all ")).unwrap();
    let archive = format!("oci-archive:{}", artefact(".oci.tar").display());
    let name = format!("docker://{}/imds-audit:{}", registry.address, env!("CARGO_PKG_VERSION"));
    let words = line.split(' ').map(|word| match word.split_once(':') {
        Some(("oci-archive", _)) => archive.as_str(),
        Some(("docker", _)) => name.as_str(),
        _ => word,
    });
    let words: Vec<_> = words.collect();
    assert!(words.contains(&&*archive) && words.contains(&&*name), "{line}");
    // No certificate on this registry.
    let insecure = ["--quiet", "--dest-tls-verify=false"];
    well(Command::new(words[0]).arg(words[1]).args(insecure).args(&words[2..]));

    let look = |options: &[&str]| {
        let mut inspect = Command::new("skopeo");
        inspect.args(["inspect", "--tls-verify=false"]).args(options).arg(&name);
        serde_json::from_str::<Value>(&well(&mut inspect)).unwrap()
    };
    let index = look(&["--raw"]);
    let of_index = index["manifests"].as_array().unwrap().iter();
    let of_index: Vec<_> = of_index.map(|one| &one["platform"]["architecture"]).collect();
    assert_eq!(of_index, ["amd64", "arm64"]);
    for architecture in ["amd64", "arm64"] {
        let found = look(&["--override-arch", architecture]);
        assert_eq!(found["Architecture"], architecture);
    }
    // As a node's runtime fetches it.
    let podman = Podman::empty();
    let pull = podman.command().args(["pull", "-q", "--tls-verify=false", &name]).output().unwrap();
    assert!(pull.status.success(), "{pull:?}");
    podman.tag(String::from_utf8_lossy(&pull.stdout).trim());
    let version = well(&mut podman.run(&[], &["--version"]));
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
}

#[test]
#[ignore = "takes minutes: cargo xtask dist --test"]
fn the_image_in_podman_audits_a_caller_outside_of_it() {
    let podman = Podman::new();
    let options = ["--privileged", "--pid", "host", "--cgroupns", "host"];
    let auditing = Auditing::start(podman.run(&options, &["run", "--format", "json"]));
    auditing.report_of(auditing.caller());
    auditing.stop(podman.pid());
}
