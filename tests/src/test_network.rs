//! A private network with a simulated service in it, and clients to come.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use imds_audit::simulator::{
    BackgroundService, Entry, Handle, Network, Secrets, Service, Settings, Topology,
};
use tempfile::TempDir;

use super::caller::{Caller, Running};
use super::wait::until;

/// The variable that tells the test client which network namespace it must be in.
const NAMESPACE_VARIABLE: &str = "IMDS_AUDIT_TEST_NAMESPACE";

/// The kernel's setting of TCP Fast Open in a network namespace, and a value that allows it: for
/// callers, for every listener, and for either without a cookie of an earlier connection
/// (`Documentation/networking/ip-sysctl.rst`).
const FAST_OPEN: (&str, &str) = ("/proc/sys/net/ipv4/tcp_fastopen", "1543");

/// A private network with a simulated service in it.
#[derive(Debug)]
pub struct TestNetwork {
    /// The network.
    pub network: Network,
    /// What the service knows and does.
    pub service: Handle,
    /// What the service hands out and nobody else may.
    pub secrets: Secrets,
    home: TempDir,
    serving: BackgroundService,
}

/// A service that has outlived the network of its callers.
#[derive(Debug)]
pub(crate) struct DetachedService {
    pub(crate) service: Handle,
    _serving: BackgroundService,
}

impl TestNetwork {
    /// Makes a network, and a service in it that answers on a further address, if there is one.
    pub fn new(topology: Topology, address: Option<SocketAddr>) -> Self {
        let network = Network::new_or_loopback(topology).unwrap();
        for namespace in [network.client(), network.service_namespace()] {
            // A container may not be allowed to; the test that needs it says what is missing.
            namespace.run(|| fs::write(FAST_OPEN.0, FAST_OPEN.1)).unwrap().ok();
        }
        let mut listeners = network.listeners().unwrap();
        listeners.extend(address.map(|address| network.listen(address).unwrap()));
        let secrets = Secrets::default();
        let builder = Service::builder().settings(Settings::default()).secrets(secrets.clone());
        let serving = BackgroundService::start(builder, listeners).unwrap();
        let home = tempfile::tempdir().unwrap();
        Self { network, service: serving.handle(), secrets, home, serving }
    }

    /// Lets go of the network; it is gone when the last process in it has ended.
    pub(crate) fn leave(self) -> DetachedService {
        let Self { service, serving, .. } = self;
        DetachedService { service, _serving: serving }
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

    /// Starts a client that was prepared with [`TestNetwork::command`].
    pub fn start_command(&self, command: &mut Command) -> Running {
        Running::start(command)
    }

    /// Gives the ground truth so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.service.log().entries()
    }

    /// Waits until the service has been asked so many requests.
    pub fn wait_for_entries(&self, count: usize) {
        let seen = until(|| (self.entries().len() >= count).then_some(()));
        assert!(seen.is_some(), "{} of {count} requests came", self.entries().len());
    }
}
