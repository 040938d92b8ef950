//! A private network with a simulated service in it, and the program watching.

use std::fs;
use std::net::SocketAddr;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::os::unix::process::CommandExt;
use std::process::{self, Command};
use std::sync::Mutex;

use imds_audit::event::RequestEvent;
use imds_audit::simulator::{HttpTokens, Network, SERVICE_V4, Topology};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::audit::{Audit, Report, Setup};
use super::caller::{Caller, Running};
use super::comparison::{Comparison, ResponseReads};
use super::events::Events;
use super::prerequisites::root;
use super::test_network::TestNetwork;
use super::wait::until;

/// A private network with a simulated service in it, and the program watching.
#[derive(Debug)]
pub struct TestBed {
    /// The network, the service, and how clients are started.
    pub stage: TestNetwork,
    /// The program.
    pub audit: Audit,
}

impl Deref for TestBed {
    type Target = TestNetwork;

    fn deref(&self) -> &TestNetwork {
        &self.stage
    }
}

impl TestBed {
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

    /// Makes a scene with everything that can be said of how the program is started, and something
    /// done to the command before.
    pub fn prepared(setup: Setup<'_>, prepare: impl FnOnce(&mut Command)) -> Option<Self> {
        Self::of(|_| Audit::start_prepared(setup, prepare), Topology::Direct, None)
    }

    /// Makes a scene whose program sees packets in the client's network namespace, in place of what
    /// eBPF programs see.
    pub fn by_packets(arguments: &[&str]) -> Option<Self> {
        Self::by_packets_with(Setup { arguments, ..Setup::default() }, |_| {})
    }

    /// As [`TestBed::by_packets`], with everything that can be said of how the program is started.
    pub fn by_packets_with(setup: Setup<'_>, prepare: impl FnOnce(&mut Command)) -> Option<Self> {
        let arguments = [&["--source", "packet"], setup.arguments].concat();
        let setup = Setup { arguments: &arguments, ..setup };
        Self::in_the_clients_network(setup, prepare)
    }

    /// Makes a scene whose program is in the client's network namespace.
    pub fn in_the_clients_network(
        setup: Setup<'_>,
        prepare: impl FnOnce(&mut Command),
    ) -> Option<Self> {
        let start = |network: &Network| {
            Audit::start_prepared(setup, |command| {
                // Before whatever takes the right to do it.
                enter(command, network);
                prepare(command);
            })
        };
        Self::of(start, Topology::Direct, None)
    }

    /// Makes a scene whose program takes the client's network namespace for the host's: it is
    /// shown a procfs in which the first process is in it, and nobody else is there.
    pub fn in_the_hosts_network() -> Option<Self> {
        let procfs = tempfile::tempdir().unwrap();
        let first = procfs.path().join("1/ns");
        fs::create_dir_all(&first).unwrap();
        // Of the host's first process it is certain only there.
        symlink(format!("/proc/{}/ns/pid", process::id()), first.join("pid")).unwrap();
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

    /// As [`TestBed::alone`], with everything that can be said of how the program is started.
    pub fn alone_with(setup: Setup<'_>) -> Option<(Self, String)> {
        Self::alone_prepared(setup, |_| {})
    }

    /// As [`TestBed::alone_with`], with something done to the command that starts the program.
    pub fn alone_prepared(
        setup: Setup<'_>,
        prepare: impl FnOnce(&mut Command),
    ) -> Option<(Self, String)> {
        Self::alone_of(setup, Topology::Direct, prepare)
    }

    /// As [`TestBed::alone`], with a topology of the network.
    pub fn alone_in(topology: Topology) -> Option<(Self, String)> {
        Self::alone_of(Setup::default(), topology, |_| {})
    }

    fn alone_of(
        setup: Setup<'_>,
        topology: Topology,
        prepare: impl FnOnce(&mut Command),
    ) -> Option<(Self, String)> {
        let address = SocketAddr::from((SERVICE_V4, own_port()));
        let endpoint = address.to_string();
        let arguments = [&["--endpoint", &endpoint], setup.arguments].concat();
        let start =
            |_: &Network| Audit::start_prepared(Setup { arguments: &arguments, ..setup }, prepare);
        let scene = Self::of(start, topology, Some(address))?;
        Some((scene, endpoint))
    }

    /// Makes a scene in which something happened before the program was started.
    pub fn after<T>(act: impl FnOnce(&TestNetwork) -> T) -> Option<(Self, T)> {
        if !root() {
            return None;
        }
        let stage = TestNetwork::new(Topology::Direct, None);
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
        let stage = TestNetwork::new(topology, address);
        let audit = start(&stage.network)?;
        Some(Self { stage, audit })
    }

    /// Has a command run in the client's network namespace.
    pub fn enter(&self, command: &mut Command) {
        enter(command, &self.network);
    }

    /// Returns the events of this network so far, without those of others on the host.
    pub fn typed_events(&self) -> Events {
        let mut events = self.audit.typed_events();
        events.retain_namespace(self.network.client_inode());
        events
    }

    /// Returns the requests of this network so far.
    pub fn requests(&self) -> Vec<RequestEvent> {
        self.typed_events().requests()
    }

    /// Ends the audit, and returns what it wrote with the requests of this network.
    pub fn stop(self) -> (Report, Vec<RequestEvent>) {
        let namespace = self.network.client_inode();
        let Self { audit, .. } = self;
        let report = audit.stop();
        let mut events = report.typed_events();
        events.retain_namespace(namespace);
        (report, events.requests())
    }

    /// Waits until the program has written so many events of this network.
    pub fn wait_for_events(&self, count: usize) {
        let seen = until(|| (self.typed_events().len() >= count).then_some(()));
        assert!(seen.is_some(), "{} of {count} events came", self.typed_events().len());
    }

    /// Ends the audit, and compares what it reported with what the service was asked, each
    /// request's outcome among it.
    pub fn finish(self) -> Comparison {
        self.compare(ResponseReads::All)
    }

    /// Ends the audit of callers that did not wait for their responses, so that these may or may
    /// not have come as far as their hosts.
    pub fn finish_without_readers(self) -> Comparison {
        self.compare(ResponseReads::Unknown)
    }

    /// Has a client ask once, ends it when that is reported, and ends the audit. One that ends with its
    /// standard input lives until it was looked at.
    pub fn finish_with(self, client: &mut Command) -> (Comparison, Caller) {
        let running = self.start_command(client);
        self.wait_for_events(1);
        let caller = running.wait();
        assert!(caller.status.success(), "{caller:?}");
        let findings = self.finish();
        assert_eq!(findings.exchanges.len(), 1);
        (findings, caller)
    }

    /// As [`TestBed::finish_without_readers`], of a client that ends when its standard input does,
    /// and whose network namespace is gone as soon as it has.
    pub fn finish_without_network(self, client: Running, requests: usize) -> (Comparison, Caller) {
        let Self { stage, audit } = self;
        let namespace = stage.network.client_inode();
        let remains = stage.leave();
        let caller = client.wait();
        let log = remains.service.log();
        let came = until(|| (log.entries().len() >= requests).then_some(()));
        assert!(came.is_some(), "{} of {requests} requests came", log.entries().len());
        (Comparison::compare(log, audit.stop(), namespace, ResponseReads::Unknown), caller)
    }

    fn compare(self, readers: ResponseReads) -> Comparison {
        let namespace = self.network.client_inode();
        let report = self.audit.stop();
        Comparison::compare(self.stage.service.log(), report, namespace, readers)
    }
}

/// Reserves a port that no other test asks on, of this test run or of another at the same time, until
/// this process ends.
pub fn own_port() -> u16 {
    const FIRST: u32 = 1_024;
    const PORTS: u32 = 60_000;
    /// A socket of a name that only one process on the host can have, for each port.
    static RESERVED: Mutex<Vec<UnixDatagram>> = Mutex::new(Vec::new());
    let reserve = |port: u32| {
        let name = format!("imds-audit-test-port-{port}");
        UnixDatagram::bind_addr(&UnixAddr::from_abstract_name(name).unwrap()).ok()
    };
    let first = process::id().wrapping_mul(64);
    let mut ports = (0..PORTS).map(|n| FIRST + first.wrapping_add(n) % PORTS);
    let (port, socket) = ports.find_map(|port| Some((port, reserve(port)?))).unwrap();
    RESERVED.lock().unwrap().push(socket);
    u16::try_from(port).unwrap()
}

/// Has a command run in the client's network namespace.
fn enter(command: &mut Command, network: &Network) {
    let namespace = network.client_namespace().try_clone_to_owned().unwrap();
    // SAFETY: the closure makes one system call, for the new process alone, and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            let kind = Some(LinkNameSpaceType::Network);
            Ok(move_into_link_name_space(namespace.as_fd(), kind)?)
        });
    }
}
