//! A private network with a simulated service in it, and the program watching.

use std::fs;
use std::net::SocketAddr;
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use imds_audit::simulator::{HttpTokens, Network, SERVICE_V4, Topology};
use serde_json::Value;

use super::audit::{Audit, Setup};
use super::caller::{Caller, Running};
use super::findings::{Findings, Readers};
use super::prerequisites::root;
use super::stage::Stage;
use super::wait::until;

/// A private network with a simulated service in it, and the program watching.
#[derive(Debug)]
pub struct Scene {
    /// The network, the service, and how clients are started.
    pub stage: Stage,
    /// The program.
    pub audit: Audit,
}

impl Deref for Scene {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
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
        Self::alone_with(Setup { format, arguments, ..Setup::default() })
    }

    /// As [`Scene::alone`], with everything that can be said of how the program is started.
    pub fn alone_with(setup: Setup<'_>) -> Option<(Self, String)> {
        Self::alone_prepared(setup, |_| {})
    }

    /// As [`Scene::alone_with`], with something done to the command that starts the program.
    pub fn alone_prepared(
        setup: Setup<'_>,
        prepare: impl FnOnce(&mut Command),
    ) -> Option<(Self, String)> {
        let address = SocketAddr::from((SERVICE_V4, own_port()));
        let endpoint = address.to_string();
        let arguments = [&["--endpoint", &endpoint], setup.arguments].concat();
        let start =
            |_: &Network| Audit::start_prepared(Setup { arguments: &arguments, ..setup }, prepare);
        let scene = Self::of(start, Topology::Direct, Some(address))?;
        Some((scene, endpoint))
    }

    /// Makes a scene in which something happened before the program was started.
    pub fn after<T>(act: impl FnOnce(&Stage) -> T) -> Option<(Self, T)> {
        if !root() {
            return None;
        }
        let stage = Stage::new(Topology::Direct, None);
        let done = act(&stage);
        Some((Self { stage, audit: Audit::start(&[])? }, done))
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
        let stage = Stage::new(topology, address);
        let audit = start(&stage.network)?;
        Some(Self { stage, audit })
    }

    /// Gives the events of this network so far, without those of others on the host.
    pub fn events(&self) -> Vec<Value> {
        let mut events = self.audit.events();
        events.retain(|event| is_of(event, self.network.client_inode()));
        events
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

    /// Has a client ask once, ends it when that is told, and ends the audit. One that ends with its
    /// standard input lives until it was looked at.
    pub fn finish_with(self, client: &mut Command) -> (Findings, Caller) {
        let running = self.start_command(client);
        self.wait_for_events(1);
        let caller = running.wait();
        assert!(caller.status.success(), "{caller:?}");
        let findings = self.finish();
        assert_eq!(findings.exchanges.len(), 1);
        (findings, caller)
    }

    /// As [`Scene::finish_without_readers`], of a client that ends when its standard input does,
    /// and whose network namespace is gone as soon as it has.
    pub fn finish_without_network(self, client: Running, requests: usize) -> (Findings, Caller) {
        let Self { stage, audit } = self;
        let namespace = stage.network.client_inode();
        let remains = stage.leave();
        let caller = client.wait();
        let log = remains.service.log();
        let came = until(|| (log.entries().len() >= requests).then_some(()));
        assert!(came.is_some(), "{} of {requests} requests came", log.entries().len());
        (Findings::compare(log, audit.stop(), namespace, Readers::Gone), caller)
    }

    fn compare(self, readers: Readers) -> Findings {
        let namespace = self.network.client_inode();
        let report = self.audit.stop();
        Findings::compare(self.stage.service.log(), report, namespace, readers)
    }
}

/// Gives a port that no other test asks on, of this test run or of another at the same time.
pub fn own_port() -> u16 {
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
