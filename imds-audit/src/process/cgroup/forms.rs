use super::*;
use crate::process::Runtime;

const ID: &str = "34dc0b5e626f2c5c4c5170e34b10e7654ce36f0fcd532739f4445baabea03376";
const POD: &str = "74c13223-5a00-11e9-b385-42010a80018d";

/// Where a runtime puts a container, with `ID` and `POD` for its id and its pod's uid, and what is
/// to be read from it: the id, the runtime, whether there is a pod.
type Form = (&'static str, &'static str, Option<Runtime>, bool);

const FORMS: &[Form] = &[
    // Docker, drivers "cgroupfs" and "systemd": neuvector/neuvector, share/system/cgroup_test.go.
    ("/docker/ID", "ID", Some(Runtime::Docker), false),
    ("/system.slice/docker-ID.scope", "ID", Some(Runtime::Docker), false),
    // The kubelet, driver "cgroupfs": Qard/container-info, test/fixtures/result.js; with CRI-O:
    // internal/config/cgmgr/cgroupfs_linux.go of cri-o/cri-o.
    ("/kubepods/besteffort/podPOD/ID", "ID", None, true),
    ("/kubepods/besteffort/podPOD/crio-ID", "ID", Some(Runtime::CriO), true),
    // The kubelet, driver "systemd", with Docker and CRI-O: CJLove/rt-operator,
    // notes/cgroupv1_notes.md; with containerd: its CRI plugin, "SystemdCgroup".
    ("/kubepods.slice/kubepods-podPOD.slice/docker-ID.scope", "ID", Some(Runtime::Docker), true),
    ("/kubepods.slice/kubepods-podPOD.slice/crio-ID.scope", "ID", Some(Runtime::CriO), true),
    (
        "/kubepods.slice/kubepods-podPOD.slice/cri-containerd-ID.scope",
        "ID",
        Some(Runtime::Containerd),
        true,
    ),
    // containerd without the kubelet: oci.WithNamespacedCgroup; nerdctl, driver "systemd".
    ("/default/ID", "ID", Some(Runtime::Containerd), false),
    ("/system.slice/nerdctl-ID.scope", "ID", Some(Runtime::Containerd), false),
    // Podman, managers "systemd" (RedHatInsights/insights-core, test_init_process_cgroup.py) and
    // "cgroupfs" (libpod/container.go, CgroupfsDefaultCgroupParent).
    ("/machine.slice/libpod-ID.scope", "ID", Some(Runtime::Podman), false),
    ("/libpod_parent/libpod-ID", "ID", Some(Runtime::Podman), false),
    // LXC before 4.0 and since: src/lxc/cgroups/cgfsng.c.
    ("/lxc/web", "web", Some(Runtime::Lxc), false),
    ("/lxc.payload.web", "web", Some(Runtime::Lxc), false),
    // systemd-nspawn by hand (amicontained's tests) and as a unit (systemd-nspawn(1)).
    ("/machine.slice/machine-nspawntest.scope", "nspawntest", None, false),
    (
        "/machine.slice/systemd-nspawn@box.service/payload",
        "box",
        Some(Runtime::SystemdNspawn),
        false,
    ),
];

/// Files `/proc/PID/cgroup` with `PATH` for where the runtime puts the container, and the path of
/// the process's cgroup v2 as the eBPF programs' record leads to it.
const HIERARCHIES: &[(&str, &str, Option<&str>)] = &[
    // Version 1 alone: no controller but these tells, as in the file of nspawn above.
    (
        "version 1",
        "10:cpuset:/\n9:pids:PATH\n8:devices:PATH\n7:net_cls,net_prio:/\n6:freezer:/user/someone/0\n\
         4:memory:PATH\n3:cpu,cpuacct:PATH\n2:perf_event:/\n1:name=systemd:PATH\n",
        None,
    ),
    // Both, with processes in the root of version 2, and with a path there of systemd's alone.
    ("hybrid", "12:pids:PATH\n5:memory:PATH\n1:name=systemd:PATH\n0::/\n", Some("/")),
    (
        "hybrid with a unit",
        "12:pids:PATH\n1:name=systemd:PATH\n0::/system.slice/containerd.service\n",
        Some("/system.slice/containerd.service"),
    ),
    // Version 2 alone; and seen by a process that has ended.
    ("version 2", "0::PATH\n", Some("PATH")),
    ("version 2, gone", "", Some("PATH")),
    // Version 2, from inside a cgroup namespace of the audit's own (cgroup_namespaces(7)).
    ("version 2, from inside", "0::/../..PATH\n", None),
];

#[test]
fn every_runtime_is_recognised_in_every_hierarchy_with_either_driver() {
    for &(form, id, runtime, has_pod) in FORMS {
        let filled = |text: &str| {
            let slice = POD.replace('-', "_");
            let text = text.replace("-podPOD.", &format!("-pod{slice}."));
            text.replace("POD", POD).replace("ID", ID)
        };
        for &(name, lines, resolved) in HIERARCHIES {
            let of = |text: &str| filled(&text.replace("PATH", form));
            let resolved = resolved.map(of);
            let resolved = resolved.as_deref().map(str::as_bytes);
            let path = most_specific(resolved, of(lines).as_bytes()).unwrap();
            let location = CgroupLocation::of(&path);
            let container = location.container.as_ref();
            let found = container.map(|container| String::from_utf8_lossy(&container.id));
            assert_eq!(found.as_deref(), Some(&*filled(id)), "{form} {name}");
            assert_eq!(container.and_then(|found| found.runtime), runtime, "{form} {name}");
            assert_eq!(location.pod.as_deref(), has_pod.then_some(POD.as_bytes()), "{form} {name}");
        }
    }
}
