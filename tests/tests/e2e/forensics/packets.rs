//! Captures from a packet socket, in place of eBPF programs.

use std::path::Path;

use imds_audit::event::Attribution;
use imds_audit_tests::{Capturing, Setup, TestBed, until};

use super::super::{CLIENT, GET_V1, GET_V2, PUT, SERVICE, secrets};
use super::bundles::{assert_bundle_is_good_elsewhere, assert_no_secret_is_in_a_bundle};
use super::{Tcpdump, assert_agree, assert_clean, replay, tool, tshark, wait_for_served};

/// Starts a capture from a packet socket in the client's network.
fn start(scene: &TestBed, arguments: &[&str]) -> Option<Capturing> {
    let arguments = [&["--source", "packet"], arguments].concat();
    Capturing::start_prepared(&arguments, |command| scene.enter(command))
}

/// Asks by every class. The caller lives until its requests are in the capture: the owner of a
/// socket is looked for while it is there. Returns the number of requests.
fn ask(scene: &TestBed, captured: &Path) -> usize {
    let steps = [
        "connect", SERVICE, "send", PUT, "receive", "send", GET_V2, "receive", "send", GET_V1,
        "receive", "stdin",
    ];
    let caller = scene.start(CLIENT, &steps);
    wait_for_served(captured, SERVICE, 3);
    scene.wait_for_events(3);
    let caller = caller.wait();
    assert!(caller.status.success(), "{caller:?}");
    3
}

#[test]
fn run_capture_and_tcpdump_agree_on_every_request_that_packets_show() {
    let Some(scene) = TestBed::by_packets(&[]) else { return };
    let Some(capturing) = start(&scene, &["--output", "a.pcapng"]) else { return };
    let (dumped, log) = (capturing.path("tcpdump.pcap"), capturing.path("tcpdump.log"));
    let dump = Tcpdump::start(&scene, &dumped, &log, "80");
    let count = ask(&scene, &capturing.path("a.pcapng"));
    wait_for_served(&dumped, SERVICE, count);
    let (folder, _) = capturing.stop();
    dump.stop();
    let captured = folder.path().join("a.pcapng");
    let TestBed { audit, .. } = scene;
    let live = audit.stop().typed_events();

    assert_clean(&captured, "80");
    let fields = ["http.request.method", "http.response.code", "frame.comment"];
    let decoded = tshark(&captured, "80", &fields);
    let of = |column: usize| decoded.iter().filter(|packet| !packet[column].is_empty()).count();
    assert_eq!((of(0), of(1)), (count, count), "{decoded:#?}");
    assert!(decoded.iter().any(|packet| packet[2].starts_with("v1 ")), "{decoded:#?}");
    let path = captured.to_str().unwrap();
    assert!(tool("capinfos", &["-c", "-M", path]).contains(&decoded.len().to_string()));
    let copy = folder.path().join("copy.pcapng");
    tool("editcap", &[path, copy.to_str().unwrap()]);

    // Windows, options and identifications are those that tcpdump saw.
    let own = ["tcp.flags.syn", "tcp.seq_raw", "ip.id", "tcp.window_size_value", "tcp.options"];
    let openings = |path: &Path| {
        let mut packets = tshark(path, "80", &own);
        packets.retain(|packet| packet[0] == "1" || packet[0] == "True");
        packets.sort();
        packets.dedup();
        packets
    };
    assert_eq!(openings(&captured), openings(&dumped));

    let requests = live.requests();
    assert_eq!(requests.len(), count);
    assert_eq!(requests[0].process.attribution, Attribution::SocketOwner);
    assert_agree("capture", &live, &replay(&captured, SERVICE));
    assert_agree("tcpdump", &live, &replay(&dumped, SERVICE));
    assert_agree("capture", &live, &replay(&copy, SERVICE));
}

#[test]
fn a_bundle_of_packets_is_verified_opened_and_replayed_to_the_same_events() {
    let Some(scene) = TestBed::by_packets(&[]) else { return };
    let Some(capturing) = start(&scene, &["--bundle", "b"]) else { return };
    let count = ask(&scene, &capturing.path("b/capture.pcapng"));
    let (folder, _) = capturing.stop();
    assert_bundle_is_good_elsewhere(&folder.path().join("b"), SERVICE, count);
}

#[test]
fn a_caller_that_is_gone_is_written_without_its_process() {
    let Some(scene) = TestBed::by_packets(&[]) else { return };
    let Some(capturing) = start(&scene, &["--output", "a.pcapng"]) else { return };
    for _ in 0..20 {
        scene.run_well(CLIENT, &["connect", SERVICE, "send", GET_V1, "receive"]);
    }
    let path = capturing.path("a.pcapng");
    wait_for_served(&path, SERVICE, 20);
    let (folder, _) = capturing.stop();
    let path = folder.path().join("a.pcapng");
    assert_clean(&path, "80");
    assert_eq!(replay(&path, SERVICE).count("request"), 20);
}

#[test]
fn no_planted_secret_is_in_a_bundle_of_packets() {
    let endpoint = secrets::desk();
    let endpoints = ["--endpoint", &endpoint, "--endpoint", SERVICE];
    let setup = Setup { arguments: &endpoints, ..Setup::default() };
    let Some(scene) = TestBed::by_packets_with(setup, |_| {}) else { return };
    let Some(capturing) = start(&scene, &[&["--bundle", "b"], &endpoints[..]].concat()) else {
        return;
    };
    assert_no_secret_is_in_a_bundle(&scene, capturing);
}

#[test]
fn without_the_right_to_load_programs_a_capture_takes_packets() {
    use imds_audit_tests::sandbox::with_rights;
    use rustix::thread::CapabilitySet;
    let Some(scene) = TestBed::by_packets(&[]) else { return };
    let rights =
        CapabilitySet::NET_RAW.union(CapabilitySet::DAC_OVERRIDE).union(CapabilitySet::SYS_PTRACE);
    let capturing = Capturing::start_prepared(&["--output", "a.pcapng"], |command| {
        scene.enter(command);
        with_rights(command, rights);
    });
    let Some(capturing) = capturing else { return };
    let path = capturing.path("a.pcapng");
    ask(&scene, &path);
    let (folder, _) = capturing.stop();
    let path = folder.path().join("a.pcapng");
    let comment = tool("capinfos", &["-k", path.to_str().unwrap()]);
    assert!(comment.contains("a packet socket saw"), "{comment}");
    assert!(until(|| path.exists().then_some(())).is_some());
}
