//! Callers in real containers.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use imds_audit::event::{Container, Rule};
use imds_audit_tests::{Exchange, Systemd, TestBed, skip};

/// What the container runs: a request, and then it waits, so that procfs still has it.
const SCRIPT: &str = "#!/bin/sh\n\
    curl -s -m 10 http://169.254.169.254/latest/meta-data/instance-id\n\
    read line || true\n";

/// Mounts version 2 of control groups alone where the runtime looks for them, as it refuses a
/// host with both versions, and then goes on with the rest.
const UNIFIED: &str = "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup && \
                       exec timeout 60 \"$@\"";

/// Makes the folder of an image whose programs are the host's, mounted into it.
fn image(folder: &Path) {
    for name in ["etc", "opt", "tmp", "proc", "sys", "dev", "usr", "run"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    for name in ["bin", "lib", "lib64", "sbin"] {
        symlink(format!("usr/{name}"), folder.join(name)).unwrap();
    }
    fs::write(folder.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
    fs::write(folder.join("opt/job.sh"), SCRIPT).unwrap();
}

#[test]
fn a_script_in_a_container_of_podman_is_named_with_its_container() {
    for runtime in ["crun", "runc"] {
        for program in ["podman", runtime] {
            if Command::new(program).arg("--version").output().is_err() {
                return skip(&format!("there is no {program}"));
            }
        }
        run_in_podman(runtime);
    }
}

/// Has a script ask in a container that podman makes with this runtime.
fn run_in_podman(runtime: &str) {
    let Some(scene) = TestBed::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(path("image")).unwrap();
    image(&folder.path().join("image"));
    let packed = Command::new("tar")
        .args(["-C", &path("image"), "-cf", &path("image.tar"), "."])
        .status()
        .unwrap();
    assert!(packed.success());
    let (store, state) = (path("store"), path("state"));
    let podman = [
        "podman",
        "--root",
        &store,
        "--runroot",
        &state,
        "--storage-driver",
        "vfs",
        "--cgroup-manager",
        "cgroupfs",
        "--runtime",
        runtime,
        "--events-backend",
        "file",
    ];
    let import = ["import", "-q", &path("image.tar"), "imds-audit-test"];
    let imported = scene.run_well(podman[0], &[&podman[1..], &import].concat());
    assert!(imported.stdout.contains("sha256:"), "{imported:?}");

    // The test's network is the host's to podman: the container shares it. The bounds are what a
    // root without CAP_SYS_RESOURCE may set.
    let id = path("id");
    let run = [
        "run",
        "--rm",
        "-i",
        "--privileged",
        "--pids-limit",
        "0",
        "--network",
        "host",
        "--cgroupns",
        "host",
        "--ulimit",
        "nofile=1024:1024",
        "--ulimit",
        "nproc=1024:1024",
        "-v",
        "/usr:/usr:ro",
        "--cidfile",
        &id,
        "imds-audit-test",
        "/bin/sh",
        "/opt/job.sh",
    ];
    let arguments = [&["-m", "sh", "-c", UNIFIED, "sh"], &podman[..], &run].concat();
    let running = scene.start("unshare", &arguments);
    scene.wait_for_events(1);
    let id = fs::read_to_string(&id).unwrap();
    let caller = running.wait();
    assert!(caller.status.success(), "{caller:?}");
    assert_eq!(caller.stdout, "i-0123456789abcdef0");

    let findings = scene.finish();
    assert_eq!(findings.verdicts(), [("v1", "served")]);
    assert_named(&findings.exchanges[0], id.trim(), "podman");
}

/// Asserts that a request of the script's curl names the script and the container.
fn assert_named(exchange: &Exchange, id: &str, runtime: &str) {
    let process = exchange.process();
    assert_eq!(process.name.as_deref(), Some("curl"), "{process:#?}");
    let container =
        Container { id: id.to_owned(), runtime: Some(runtime.to_owned()), ..Container::default() };
    assert_eq!(process.container, Some(container));
    assert!(process.namespace_pid.is_some_and(|own| Some(own) != process.pid), "{process:#?}");
    let responsible = exchange.responsible();
    assert_eq!(responsible.rule, Rule::Script, "{process:#?}");
    assert_eq!(responsible.script.as_deref(), Some("/opt/job.sh"));
    assert_eq!(responsible.pid, process.ancestors[0].pid);
}

#[test]
fn a_script_in_a_container_of_systemd_nspawn_is_named_with_its_container() {
    let Some(scene) = TestBed::new() else { return };
    if Command::new("systemd-nspawn").arg("--version").output().is_err() {
        return skip("there is no systemd-nspawn");
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    image(&root);
    fs::write(root.join("etc/os-release"), "ID=test\n").unwrap();
    let fifo = folder.path().join("wait");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let held = File::options().read(true).write(true).open(&fifo).unwrap();
    // The unit's form of systemd-nspawn(1), without the machine's registration, which wants D-Bus.
    let nspawn = format!(
        "Slice=machine.slice\nDelegate=yes\nKillMode=mixed\nStandardInput=file:{}\n\
         StandardOutput=null\nStandardError=null\n\
         ExecStart=systemd-nspawn --quiet --keep-unit --register=no --console=pipe \
         --directory={} --bind-ro=/usr --machine=%i /bin/sh /opt/job.sh",
        fifo.display(),
        root.display()
    );
    let units = [("systemd-nspawn@box.service", nspawn)];
    let Some(systemd) = Systemd::boot(&scene, "nspawn", &units, &[]) else { return };
    scene.wait_for_events(1);
    drop(held);
    drop(systemd);

    let findings = scene.finish();
    assert_eq!(findings.verdicts(), [("v1", "served")]);
    let exchange = &findings.exchanges[0];
    assert_named(exchange, "box", "systemd-nspawn");
    assert_eq!(exchange.process().unit.as_deref(), Some("systemd-nspawn@box.service"));
}
