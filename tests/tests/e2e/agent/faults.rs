//! Requests sent are events written, tallied or counted as lost, under every fault of an output.

use std::ffi::CString;
use std::os::fd::AsRawFd;

use imds_audit::event::{Event, Loss, LossUnit, StopEvent};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::Value;

use super::*;

/// Everything that was written under a name, rotated and compressed files among it.
fn all_events(folder: &Path, name: &str) -> Events {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let of_name = entries.filter(|path| {
        path.file_name().unwrap().to_str().unwrap().starts_with(name) && path.is_file()
    });
    let is_packed = |path: &Path| path.extension().is_some_and(|extension| extension == "gz");
    let texts = of_name.map(|path| {
        if is_packed(&path) { unpacked(&path).unwrap() } else { written_so_far(&path) }
    });
    Events::read_whole_lines(&texts.map(|text| text + "\n").collect::<String>())
}

/// The `stop` event, in whichever file it is.
fn stop(events: &Events) -> (&Event, &StopEvent) {
    let mut stops = events.iter().filter_map(|event| match &event.body {
        Body::Stop(stop) => Some((event, &**stop)),
        _ => None,
    });
    stops.next().unwrap_or_else(|| panic!("no stop: {:?}", events.kinds()))
}

/// The events of an output that were lost, as the `stop` event reports them.
fn lost(events: &Events) -> u64 {
    let of_output = |loss: &&Loss| loss.reason == "output" && loss.what == LossUnit::Events;
    stop(events).1.losses.iter().filter(of_output).map(|loss| loss.count).sum()
}

/// Waits until what an agent says at its start is written and counted. A line is in the file a moment
/// before: a file that is removed in between is one that it was lost in.
fn wait_for_start(agent: &Agent) {
    agent.wait_for_metric("imds_audit_output_bytes_total", |bytes| bytes > 0);
}

/// The kinds of events of outputs that lose exactly the requests: on a busy host there may be `loss`
/// events, as of a process that was looked up too late.
const KINDS: &str = "kinds = [\"start\", \"request\", \"tally\", \"stop\"]";

/// A scene whose agent has one file, asked before, during and after a fault.
fn under(
    settings: &str,
    begin: impl FnOnce(&Agent),
    end: impl FnOnce(&Agent),
) -> Option<(Events, String)> {
    let (scene, address) = scene()?;
    let settings = format!(
        "[[output]]\npath = \"{{folder}}/log/events.jsonl\"\nmin_free_percent = 0\n{settings}"
    );
    let agent = Agent::start(&address, &settings)?;
    ask(&scene, &address, 10);
    agent.wait_for_requests(10);
    begin(&agent);
    for round in 1..=5 {
        ask(&scene, &address, 4);
        agent.wait_for_requests(10 + 4 * round);
    }
    end(&agent);
    ask(&scene, &address, 10);
    agent.wait_for_requests(40);
    let said = agent.path("stderr");
    let (code, folder) = agent.stop();
    assert_eq!(code, Some(0), "{}", fs::read_to_string(said).unwrap_or_default());
    let events = all_events(&folder.path().join("log"), "events.jsonl");
    let said = fs::read_to_string(folder.path().join("stderr")).unwrap();
    assert_eq!(tallied(&events), 40, "{said}");
    assert_eq!(events.count("request") + lost(&events), 40, "{said}");
    Some((events, said))
}

#[test]
fn nothing_is_missing_over_rotations_and_compressions() {
    let settings = "max_size = \"8KiB\"\nmax_total_size = \"64MiB\"\ncompress_after = \"0s\"";
    let rotated = |agent: &Agent| {
        agent.wait_for_metric("imds_audit_output_rotations_total", |count| count > 1);
    };
    let Some((events, _)) = under(settings, |_| {}, rotated) else { return };
    assert_eq!((events.count("request"), lost(&events)), (40, 0));
}

#[test]
fn a_foreign_logrotate_that_moves_loses_nothing() {
    let rename = |agent: &Agent| {
        let log = agent.path("log");
        fs::rename(log.join("events.jsonl"), log.join("events.jsonl.1")).unwrap();
    };
    let Some((events, said)) = under("", rename, rename_again) else { return };
    assert_eq!((events.count("request"), lost(&events)), (40, 0));
    assert!(said.contains("because it was moved"), "{said}");
}

fn rename_again(agent: &Agent) {
    let log = agent.path("log");
    fs::rename(log.join("events.jsonl"), log.join("events.jsonl.2")).unwrap();
    agent.reload();
}

#[test]
fn a_foreign_logrotate_that_copies_and_truncates_loses_nothing() {
    let copy = |agent: &Agent| {
        let path = agent.path("log/events.jsonl");
        fs::copy(&path, agent.path("log/events.jsonl.1")).unwrap();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    };
    let Some((events, _)) = under("", copy, |_| {}) else { return };
    assert_eq!((events.count("request"), lost(&events)), (40, 0));
}

#[test]
fn logrotate_itself_loses_nothing() {
    if !Path::new("/usr/sbin/logrotate").exists() {
        return;
    }
    let rotate = |agent: &Agent| {
        let (config, state) = (agent.path("rotate.conf"), agent.path("rotate.state"));
        let log = agent.path("log/events.jsonl");
        let pid = agent.child.id();
        let text = format!(
            "{} {{\n  rotate 4\n  size 1\n  postrotate\n    kill -HUP {pid}\n  endscript\n}}\n",
            log.display()
        );
        fs::write(&config, text).unwrap();
        let status = Command::new("/usr/sbin/logrotate")
            .args(["--force", "--state"])
            .args([&state, &config])
            .status()
            .unwrap();
        assert!(status.success());
    };
    let Some((events, _)) = under("", rotate, rotate) else { return };
    assert_eq!((events.count("request"), lost(&events)), (40, 0));
}

/// A file system of its own; unmounted when dropped.
struct Disk(TempDir);

impl Disk {
    /// Mounts one of so many bytes.
    fn mount(size: usize) -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        disk.cover(MountFlags::empty(), &format!("size={size}"));
        disk
    }

    fn cover(&self, flags: MountFlags, options: &str) {
        let options = CString::new(options).unwrap();
        mount(c"tmpfs", self.0.path(), c"tmpfs", flags, Some(options.as_c_str())).unwrap();
    }

    fn uncover(&self) {
        unmount(self.0.path(), UnmountFlags::DETACH).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("events.jsonl")
    }

    fn settings(&self) -> String {
        let path = self.path();
        format!("[[output]]\npath = \"{}\"\nmin_free_percent = 0\n{KINDS}", path.display())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(self.0.path(), UnmountFlags::DETACH).ok();
    }
}

#[test]
fn a_full_disk_costs_events_that_are_counted() {
    let Some((scene, address)) = scene() else { return };
    let disk = Disk::mount(40 * line_length(&scene, &address));
    let Some(agent) = Agent::start(&address, &disk.settings()) else { return };
    ask(&scene, &address, 3);
    agent.wait_for_requests(3);
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![0; 16 << 20]).unwrap_err();
    ask(&scene, &address, 30);
    agent.wait_for_requests(33);
    agent.wait_for_metric("imds_audit_output_lost_lines_total", |lost| lost > 20);
    fs::remove_file(&ballast).unwrap();
    ask(&scene, &address, 5);
    agent.wait_for_requests(38);
    assert_eq!(agent.stop().0, Some(0));
    let events = events(&disk.path());
    assert_eq!((events.count("request") + lost(&events), tallied(&events)), (38, 38));
    assert!(lost(&events) > 20, "{}", lost(&events));
}

#[test]
fn rotated_files_that_make_room_on_a_full_disk_are_counted() {
    const ROUNDS: u64 = 20;
    let Some((scene, address)) = scene() else { return };
    let line = line_length(&scene, &address);
    let disk = Disk::mount(40 * line);
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![0; 15 * line]).unwrap();
    // Sealed lines have numbers, which say how many there ever were.
    let settings = format!(
        "{}\nmax_size = \"{}B\"\ncompress_after = \"never\"\nseal = true",
        disk.settings(),
        5 * line
    );
    let Some(agent) = Agent::start(&address, &settings) else { return };
    for round in 1..=ROUNDS {
        ask(&scene, &address, 4);
        agent.wait_for_requests(4 * round);
    }
    let has_counted = || {
        let files = agent.metric("imds_audit_output_removed_files_total");
        let page = agent.scrape();
        let series = "imds_audit_losses_total{what=\"events\",reason=\"removed\"}";
        (files > 0 && page.contains(series)).then_some(())
    };
    assert!(until(has_counted).is_some(), "{}", agent.scrape());
    fs::remove_file(&ballast).unwrap();
    assert_eq!(agent.stop().0, Some(0));
    let events = all_events(disk.0.path(), "events.jsonl");
    let (event, stop) = stop(&events);
    let removed = stop.losses.iter().find(|loss| loss.reason == "removed").unwrap().count;
    assert_eq!((lost(&events), tallied(&events)), (0, 4 * ROUNDS));
    let last_line = event.seal.as_ref().unwrap().line;
    assert_eq!(events.len() as u64 + removed, last_line, "{stop:#?}");
    let origin = &event.origin;
    assert!(origin.host.is_some() && origin.run.is_some() && origin.source.is_some(), "{origin:?}");
    assert!(events.count("loss") > 0);
    for loss in events.iter().filter(|event| matches!(event.body, Body::Loss(_))) {
        assert_eq!(loss.origin, *origin, "{loss:#?}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_to_costs_events_that_are_counted() {
    let away = |agent: &Agent| {
        fs::rename(agent.path("log"), agent.path("gone")).unwrap();
        fs::remove_dir_all(agent.path("gone")).unwrap();
        // In the folder's place is a file.
        fs::write(agent.path("log"), "").unwrap();
    };
    let back = |agent: &Agent| fs::remove_file(agent.path("log")).unwrap();
    let Some((scene, address)) = scene() else { return };
    let settings = format!(
        "[[output]]\npath = \"{{folder}}/log/events.jsonl\"\nmin_free_percent = 0\n{KINDS}"
    );
    let Some(agent) = Agent::start(&address, &settings) else { return };
    wait_for_start(&agent);
    away(&agent);
    ask(&scene, &address, 20);
    agent.wait_for_requests(20);
    agent.wait_for_metric("imds_audit_output_lost_lines_total", |lost| lost == 20);
    back(&agent);
    ask(&scene, &address, 10);
    agent.wait_for_requests(30);
    let (code, folder) = agent.stop();
    assert_eq!(code, Some(0));
    let events = events(&folder.path().join("log/events.jsonl"));
    assert_eq!((events.count("request"), lost(&events), tallied(&events)), (10, 20, 30));
}

#[test]
fn a_read_only_file_system_costs_events_that_are_counted() {
    let Some((scene, address)) = scene() else { return };
    let disk = Disk::mount(40 * line_length(&scene, &address));
    let Some(agent) = Agent::start(&address, &disk.settings()) else { return };
    wait_for_start(&agent);
    // While a file is open for writing its mount cannot be made read-only, but covered. The file
    // below the cover goes last, by its folder's descriptor: an agent that misses it earlier would
    // make another one there.
    let below = fs::File::open(disk.0.path()).unwrap();
    disk.cover(MountFlags::RDONLY, "");
    let name = disk.path().file_name().unwrap().to_owned();
    fs::remove_file(Path::new(&format!("/proc/self/fd/{}", below.as_raw_fd())).join(name)).unwrap();
    drop(below);
    ask(&scene, &address, 20);
    agent.wait_for_requests(20);
    agent.wait_for_metric("imds_audit_output_lost_lines_total", |lost| lost == 20);
    agent.wait_to_say("Read-only file system");
    disk.uncover();
    ask(&scene, &address, 10);
    agent.wait_for_requests(30);
    assert_eq!(agent.stop().0, Some(0));
    let events = events(&disk.path());
    assert_eq!((events.count("request"), lost(&events), tallied(&events)), (10, 20, 30));
}

#[test]
fn a_killed_agent_s_half_line_is_ended_and_its_successor_goes_on() {
    let Some((scene, address)) = scene() else { return };
    let settings = "[[output]]\npath = \"{folder}/events.jsonl\"\nmin_free_percent = 0";
    let Some(mut agent) = Agent::start(&address, settings) else { return };
    ask(&scene, &address, 5);
    agent.wait_for_requests(5);
    let path = agent.path("events.jsonl");
    assert!(until(|| (events(&path).count("request") == 5).then_some(())).is_some());
    agent.signal(Signal::KILL);
    until_exit(&mut agent.child).unwrap();
    // In the middle of a line, and of a compression.
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"schema\":1,\"kind\":\"requ").unwrap();
    let partial = agent.path(".events.jsonl.20261129T160512Z.gz.tmp");
    fs::write(&partial, "half").unwrap();
    let folder = std::mem::replace(&mut agent.folder, tempfile::tempdir().unwrap());
    let metrics = agent.metrics;
    drop(agent);
    let Some(agent) = Agent::start_in(folder, metrics) else { return };
    ask(&scene, &address, 5);
    agent.wait_for_requests(5);
    assert!(!partial.exists());
    let (code, folder) = agent.stop();
    assert_eq!(code, Some(0));
    let text = fs::read_to_string(folder.path().join("events.jsonl")).unwrap();
    let broken: Vec<_> =
        text.lines().filter(|line| serde_json::from_str::<Value>(line).is_err()).collect();
    assert_eq!(broken, ["{\"schema\":1,\"kind\":\"requ"]);
    let events = events(&folder.path().join("events.jsonl"));
    assert_eq!((events.count("request"), events.count("start"), tallied(&events)), (10, 2, 5));
}

#[test]
fn each_output_has_its_own_filter_and_one_that_fails_takes_nothing_from_the_others() {
    let Some((scene, address)) = scene() else { return };
    let log = tempfile::tempdir().unwrap();
    let syslog = log.path().join("log");
    let server = UnixDatagram::bind(&syslog).unwrap();
    let settings = format!(
        "host_name = \"node-1\"\n\
         [[output]]\npath = \"{{folder}}/events.jsonl\"\nclasses = [\"v2\", \"v2-token\"]\n\
         [[output]]\npath = \"/dev/full/never\"\n\
         [[output]]\ntype = \"syslog\"\naddress = \"{}\"\nkinds = [\"request\"]\n\
         [[output]]\ntype = \"stdout\"\nformat = \"text\"\n",
        syslog.display()
    );
    let Some(agent) = Agent::start(&address, &settings) else { return };
    scene.run_well(
        CLIENT,
        &["connect", &address, "send", PUT, "receive", "send", GET_V2, "receive"],
    );
    ask(&scene, &address, 1);
    agent.wait_for_requests(3);
    server.set_read_timeout(Some(Duration::from_secs(45))).unwrap();
    let mut message = vec![0; 65_536];
    let length = server.recv(&mut message).unwrap();
    let message = String::from_utf8(message[..length].to_vec()).unwrap();
    assert!(message.starts_with("<30>1 20"), "{message}");
    let parts: Vec<_> = message.splitn(8, ' ').collect();
    let logged = Events::read(&format!("{}\n", parts[7]));
    let [event] = &logged[..] else { panic!("{logged:#?}") };
    // The head names the audited host, as the event does.
    let host = event.origin.host.as_ref().unwrap();
    assert_eq!((parts[2], host.name.as_deref()), ("node-1", Some("node-1")));
    assert_eq!(logged.requests()[0].imds.class, Class::V1);
    let (code, folder) = agent.stop();
    // The output that never worked still holds the losses that nobody was informed of.
    assert_eq!(code, Some(1));
    let written = events(&folder.path().join("events.jsonl"));
    assert_eq!(written.count("request"), 2);
    let text = fs::read_to_string(folder.path().join("stdout")).unwrap();
    assert_eq!(text.lines().filter(|line| line.contains("  v1  ")).count(), 1, "{text}");
}
