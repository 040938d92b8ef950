use super::*;
use crate::process::Runtime;
use proptest::prelude::*;

const ID: &str = "7be92808767a667f35c8505cbf40d14e931ef6db5b0210329cf193b15ba9d605";
const OTHER: &str = "00000000000a667f35c8505cbf40d14e931ef6db5b0210329cf193b15ba9d605";

/// A path, and the unit, slice, container's id, runtime and pod that it says; `ID` and `OTHER`
/// stand for two ids, `-` for nothing.
const FORMS: &[(&str, [&str; 5])] = &[
    // Docker, cgroup driver "cgroupfs": docs.docker.com, "Runtime metrics".
    ("/docker/ID", ["-", "-", "ID", "docker", "-"]),
    // Docker in Docker: what is in a container is that container's.
    ("/docker/OTHER/docker/ID", ["-", "-", "OTHER", "docker", "-"]),
    // Docker, cgroup driver "systemd": docs.docker.com, "Runtime metrics".
    ("/system.slice/docker-ID.scope", ["docker-ID.scope", "system.slice", "ID", "docker", "-"]),
    // kubelet, driver "cgroupfs": pkg/kubelet/cm/pod_container_manager_linux.go.
    (
        "/kubepods/burstable/pod2c48913c-b29f-11e7-9350-020968147796/ID",
        ["-", "-", "ID", "-", "2c48913c-b29f-11e7-9350-020968147796"],
    ),
    // The same without a class: pods of class "guaranteed" lie directly below kubepods.
    (
        "/kubepods/pod2c48913c-b29f-11e7-9350-020968147796/ID",
        ["-", "-", "ID", "-", "2c48913c-b29f-11e7-9350-020968147796"],
    ),
    // kubelet, driver "systemd", with containerd: containerd's CRI plugin, "SystemdCgroup".
    (
        "/kubepods.slice/kubepods-burstable.slice/\
         kubepods-burstable-pod2c48913c_b29f_11e7_9350_020968147796.slice/cri-containerd-ID.scope",
        [
            "cri-containerd-ID.scope",
            "kubepods-burstable-pod2c48913c_b29f_11e7_9350_020968147796.slice",
            "ID",
            "containerd",
            "2c48913c-b29f-11e7-9350-020968147796",
        ],
    ),
    // A static pod: its uid is an MD5 hash (pkg/kubelet/config/common.go, applyDefaults).
    (
        "/kubepods/besteffort/pod0123456789abcdef0123456789abcdef/ID",
        ["-", "-", "ID", "-", "0123456789abcdef0123456789abcdef"],
    ),
    // kind: the node is a container itself, so its pods are not the host's.
    (
        "/docker/OTHER/kubelet/kubepods/pod2c48913c-b29f-11e7-9350-020968147796/ID",
        ["-", "-", "OTHER", "docker", "-"],
    ),
    (
        "/system.slice/docker-OTHER.scope/kubelet.slice/kubelet-kubepods.slice/\
         kubelet-kubepods-pod2c48913c_b29f_11e7_9350_020968147796.slice/cri-containerd-ID.scope",
        [
            "cri-containerd-ID.scope",
            "kubelet-kubepods-pod2c48913c_b29f_11e7_9350_020968147796.slice",
            "OTHER",
            "docker",
            "-",
        ],
    ),
    // containerd and the kubelet disagree: falcosecurity/libs issue 63.
    (
        "/system.slice/containerd.service/\
         kubepods-pod2c48913c_b29f_11e7_9350_020968147796.slice:cri-containerd:ID",
        [
            "containerd.service",
            "system.slice",
            "ID",
            "containerd",
            "2c48913c-b29f-11e7-9350-020968147796",
        ],
    ),
    // CRI-O, driver "systemd": internal/config/cgmgr/systemd_linux.go.
    (
        "/kubepods.slice/kubepods-pod2c48913c_b29f_11e7_9350_020968147796.slice/crio-ID.scope/container",
        [
            "crio-ID.scope",
            "kubepods-pod2c48913c_b29f_11e7_9350_020968147796.slice",
            "ID",
            "cri-o",
            "2c48913c-b29f-11e7-9350-020968147796",
        ],
    ),
    // Its monitor, which is outside the container.
    (
        "/kubepods.slice/kubepods-pod2c48913c_b29f_11e7_9350_020968147796.slice/crio-conmon-ID.scope",
        [
            "crio-conmon-ID.scope",
            "kubepods-pod2c48913c_b29f_11e7_9350_020968147796.slice",
            "-",
            "-",
            "2c48913c-b29f-11e7-9350-020968147796",
        ],
    ),
    // CRI-O, driver "cgroupfs": internal/config/cgmgr/cgroupfs_linux.go.
    (
        "/kubepods/pod2c48913c-b29f-11e7-9350-020968147796/crio-ID",
        ["-", "-", "ID", "cri-o", "2c48913c-b29f-11e7-9350-020968147796"],
    ),
    // Podman, with the child that crun makes: libpod/container_internal_linux.go.
    (
        "/machine.slice/libpod-ID.scope/container",
        ["libpod-ID.scope", "machine.slice", "ID", "podman", "-"],
    ),
    // Rootless Podman in the user manager.
    (
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
        ["libpod-ID.scope", "user.slice", "ID", "podman", "-"],
    ),
    // Podman's monitor.
    (
        "/machine.slice/libpod-conmon-ID.scope",
        ["libpod-conmon-ID.scope", "machine.slice", "-", "-", "-"],
    ),
    // Podman, --cgroup-manager=cgroupfs: libpod/container.go, CgroupfsDefaultCgroupParent.
    ("/libpod_parent/libpod-ID", ["-", "-", "ID", "podman", "-"]),
    // Podman, --cgroups=split below a unit, as Quadlet does it: podman-run(1), podman-systemd.unit(5).
    (
        "/system.slice/web.service/libpod-payload-ID",
        ["web.service", "system.slice", "ID", "podman", "-"],
    ),
    // LXC before 4.0, LXD: src/lxc/cgroups/cgfsng.c.
    ("/lxc/web-1", ["-", "-", "web-1", "lxc", "-"]),
    // LXC 4.0: its payload, what a unit inside shows, and its monitor.
    ("/lxc.payload.web", ["-", "-", "web", "lxc", "-"]),
    (
        "/lxc.payload.web/system.slice/ssh.service",
        ["ssh.service", "system.slice", "web", "lxc", "-"],
    ),
    ("/lxc.monitor.web", ["-", "-", "-", "-", "-"]),
    // systemd-machined: machined's scopes keep systemd's escapes (systemd-machined.service(8)).
    (
        r"/machine.slice/machine-my\x2dbox.scope/payload",
        [r"machine-my\x2dbox.scope", "machine.slice", r"my\x2dbox", "-", "-"],
    ),
    // systemd-nspawn@.service: systemd-nspawn(1).
    (
        "/machine.slice/systemd-nspawn@box.service/payload/init.scope",
        ["init.scope", "machine.slice", "box", "systemd-nspawn", "-"],
    ),
    // A virtual machine of libvirt: libvirt.org/cgroups.html.
    (
        r"/machine.slice/machine-qemu\x2d1\x2dvm.scope/libvirt/emulator",
        [r"machine-qemu\x2d1\x2dvm.scope", "machine.slice", "-", "-", "-"],
    ),
    // ECS on EC2: docs.aws.amazon.com, ECS agent, agent/api/task/task_linux.go, with a task's id.
    ("/ecs/0123456789abcdef0123456789abcdef/ID", ["-", "-", "ID", "docker", "-"]),
    // ECS on Fargate: the task's id again, with a number of 8 to 10 digits: elastic/apm issue 887.
    (
        "/ecs/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-2531612879",
        ["-", "-", "0123456789abcdef0123456789abcdef-2531612879", "-", "-"],
    ),
    // ECS with systemd (Amazon Linux 2023): agent/api/task/task_linux.go.
    (
        "/ecstasks.slice/ecstasks-0123456789abcdef0123456789abcdef.slice/docker-ID.scope",
        ["docker-ID.scope", "ecstasks-0123456789abcdef0123456789abcdef.slice", "ID", "docker", "-"],
    ),
    // containerd, cgroupfs: oci.WithNamespacedCgroup in containerd's pkg/oci/spec_opts.go.
    ("/k8s.io/ID", ["-", "-", "ID", "containerd", "-"]),
    // nerdctl: pkg/cmd/container/run_cgroup_linux.go.
    (
        "/system.slice/nerdctl-ID.scope",
        ["nerdctl-ID.scope", "system.slice", "ID", "containerd", "-"],
    ),
    // A reader in a cgroup namespace of its own: cgroup_namespaces(7).
    ("/../../docker/ID", ["-", "-", "ID", "docker", "-"]),
    ("/../ID", ["-", "-", "ID", "-", "-"]),
    // A folder of the user's choice: docker run --cgroup-parent; the runner of GitHub Actions.
    ("/actions_job/ID", ["-", "-", "ID", "docker", "-"]),
    ("/process_api/ID", ["-", "-", "ID", "-", "-"]),
    ("/pod2c48913c-b29f-11e7-9350-020968147796/ID", ["-", "-", "ID", "-", "-"]),
    ("/batch.slice/docker-ID.scope", ["docker-ID.scope", "batch.slice", "ID", "docker", "-"]),
    // BuildKit: embedded in Docker with either driver, by itself, in a container and in a pod.
    ("/docker/buildkit/BUILD", ["-", "-", "BUILD", "docker", "-"]),
    (
        "/system.slice/docker-BUILD.scope",
        ["docker-BUILD.scope", "system.slice", "BUILD", "docker", "-"],
    ),
    ("/buildkit/BUILD", ["-", "-", "BUILD", "buildkit", "-"]),
    (
        "/system.slice/docker-ID.scope/buildkit/BUILD",
        ["docker-ID.scope", "system.slice", "BUILD", "buildkit", "-"],
    ),
    (
        "/kubepods/pod2c48913c-b29f-11e7-9350-020968147796/ID/buildkit/BUILD",
        ["-", "-", "BUILD", "buildkit", "2c48913c-b29f-11e7-9350-020968147796"],
    ),
    ("/docker/buildkit/short", ["-", "-", "-", "-", "-"]),
    // Bottlerocket: sources/host-ctr of bottlerocket-os/bottlerocket-core-kit.
    ("/default/control", ["-", "-", "control", "containerd", "-"]),
    ("/k8s.io/my-task.1", ["-", "-", "my-task.1", "containerd", "-"]),
    ("/default", ["-", "-", "-", "-", "-"]),
    ("/x/default/control", ["-", "-", "-", "-", "-"]),
    // Nomad: client/lib/cgroupslib/editor.go, version 2, before 1.7, version 1.
    (
        "/nomad.slice/share.slice/UUID.web-task.scope",
        ["UUID.web-task.scope", "share.slice", "UUID", "nomad", "-"],
    ),
    ("/nomad.slice/UUID.web.scope", ["UUID.web.scope", "nomad.slice", "UUID", "nomad", "-"]),
    ("/nomad/UUID.web", ["-", "-", "UUID", "nomad", "-"]),
    ("/nomad.slice/docker-ID.scope", ["docker-ID.scope", "nomad.slice", "ID", "docker", "-"]),
    // YARN: NodeManagerCgroups.md of apache/hadoop, with its own containers and with Docker's.
    ("/hadoop-yarn/CONTAINER", ["-", "-", "CONTAINER", "yarn", "-"]),
    (
        "/hadoop-yarn/container_e17_1700000000000_0042_01_000002",
        ["-", "-", "container_e17_1700000000000_0042_01_000002", "yarn", "-"],
    ),
    ("/x/y/container_1_2_3_4", ["-", "-", "-", "-", "-"]),
    // Slurm: slurm.schedmd.com/cgroup_v2.html, cgroups.html.
    (
        "/system.slice/slurmstepd.scope/job_123/step_0/user/task_0",
        ["slurmstepd.scope", "system.slice", "123", "slurm", "-"],
    ),
    (
        "/system.slice/node1_slurmstepd.scope/job_7/step_batch/user/task_special",
        ["node1_slurmstepd.scope", "system.slice", "7", "slurm", "-"],
    ),
    ("/slurm/uid_1000/job_123/step_0/task_0", ["-", "-", "123", "slurm", "-"]),
    ("/job_123", ["-", "-", "-", "-", "-"]),
    // PBS, HTCondor in version 1 and below its service in version 2, Buildah with each runtime.
    ("/pbs_jobs.service/jobid/4711.head", ["pbs_jobs.service", "-", "4711.head", "pbs", "-"]),
    ("/pbs_jobs.service/jobid", ["pbs_jobs.service", "-", "-", "-", "-"]),
    (
        "/htcondor/condor_var_lib_condor_execute_slot1_2@node7",
        ["-", "-", "slot1_2@node7", "htcondor", "-"],
    ),
    (
        "/system.slice/htcondor/_var_lib_condor_execute_slot3@node7",
        ["-", "system.slice", "slot3@node7", "htcondor", "-"],
    ),
    ("/htcondor", ["-", "-", "-", "-", "-"]),
    ("/buildah-buildah123456789", ["-", "-", "buildah-buildah123456789", "-", "-"]),
    (
        "/system.slice/crun-buildah-buildah123456789.scope",
        [
            "crun-buildah-buildah123456789.scope",
            "system.slice",
            "buildah-buildah123456789",
            "-",
            "-",
        ],
    ),
    ("/system.slice/buildah-tool.service", ["buildah-tool.service", "system.slice", "-", "-", "-"]),
    // Mesos: src/slave/containerizer/mesos/paths.cpp of apache/mesos.
    ("/mesos/UUID", ["-", "-", "UUID", "mesos", "-"]),
    ("/UUID.web", ["-", "-", "-", "-", "-"]),
    // systemd: systemd.special(7), systemd.slice(5), user@.service(5), systemd.unit(5).
    ("/system.slice/cron.service", ["cron.service", "system.slice", "-", "-", "-"]),
    (
        r"/system.slice/system-getty.slice/getty@tty1.service",
        ["getty@tty1.service", "system-getty.slice", "-", "-", "-"],
    ),
    (
        "/user.slice/user-1000.slice/user@1000.service/app.slice/foo.service",
        ["foo.service", "app.slice", "-", "-", "-"],
    ),
    (
        "/user.slice/user-1000.slice/session-3.scope",
        ["session-3.scope", "user-1000.slice", "-", "-", "-"],
    ),
    ("/system.slice/a.service/worker/7", ["a.service", "system.slice", "-", "-", "-"]),
    (
        r"/system.slice/my\x2dapp@a\x2fb.service",
        [r"my\x2dapp@a\x2fb.service", "system.slice", "-", "-", "-"],
    ),
    ("/init.scope", ["init.scope", "-", "-", "-", "-"]),
    ("/system.slice", ["-", "system.slice", "-", "-", "-"]),
    ("/", ["-", "-", "-", "-", "-"]),
    // Nothing of these is known, so nothing is said.
    ("/docker/short", ["-", "-", "-", "-", "-"]),
    ("/docker", ["-", "-", "-", "-", "-"]),
    ("/kubepods/podnonsense/x", ["-", "-", "-", "-", "-"]),
    ("/lxc", ["-", "-", "-", "-", "-"]),
    ("/.service/.slice", ["-", "-", "-", "-", "-"]),
];

fn filled(text: &str) -> String {
    text.replace("CONTAINER", "container_1700000000000_0042_01_000002")
        .replace("BUILD", "k3v0rv2ynwaqkvk0qbo7y9p2x")
        .replace("UUID", "7f1c9a52-3d1e-4c5b-9a77-0c4f6a1b2c3d")
        .replace("OTHER", OTHER)
        .replace("ID", ID)
}

#[test]
fn known_forms_are_recognised_and_others_say_nothing() {
    for (path, expected) in FORMS {
        let location = CgroupLocation::of(filled(path).as_bytes());
        let text = |bytes: Option<&[u8]>| {
            bytes.map_or("-".into(), |bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        let container = location.container.as_ref();
        let found = [
            text(location.unit.as_deref()),
            text(location.slice.as_deref()),
            text(container.map(|container| &*container.id)),
            container.and_then(|it| it.runtime).map_or("-", Runtime::name).into(),
            text(location.pod.as_deref()),
        ];
        assert_eq!(found, expected.map(filled), "{path}");
    }
}

#[test]
fn names_with_control_characters_stay_as_they_are() {
    let location = CgroupLocation::of(b"/system.slice/a\n\x1b[0m\xff.service");
    assert_eq!(location.unit.as_deref(), Some(&b"a\n\x1b[0m\xff.service"[..]));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(path in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = CgroupLocation::of(&path);
    }

    #[test]
    fn words_of_real_paths_never_panic(path in "(/|\\.\\.|kubepods|pod|-|:|\\.slice|\\.scope|lxc|docker|ecs|[0-9a-f]{32}|machine){0,12}") {
        let location = CgroupLocation::of(path.as_bytes());
        prop_assert!(location.container.is_none_or(|container| container.id.len() <= path.len()));
    }
}

#[test]
fn a_unit_below_a_user_s_own_manager_is_the_user_s() {
    // user@.service(5): the manager is a unit of the system's, what it runs stands below it.
    for (path, expected) in [
        ("/system.slice/cron.service", Some(Manager::System)),
        ("/user.slice/user-1000.slice/user@1000.service", Some(Manager::System)),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/x.service", Some(Manager::User)),
        ("/user.slice/user-1000.slice/session-3.scope", Some(Manager::System)),
        ("/kubepods", None),
    ] {
        assert_eq!(CgroupLocation::of(path.as_bytes()).manager, expected, "{path}");
    }
}

#[test]
fn a_unit_inside_a_container_is_told_from_the_one_around_it() {
    let inner = CgroupLocation::of(b"/lxc.payload.web/system.slice/ssh.service");
    assert!(inner.home().unit_in_container);
    let outer =
        CgroupLocation::of(filled("/system.slice/web.service/libpod-payload-ID").as_bytes());
    assert!(!outer.home().unit_in_container);
    assert_eq!(outer.home().unit, Some(&b"web.service"[..]));
}

/// Shows the unit with its manager, the container with who named it and what is in it, the pod.
fn owned(path: &str, host_len: usize) -> String {
    let location = CgroupLocation::of_owned(filled(path).as_bytes(), host_len);
    let text = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.replace(OTHER, "OTHER").replace(ID, "ID")
    };
    let unit = location.unit.as_deref().map_or("-".into(), text);
    let manager = if location.manager == Some(Manager::User) { " (user)" } else { "" };
    let container = location.container.as_ref().map_or("-".into(), |container| {
        let within = container.within.as_deref().map(|unit| format!(" within {}", text(unit)));
        let inner = container.inner.as_deref().map(|id| format!(" with {}", text(id)));
        format!(
            "{}{}{}",
            text(&container.id),
            within.unwrap_or_default(),
            inner.unwrap_or_default()
        )
    });
    let pod = if location.pod.is_some() { " pod" } else { "" };
    format!("{unit}{manager} {container}{pod}")
}

#[test]
fn what_is_below_a_user_or_in_a_container_is_never_the_hosts() {
    const USER: &str = "/user.slice/user-1000.slice/user@1000.service";
    const PODS: &str = "kubepods-burstable-pod2c48913c_b29f_11e7_9350_020968147796.slice";
    for (path, expected) in [
        (
            format!("{USER}/app.slice/{PODS}/cri-containerd-ID.scope"),
            "cri-containerd-ID.scope (user) -",
        ),
        (
            format!("{USER}/kubepods/pod2c48913c-b29f-11e7-9350-020968147796/ID"),
            "user@1000.service ID within user@1000.service",
        ),
        (format!("{USER}/app.slice/crio-ID.scope"), "crio-ID.scope (user) -"),
        (
            format!("{USER}/user.slice/libpod-ID.scope"),
            "libpod-ID.scope (user) ID within user@1000.service",
        ),
        (format!("{USER}/docker/ID"), "user@1000.service ID within user@1000.service"),
        (format!("{USER}/app.slice/sshd.service"), "sshd.service (user) -"),
        (format!("{USER}/app.slice/x.service/sshd.service"), "x.service (user) -"),
        // A scope that somebody delegated, a session, a unit that makes folders of its own.
        (format!("/system.slice/run-r1.scope/{PODS}/cri-containerd-ID.scope"), "run-r1.scope -"),
        (
            "/user.slice/user-0.slice/session-1.scope/libpod-payload-ID".into(),
            "session-1.scope ID within session-1.scope",
        ),
        ("/system.slice/app.service/sshd.service".into(), "app.service -"),
        ("/system.slice/app.service/x.slice/sshd.service".into(), "app.service -"),
        // A container.
        (
            format!("/docker/OTHER/{PODS}/cri-containerd-ID.scope"),
            "cri-containerd-ID.scope OTHER with ID",
        ),
        ("/docker/OTHER/docker/ID".into(), "- OTHER with ID"),
        ("/docker/OTHER/system.slice/sshd.service".into(), "sshd.service OTHER"),
        (format!("/lxc.payload.web/{PODS}/docker-ID.scope"), "docker-ID.scope web with ID"),
        (
            "/system.slice/docker-ID.scope/buildkit/k3v0rv2ynwaqkvk0qbo7y9p2x".into(),
            "docker-ID.scope k3v0rv2ynwaqkvk0qbo7y9p2x within ID",
        ),
        // The host's own.
        (
            format!("/kubepods.slice/{PODS}/cri-containerd-ID.scope"),
            "cri-containerd-ID.scope ID pod",
        ),
        (
            format!("/system.slice/containerd.service/{PODS}:cri-containerd:ID"),
            "containerd.service ID pod",
        ),
    ] {
        assert_eq!(owned(&path, usize::MAX), expected, "{path}");
    }
}

#[test]
fn what_is_below_a_folder_of_another_owner_is_that_owners() {
    let path = "/system.slice/app.service/kubepods/pod2c48913c-b29f-11e7-9350-020968147796/ID";
    assert_eq!(owned(path, path.len()), "app.service ID pod");
    let own = "/system.slice/app.service".len();
    assert_eq!(owned(path, own), "app.service ID within app.service");
    assert_eq!(owned("/a/crio-ID", 2), "- -");
}

#[test]
fn what_orchestrators_run_is_named_with_its_kind() {
    use ContainerKind::{Allocation, Application, Build, Job};
    for (path, kind, name) in [
        ("/docker/buildkit/BUILD", Some(Build), None),
        ("/nomad.slice/share.slice/UUID.web-task.scope", Some(Allocation), Some("web-task")),
        ("/hadoop-yarn/CONTAINER", Some(Application), Some("application_1700000000000_0042")),
        ("/hadoop-yarn/CONTAINER/ID", Some(Application), Some("application_1700000000000_0042")),
        (
            "/system.slice/slurmstepd.scope/job_123/step_batch/user/task_0",
            Some(Job),
            Some("step_batch"),
        ),
        ("/slurm/uid_1000/job_123/step_0/task_0", Some(Job), Some("step_0")),
        ("/actions_job/ID", Some(Job), None),
        ("/pbs_jobs.service/jobid/4711.head", Some(Job), None),
        ("/htcondor/_var_lib_condor_execute_slot1@node7", Some(Job), None),
        ("/buildah-buildah123456789", Some(Build), None),
        ("/kubepods/pod2c48913c-b29f-11e7-9350-020968147796/ID/buildkit/BUILD", Some(Build), None),
        ("/default/control", None, None),
        ("/docker/ID", None, None),
    ] {
        let location = CgroupLocation::of(filled(path).as_bytes());
        let container = location.container.unwrap();
        assert_eq!(container.kind, kind, "{path}");
        assert_eq!(container.name.as_deref(), name.map(str::as_bytes), "{path}");
    }
}
