//! The agent: its configuration, its outputs under faults, metrics, reloads and rights.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use imds_audit::event::{Body, Class};
use imds_audit_tests::{Events, TestBed, program, root, until, until_exit, written_so_far};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{CLIENT, GET_V1, GET_V2, PUT};

mod booted;
mod faults;
mod inodes;
mod installed;
mod pages;
mod readers;
mod rights;
mod unit;

/// A running agent. Killed when dropped.
struct Agent {
    child: Child,
    folder: TempDir,
    metrics: SocketAddr,
    /// Receives what the agent says to its service manager.
    manager: UnixDatagram,
}

impl Agent {
    /// Starts an agent that audits an address of a scene, with further settings and outputs, and
    /// waits until it is ready. `{folder}` stands for its folder.
    fn start(address: &str, settings: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let metrics = free_address();
        let text = format!(
            "endpoints = [\"{address}\"]\ntally_interval = \"1h\"\n{settings}\n\
             [metrics]\nlisten = \"{metrics}\"\ntextfile = \"{{folder}}/agent.prom\"\n\
             textfile_interval = \"1s\"\n"
        );
        let path = folder.path().to_str().unwrap().to_owned();
        fs::write(folder.path().join("agent.toml"), text.replace("{folder}", &path)).unwrap();
        Self::start_in(folder, metrics)
    }

    fn start_in(folder: TempDir, metrics: SocketAddr) -> Option<Self> {
        let socket = folder.path().join("notify");
        fs::remove_file(&socket).ok();
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(45))).unwrap();
        let log = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(folder.path().join("stderr"))
            .unwrap();
        let child = Command::new(program().filter(|_| root())?)
            .args(["agent", "--config"])
            .arg(folder.path().join("agent.toml"))
            .env("NOTIFY_SOCKET", socket)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(fs::File::create(folder.path().join("stdout")).unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let agent = Self { child, folder, metrics, manager };
        agent.wait_for_message("READY=1");
        Some(agent)
    }

    /// Waits for a message to the service manager.
    fn wait_for_message(&self, wanted: &str) {
        let mut message = [0; 4096];
        loop {
            let length = self.manager.recv(&mut message).unwrap_or_else(|error| {
                panic!("no {wanted} came: {error}: {}", self.said());
            });
            let message = String::from_utf8_lossy(&message[..length]).into_owned();
            if message.lines().any(|line| line == wanted) {
                return;
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn said(&self) -> String {
        fs::read_to_string(self.path("stderr")).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Has it read its configuration again, and waits until it has.
    fn reload(&self) {
        self.signal(Signal::HUP);
        self.wait_for_message("RELOADING=1");
        self.wait_for_message("READY=1");
    }

    /// Returns the metrics.
    fn scrape(&self) -> String {
        get(self.metrics, "/metrics")
    }

    /// Returns the sum of a metric over all its series.
    fn metric(&self, name: &str) -> u64 {
        let page = self.scrape();
        let of_name = page.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        of_name.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
    }

    /// Waits until a metric's sum is as wanted: what the agent writes, it writes in its own time.
    fn wait_for_metric(&self, name: &str, is_wanted: impl Fn(u64) -> bool) {
        let seen = until(|| is_wanted(self.metric(name)).then_some(()));
        assert!(seen.is_some(), "{name}: {}", self.scrape());
    }

    /// Waits until it has said something on standard error, which it writes in its own time.
    fn wait_to_say(&self, text: &str) {
        let is_said = until(|| self.said().contains(text).then_some(()));
        assert!(is_said.is_some(), "{text}: {}", self.said());
    }

    /// Waits until so many requests were seen.
    fn wait_for_requests(&self, count: u64) {
        self.wait_for_metric("imds_audit_requests_total", |seen| seen >= count);
    }

    /// Ends it, and returns its exit code and what it said.
    fn stop(mut self) -> (Option<i32>, TempDir) {
        self.signal(Signal::TERM);
        let status = until_exit(&mut self.child).expect("it does not end");
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        (status.code(), folder)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Returns an address of the loopback interface that is free now.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: agent\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

/// Returns the events in a file; half a line is none.
fn events(path: &Path) -> Events {
    Events::read_whole_lines(&written_so_far(path))
}

/// Unpacks a compressed file; one that is just being made is none yet.
fn unpacked(path: &Path) -> std::io::Result<String> {
    std::io::read_to_string(flate2::read::GzDecoder::new(fs::File::open(path)?))
}

/// Makes a scene and the address that only its own clients ask.
fn scene() -> Option<(TestBed, String)> {
    TestBed::alone("json", &[])
}

fn ask(scene: &TestBed, address: &str, count: usize) {
    let steps = std::iter::repeat_n(["send", GET_V1, "receive"], count).flatten();
    let steps: Vec<_> = ["connect", address].into_iter().chain(steps).collect();
    scene.run_well(CLIENT, &steps);
}

/// Asks once, and returns the length of that request's line in bytes, which grows with the ancestors of
/// the tests: files and disks are sized by it. To be called before an agent that counts is started.
fn line_length(scene: &TestBed, address: &str) -> usize {
    ask(scene, address, 1);
    scene.wait_for_events(1);
    let event = &scene.typed_events()[0];
    serde_json::to_string(event).unwrap().len().next_multiple_of(256)
}

/// Asks sixty times, over rotations that a reader follows by `poll`, and ends the agent. Returns its
/// folder, in which what was written last is still there.
fn ask_over_rotations(
    scene: &TestBed,
    address: &str,
    agent: Agent,
    mut poll: impl FnMut(),
) -> TempDir {
    for round in 1..=20 {
        ask(scene, address, 3);
        agent.wait_for_requests(3 * round);
        poll();
    }
    agent.wait_for_metric("imds_audit_output_rotations_total", |count| count > 1);
    agent.stop().1
}

/// Asserts that a reader has each line of [`ask_over_rotations`].
fn assert_read_whole(read: Vec<u8>) {
    let events = Events::read(&String::from_utf8(read).unwrap());
    assert_eq!((events.count("request"), events.count("stop")), (60, 1));
}

/// The sum of requests in `tally` events.
fn tallied(events: &Events) -> u64 {
    events.tallies().iter().map(|tally| tally.totals.requests).sum()
}

#[test]
fn the_agent_writes_what_is_not_v2_and_tallies_everything() {
    let Some((scene, address)) = scene() else { return };
    let settings = "[labels]\ncluster = \"blue\"\n[[output]]\npath = \"{folder}/log/events.jsonl\"";
    let Some(agent) = Agent::start(&address, settings) else { return };
    let steps = ["connect", &address, "send", PUT, "receive", "send", GET_V2, "receive"];
    scene.run_well(CLIENT, &steps);
    ask(&scene, &address, 1);
    agent.wait_for_requests(3);
    let (code, folder) = agent.stop();
    assert_eq!(code, Some(0));
    let events = events(&folder.path().join("log/events.jsonl"));
    assert_eq!(events.kinds(), ["start", "request", "tally", "stop"]);
    assert_eq!(events.requests()[0].imds.class, Class::V1);
    let tally = &events.tallies()[0];
    assert_eq!((tally.totals.requests, tally.last), (3, true));
    assert!(events.iter().all(|event| event.origin.labels["cluster"] == "blue"), "{events:#?}");
    assert_eq!((tally.from, tally.to), (events.start().time, events.stop().time));
}

#[test]
fn a_reload_takes_labels_and_outputs_and_an_invalid_one_changes_nothing() {
    let Some((scene, address)) = scene() else { return };
    let settings = "[[output]]\npath = \"{folder}/one.jsonl\"";
    let Some(agent) = Agent::start(&address, settings) else { return };
    ask(&scene, &address, 1);
    agent.wait_for_requests(1);
    let config = agent.path("agent.toml");
    let old = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{old}[labels]\ncolour = 7\nx = \n")).unwrap();
    agent.reload();
    agent.wait_to_say("the old one stays");
    ask(&scene, &address, 1);
    agent.wait_for_requests(2);
    fs::write(&config, old.replace("one.jsonl", "two.jsonl") + "[labels]\ncolour = \"red\"\n")
        .unwrap();
    agent.reload();
    ask(&scene, &address, 1);
    agent.wait_for_requests(3);
    let (code, folder) = agent.stop();
    assert_eq!(code, Some(0));
    let (one, two) = (folder.path().join("one.jsonl"), folder.path().join("two.jsonl"));
    let (one, two) = (events(&one), events(&two));
    assert_eq!((one.count("request"), two.count("request")), (2, 1));
    assert_eq!((one.count("start"), two.count("stop"), tallied(&two)), (1, 1, 3));
    assert!(one.iter().all(|event| event.origin.labels.is_empty()));
    assert!(two.iter().all(|event| event.origin.labels["colour"] == "red"), "{two:#?}");
}

#[test]
fn configurations_are_checked_and_shown() {
    let Some(program) = program() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        let output =
            command.arg("agent").args(arguments).arg("--config").arg(&path).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    fs::write(&path, "[metrics]\nlisten = \"127.0.0.1:9469\"\n").unwrap();
    assert_eq!(run(&["check-config"]).0, Some(0));
    let (code, page, _) = run(&["show-config", "--set", "tally_interval=5m"]);
    assert_eq!(code, Some(0));
    assert!(page.contains("tally_interval = \"5m\"  # flag --set tally_interval"), "{page}");
    assert!(page.contains("a.toml:2"), "{page}");
    fs::write(&path, "talley_interval = \"5m\"\nring_size = 5\n").unwrap();
    for arguments in [&["check-config"][..], &["show-config"], &[]] {
        let (code, page, said) = run(arguments);
        assert_eq!((code, page.as_str()), (Some(2), ""), "{said}");
        assert!(said.contains("a.toml:1:1: unknown key") && said.contains("a.toml:2:13"), "{said}");
        assert!(said.contains("did you mean \"tally_interval\"?"), "{said}");
    }
}

#[test]
fn metrics_name_no_caller_and_three_paths_answer() {
    let Some((scene, address)) = scene() else { return };
    let settings = "[[output]]\npath = \"{folder}/events.jsonl\"";
    let Some(agent) = Agent::start(&address, settings) else { return };
    ask(&scene, &address, 3);
    agent.wait_for_requests(3);
    let page = agent.scrape();
    assert!(page.contains("imds_audit_callers{class=\"v1\"} 1\n"), "{page}");
    assert!(!page.contains("imds_audit_caller_requests"), "{page}");
    for path in ["/readyz", "/healthz"] {
        assert_eq!(get(agent.metrics, path).lines().next(), Some("HTTP/1.1 200 OK"));
    }
    assert_eq!(get(agent.metrics, "/other").lines().next(), Some("HTTP/1.1 404 Not Found"));
}
