use super::*;
use proptest::prelude::*;

const ID: &str = "7be92808767a667f35c8505cbf40d14e931ef6db5b0210329cf193b15ba9d605";
const OTHER: &str = "00000000000a667f35c8505cbf40d14e931ef6db5b0210329cf193b15ba9d605";

/// A path, and the unit, slice, container's id, runtime and pod that it says; `ID` and `OTHER`
/// stand for two ids, `-` for nothing.
const FORMS: &[(&str, [&str; 5])] = &[
    // Docker, cgroup driver "cgroupfs": docs.docker.com, "Runtime metrics".
    ("/docker/ID", ["-", "-", "ID", "docker", "-"]),
    // Docker in Docker: the same twice.
    ("/docker/OTHER/docker/ID", ["-", "-", "ID", "docker", "-"]),
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
    // kind: the node is a container itself, the kubelet's --cgroup-root is /kubelet.
    (
        "/docker/OTHER/kubelet/kubepods/pod2c48913c-b29f-11e7-9350-020968147796/ID",
        ["-", "-", "ID", "-", "2c48913c-b29f-11e7-9350-020968147796"],
    ),
    // kind, driver "systemd": the slices carry the kubelet's root in their names.
    (
        "/system.slice/docker-OTHER.scope/kubelet.slice/kubelet-kubepods.slice/\
         kubelet-kubepods-pod2c48913c_b29f_11e7_9350_020968147796.slice/cri-containerd-ID.scope",
        [
            "cri-containerd-ID.scope",
            "kubelet-kubepods-pod2c48913c_b29f_11e7_9350_020968147796.slice",
            "ID",
            "containerd",
            "2c48913c-b29f-11e7-9350-020968147796",
        ],
    ),
    // containerd told otherwise than the kubelet: falcosecurity/libs issue 63.
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
    ("/../ID", ["-", "-", "-", "-", "-"]),
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
    ("/process_api/ID", ["-", "-", "-", "-", "-"]),
    ("/docker/short", ["-", "-", "-", "-", "-"]),
    ("/docker", ["-", "-", "-", "-", "-"]),
    ("/pod2c48913c-b29f-11e7-9350-020968147796/ID", ["-", "-", "-", "-", "-"]),
    ("/kubepods/podnonsense/x", ["-", "-", "-", "-", "-"]),
    ("/lxc", ["-", "-", "-", "-", "-"]),
    ("/.service/.slice", ["-", "-", "-", "-", "-"]),
];

fn filled(text: &str) -> String {
    text.replace("OTHER", OTHER).replace("ID", ID)
}

#[test]
fn known_forms_are_recognised_and_others_say_nothing() {
    for (path, expected) in FORMS {
        let placement = Placement::of(filled(path).as_bytes());
        let text = |bytes: Option<&[u8]>| {
            bytes.map_or("-".into(), |bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        let container = placement.container.as_ref();
        let found = [
            text(placement.unit.as_deref()),
            text(placement.slice.as_deref()),
            text(container.map(|container| &*container.id)),
            container.and_then(|it| it.runtime).map_or("-", Runtime::name).into(),
            text(placement.pod.as_deref()),
        ];
        assert_eq!(found, expected.map(filled), "{path}");
    }
}

#[test]
fn names_with_control_characters_stay_as_they_are() {
    let placement = Placement::of(b"/system.slice/a\n\x1b[0m\xff.service");
    assert_eq!(placement.unit.as_deref(), Some(&b"a\n\x1b[0m\xff.service"[..]));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(path in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Placement::of(&path);
    }

    #[test]
    fn words_of_real_paths_never_panic(path in "(/|\\.\\.|kubepods|pod|-|:|\\.slice|\\.scope|lxc|docker|ecs|[0-9a-f]{32}|machine){0,12}") {
        let placement = Placement::of(path.as_bytes());
        prop_assert!(placement.container.is_none_or(|container| container.id.len() <= path.len()));
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
        assert_eq!(Placement::of(path.as_bytes()).manager, expected, "{path}");
    }
}

#[test]
fn a_unit_inside_a_container_is_told_from_the_one_around_it() {
    let inner = Placement::of(b"/lxc.payload.web/system.slice/ssh.service");
    assert!(inner.home().unit_in_container);
    let outer = Placement::of(filled("/system.slice/web.service/libpod-payload-ID").as_bytes());
    assert!(!outer.home().unit_in_container);
    assert_eq!(outer.home().unit, Some(&b"web.service"[..]));
}
