//! Process attribution.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::process;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use imds_audit::event::{Container, Pod, Rule};
use imds_audit::simulator::{Style, Topology};
use imds_audit_tests::{Caller, Cgroup, Running, TestBed, become_user, public_copy, skip};

use super::{CLIENT, GET_V1, SERVICE};

const SHORT_LIVED: usize = 1_000;
const AT_ONCE: usize = 8;

/// Has room for the records of all of them, those of a second such test included: on a machine that
/// gives the program no time to read, nothing is lost for want of it.
const RING: [&str; 2] = ["--ring-size", "16777216"];

#[test]
fn processes_that_exit_right_after_sending_are_each_named() {
    let Some(scene) = TestBed::with(&RING, Topology::Direct) else { return };
    let request = |number: usize| format!("GET /latest/meta-data/{number} HTTP/1.1\\r\\n\\r\\n");
    let callers: Vec<Caller> = thread::scope(|scope| {
        let scene = &scene;
        let workers: Vec<_> = (0..AT_ONCE)
            .map(|worker| {
                scope.spawn(move || -> Vec<Caller> {
                    (worker..SHORT_LIVED)
                        .step_by(AT_ONCE)
                        .map(|number| {
                            let request = request(number);
                            scene.run_well(CLIENT, &["connect", SERVICE, "send", &request])
                        })
                        .collect()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    scene.wait_for_entries(SHORT_LIVED);
    let findings = scene.finish_without_readers();
    assert_eq!(findings.exchanges.len(), SHORT_LIVED);
    let mut callers: BTreeMap<_, _> =
        callers.into_iter().map(|caller| (caller.arguments[4].clone(), caller)).collect();
    for exchange in &findings.exchanges {
        let caller = callers.remove(&format!("GET {} HTTP/1.1\\r\\n\\r\\n", exchange.entry.target));
        exchange.assert_sent_by(&caller.expect("one caller for each request"));
    }
}

#[test]
fn short_lived_processes_are_put_down_to_the_scripts_that_start_them() {
    let Some(scene) = TestBed::with(&RING, Topology::Direct) else { return };
    let folder = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let scripts: Vec<(String, Running)> = (0..AT_ONCE)
        .map(|script| {
            let path = folder.path().join(format!("script-{script}.sh"));
            let text = format!(
                "for number in $(seq {}); do\n\
                 {CLIENT} connect {SERVICE} send \"GET /latest/meta-data/{script}-$number \
                 HTTP/1.1\\r\\n\\r\\n\" receive\ndone\nread line || true\n",
                SHORT_LIVED / AT_ONCE
            );
            fs::write(&path, text).unwrap();
            let path = path.to_str().unwrap().to_owned();
            let running = scene.start("bash", &[&path]);
            (path, running)
        })
        .collect();
    scene.wait_for_entries(SHORT_LIVED);
    let rate = SHORT_LIVED as f64 / begun.elapsed().as_secs_f64();
    scene.wait_for_events(SHORT_LIVED);
    let pids: Vec<u32> = scripts.iter().map(|(_, running)| running.pid()).collect();
    let paths: Vec<String> = scripts
        .into_iter()
        .map(|(path, running)| {
            assert!(running.wait().status.success());
            path
        })
        .collect();
    let findings = scene.finish();
    assert_eq!(findings.exchanges.len(), SHORT_LIVED);
    for exchange in &findings.exchanges {
        let target = exchange.entry.target.rsplit('/').next().unwrap();
        let script: usize = target.split('-').next().unwrap().parse().unwrap();
        let process = exchange.process();
        let request = &process.args.as_ref().unwrap()[4];
        assert!(request.contains(&format!("/{target} ")), "{process:#?}");
        assert_eq!(process.ancestors[0].pid, pids[script], "{process:#?}");
        let responsible = exchange.responsible();
        assert_eq!(responsible.rule, Rule::Script, "{process:#?}");
        assert_eq!(responsible.script.as_ref(), Some(&paths[script]), "{process:#?}");
        assert_eq!(responsible.pid, pids[script], "{process:#?}");
    }
    eprintln!("{SHORT_LIVED} processes at {rate:.0} a second");
}

#[test]
fn a_process_in_a_kubernetes_container_is_named_with_its_container_and_pod() {
    let logs = tempfile::tempdir().unwrap();
    let arguments = ["--kubelet-logs", logs.path().to_str().unwrap()];
    let Some(scene) = TestBed::with(&arguments, Topology::Direct) else { return };
    // Unique on the host: several test runs may be about.
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    let (pid, unique) = (process::id(), format!("{:012x}", u64::from(nanoseconds)));
    let container = format!("{:052x}{unique}", pid);
    let pod = format!("{pid:08x}-b29f-41e7-9350-{unique}");
    let slice = format!("kubepods-burstable-pod{}.slice", pod.replace('-', "_"));
    let scope = format!("cri-containerd-{container}.scope");
    let Some(cgroup) = Cgroup::create(&slice, &scope) else {
        return skip("there is no hierarchy of control groups of version 2 to write to");
    };
    // The kubelet makes these before the container starts.
    for name in ["app", "proxy"] {
        fs::create_dir_all(logs.path().join(format!("pods/shop_web-0_{pod}/{name}"))).unwrap();
    }
    fs::create_dir(logs.path().join("containers")).unwrap();
    let link = format!("containers/web-0_shop_app-{container}.log");
    symlink("/no/such/file", logs.path().join(link)).unwrap();
    let client = scene.start(CLIENT, &["stdin", "connect", SERVICE, "send", GET_V1, "receive"]);
    cgroup.adopt(client.pid());
    let caller = client.wait();
    assert!(caller.status.success(), "{caller:?}");
    let findings = scene.finish();
    findings.assert_sent_by(&caller);
    let exchange = &findings.exchanges[0];
    let process = exchange.process();
    let [namespace, name, app] = ["shop", "web-0", "app"].map(|name| Some(name.to_owned()));
    let names = Pod { uid: pod, namespace, name, container: app };
    assert_eq!(process.pod, Some(names), "{process:#?}");
    let responsible = exchange.responsible();
    assert_eq!((responsible.rule, Some(responsible.pid)), (Rule::Container, process.pid));
    assert_eq!(exchange.request.network.host_network, Some(false));
    let runtime = Some("containerd".to_owned());
    let container = Container { id: container, runtime, ..Container::default() };
    assert_eq!(process.container, Some(container));
    let path = process.cgroup.as_ref().unwrap();
    assert!(path.ends_with(&format!("{slice}/{scope}")), "{path}");
}

#[test]
fn a_caller_of_another_user_is_reported_with_that_user() {
    let Some(scene) = TestBed::new() else { return };
    // The user's name is read from the caller's own root, so it must live until that was done.
    scene.service.set_style(Style { delay: Duration::from_secs(1), ..Style::default() });
    let (_folder, client) = public_copy(CLIENT.as_ref());
    let mut command = scene.command(client);
    command.args(["connect", SERVICE, "send", GET_V1, "receive"]).current_dir("/");
    become_user(&mut command, 65_534);
    let caller = scene.start_command(&mut command).wait();
    assert!(caller.status.success(), "{caller:?}");
    let findings = scene.finish();
    findings.assert_sent_by(&caller);
    let process = findings.exchanges[0].process();
    assert_eq!((process.uid, process.user.as_deref()), (Some(65_534), Some("nobody")));
}
