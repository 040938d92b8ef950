//! The unit as it is handed out, installed in a machine that systemd has booted.

use std::os::fd::AsRawFd;

use imds_audit::simulator::Topology;
use imds_audit_tests::TestNetwork;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::installed::{CONFIG, UNIT, accounted, assert_ended, events_in, runs};
use super::pages::{AGENT, blocks};
use super::rights::kept_by_an_agent;
use super::*;
use crate::SERVICE;

const LOG: &str = "/var/log/imds-audit";
const METRICS: &str = "127.0.0.1:9469";
/// What `systemctl enable` makes.
const WANTED: &str = "/etc/systemd/system/multi-user.target.wants/imds-audit.service";
/// The processes of the unit.
const PROCESSES: &str = "/sys/fs/cgroup/system.slice/imds-audit.service/cgroup.procs";

/// The machine that the test runs on, with the agent installed.
struct Machine {
    stage: TestNetwork,
}

impl Machine {
    /// Puts the configuration where a package has it, gives the log a small disk of its own, and runs
    /// the page's commands: they install the program and its unit, and have it started now and at each
    /// boot.
    fn install() -> Option<Self> {
        let program = program().filter(|_| root())?;
        let first = fs::read_to_string("/proc/1/comm").unwrap();
        assert_eq!(first, "systemd\n", "only a machine of cargo xtask vm --systemd is for this");
        fs::create_dir_all("/etc/imds-audit").unwrap();
        fs::write("/etc/imds-audit/imds-audit.toml", CONFIG).unwrap();
        fs::create_dir_all(LOG).unwrap();
        mount(c"tmpfs", LOG, c"tmpfs", MountFlags::empty(), Some(c"size=1m,mode=750")).unwrap();
        let machine = Self { stage: TestNetwork::new(Topology::Direct, None) };
        let folder = tempfile::tempdir().unwrap();
        fs::copy(program, folder.path().join("imds-audit")).unwrap();
        fs::create_dir_all(folder.path().join("deploy/systemd")).unwrap();
        fs::write(folder.path().join("deploy/systemd/imds-audit.service"), UNIT).unwrap();
        for commands in blocks(AGENT, "sh") {
            let mut shell = Command::new("sh");
            let ended = shell.args(["-exc", commands]).current_dir(folder.path()).output().unwrap();
            assert!(ended.status.success(), "{ended:?}");
        }
        assert!(fs::symlink_metadata(WANTED).unwrap().is_symlink(), "it is not enabled");
        Some(machine)
    }

    fn systemctl(&self, arguments: &[&str]) {
        let output = Command::new("systemctl").args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    fn metric(&self, name: &str) -> u64 {
        let page = get(METRICS.parse().unwrap(), "/metrics");
        let of_name = page.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        of_name.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
    }

    /// Waits until an agent serves metrics, which it does once it is attached.
    fn wait_until_ready(&self) {
        let address = METRICS.parse::<SocketAddr>().unwrap();
        let is_ready = || TcpStream::connect(address).ok().map(drop);
        assert!(until(is_ready).is_some(), "it is not ready");
    }

    /// Asks so often, and waits until the agent has counted so many.
    fn ask(&self, count: usize, counted: u64) {
        let steps = std::iter::repeat_n(["send", GET_V1, "receive"], count).flatten();
        let steps: Vec<_> = ["connect", SERVICE].into_iter().chain(steps).collect();
        self.stage.run_well(CLIENT, &steps);
        let seen = || (self.metric("imds_audit_requests_total") >= counted).then_some(());
        assert!(until(seen).is_some(), "{counted} did not come");
    }

    /// The capabilities of the agent's main thread.
    fn capabilities(&self) -> u64 {
        let processes = fs::read_to_string(PROCESSES).unwrap();
        let status = fs::read_to_string(format!("/proc/{}/status", processes.trim())).unwrap();
        let held = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
        u64::from_str_radix(held.trim(), 16).unwrap()
    }

    /// Has the log's disk turn read-only for 20 requests: a file that is open for writing keeps a
    /// mount from it, so it is covered by one that is.
    fn turn_read_only(&self, counted: u64) {
        let lost = || self.metric("imds_audit_output_lost_lines_total");
        let before = lost();
        let below = fs::File::open(LOG).unwrap();
        mount(c"tmpfs", LOG, c"tmpfs", MountFlags::RDONLY, None).unwrap();
        // What was written stays in a copy; the agent finds that its file has gone, and cannot make
        // another. (One that was only moved it would go on writing to.)
        let folder = PathBuf::from(format!("/proc/self/fd/{}", below.as_raw_fd()));
        fs::copy(folder.join("events.jsonl"), folder.join("older-events")).unwrap();
        fs::remove_file(folder.join("events.jsonl")).unwrap();
        drop(below);
        self.ask(20, counted);
        assert!(until(|| (lost() >= before + 20).then_some(())).is_some(), "{} lost", lost());
        unmount(LOG, UnmountFlags::DETACH).unwrap();
    }
}

#[test]
#[ignore = "it installs the agent in the machine: cargo xtask vm --systemd"]
fn the_installed_unit_accounts_for_every_request_under_faults() {
    let Some(machine) = Machine::install() else { return };
    let log = Path::new(LOG);
    machine.wait_until_ready();
    machine.ask(10, 10);
    // A foreign logrotate, with the unit's own reload.
    fs::rename(log.join("events.jsonl"), log.join("old-events")).unwrap();
    machine.systemctl(&["reload", "imds-audit.service"]);
    machine.ask(5, 15);
    // A full disk.
    fs::write(log.join("ballast"), vec![0; 2 << 20]).unwrap_err();
    machine.ask(20, 35);
    fs::remove_file(log.join("ballast")).unwrap();
    machine.ask(5, 40);
    assert_eq!(machine.capabilities(), kept_by_an_agent());
    machine.turn_read_only(60);
    machine.ask(10, 70);
    // Everything of this run is written or reported before it is killed.
    let is_complete = || {
        let events = events_in(log);
        (accounted(&events, &runs(&events)[0]) == 70).then_some(())
    };
    assert!(until(is_complete).is_some(), "{:#?}", events_in(log));
    machine.systemctl(&["kill", "--signal=KILL", "imds-audit.service"]);
    let is_again = || (runs(&events_in(log)).len() == 2).then_some(());
    assert!(until(is_again).is_some(), "systemd does not start it again");
    machine.wait_until_ready();
    machine.ask(7, 7);
    machine.systemctl(&["stop", "imds-audit.service"]);
    let events = events_in(log);
    let runs = runs(&events);
    assert_eq!((accounted(&events, &runs[0]), accounted(&events, &runs[1])), (70, 7));
    assert_ended(&events, &runs[1], 7);
}
