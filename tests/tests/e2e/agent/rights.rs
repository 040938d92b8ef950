//! Rights of an attached agent.

use imds_audit::event::{Attribution, LossUnit};
use serde_json::Value;

use super::*;

/// The capabilities that stay: CAP_DAC_READ_SEARCH (2) and CAP_SYS_PTRACE (19).
const READING: u64 = 1 << 2 | 1 << 19;
/// CAP_BPF.
const BPF: u64 = 1 << 39;

/// Whether this kernel refuses to let maps be read without CAP_BPF: before Linux 5.19, unless
/// everybody may call bpf(2).
fn maps_need_bpf() -> bool {
    let release = rustix::system::uname().release().to_str().unwrap().to_owned();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap(), numbers.next().unwrap());
    let setting = fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled").unwrap();
    version < (5, 19) && setting.trim() != "0"
}

/// The capabilities that an agent keeps on this kernel.
pub(super) fn kept_by_an_agent() -> u64 {
    if maps_need_bpf() { READING | BPF } else { READING }
}

fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.unwrap_or_default().trim().to_owned()
}

#[test]
fn no_thread_keeps_more_than_it_needs() {
    let Some((scene, address)) = scene() else { return };
    let Some(agent) = Agent::start(&address, "[[output]]\npath = \"{folder}/events.jsonl\"") else {
        return;
    };
    ask(&scene, &address, 3);
    agent.wait_for_requests(3);
    let tasks = fs::read_dir(format!("/proc/{}/task", agent.child.id())).unwrap();
    let mut names = Vec::new();
    for task in tasks {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let name = field(&status, "Name");
        let is_reader = matches!(name.as_str(), "imds-audit" | "procfs");
        for set in ["CapEff", "CapPrm"] {
            let held = u64::from_str_radix(&field(&status, set), 16).unwrap();
            let expected = if is_reader { kept_by_an_agent() } else { 0 };
            assert_eq!(held, expected, "{name} {set}");
        }
        assert_eq!(field(&status, "NoNewPrivs"), "1", "{name}");
        assert_eq!(field(&status, "Seccomp"), "2", "{name}");
        names.push(name);
    }
    for name in ["imds-audit", "procfs", "output", "compress"] {
        assert!(names.iter().any(|found| found == name), "{names:?}");
    }
    agent.wait_to_say("seccomp=on");
    assert!(!agent.said().contains("WARN"), "{}", agent.said());
}

#[test]
fn check_names_the_capabilities_that_an_agent_keeps() {
    let Some((_scene, address)) = scene() else { return };
    let Some(agent) = Agent::start(&address, "[[output]]\ntype = \"stdout\"") else { return };
    let line = || {
        let said = agent.said();
        let line = said.lines().find_map(|line| line.split_once("capabilities="))?.1;
        line.split_once(' ').map(|(kept, _)| kept.to_owned())
    };
    let kept = until(line).expect("it does not say what it keeps");
    let kept = kept.split(',').map(|name| format!("CAP_{name}")).collect::<Vec<_>>().join(", ");
    let check = Command::new(program().unwrap()).args(["check", "--json"]).output().unwrap();
    let page: Value = serde_json::from_slice(&check.stdout).unwrap();
    let items = page["items"].as_array().unwrap();
    let item = items.iter().find(|item| item["name"] == "agent-rights").unwrap();
    assert_eq!(item["found"], format!("an attached agent keeps {kept}, and no other"));
    assert_eq!(item["status"], "ok");
}

#[test]
fn requests_are_named_as_well_with_few_rights() {
    let Some((scene, address)) = scene() else { return };
    let Some(agent) = Agent::start(&address, "[[output]]\npath = \"{folder}/events.jsonl\"") else {
        return;
    };
    ask(&scene, &address, 1);
    agent.wait_for_requests(1);
    let (_, folder) = agent.stop();
    let events = events(&folder.path().join("events.jsonl"));
    let process = &events.requests()[0].process;
    assert_eq!(process.attribution, Attribution::Writer, "{process:#?}");
    let exe = process.exe.as_ref().unwrap();
    assert!(exe.ends_with("imds-audit-test-client"), "{process:#?}");
    assert!(process.cgroup.is_some(), "{process:#?}");
}

#[test]
fn what_the_kernel_s_programs_lose_is_counted_with_few_rights() {
    const SENT: usize = 60;
    let Some((scene, address)) = scene() else { return };
    // The smallest ring that there is: it holds about five requests.
    let settings = "ring_size = \"4KiB\"\n[[output]]\npath = \"{folder}/events.jsonl\"";
    let Some(agent) = Agent::start(&address, settings) else { return };
    agent.signal(Signal::STOP);
    ask(&scene, &address, SENT);
    agent.signal(Signal::CONT);
    let (code, folder) = agent.stop();
    assert_eq!(code, Some(0));
    let events = events(&folder.path().join("events.jsonl"));
    let stop = events.stop();
    let of_requests = stop.losses.iter().filter(|loss| loss.what == LossUnit::Requests);
    let lost: u64 = of_requests.map(|loss| loss.count).sum();
    assert!(lost > 0, "{stop:#?}");
    assert_eq!(events.count("request") + lost, SENT as u64, "{stop:#?}");
}

#[test]
fn a_watchdog_gets_its_signs_of_life() {
    let Some((_scene, address)) = scene() else { return };
    let Some(agent) = Agent::start(&address, "[[output]]\ntype = \"stdout\"") else { return };
    drop(agent);
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(45))).unwrap();
    let config = folder.path().join("agent.toml");
    fs::write(&config, format!("endpoints = [\"{address}\"]\n[[output]]\ntype = \"stdout\"\n"))
        .unwrap();
    let mut child = Command::new(program().unwrap())
        .args(["agent", "--config"])
        .arg(&config)
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "200000")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut seen = Vec::new();
    let mut message = [0; 4096];
    while seen.iter().filter(|line| *line == "WATCHDOG=1").count() < 3 {
        let length = manager.recv(&mut message).expect("no sign of life");
        let text = String::from_utf8_lossy(&message[..length]).into_owned();
        seen.extend(text.lines().map(str::to_owned));
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    until_exit(&mut child).expect("it does not end");
    while !seen.iter().any(|line| line == "STOPPING=1") {
        let length = manager.recv(&mut message).expect("it did not say that it ends");
        seen.extend(String::from_utf8_lossy(&message[..length]).lines().map(str::to_owned));
    }
    assert!(seen.iter().any(|line| line == "READY=1"), "{seen:?}");
    assert!(seen.iter().any(|line| line.starts_with("STATUS=auditing")), "{seen:?}");
}
