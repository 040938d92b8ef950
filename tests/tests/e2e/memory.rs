//! Secrets in the program's memory, and access to it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};

use aho_corasick::AhoCorasick;
use imds_audit::event::RequestEvent;
use imds_audit_tests::{Audit, Region, assert_absent, program, public_copy, regions, root, until};

use super::{CLIENT, GET_V1, SERVICE, secrets};

/// The map of the ring of records, as it shows among the regions.
const RING: &str = "anon_inode:bpf-map";

#[test]
fn no_secret_is_left_in_the_memory_that_a_core_dump_would_show() {
    let Some((scene, _)) = secrets::talkative("json", false) else { return };
    let needles = secrets::plant(&scene);
    // Records come in order: when this one is reported, those before it are done with.
    let last = scene.run_well(CLIENT, &["connect", SERVICE, "send", GET_V1, "receive"]);
    let is_last = |request: &RequestEvent| request.process.pid == Some(last.pid);
    assert!(until(|| scene.audit.requests().iter().any(is_last).then_some(())).is_some());

    // Looks for the secrets as they are; the assertion at the end looks for every form.
    let search = AhoCorasick::new(needles.iter().map(|needle| &needle.secret)).unwrap();
    let holds = |region: &Region| search.is_match(&region.bytes);
    // An outcome waits a bounded time for its acknowledgment, with what was read of its header.
    until(|| {
        let regions = regions(scene.audit.pid());
        (!regions.iter().any(|region| !region.is_left_out && holds(region))).then_some(())
    });
    let regions = regions(scene.audit.pid());
    let (left_out, shown): (Vec<_>, Vec<_>) = regions.iter().partition(|r| r.is_left_out);
    let is_ring = |region: &&Region| region.name.contains(RING);
    // The kernel leaves the ring's memory out of core dumps (remap_vmalloc_range sets
    // VM_DONTDUMP), and so it should: requests stay there until others are written over them.
    assert!(left_out.iter().any(|region| is_ring(region) && holds(region)), "{left_out:#?}");
    let read: usize = shown.iter().map(|region| region.bytes.len()).sum();
    assert!(read > 1 << 20 && !shown.iter().any(is_ring), "{read} bytes read: {shown:#?}");
    let heap = shown.iter().find(|region| region.name.ends_with("[heap]")).unwrap();
    assert!(memchr::memmem::find(&heap.bytes, b"/latest/meta-data").is_some(), "no memory of it");
    for region in shown {
        assert_absent(&needles, &region.name, &region.bytes);
    }
}

#[test]
fn core_dumps_are_switched_off() {
    let Some(audit) = Audit::start(&[]) else { return };
    let limits = fs::read_to_string(format!("/proc/{}/limits", audit.pid())).unwrap();
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>(), ["0", "0", "bytes"]);
    assert_eq!(audit.stop().code(), Some(0));
}

/// A program that is killed when the test is over.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn nobody_of_its_own_user_may_look_into_it() {
    const USER: u32 = 65_534;
    let Some(program) = program().filter(|_| root()) else { return };
    let (_folder, program) = public_copy(&program);
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    let rights = "+bpf,+net_admin,+perfmon";
    command.args(["--inh-caps", rights, "--ambient-caps", rights]).arg(program).arg("run");
    command.stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
    let audit = Guarded(command.spawn().unwrap());
    let owner = || fs::metadata(format!("/proc/{}/environ", audit.0.id())).unwrap().uid();
    let status = || fs::read_to_string(format!("/proc/{}/status", audit.0.id())).unwrap();
    // What may not be dumped belongs to root there, whoever it runs as (proc(5)).
    let is_closed = || {
        let is_users = status().contains(&format!("Uid:\t{USER}"));
        let is_program = status().starts_with("Name:\timds-audit");
        (is_users && is_program && owner() == 0).then_some(())
    };
    assert!(until(is_closed).is_some(), "it belongs to {}: {}", owner(), status());
}
