//! The chart's pod, as podman runs it: what it mounts and what it may is read from the rendered
//! manifest, so that the test fails with the chart.

use std::{
    os::unix::fs::symlink,
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use imds_audit::event::{Container, Pod};
use imds_audit_tests::{
    Cgroup,
    chart::{Chart, agent_config, of_kind},
};
use serde_json::Value;

use super::{image::Podman, *};

const IMAGE: &str = "image.repository=registry.example/imds-audit";

#[test]
#[ignore = "takes minutes: cargo xtask dist --test"]
fn a_privileged_pod_names_a_process_of_another_pod() {
    // A privileged pod is in the host's cgroup namespace.
    names_a_process_of_another_pod("preset=privileged", &["--cgroupns", "host"]);
}

#[test]
#[ignore = "takes minutes: cargo xtask dist --test"]
fn a_pod_with_five_capabilities_names_a_process_of_another_pod() {
    // It has a cgroup namespace of its own, as a pod without privilege has.
    names_a_process_of_another_pod("preset=none", &["--cgroupns", "private"]);
}

fn names_a_process_of_another_pod(preset: &str, further: &[&str]) {
    let chart = Chart::new().expect("run `cargo xtask dist --test`");
    let manifests = chart.parse(&chart.render("1.37", &[IMAGE, preset]));
    let logs = tempfile::tempdir().unwrap();
    let node = Node::new(logs.path());
    let config = logs.path().join("config");
    fs::create_dir(&config).unwrap();
    fs::write(config.join("imds-audit.toml"), agent_config(&manifests)).unwrap();

    let pod = &of_kind(&manifests, "DaemonSet")["spec"]["template"]["spec"];
    let (mut options, arguments) = translated(pod, logs.path(), &config);
    options.extend(further.iter().map(|&option| option.to_owned()));
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();

    let podman = Podman::new();
    let checked = {
        let roots = ["--cgroup", "/host/sys/fs/cgroup", "--kubelet-logs", "/host/var/log"];
        let check = [&["check", "--json"][..], &roots].concat();
        well(&mut podman.run(&options, &check))
    };
    let checked: Value = serde_json::from_str(&checked).unwrap();
    // Virtual machines are the test machine's own matter.
    let is_limited = |item: &&Value| item["status"] != "ok" && item["name"] != "guests";
    let limited: Vec<_> = checked["items"].as_array().unwrap().iter().filter(is_limited).collect();
    assert!(limited.is_empty(), "{limited:#?}");

    let auditing = Auditing::start(podman.run(&options, &arguments));
    let caller = auditing.caller();
    node.cgroup.adopt(caller.pid());
    let request = auditing.report_of(caller);
    let process = &request.process;
    let name = |text: &str| Some(text.to_owned());
    let pod = Pod {
        uid: node.pod.clone(),
        namespace: name("shop"),
        name: name("web-0"),
        container: name("app"),
    };
    let container = Container {
        id: node.container.clone(),
        runtime: name("containerd"),
        ..Container::default()
    };
    assert_eq!(process.pod, Some(pod), "{process:#?}");
    assert_eq!(process.container, Some(container), "{process:#?}");
    for event in auditing.events().iter() {
        let host = event.origin.host.as_ref().unwrap();
        assert_eq!(event.origin.labels["node"], "node-1", "{event:#?}");
        assert_eq!(host.name.as_deref(), Some("node-1"), "{event:#?}");
    }

    // The probes, as the kubelet asks them.
    let pid = podman.pid().to_string();
    for path in ["healthz", "readyz", "metrics"] {
        let address = format!("http://127.0.0.1:9469/{path}");
        well(Command::new("nsenter").args(["-t", &pid, "-n", "curl", "-sf", "-m", "20", &address]));
    }
    auditing.stop(podman.pid());
}

/// A pod's container as the kubelet and its runtime make one: a cgroup, and log folders.
struct Node {
    cgroup: Cgroup,
    pod: String,
    container: String,
}

impl Node {
    fn new(logs: &Path) -> Self {
        // Unique on the host: several test runs may be about.
        let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
        let (pid, unique) = (process::id(), format!("{:012x}", u64::from(nanoseconds)));
        let container = format!("{pid:052x}{unique}");
        let pod = format!("{pid:08x}-b29f-41e7-9350-{unique}");
        let slice = format!("kubepods-burstable-pod{}.slice", pod.replace('-', "_"));
        let cgroup = Cgroup::create(&slice, &format!("cri-containerd-{container}.scope"));
        let cgroup = cgroup.expect("a hierarchy of control groups of version 2 to write to");
        fs::create_dir_all(logs.join(format!("pods/shop_web-0_{pod}/app"))).unwrap();
        fs::create_dir(logs.join("containers")).unwrap();
        let link = logs.join(format!("containers/web-0_shop_app-{container}.log"));
        symlink("/no/such/file", link).unwrap();
        Self { cgroup, pod, container }
    }
}

/// Returns podman's options and the container's arguments for a pod. The kubelet's folders and the
/// ConfigMap are the test's.
fn translated(pod: &Value, logs: &Path, config: &Path) -> (Vec<String>, Vec<String>) {
    let container = &pod["containers"][0];
    let rights = &container["securityContext"];
    let mut options: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| options.extend(words.iter().map(|&word| word.to_owned()));
    if pod["hostPID"] == true {
        add(&["--pid", "host"]);
    }
    if rights["readOnlyRootFilesystem"] == true {
        add(&["--read-only", "--read-only-tmpfs=false"]);
    }
    if rights["privileged"] == true {
        add(&["--privileged"]);
    }
    if rights["allowPrivilegeEscalation"] == false {
        add(&["--security-opt", "no-new-privileges"]);
    }
    if rights["seccompProfile"]["type"] == "Unconfined" {
        add(&["--security-opt", "seccomp=unconfined"]);
    }
    for (name, option) in [("drop", "--cap-drop"), ("add", "--cap-add")] {
        for capability in rights["capabilities"][name].as_array().into_iter().flatten() {
            add(&[option, capability.as_str().unwrap()]);
        }
    }
    for mount in container["volumeMounts"].as_array().unwrap() {
        let volumes = pod["volumes"].as_array().unwrap();
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).unwrap();
        let source = match volume["hostPath"]["path"].as_str() {
            Some(path) => match path.strip_prefix("/var/log/") {
                Some(name) => logs.join(name),
                None => PathBuf::from(path),
            },
            None => config.to_owned(),
        };
        let mode = if mount["readOnly"] == true { "ro" } else { "rw" };
        let target = mount["mountPath"].as_str().unwrap();
        add(&["-v", &format!("{}:{target}:{mode}", source.display())]);
    }
    let words = container["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
    (options, words.map(|word| word.replace("$(NODE_NAME)", "node-1")).collect())
}
