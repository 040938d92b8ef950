//! Captures, replays, sealed records and bundles.

mod disks;
mod killed;
mod packets;
mod page;
mod replaying;
mod samples;
mod seal;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use imds_audit::event::Time;
use imds_audit_tests::{
    Capturing, PlantedSecret, Setup, TestBed, assert_absent, program, until, until_exit,
    written_so_far,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::output::ask;
use super::secrets;
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
fn replay(path: &Path, endpoint: &str) -> Vec<Value> {
    let path = path.to_str().unwrap();
    let output = run(&["replay", "--format", "json", "--endpoint", endpoint, path]);
    assert!(output.status.success(), "{output:?}");
    lines(output)
}

/// Waits until a file that is being written has so many served requests.
fn wait_for_served(path: &Path, endpoint: &str, count: usize) {
    let path = path.to_str().unwrap();
    let served = until(|| {
        // It may end within a packet.
        let output = run(&["replay", "--format", "json", "--endpoint", endpoint, path]);
        let events = lines(output);
        let served = events.iter().filter(|event| event["imds"]["outcome"] == "served").count();
        (served >= count).then_some(())
    });
    assert!(served.is_some(), "{path} has no {count} requests");
}

fn lines(output: Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn requests(events: &[Value]) -> Vec<&Value> {
    let mut found: Vec<_> = events.iter().filter(|event| event["kind"] == "request").collect();
    found.sort_by_key(|event| event["time"].as_str().unwrap());
    found
}

/// What two records of the same requests agree on.
fn essence(event: &Value) -> Vec<String> {
    let members = [
        "/imds/class",
        "/imds/operation",
        "/imds/resource",
        "/imds/outcome",
        "/imds/endpoint",
        "/http/method",
        "/http/path",
        "/http/status",
        "/http/user_agent",
        "/network/source",
        "/network/response_ttl",
    ];
    let text = |member: &&str| event.pointer(member).unwrap_or(&Value::Null).to_string();
    members.iter().map(text).collect()
}

/// Asserts that a replay has the requests of a live run: each with its class, its outcome and its
/// time, and, of this program's own capture, with its process.
fn assert_agree(name: &str, live: &[&Value], replayed: &[&Value]) {
    assert_eq!(live.len(), replayed.len(), "{name}: {replayed:#?}");
    for (live, replayed) in live.iter().zip(replayed) {
        assert_eq!(essence(live), essence(replayed), "{name}");
        assert_near(&live["time"], &replayed["time"]);
        assert_eq!(replayed["source"], "capture");
        if name == "capture" {
            // Each of the two read procfs in its own time.
            for member in ["pid", "tid", "name", "args", "attribution"] {
                assert_eq!(live["process"][member], replayed["process"][member], "{member}");
            }
            assert_near(&live["process"]["start_time"], &replayed["process"]["start_time"]);
            assert_eq!(live["network"], replayed["network"]);
        }
    }
}

/// Asserts that two times are the same, as far as two programs read one clock alike.
fn assert_near(one: &Value, other: &Value) {
    let time = |time: &Value| serde_json::from_value::<Time>(time.clone()).unwrap().0;
    let apart = time(one).duration_since(time(other)).abs();
    assert!(apart.as_millis() < 50, "{one} and {other}");
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
    let live = audit.stop().events();

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
    let from_dump = replay(&dumped, &address);
    let live = requests(&live);
    assert_eq!(live.len(), count);
    assert_agree("capture", &live, &requests(&from_capture));
    assert_agree("tcpdump", &live, &requests(&from_dump));
    let losses = from_capture.iter().filter(|event| event["kind"] == "loss").collect::<Vec<_>>();
    assert!(losses.is_empty(), "{losses:#?}");
}

#[test]
fn a_ring_of_captures_is_replayed_as_one() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    let arguments = ["--output", "r.pcapng", "--max-size", "8KiB", "--endpoint", &address];
    let Some(capturing) = Capturing::start(&arguments) else { return };
    for _ in 0..6 {
        ask(&scene, &address, &[GET_V1, GET_V1]);
    }
    scene.wait_for_events(12);
    let (folder, _) = capturing.stop();
    // In any order.
    let files = captures(folder.path());
    assert!(files.len() > 2, "{files:?}");
    let mut arguments = vec!["replay", "--format", "json", "--endpoint", &address];
    arguments.extend(files.iter().map(|path| path.to_str().unwrap()));
    let output = run(&arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    let served = text.lines().filter(|line| line.contains(r#""outcome":"served""#)).count();
    assert_eq!(served, 12, "{text}");
}

#[test]
fn a_new_file_is_begun_by_age_and_nothing_is_lost_between_them() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    let arguments = ["--output", "r.pcapng", "--max-age", "300ms", "--endpoint", &address];
    let Some(capturing) = Capturing::start(&arguments) else { return };
    let mut asked = 0;
    let third = until(|| {
        ask(&scene, &address, &[GET_V1]);
        asked += 1;
        (captures(capturing.folder()).len() >= 3).then_some(())
    });
    assert!(third.is_some(), "{:?}", captures(capturing.folder()));
    scene.wait_for_events(asked);
    let (folder, _) = capturing.stop();
    let files = captures(folder.path());
    let mut arguments = vec!["replay", "--format", "json", "--endpoint", &address];
    arguments.extend(files.iter().map(|path| path.to_str().unwrap()));
    let events = lines(run(&arguments));
    let served =
        requests(&events).iter().filter(|event| event["imds"]["outcome"] == "served").count();
    assert_eq!(served, asked, "{files:?}");
}

/// Gives the captures in a folder, the last one first.
fn captures(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_capture = |path: &PathBuf| path.extension().is_some_and(|name| name == "pcapng");
    let mut files: Vec<_> = entries.filter(is_capture).collect();
    files.sort();
    files.reverse();
    files
}

/// Gives everything that a folder's files hold, unpacked where packed.
fn everything(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything(&path));
        } else {
            found.insert(path.to_string_lossy().into_owned(), fs::read(&path).unwrap());
        }
    }
    found
}

/// Plants secrets, and asserts that a bundle has none of them, compressed or not.
fn assert_no_secret_is_in_a_bundle(scene: &TestBed, capturing: Capturing) {
    let mut needles = secrets::plant(scene);
    needles.extend(scene.secrets.all().map(|secret| PlantedSecret::new("the service", secret)));
    let (folder, said) = capturing.stop();
    let files = everything(folder.path());
    assert!(files.keys().any(|name| name.ends_with("b/capture.pcapng")), "{:?}", files.keys());
    for (name, bytes) in &files {
        assert_absent(&needles, name, bytes);
    }
    assert_absent(&needles, "standard error", said.as_bytes());
    // It is not empty of everything else.
    let name = files.keys().find(|name| name.ends_with("capture.pcapng")).unwrap();
    let packets = &files[name];
    assert!(packets.windows(12).filter(|window| window == b"GET /latest/").count() > 20);

    // What replays of it write, of a compressed file too.
    tool("gzip", &["-k", name]);
    let packed = format!("{name}.gz");
    for path in [name, &packed] {
        let mut arguments = vec!["replay", "--format", "json", path];
        let desk = secrets::desk();
        arguments.extend(["--endpoint", &desk, "--endpoint", super::SERVICE]);
        let output = run(&arguments);
        assert!(output.status.success(), "{output:?}");
        assert_absent(&needles, "a replay", &output.stdout);
        assert!(lines(output).len() > 20, "{path}");
    }
}

#[test]
fn no_planted_secret_is_in_a_bundle() {
    let endpoint = secrets::desk();
    let setup = Setup { arguments: &["--endpoint", &endpoint], ..Setup::default() };
    let Some((scene, _)) = TestBed::alone_with(setup) else { return };
    let arguments = ["--bundle", "b", "--endpoint", &endpoint, "--endpoint", super::SERVICE];
    let Some(capturing) = Capturing::start(&arguments) else { return };
    assert_no_secret_is_in_a_bundle(&scene, capturing);
}

#[test]
fn a_bundle_is_verified_opened_and_replayed_to_the_same_events() {
    let Some((scene, address)) = TestBed::alone("json", &[]) else { return };
    let arguments = ["--bundle", "b", "--label", "case=4711", "--endpoint", &address];
    let Some(capturing) = Capturing::start(&arguments) else { return };
    let count = mix(&scene, &address);
    scene.wait_for_events(count);
    let (folder, said) = capturing.stop();
    assert!(said.contains("the bundle is complete"), "{said}");
    assert_bundle_is_good_elsewhere(&folder.path().join("b"), &address, count);
}

/// Runs the program to its end as on another machine: with another host's name.
fn run_elsewhere(arguments: &[&str]) -> Output {
    let script = r#"hostname elsewhere; exec "$0" "$@""#;
    let program = program().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--uts", "sh", "-euc", script]).arg(program).args(arguments);
    command.env_remove("RUST_LOG").output().unwrap()
}

/// Asserts that a bundle that was carried to another machine is verified, opened by tshark, and
/// replayed to the events that are in it.
fn assert_bundle_is_good_elsewhere(bundle: &Path, address: &str, count: usize) {
    let port = address.rsplit(':').next().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("b");
    fs::rename(bundle, &moved).unwrap();
    let bundle = moved;
    let verify = || run_elsewhere(&["verify", bundle.to_str().unwrap()]);
    let verified = verify();
    let printed = String::from_utf8(verified.stdout).unwrap();
    assert_eq!(verified.status.code(), Some(0), "{printed}");
    assert!(printed.ends_with("verified: unaltered and complete\n"), "{printed}");
    let packets = bundle.join("capture.pcapng");
    assert_clean(&packets, port);

    let text = fs::read_to_string(bundle.join("events.jsonl")).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let path = packets.to_str().unwrap();
    let output = run_elsewhere(&["replay", "--format", "json", "--endpoint", address, path]);
    assert!(output.status.success(), "{output:?}");
    let replayed = lines(output);
    let (live, replayed) = (requests(&events), requests(&replayed));
    assert_eq!(live.len(), count);
    assert_agree("capture", &live, &replayed);
    for (live, replayed) in live.iter().zip(&replayed) {
        assert_eq!(live["host"]["name"], replayed["host"]["name"]);
        assert_ne!(replayed["host"]["name"], "elsewhere");
        assert_eq!(without_run(live), without_run(replayed));
    }
    let host: Value = serde_json::from_slice(&fs::read(bundle.join("host.json")).unwrap()).unwrap();
    assert_eq!(host["run"], events[0]["run"]);

    let check = bundle.join("check.json");
    let before = fs::read(&check).unwrap();
    fs::write(&check, [&before[..], b" "].concat()).unwrap();
    let verified = verify();
    assert_eq!(verified.status.code(), Some(3));
    assert!(String::from_utf8(verified.stdout).unwrap().contains("check.json: altered"));
}

/// Gives an event without what is a run's own: its id, its source, its seal, the key of its tokens'
/// hashes, and its times, which [`assert_agree`] compares: a packet has that of the clock when it was
/// written.
fn without_run(event: &Value) -> Value {
    let mut event = event.clone();
    for member in ["run", "source", "seal", "time"] {
        event.as_object_mut().unwrap().remove(member);
    }
    for member in ["duration_us", "token"] {
        event["imds"].as_object_mut().unwrap().remove(member);
    }
    event
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
