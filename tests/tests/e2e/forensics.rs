//! Captures, replays, sealed records and bundles.

mod agreement;
mod bundles;
mod disks;
mod killed;
mod packets;
mod page;
mod replaying;
mod rings;
mod samples;
mod seal;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use imds_audit::event::Outcome;
use imds_audit_tests::{Capturing, Events, TestBed, program, until, until_exit, written_so_far};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use agreement::assert_agree;

use super::output::ask;
use super::{CLIENT, GET_V1, GET_V2, PUT};

/// Runs the program under test to its end.
fn run(arguments: &[&str]) -> Output {
    Command::new(program().unwrap()).args(arguments).env_remove("RUST_LOG").output().unwrap()
}

/// Runs a tool to its end, and gives what it printed.
fn tool(name: &str, arguments: &[&str]) -> String {
    let output = Command::new(name).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{name} {arguments:?}: {}", text(&output.stderr));
    let warnings = text(&output.stderr);
    let warnings: Vec<_> =
        warnings.lines().filter(|line| !line.contains("Running as user")).collect();
    assert!(warnings.is_empty(), "{name} {arguments:?}: {warnings:#?}");
    text(&output.stdout)
}

/// Dissects a capture with tshark, checksums included, and gives these fields of each packet.
fn tshark(path: &Path, port: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let service = format!("tcp.port=={port},http");
    let path = path.to_str().unwrap();
    let mut arguments = vec!["-r", path, "-d", &service, "-T", "fields"];
    arguments.extend(["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]);
    arguments.extend(fields.iter().flat_map(|field| ["-e", *field]));
    let printed = tool("tshark", &arguments);
    printed.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// Asserts that tshark finds nothing wrong with a capture.
fn assert_clean(path: &Path, port: &str) {
    let fields = [
        "_ws.malformed",
        "tcp.checksum.status",
        "ip.checksum.status",
        "tcp.analysis.lost_segment",
        "tcp.analysis.ack_lost_segment",
    ];
    for (number, packet) in tshark(path, port, &fields).iter().enumerate() {
        // 0 is a checksum that does not hold.
        assert_eq!(packet[0], "", "packet {} is malformed", number + 1);
        assert!(packet[1] != "0" && packet[2] != "0", "packet {}: {packet:?}", number + 1);
        assert_eq!((packet[3].as_str(), packet[4].as_str()), ("", ""), "packet {}", number + 1);
    }
}

/// Replays a file, and gives the events.
fn replay(path: &Path, endpoint: &str) -> Events {
    let path = path.to_str().unwrap();
    let output = run(&["replay", "--format", "json", "--endpoint", endpoint, path]);
    assert!(output.status.success(), "{output:?}");
    events(output)
}

/// Waits until a file that is being written has so many served requests.
fn wait_for_served(path: &Path, endpoint: &str, count: usize) {
    let path = path.to_str().unwrap();
    let is_served = until(|| {
        // It may end within a packet.
        let output = run(&["replay", "--format", "json", "--endpoint", endpoint, path]);
        (served(&events(output)) >= count).then_some(())
    });
    assert!(is_served.is_some(), "{path} has no {count} requests");
}

/// Counts the requests that were served.
fn served(events: &Events) -> usize {
    let requests = events.requests();
    requests.iter().filter(|request| request.imds.outcome == Outcome::Served).count()
}

/// Reads the events that a replay wrote.
fn events(output: Output) -> Events {
    Events::read(&String::from_utf8(output.stdout).unwrap())
}

/// A tcpdump in the client's network namespace. Killed when dropped.
struct Tcpdump(Child);

impl Tcpdump {
    fn start(scene: &TestBed, path: &Path, log: &Path, port: &str) -> Self {
        let mut command = scene.command("tcpdump");
        command.args(["-i", "any", "--immediate-mode", "-U", "-Z", "root", "-w"]).arg(path);
        command.args(["tcp", "port", port]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(log).unwrap());
        let dump = Self(command.spawn().unwrap());
        let listens = || written_so_far(log).contains("listening on").then_some(());
        assert!(until(listens).is_some(), "{}", written_so_far(log));
        dump
    }

    fn stop(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        assert!(until_exit(&mut self.0).is_some());
    }
}

impl Drop for Tcpdump {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Captures what [`mix`] asks. Returns the capture's folder, in which it is `a.pcapng`, and the number
/// of requests.
fn captured_mix(scene: &TestBed, address: &str) -> Option<(TempDir, usize)> {
    let capturing = Capturing::start(&["--output", "a.pcapng", "--endpoint", address])?;
    let count = mix(scene, address);
    scene.wait_for_events(count);
    Some((capturing.stop().0, count))
}

/// Asks by every class, over several connections. Returns the number of requests.
fn mix(scene: &TestBed, address: &str) -> usize {
    ask(scene, address, &[PUT, GET_V2, GET_V1]);
    ask(scene, address, &[GET_V1]);
    let url = format!("http://{address}/latest/meta-data/iam/security-credentials/app");
    scene.run_well("curl", &["-s", "-m", "10", "-A", "agent/1.2", &url]);
    5
}

#[test]
fn run_capture_and_tcpdump_agree_on_every_request() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    let port = address.rsplit(':').next().unwrap().to_owned();
    let Some(capturing) = Capturing::start(&["--output", "a.pcapng", "--endpoint", &address])
    else {
        return;
    };
    let (dumped, log) = (capturing.path("tcpdump.pcap"), capturing.path("tcpdump.log"));
    let dump = Tcpdump::start(&scene, &dumped, &log, &port);
    let count = mix(&scene, &address);
    scene.wait_for_events(count);
    wait_for_served(&dumped, &address, count);
    let (folder, said) = capturing.stop();
    dump.stop();
    let captured = folder.path().join("a.pcapng");
    let TestBed { audit, .. } = scene;
    let live = audit.stop().typed_events();

    assert_clean(&captured, &port);
    let decoded =
        tshark(&captured, &port, &["http.request.method", "http.response.code", "frame.comment"]);
    let of = |column: usize| decoded.iter().filter(|packet| !packet[column].is_empty()).count();
    assert_eq!((of(0), of(1)), (count, count), "{decoded:#?}");
    assert!(decoded.iter().all(|packet| packet[2].contains("imds-audit/1 ")), "{decoded:#?}");
    assert!(decoded.iter().any(|packet| packet[2].starts_with("v1 curl[")), "{decoded:#?}");
    let path = captured.to_str().unwrap();
    let follow = tool("tshark", &["-r", path, "-q", "-z", "follow,tcp,ascii,0"]);
    assert!(follow.contains("PUT /latest/api/token"), "{follow}");
    let packets = format!("{} packets in 1 files", decoded.len());
    assert!(said.contains(&packets), "{said}");
    assert!(tool("capinfos", &["-c", "-M", path]).contains(&decoded.len().to_string()));
    let copy = folder.path().join("copy.pcapng");
    tool("editcap", &[path, copy.to_str().unwrap()]);
    assert_eq!(replay(&copy, &address).len(), replay(&captured, &address).len());

    let from_capture = replay(&captured, &address);
    assert_eq!(live.count("request"), count as u64);
    assert_agree("capture", &live, &from_capture);
    assert_agree("tcpdump", &live, &replay(&dumped, &address));
    let losses = from_capture.losses();
    assert!(losses.is_empty(), "{losses:#?}");
}

#[test]
fn what_is_no_capture_is_refused_in_one_sentence() {
    if program().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pcap");
    fs::write(&path, "GIF89a is no capture").unwrap();
    let output = run(&["replay", path.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("a.pcap: this is neither pcap nor pcapng"), "{said}");
    let output = run(&["run", "--seal"]);
    assert_eq!(output.status.code(), Some(2));
    // The client is used by other tests of this file.
    assert!(Path::new(CLIENT).exists());
}
