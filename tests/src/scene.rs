//! A private network with a simulated service in it, and the program watching.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use imds_audit::simulator::{
    BackgroundService, Entry, Handle, HttpTokens, Network, SERVICE_V4, Secrets, Service, Settings,
    Topology,
};
use serde_json::Value;
use tempfile::TempDir;

use super::audit::Audit;
use super::caller::{Caller, Running};
use super::findings::{Findings, Readers};
use super::prerequisites::root;
use super::wait::until;

/// The variable that tells the test client which network namespace it must be in.
const NAMESPACE_VARIABLE: &str = "IMDS_AUDIT_TEST_NAMESPACE";

/// A private network with a simulated service in it, and the program watching.
#[derive(Debug)]
pub struct Scene {
    /// The network.
    pub network: Network,
    /// What the service knows and does.
    pub service: Handle,
    /// The program.
    pub audit: Audit,
    /// What the service hands out and nobody else may.
    pub secrets: Secrets,
    home: TempDir,
    _service: BackgroundService,
}

impl Scene {
    /// Makes a scene; `None` where the test cannot run and has been skipped.
    pub fn new() -> Option<Self> {
        Self::with(&[], Topology::Direct)
    }

    /// Makes a scene whose service serves no one without a token.
    pub fn with_tokens_required() -> Option<Self> {
        let scene = Self::new()?;
        scene.service.set_http_tokens(HttpTokens::Required);
        Some(scene)
    }

    /// Makes a scene with further arguments to the program, and a topology of the network.
    pub fn with(arguments: &[&str], topology: Topology) -> Option<Self> {
        Self::of(|_| Audit::start(arguments), topology, None)
    }

    /// Makes a scene whose program takes the client's network namespace for the host's: it is
    /// shown a procfs in which the first process is in it, and nobody else is there.
    pub fn in_the_hosts_network() -> Option<Self> {
        let procfs = tempfile::tempdir().unwrap();
        let first = procfs.path().join("1/ns");
        fs::create_dir_all(&first).unwrap();
        let start = |network: &Network| {
            let namespace = network.client_namespace().as_raw_fd();
            symlink(format!("/proc/{}/fd/{namespace}", process::id()), first.join("net")).unwrap();
            Audit::start(&["--procfs", procfs.path().to_str().unwrap()])
        };
        Self::of(start, Topology::Direct, None)
    }

    /// Makes a scene whose service answers on a port of its own too, and whose program audits
    /// only that: nobody else on the host asks there. Gives the address.
    pub fn alone(format: &str, arguments: &[&str]) -> Option<(Self, String)> {
        let address = SocketAddr::from((SERVICE_V4, own_port()));
        let endpoint = address.to_string();
        let arguments = [&["--endpoint", &endpoint], arguments].concat();
        let start = |_: &Network| Audit::start_as(format, &arguments);
        let scene = Self::of(start, Topology::Direct, Some(address))?;
        Some((scene, endpoint))
    }

    fn of(
        start: impl FnOnce(&Network) -> Option<Audit>,
        topology: Topology,
        address: Option<SocketAddr>,
    ) -> Option<Self> {
        if !root() {
            return None;
        }
        // Before the audit: a new network is tried out by connecting, from the client's side.
        let network = Network::new_or_loopback(topology).unwrap();
        let audit = start(&network)?;
        let mut listeners = network.listeners().unwrap();
        listeners.extend(address.map(|address| network.listen(address).unwrap()));
        let secrets = Secrets::default();
        let builder = Service::builder().settings(Settings::default()).secrets(secrets.clone());
        let service = BackgroundService::start(builder, listeners).unwrap();
        let home = tempfile::tempdir().unwrap();
        Some(Self { network, service: service.handle(), audit, secrets, home, _service: service })
    }

    /// Prepares a client: in the network's namespace, and without this machine's settings.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.network.command(program).unwrap();
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.home.path())
            .env("LANG", "C.UTF-8")
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env(NAMESPACE_VARIABLE, self.network.client_inode().to_string())
            .current_dir(self.home.path());
        command
    }

    /// Runs a client to its end.
    pub fn run(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Caller {
        self.start(program, arguments).wait()
    }

    /// Runs a client to its end, which is to be a success.
    pub fn run_well(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Caller {
        let caller = self.run(program, arguments);
        assert!(caller.status.success(), "{caller:?}");
        caller
    }

    /// Starts a client.
    pub fn start(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Running {
        self.start_command(self.command(program).args(arguments))
    }

    /// Starts a client that was prepared with [`Scene::command`].
    pub fn start_command(&self, command: &mut Command) -> Running {
        Running::start(command)
    }

    /// Gives the ground truth so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.service.log().entries()
    }

    /// Gives the events of this network so far, without those of others on the host.
    pub fn events(&self) -> Vec<Value> {
        let mut events = self.audit.events();
        events.retain(|event| is_of(event, self.network.client_inode()));
        events
    }

    /// Waits until the service has been asked so many requests.
    pub fn wait_for_entries(&self, count: usize) {
        let seen = until(|| (self.entries().len() >= count).then_some(()));
        assert!(seen.is_some(), "{} of {count} requests came", self.entries().len());
    }

    /// Waits until the program has written so many events of this network.
    pub fn wait_for_events(&self, count: usize) {
        let seen = until(|| (self.events().len() >= count).then_some(()));
        assert!(seen.is_some(), "{} of {count} events came", self.events().len());
    }

    /// Ends the audit, and compares what it reported with what the service was asked, each
    /// request's outcome among it.
    pub fn finish(self) -> Findings {
        self.compare(Readers::Patient)
    }

    /// Ends the audit of callers that did not wait for their responses, so that these may or may
    /// not have come as far as their hosts.
    pub fn finish_without_readers(self) -> Findings {
        self.compare(Readers::Gone)
    }

    fn compare(self, readers: Readers) -> Findings {
        let namespace = self.network.client_inode();
        let report = self.audit.stop();
        Findings::compare(self.service.log(), report, namespace, readers)
    }
}

/// Gives a port that no other test asks on, of this test run or of another at the same time.
fn own_port() -> u16 {
    const FIRST: u32 = 1_024;
    const PORTS: u32 = 60_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let number = process::id().wrapping_mul(64) + GIVEN.fetch_add(1, Ordering::Relaxed);
    u16::try_from(FIRST + number % PORTS).unwrap()
}

/// Says whether an event is of a network namespace.
pub(crate) fn is_of(event: &Value, namespace: u64) -> bool {
    event["network"]["netns"].as_u64() == Some(namespace)
}
