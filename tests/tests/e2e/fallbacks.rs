//! Fallbacks, where the host has or allows less: what still works, works; what does not is named by `check`
//! and by the `start` event, and nothing is guessed.

use std::process::{Command, Output};

use imds_audit::event::{Attribution, Class, Outcome, RequestEvent};
use imds_audit_tests::bpf::{Neighbour, Sharing};
use imds_audit_tests::sandbox::{Cgroups, hide_btf, in_cgroup, with_cgroups, with_rights};
use imds_audit_tests::{Caller, Cgroup, Setup, TestBed, program, root, skip, until};
use rustix::thread::CapabilitySet;
use serde_json::{Value, json};

use super::{CLIENT, GET_V1, GET_V2, PUT};

/// What loading and attaching takes.
const NEEDED: CapabilitySet =
    CapabilitySet::BPF.union(CapabilitySet::NET_ADMIN).union(CapabilitySet::PERFMON);
/// What the callers ask, and the classes of it.
const ASK: [&str; 9] =
    ["send", PUT, "receive", "send", GET_V2, "receive", "send", GET_V1, "receive"];
const CLASSES: [Class; 3] = [Class::V2Token, Class::V2, Class::V1];

/// A scene whose program was started with less.
struct Less {
    scene: TestBed,
    address: String,
}

impl Less {
    fn start(prepare: impl FnOnce(&mut Command)) -> Option<Self> {
        let (scene, address) = TestBed::alone_prepared(Setup::default(), prepare)?;
        Some(Self { scene, address })
    }

    /// Gives the names of what the program does without.
    fn fallbacks(&self) -> Vec<String> {
        let start = self.scene.audit.typed_events().start();
        start.fallbacks.into_iter().map(|fallback| fallback.name).collect()
    }

    /// Asks over IPv4 and over a socket of IPv6, and asserts that each request is reported with its
    /// class and its outcome. Gives each process's requests and the process itself.
    fn ask(&self) -> Vec<(Vec<RequestEvent>, Caller)> {
        let mapped = self.address.replace("169.254.169.254", "[::ffff:169.254.169.254]");
        let families = if self.scene.network.ipv6() { 2 } else { 1 };
        let addresses = [self.address.as_str(), &mapped];
        addresses[..families].iter().map(|address| self.ask_of(address, |_| {})).collect()
    }

    fn ask_of(&self, address: &str, place: impl FnOnce(u32)) -> (Vec<RequestEvent>, Caller) {
        let audit = &self.scene.audit;
        let before = audit.requests().len();
        // It is there until it was reported: what has ended procfs does not tell of.
        let steps = [&["stdin-line", "connect", address][..], &ASK, &["stdin"]].concat();
        let mut client = self.scene.start(CLIENT, &steps);
        place(client.pid());
        client.say("go\n");
        let count = before + CLASSES.len();
        let came = until(|| (audit.requests().len() >= count).then_some(()));
        assert!(came.is_some(), "{:#?}", audit.requests());
        let caller = client.wait();
        assert!(caller.status.success(), "{caller:?}");
        let requests = audit.requests().split_off(before);
        let seen: Vec<_> =
            requests.iter().map(|request| (request.imds.class, request.imds.outcome)).collect();
        assert_eq!(seen, CLASSES.map(|class| (class, Outcome::Served)));
        (requests, caller)
    }

    /// Ends the audit, which has lost nothing.
    fn stop(self) {
        let TestBed { audit, .. } = self.scene;
        let report = audit.stop();
        assert_eq!(report.code(), Some(0), "{report:#?}");
        assert_eq!(report.stop().losses, [], "{report:#?}");
    }
}

/// Asserts that each request has its sender, by what the eBPF programs read of the kernel.
fn assert_known_by_the_kernel(asked: &[(Vec<RequestEvent>, Caller)]) {
    for (requests, caller) in asked {
        for RequestEvent { process, .. } in requests {
            assert_eq!(process.pid, Some(caller.pid), "{process:#?}");
            assert_eq!(process.attribution, Attribution::Writer, "{process:#?}");
            assert_eq!(process.args.as_ref(), Some(&caller.arguments), "{process:#?}");
            assert_eq!(process.ancestors[0].pid, std::process::id(), "{process:#?}");
        }
    }
}

/// Asserts that a program which may not read the kernel reports what it can, and guesses nothing.
fn assert_without_kernel_reads(less: Less) {
    for (requests, caller) in less.ask() {
        for RequestEvent { process, network, .. } in requests {
            assert_eq!((process.pid, process.uid), (Some(caller.pid), Some(0)));
            assert_eq!(process.attribution, Attribution::Connector, "{process:#?}");
            // procfs has them.
            assert_eq!(process.args.as_ref(), Some(&caller.arguments), "{process:#?}");
            assert_eq!(network.netns, None);
        }
    }
    // Who sends is not seen, and who connected is not taken for it.
    let steps = ["pid", "connect", &less.address, "child", "pid", "send", GET_V1, "receive"];
    let caller = less.scene.run_well(CLIENT, &steps);
    let requests = || less.scene.audit.requests();
    let came = until(|| (requests().len() % CLASSES.len() == 1).then_some(()));
    assert!(came.is_some(), "{:#?}", requests());
    let process = requests().pop().unwrap().process;
    let (parent, child) = caller.stdout.trim().split_once('\n').unwrap();
    assert_ne!(parent, child);
    assert_eq!(process.pid, parent.parse().ok(), "{process:#?}");
    assert_eq!(process.attribution, Attribution::Connector, "{process:#?}");
    less.stop();
}

/// Asks the program what it thinks of the host; gives its exit code and the report.
fn check(prepare: impl FnOnce(&mut Command)) -> (Option<i32>, Value) {
    let output = output(&["check", "--json"], prepare);
    let report = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code(), report)
}

fn output(arguments: &[&str], prepare: impl FnOnce(&mut Command)) -> Output {
    let mut command = Command::new(program().unwrap());
    prepare(command.args(arguments).current_dir("/"));
    command.output().unwrap()
}

/// Gives the status of an item of a report, and what was found.
fn item<'a>(report: &'a Value, name: &str) -> (&'a str, &'a str) {
    let items = report["items"].as_array().unwrap();
    let item = items.iter().find(|item| item["name"] == name);
    let item = item.unwrap_or_else(|| panic!("no {name}: {report:#}"));
    (item["status"].as_str().unwrap(), item["found"].as_str().unwrap())
}

#[test]
fn without_btf() {
    let Some(less) = Less::start(hide_btf) else { return };
    assert_eq!(less.fallbacks(), ["no-btf"]);
    let (code, report) = check(hide_btf);
    assert_eq!((code, &report["verdict"]), (Some(0), &json!("partial")), "{report:#}");
    assert_eq!((item(&report, "btf").0, item(&report, "kernel-reads").0), ("degraded", "degraded"));
    assert_without_kernel_reads(less);
}

#[test]
#[ignore = "it needs a kernel in lockdown: cargo xtask vm"]
fn lockdown_for_confidentiality() {
    let Some(less) = Less::start(|_| {}) else { return };
    assert_eq!(less.fallbacks(), ["no-kernel-reads"]);
    let (code, report) = check(|_| {});
    assert_eq!((code, &report["verdict"]), (Some(0), &json!("partial")), "{report:#}");
    let (status, found) = item(&report, "kernel-reads");
    assert_eq!(status, "degraded");
    assert!(found.contains("confidentiality"), "{found}");
    assert_without_kernel_reads(less);
}

#[test]
fn control_groups_of_every_form() {
    for (cgroups, fallbacks) in [
        (Cgroups::Version1, &["no-cgroup-names"][..]),
        (Cgroups::Hybrid, &[]),
        (Cgroups::Version2, &[]),
    ] {
        let prepare = |command: &mut Command| with_cgroups(command, cgroups);
        let Some(less) = Less::start(prepare) else { return };
        assert_eq!(less.fallbacks(), fallbacks, "{cgroups:?}");
        assert_known_by_the_kernel(&less.ask());
        let (code, report) = check(prepare);
        assert_eq!(code, Some(0), "{cgroups:?} {report:#}");
        assert_eq!(item(&report, "cgroup-root").0, "ok", "{cgroups:?} {report:#}");
        let names = if fallbacks.is_empty() { "ok" } else { "degraded" };
        assert_eq!(item(&report, "cgroup-names").0, names, "{cgroups:?} {report:#}");
        less.stop();
    }
}

#[test]
fn in_a_container_that_is_shown_a_part_of_the_control_groups() {
    let name = format!("imds-audit-part-{}", std::process::id());
    let Some(cgroup) = Cgroup::create(&name, "inner") else {
        return skip("there is no hierarchy of control groups of version 2 to write to");
    };
    let prepare = |command: &mut Command| in_cgroup(command, cgroup.folder());
    let Some(less) = Less::start(prepare) else { return };
    // What is kept of every `exec` on the host is not kept where only a part is audited.
    assert_eq!(less.fallbacks(), ["partial-cgroup", "no-exec"]);
    // Outside, then inside.
    less.scene.run_well(CLIENT, &[&["connect", &less.address][..], &ASK].concat());
    let inside = less.ask_of(&less.address, |pid| cgroup.adopt(pid));
    assert_known_by_the_kernel(&[inside]);
    let requests = less.scene.audit.requests();
    assert_eq!(requests.len(), CLASSES.len(), "none from outside: {requests:#?}");
    let (code, report) = check(prepare);
    assert_eq!((code, &report["verdict"]), (Some(0), &json!("partial")), "{report:#}");
    assert_eq!(item(&report, "cgroup-root").0, "degraded", "{report:#}");
    less.stop();
}

#[test]
fn with_the_three_needed_rights_alone() {
    let prepare = |command: &mut Command| with_rights(command, NEEDED);
    let Some(less) = Less::start(prepare) else { return };
    assert_eq!(less.fallbacks(), ["no-ptrace", "no-cgroup-names"]);
    assert_known_by_the_kernel(&less.ask());
    let (code, report) = check(prepare);
    assert_eq!((code, &report["verdict"]), (Some(0), &json!("partial")), "{report:#}");
    assert_eq!(item(&report, "CAP_SYS_ADMIN").0, "ok", "{report:#}");
    assert_eq!(item(&report, "CAP_SYS_PTRACE").0, "degraded", "{report:#}");
    assert_eq!(item(&report, "kernel-reads").0, "ok", "{report:#}");
    less.stop();
}

#[test]
fn without_one_of_the_needed_rights_it_is_named() {
    if !root() {
        return;
    }
    for (right, name) in [
        (CapabilitySet::PERFMON, "CAP_PERFMON"),
        (CapabilitySet::BPF, "CAP_BPF"),
        (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
    ] {
        let prepare = |command: &mut Command| with_rights(command, NEEDED.difference(right));
        let output = output(&["run", "--duration", "1s"], prepare);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{name}: {said}");
        assert!(said.contains(&format!("{name} missing")), "{name}: {said}");
        let (code, report) = check(prepare);
        assert_eq!((code, &report["verdict"]), (Some(4), &json!("impossible")), "{report:#}");
        assert_eq!(item(&report, name).0, "missing", "{report:#}");
    }
}

#[test]
fn without_the_right_to_mount_control_groups_that_are_mounted_nowhere() {
    if !root() {
        return;
    }
    let prepare = |command: &mut Command| {
        with_cgroups(command, Cgroups::Version1);
        with_rights(command, NEEDED);
    };
    let output = output(&["run", "--duration", "1s"], prepare);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("cgroup v2 is mounted nowhere"), "{said}");
    let (code, report) = check(prepare);
    assert_eq!(code, Some(4), "{report:#}");
    assert_eq!(item(&report, "CAP_SYS_ADMIN").0, "missing", "{report:#}");
}

#[test]
fn beside_programs_of_others_at_the_root_and_below() {
    let name = format!("imds-audit-beside-{}", std::process::id());
    let Some(cgroup) = Cgroup::create(&name, "inner") else {
        return skip("there is no hierarchy of control groups of version 2 to write to");
    };
    // One below that came before, one at the root, and one below that came after.
    let first = Neighbour::attach(cgroup.folder(), Sharing::Multi).unwrap();
    let Some(less) = Less::start(|_| {}) else { return };
    let root = Neighbour::attach(cgroup.root(), Sharing::Multi).unwrap();
    drop(first);
    let exclusive = Neighbour::attach(cgroup.folder(), Sharing::Exclusive).unwrap();
    assert_eq!(less.fallbacks(), [] as [String; 0]);
    let inside = less.ask_of(&less.address, |pid| cgroup.adopt(pid));
    assert_known_by_the_kernel(&[inside]);
    assert_known_by_the_kernel(&less.ask());
    drop((root, exclusive));
    less.stop();
}

#[test]
#[ignore = "nobody else may attach programs meanwhile: cargo xtask vm"]
fn where_another_program_holds_the_root_for_itself() {
    let name = format!("imds-audit-held-{}", std::process::id());
    let cgroup = Cgroup::create(&name, "inner").unwrap();
    let holder = Neighbour::attach(cgroup.root(), Sharing::Exclusive).unwrap();
    let output = output(&["run", "--duration", "1s", "--source", "ebpf"], |_| {});
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("egress cannot be attached"), "{said}");
    let (code, report) = check(|_| {});
    assert_eq!((code, &report["verdict"]), (Some(0), &json!("partial")), "{report:#}");
    assert_eq!(item(&report, "attachment").0, "missing", "{report:#}");
    assert_eq!(item(&report, "packet-source").0, "degraded", "{report:#}");
    drop(holder);
    let Some(less) = Less::start(|_| {}) else { return };
    assert_known_by_the_kernel(&less.ask());
    less.stop();
}
