//! The unit as it is handed out, installed in a system of the test's own that systemd has booted.

use std::collections::HashSet;

use imds_audit::event::Event;
use imds_audit::simulator::Topology;
use imds_audit_tests::{Systemd, TestNetwork, skip};

use super::*;
use crate::SERVICE;

pub(super) const UNIT: &str = include_str!("../../../../deploy/systemd/imds-audit.service");
const EARLY: &str = include_str!("../../../../deploy/systemd/imds-audit-early.conf");
const METRICS: &str = "127.0.0.1:9469";
const LOG: &str = "/var/log/imds-audit";
/// At first nothing is rotated: where the disk is full rotated files go, whatever is in them.
pub(super) const CONFIG: &str = "[metrics]\nlisten = \"127.0.0.1:9469\"\n[[output]]\nmin_free_percent = 0\n\
                      min_free_space = \"0B\"\n";
/// Then files are small.
const ROTATION: &str = "max_size = \"8KiB\"\ncompress_after = \"0s\"\n";

/// Puts the program and its configuration where the unit has them, over the host's folders, and
/// gives the log a small disk of its own.
const INSTALL: &str = "
mount -t tmpfs none /mnt
mkdir -p /mnt/bin /mnt/etc/imds-audit /mnt/upper /mnt/work
cp \"$INSTALLED/imds-audit\" /mnt/bin/
cp \"$INSTALLED/imds-audit.toml\" /mnt/etc/imds-audit/
mount -t overlay none -o lowerdir=/mnt/bin:/usr/bin /usr/bin
mount -t overlay none -o lowerdir=/mnt/etc:/etc,upperdir=/mnt/upper,workdir=/mnt/work /etc
mount -t tmpfs none /var/log
mkdir -m 750 /var/log/imds-audit
mount -t tmpfs -o size=1m none /var/log/imds-audit
";

/// A booted system with the agent in it.
struct Host {
    systemd: Systemd,
    stage: TestNetwork,
    _installed: TempDir,
}

impl Host {
    fn boot(name: &str, wanted: &[&str], files: &[(&str, String)]) -> Option<Self> {
        let program = program().filter(|_| root())?;
        let stage = TestNetwork::new(Topology::Direct, None);
        let installed = tempfile::tempdir().unwrap();
        fs::copy(&program, installed.path().join("imds-audit")).unwrap();
        fs::write(installed.path().join("imds-audit.toml"), CONFIG).unwrap();
        let prepare = format!("INSTALLED={}{INSTALL}", installed.path().display());
        let systemd = Systemd::boot_files(&stage, name, wanted, files, &prepare)?;
        Some(Self { systemd, stage, _installed: installed })
    }

    fn log(&self) -> PathBuf {
        self.systemd.root().join("var/log/imds-audit")
    }

    /// Gives the agent another configuration, and has systemd reload it.
    fn configure(&self, text: &str) {
        fs::write(self.systemd.root().join("etc/imds-audit/imds-audit.toml"), text).unwrap();
        self.systemctl(&["reload", "imds-audit.service"]);
    }

    /// Covers the folder of the events by an empty file system that is read-only, for the agent alone,
    /// and takes the file away that it still has open. As long as a file is open for writing its file
    /// system cannot be made read-only from outside.
    fn cover(&self) {
        self.mount(&["mount", "-t", "tmpfs", "-o", "ro", "none", LOG]);
        let path = self.log().join("events.jsonl");
        fs::copy(&path, self.log().join("covered-events")).unwrap();
        fs::remove_file(&path).unwrap();
    }

    fn uncover(&self) {
        self.mount(&["umount", "--lazy", LOG]);
    }

    /// Changes a mount in the agent's namespace.
    fn mount(&self, command: &[&str]) {
        let agent = self.agent().expect("no agent runs").to_string();
        let mut nsenter = Command::new("nsenter");
        let status =
            nsenter.args(["--mount", "--pid", "--target", &agent]).args(command).status().unwrap();
        assert!(status.success(), "{command:?}");
    }

    /// The number of the agent's process, once it runs.
    fn agent(&self) -> Option<u32> {
        let is_agent = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line == b"/usr/bin/imds-audit\0agent\0"
        };
        self.systemd.processes("imds-audit.service").into_iter().find(is_agent)
    }

    /// Waits until an agent serves metrics, which it does once it is attached.
    fn wait_until_ready(&self) {
        let is_ready = || self.scrape().map(drop);
        let status = || self.systemd.systemctl(&["status", "imds-audit.service"]);
        assert!(until(is_ready).is_some(), "it is not ready: {:?}", status());
    }

    fn scrape(&self) -> Option<String> {
        let address = METRICS.parse::<SocketAddr>().unwrap();
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: agent\r\n\r\n")?;
            let mut page = String::new();
            stream.read_to_string(&mut page)?;
            Ok(page)
        };
        self.stage.network.in_client(ask).unwrap().ok()
    }

    fn metric(&self, name: &str) -> u64 {
        let page = self.scrape().unwrap_or_default();
        let of_name = page.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        of_name.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
    }

    /// Asks so often, and waits until the agent has counted so many.
    fn ask(&self, count: u64, counted: u64) {
        let mut steps = vec!["stdin-line", "connect", SERVICE];
        for _ in 0..count {
            steps.extend(["send", GET_V1, "receive"]);
        }
        let mut client = self.stage.start(CLIENT, &steps);
        self.systemd.adopt(client.pid());
        client.say("go on\n");
        let ended = client.wait();
        assert!(ended.status.success(), "{ended:?}");
        let seen = || (self.metric("imds_audit_requests_total") >= counted).then_some(());
        assert!(until(seen).is_some(), "{counted} did not come: {:?}", self.scrape());
    }

    fn systemctl(&self, arguments: &[&str]) {
        let output = self.systemd.systemctl(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    /// Every event that was written, in files of whatever name.
    fn events(&self) -> Events {
        events_in(&self.log())
    }
}

/// Every event that was written to a folder, in files of whatever name.
pub(super) fn events_in(folder: &Path) -> Events {
    let mut text = String::new();
    // The unit's folder is there once the unit is started.
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with('.') || !name.contains("events") {
            continue;
        }
        text += &if name.ends_with(".gz") {
            // One that is just being made is not read; its original is.
            unpacked(&path).unwrap_or_default()
        } else {
            written_so_far(&path)
        };
        text.push('\n');
    }
    // A file may be there under two names while it is compressed.
    let mut seen = HashSet::new();
    let lines = text.split_inclusive('\n').filter(|line| seen.insert(*line));
    Events::read_whole_lines(&lines.collect::<String>())
}

/// The requests of a run that stand in its events, written or reported as lost.
pub(super) fn accounted(events: &Events, run: &str) -> u64 {
    let of_run = events.iter().filter(|event| event.origin.run.as_deref() == Some(run));
    of_run
        .map(|event| match &event.body {
            Body::Request(_) => 1,
            Body::Loss(event) if event.loss.reason == "output" => event.loss.count,
            _ => 0,
        })
        .sum()
}

/// The runs that began in these events, the first one first.
pub(super) fn runs(events: &Events) -> Vec<String> {
    let mut starts: Vec<_> =
        events.iter().filter(|event| matches!(event.body, Body::Start(_))).collect();
    starts.sort_by_key(|event| event.body.time());
    starts.into_iter().filter_map(|event| event.origin.run.clone()).collect()
}

/// Asserts that a run ended with its only tally, of so many requests, and that no other did.
pub(super) fn assert_ended(events: &Events, run: &str, requests: u64) {
    let tallies = events.tallies();
    assert_eq!((tallies.len(), tallies[0].totals.requests), (1, requests), "{tallies:#?}");
    let of_end = |event: &&Event| matches!(event.body, Body::Tally(_) | Body::Stop(_));
    let ends: Vec<_> = events.iter().filter(of_end).collect();
    assert!(ends.iter().all(|event| event.origin.run.as_deref() == Some(run)), "{ends:#?}");
    assert_eq!(events.count("stop"), 1);
}

#[test]
fn the_installed_unit_accounts_for_every_request_under_faults() {
    let files = [("imds-audit.service", UNIT.to_owned())];
    let Some(host) = Host::boot("installed", &["imds-audit.service"], &files) else { return };
    host.wait_until_ready();
    host.ask(10, 10);
    // A foreign logrotate, with the unit's own reload.
    fs::rename(host.log().join("events.jsonl"), host.log().join("old-events")).unwrap();
    host.systemctl(&["reload", "imds-audit.service"]);
    host.ask(5, 15);
    // A full disk.
    let ballast = host.log().join("ballast");
    fs::write(&ballast, vec![0; 2 << 20]).unwrap_err();
    host.ask(20, 35);
    fs::remove_file(&ballast).unwrap();
    host.ask(5, 40);
    // Rotations and compressions.
    host.configure(&format!("{CONFIG}{ROTATION}"));
    for round in 1..=5 {
        host.ask(4, 40 + 4 * round);
    }
    assert!(host.metric("imds_audit_output_rotations_total") > 1, "{:?}", host.scrape());
    // A read-only file system.
    let lost = host.metric("imds_audit_output_lost_lines_total");
    host.cover();
    host.ask(8, 68);
    let is_lost = || (host.metric("imds_audit_output_lost_lines_total") >= lost + 8).then_some(());
    assert!(until(is_lost).is_some(), "{:?}", host.scrape());
    host.uncover();
    host.ask(4, 72);
    // Everything of this run is written or reported before it is killed: what was seen and not
    // written would be gone with it.
    let is_complete = || {
        let events = host.events();
        (accounted(&events, &runs(&events)[0]) == 72).then_some(())
    };
    if until(is_complete).is_none() {
        let events = host.events();
        panic!("{} of 72: {:?}", accounted(&events, &runs(&events)[0]), events.losses());
    }
    host.systemctl(&["kill", "--signal=KILL", "imds-audit.service"]);
    let is_again = || (runs(&host.events()).len() == 2).then_some(());
    assert!(until(is_again).is_some(), "systemd does not start it again");
    host.wait_until_ready();
    host.ask(7, 7);
    host.systemctl(&["stop", "imds-audit.service"]);
    let events = host.events();
    let runs = runs(&events);
    assert_eq!((accounted(&events, &runs[0]), accounted(&events, &runs[1])), (72, 7));
    assert_ended(&events, &runs[1], 7);
    assert!(host.agent().is_none());
}

#[test]
fn the_early_unit_sees_what_cloud_init_asks() {
    if Command::new("curl").arg("--version").output().is_err() {
        return skip("there is no curl");
    }
    let cloud_init = "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
                      ExecStart=curl -sf -m 20 http://169.254.169.254/latest/meta-data/instance-id\n";
    let files = [
        ("imds-audit.service", UNIT.to_owned()),
        ("imds-audit.service.d/early.conf", EARLY.to_owned()),
        ("cloud-init-local.service", cloud_init.to_owned()),
    ];
    // As cloud-init is wanted, and as `systemctl enable` has the agent wanted.
    let wanted = ["cloud-init-local.service", "imds-audit.service"];
    let Some(host) = Host::boot("early", &wanted, &files) else { return };
    let seen = || host.events().requests().into_iter().next();
    let request = until(seen).expect("what cloud-init asked was not seen");
    let unit = request.process.unit.as_deref();
    assert_eq!(unit, Some("cloud-init-local.service"), "{request:#?}");
    host.systemctl(&["stop", "imds-audit.service"]);
    assert_eq!(host.events().count("request"), 1);
}
