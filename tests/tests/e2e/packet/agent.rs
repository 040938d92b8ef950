//! The agent with the packet source, with no more rights than it keeps.

use std::fs;
use std::process::{Child, Stdio};

use imds_audit::simulator::Topology;
use imds_audit_tests::{Events, TestNetwork, until, until_exit, written_so_far};
use rustix::process::{Pid, Signal, kill_process};

use super::*;

/// What an agent with this source needs, and drops all but the last two of once it is attached.
const NEEDED: CapabilitySet =
    CapabilitySet::NET_RAW.union(CapabilitySet::SYS_PTRACE).union(CapabilitySet::DAC_READ_SEARCH);

/// A process that is killed when dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn an_agent_names_callers_with_the_rights_that_it_keeps() {
    let Some(program) = program().filter(|_| root()) else { return };
    let stage = TestNetwork::new(Topology::Direct, None);
    let folder = tempfile::tempdir().unwrap();
    let (events, log) = (folder.path().join("events.jsonl"), folder.path().join("log"));
    let config = folder.path().join("agent.toml");
    let output = format!("[[output]]\npath = \"{}\"\n", events.display());
    fs::write(&config, format!("source = \"packet\"\ntally_interval = \"1h\"\n{output}")).unwrap();
    let mut command = stage.command(program);
    command.args(["agent", "--config"]).arg(&config);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
    with_rights(&mut command, NEEDED);
    let mut agent = Ended(command.spawn().unwrap());
    let said = || fs::read_to_string(&log).unwrap_or_default();
    let is_attached = || said().contains("seccomp=on").then_some(());
    assert!(until(is_attached).is_some(), "{}", said());
    // Both are given up: no new socket can be opened.
    assert!(said().contains("capabilities=DAC_READ_SEARCH,SYS_PTRACE"), "{}", said());

    let ask = ["send", PUT, "receive", "send", GET_V1, "receive", "stdin"];
    let caller = stage.start(CLIENT, &[&["connect", SERVICE][..], &ask].concat());
    let written = || {
        let events = Events::read(&written_so_far(&events));
        (events.requests().len() == 1).then_some(events)
    };
    let found = until(written).unwrap_or_else(|| panic!("no requests: {}", said()));
    let caller = caller.wait();
    // What uses IMDSv2 is counted, and has no line of its own.
    assert!(found.iter().all(|event| event.origin.source == Some(SourceKind::Packet)));
    let requests = found.requests();
    for request in &requests {
        let process = &request.process;
        assert_eq!(process.attribution, Attribution::SocketOwner, "{process:#?}");
        assert_eq!(process.pid, Some(caller.pid), "{process:#?}");
    }
    assert_eq!(verdicts(requests), [["v1", "served"]]);
    kill_process(Pid::from_child(&agent.0), Signal::TERM).unwrap();
    assert_eq!(until_exit(&mut agent.0).and_then(|status| status.code()), Some(0), "{}", said());
    let losses = fs::read_to_string(&events).unwrap();
    assert!(!losses.contains("\"kind\":\"loss\""), "{losses}");
    assert!(!said().contains("WARN"), "{}", said());
}
