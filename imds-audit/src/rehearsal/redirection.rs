//! Redirection of one cgroup: the programs, and the fronts that they lead to.

use std::{fs::File, net::SocketAddr, os::fd::AsFd, path::Path, sync::Arc};

use imds_audit_ebpf::rehearsal::Connect;
use tokio::sync::Notify;

use super::{
    front::{Counters, Settings},
    networks::Networks,
    programs::{ProgramError, Programs},
    target::Target,
};

/// What is redirected, and where to. Undone when dropped, also while a panic unwinds.
pub(crate) struct Redirection {
    // Dropped in this order, so that no connect leads to a front that has gone.
    programs: Programs,
    networks: Networks,
    /// The cgroup of this process.
    own: File,
}

impl Redirection {
    /// Loads the programs, and starts a front in this process's network namespace if a command is
    /// to start in it. Nothing is redirected yet. `own` is the cgroup of this process.
    ///
    /// # Errors
    /// Returns an error if there are too many endpoints, or the kernel refuses a map or a program.
    pub(crate) fn load(
        endpoints: &[SocketAddr],
        settings: Settings,
        own: File,
        is_for_command: bool,
    ) -> Result<Self, ProgramError> {
        let mut programs = Programs::load(endpoints)?;
        let mut networks = Networks::new(Arc::new(settings));
        if is_for_command {
            networks.add_own(&mut programs, own.as_fd());
        }
        Ok(Self { programs, networks, own })
    }

    /// Redirects the connects of a target from now on.
    ///
    /// # Errors
    /// Returns an error if it is being rehearsed already, or the kernel refuses.
    pub(crate) fn attach(&mut self, target: &Target) -> Result<(), ProgramError> {
        self.programs.attach(target.as_fd())
    }

    /// Starts a front in each network namespace that a process is in and that has none, and ends
    /// those in which none is any more.
    pub(crate) fn update(&mut self, processes: &[u32], procfs: &Path) {
        let Self { programs, networks, own } = self;
        networks.update(processes, procfs, programs, own.as_fd());
    }

    /// Returns what is notified when a front has ended: connects to it are to pass at once.
    pub(crate) fn front_ended(&self) -> Arc<Notify> {
        self.networks.ended()
    }

    /// Redirects nothing any more, then ends the fronts.
    pub(crate) fn end(&mut self) {
        self.programs.detach();
        self.networks.end();
    }

    /// Returns how many connects there were of a kind.
    pub(crate) fn count(&self, connect: Connect) -> u64 {
        self.programs.count(connect)
    }

    /// Returns what the fronts did.
    pub(crate) fn counters(&self) -> &Counters {
        self.networks.counters()
    }

    /// Returns the namespaces that have no front, by inode number, and why.
    pub(crate) fn left_alone(&self) -> impl Iterator<Item = (u64, &str)> {
        self.networks.left_alone().iter().map(|(&inode, reason)| (inode, reason.as_str()))
    }
}
