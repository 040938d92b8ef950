//! Network namespaces of the rehearsed processes, each with its front.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self, File},
    os::{fd::BorrowedFd, unix::fs::MetadataExt},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use imds_audit_ebpf::rehearsal::MAX_NETWORKS;
use tokio::sync::Notify;

use super::{
    front::{Counters, Front, FrontError, Settings},
    programs::{ProgramError, Programs},
};

/// How long a front is kept in a namespace that no process of the cgroup is in any more. It keeps
/// the namespace from going away.
const KEEP: Duration = Duration::from_secs(2);

/// Why a network namespace is left alone.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkError {
    /// Its front does not start.
    #[error(transparent)]
    Front(#[from] FrontError),
    /// Nothing can be redirected to it.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// There are too many.
    #[error("{MAX_NETWORKS} others have a front already")]
    TooMany,
    /// Its front has failed.
    #[error("its front has failed")]
    Failed,
}

/// A namespace with a front.
struct Network {
    front: Front,
    cookie: u64,
    seen: Instant,
}

/// The namespaces that were found so far.
pub(crate) struct Networks {
    settings: Arc<Settings>,
    counters: Arc<Counters>,
    /// By inode number.
    known: HashMap<u64, Network>,
    /// Those without a front, and why; by inode number.
    left_alone: BTreeMap<u64, String>,
    /// This process's own, which a command starts in.
    own: Option<u64>,
    /// Notified when a front has ended.
    ended: Arc<Notify>,
}

impl Networks {
    /// Makes an empty set.
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            counters: Arc::default(),
            known: HashMap::new(),
            left_alone: BTreeMap::new(),
            own: fs::metadata("/proc/thread-self/ns/net").ok().map(|found| found.ino()),
            ended: Arc::default(),
        }
    }

    /// Returns what is notified when a front has ended: connects to it are to pass at once.
    pub(crate) fn ended(&self) -> Arc<Notify> {
        Arc::clone(&self.ended)
    }

    /// Returns what the fronts did.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns the namespaces that have no front, by inode number, and why.
    pub(crate) fn left_alone(&self) -> &BTreeMap<u64, String> {
        &self.left_alone
    }

    /// Starts a front in this process's own namespace.
    pub(crate) fn add_own(&mut self, programs: &mut Programs, cgroup: BorrowedFd<'_>) {
        if let Some(inode) = self.own {
            self.add(inode, None, programs, cgroup);
        }
    }

    /// Starts a front in each namespace that a process is in and that has none, and ends those in
    /// which none is any more. `cgroup` is this process's own.
    pub(crate) fn update(
        &mut self,
        processes: &[u32],
        procfs: &Path,
        programs: &mut Programs,
        cgroup: BorrowedFd<'_>,
    ) {
        let now = Instant::now();
        let mut looked_at = HashSet::new();
        for pid in processes {
            let path = procfs.join(pid.to_string()).join("ns/net");
            // A process that has ended, or is ending, has no namespace.
            let Ok(inode) = fs::metadata(&path).map(|found| found.ino()) else { continue };
            if !looked_at.insert(inode) {
                continue;
            }
            if let Some(network) = self.known.get_mut(&inode) {
                network.seen = now;
                continue;
            }
            if self.left_alone.contains_key(&inode) {
                continue;
            }
            if self.own == Some(inode) {
                self.add(inode, None, programs, cgroup);
                continue;
            }
            let Ok(namespace) = File::open(&path) else { continue };
            // The process may be another by now.
            if namespace.metadata().is_ok_and(|found| found.ino() == inode) {
                self.add(inode, Some(namespace), programs, cgroup);
            }
        }
        self.remove_dead(now, programs);
    }

    fn add(
        &mut self,
        inode: u64,
        namespace: Option<File>,
        programs: &mut Programs,
        cgroup: BorrowedFd<'_>,
    ) {
        if self.known.contains_key(&inode) {
            return;
        }
        match self.start(namespace, programs, cgroup) {
            Ok(network) => {
                self.known.insert(inode, network);
            }
            Err(error) => {
                let why = format!("{:#}", anyhow::Error::new(error));
                log::warn!("a network namespace is left alone netns={inode} reason={why}");
                self.left_alone.insert(inode, why);
            }
        }
    }

    fn start(
        &self,
        namespace: Option<File>,
        programs: &mut Programs,
        cgroup: BorrowedFd<'_>,
    ) -> Result<Network, NetworkError> {
        if self.known.len() >= MAX_NETWORKS {
            return Err(NetworkError::TooMany);
        }
        let settings = Arc::clone(&self.settings);
        let counters = Arc::clone(&self.counters);
        let ended = self.ended();
        let front = Front::start(namespace, settings, counters, programs.marker()?, ended)?;
        let cookie = match front.cookie {
            Some(cookie) => cookie,
            None => {
                let mut marker = programs.marker()?;
                programs.learn_cookie(&front.probe, &mut marker, cgroup)?
            }
        };
        if let Err(error) = self.lead_to(&front, cookie, programs) {
            // No connect may lead to a front that is not kept.
            programs.remove_fronts(cookie);
            return Err(error.into());
        }
        Ok(Network { front, cookie, seen: Instant::now() })
    }

    /// Sends the connects of a namespace to its front.
    fn lead_to(
        &self,
        front: &Front,
        cookie: u64,
        programs: &mut Programs,
    ) -> Result<(), ProgramError> {
        for &number in &front.served {
            let route = usize::try_from(number).ok().and_then(|at| self.settings.routes.get(at));
            if let Some(route) = route {
                programs.set_front(cookie, number, route.front)?;
            }
        }
        Ok(())
    }

    fn remove_dead(&mut self, now: Instant, programs: &mut Programs) {
        let Self { known, left_alone, own, .. } = self;
        known.retain(|inode, network| {
            let is_running = network.front.is_running();
            if !is_running {
                log::error!("a front has failed netns={inode}");
                left_alone.insert(*inode, NetworkError::Failed.to_string());
            }
            let is_needed = *own == Some(*inode) || now.duration_since(network.seen) < KEEP;
            if is_running && is_needed {
                return true;
            }
            programs.remove_fronts(network.cookie);
            false
        });
    }

    /// Ends every front, all at once.
    pub(crate) fn end(&mut self) {
        for network in self.known.values() {
            network.front.stop();
        }
        self.known.clear();
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        self.end();
    }
}
