//! Private networks of the demonstration, each with its own simulated service.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::scripts::{CONTAINER_START, REFRESH_CREDENTIALS};
use crate::simulator::{BackgroundService, HttpTokens, Network, NetworkError, Service, Topology};

/// Where a caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On the instance: no hop from the service.
    Instance,
    /// In a container: one hop from the service, which is the default hop limit.
    Container,
}

/// The networks, their services and the callers' scripts. All of it is gone when dropped.
pub(super) struct DemoNetworks {
    instance: DemoNetwork,
    /// `None` where the kernel has no virtual Ethernet pairs.
    container: Option<DemoNetwork>,
    scripts: TempDir,
}

/// A network with its service.
pub(super) struct DemoNetwork {
    /// The network.
    pub network: Network,
    service: BackgroundService,
}

impl DemoNetworks {
    /// Sets everything up.
    ///
    /// # Errors
    /// Returns an error if the host does not allow private networks, or has no room for the
    /// scripts.
    pub(super) fn build() -> Result<Self> {
        let instance = DemoNetwork::new(Network::new_or_loopback(Topology::Direct)?)?;
        let container = match Network::new(Topology::Routed) {
            Ok(network) => Some(DemoNetwork::new(network)?),
            Err(NetworkError::NoVeth) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { instance, container, scripts: scripts()? })
    }

    /// Gives the network of a place, where there is one.
    pub(super) fn site(&self, place: Place) -> Option<&DemoNetwork> {
        match place {
            Place::Instance => Some(&self.instance),
            Place::Container => self.container.as_ref(),
        }
    }

    /// Gives the folder of the scripts.
    pub(super) fn scripts(&self) -> &Path {
        self.scripts.path()
    }

    /// Gives the inode numbers of the callers' network namespaces, as the eBPF programs report
    /// them.
    pub(super) fn namespaces(&self) -> Vec<u32> {
        self.sites().filter_map(|site| u32::try_from(site.network.client_inode()).ok()).collect()
    }

    /// Gives the inode number of the network namespace that stands for the instance's own.
    pub(super) fn instance(&self) -> Option<u32> {
        u32::try_from(self.instance.network.client_inode()).ok()
    }

    /// Gives the number of requests that the services saw.
    pub(super) fn requests(&self) -> u64 {
        self.sites().map(|site| site.service.handle().log().counters().requests).sum()
    }

    fn sites(&self) -> impl Iterator<Item = &DemoNetwork> {
        [Some(&self.instance), self.container.as_ref()].into_iter().flatten()
    }
}

impl DemoNetwork {
    fn new(network: Network) -> Result<Self> {
        let service = BackgroundService::start(Service::builder(), network.listeners()?)?;
        Ok(Self { network, service })
    }

    /// Sets whether the service wants a token.
    pub(super) fn set_http_tokens(&self, http_tokens: HttpTokens) {
        self.service.handle().set_http_tokens(http_tokens);
    }
}

/// Writes the scripts into a new folder that nobody else can look into.
fn scripts() -> Result<TempDir> {
    const PLACE: &str = "cannot make a folder for the demonstration's scripts";
    let folder = tempfile::Builder::new()
        .prefix("imds-audit-demo-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir()
        .context(PLACE)?;
    for (name, text) in [REFRESH_CREDENTIALS, CONTAINER_START] {
        fs::write(folder.path().join(name), text).context(PLACE)?;
    }
    Ok(folder)
}
