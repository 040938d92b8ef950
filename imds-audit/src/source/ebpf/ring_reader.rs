//! Reads the records of the attached eBPF programs.

use std::{collections::BTreeMap, io, os::fd::AsRawFd, sync::Arc};

use aya::maps::{HashMap, MapData, PerCpuArray, RingBuf};
use aya_log::EbpfLogger;
use imds_audit_ebpf::{
    BegunProgram, Loss, LossCount, LossKey, ProcessKey, SentSnapshot, SnapshotKey,
};
use tokio::io::unix::{AsyncFd, AsyncFdReadyMutGuard};

use super::{
    host::CgroupRoot,
    loader::{
        BEGUN, EbpfError, Fallback, LOSSES, LOSSES_BY_PROCESS, Loaded, Options, Program, RECORDS,
        SNAPSHOTS,
    },
    loss_counters::{KernelLossDelta, Lost, Totals},
};
use crate::snapshot::BegunPrograms;

/// A [`LossKey`] and a [`LossCount`] as they lie in the map.
type LossKeyBytes = [u8; size_of::<LossKey>()];
type LossCountBytes = [u8; size_of::<LossCount>()];
/// A [`SnapshotKey`] and a [`SentSnapshot`] as they lie in the map.
type SnapshotKeyBytes = [u8; size_of::<SnapshotKey>()];
type SentSnapshotBytes = [u8; size_of::<SentSnapshot>()];
/// A [`BegunProgram`] as it lies in the map.
type BegunProgramBytes = [u8; size_of::<BegunProgram>()];

/// The programs that processes began, as the eBPF programs' map has them.
#[derive(Debug)]
struct BegunMap(HashMap<MapData, SnapshotKeyBytes, BegunProgramBytes>);

impl BegunPrograms for BegunMap {
    fn find(&self, process: ProcessKey) -> Option<BegunProgram> {
        let key = zerocopy::transmute!(SnapshotKey::from(process));
        self.0.get(&key, 0).ok().map(|begun| zerocopy::transmute!(begun))
    }
}

/// The attached eBPF programs. Dropping it detaches everything.
pub(crate) struct RingReader {
    /// Keeps the programs attached.
    loaded: Loaded,
    records: AsyncFd<RingBuf<MapData>>,
    losses: PerCpuArray<MapData, u64>,
    losses_by_process: HashMap<MapData, LossKeyBytes, LossCountBytes>,
    snapshots: HashMap<MapData, SnapshotKeyBytes, SentSnapshotBytes>,
    begun: Arc<BegunMap>,
    ledger: KernelLossDelta,
    /// Keeps the eBPF programs' own log open, where it was asked for.
    log: Option<AsyncFd<EbpfLogger<&'static dyn log::Log>>>,
}

impl RingReader {
    /// Loads the eBPF programs and attaches them. It must be called inside
    /// a tokio runtime.
    ///
    /// # Errors
    /// Returns an error if this build has no eBPF programs, or the host does not allow it.
    pub(crate) fn start(options: &Options) -> Result<Self, EbpfError> {
        let mut loaded = Loaded::load(options)?;
        let root = CgroupRoot::find()?;
        let records = take_map(&mut loaded, RECORDS)?;
        let records = RingBuf::try_from(records).map_err(|error| map_error(RECORDS, error))?;
        let losses = take_map(&mut loaded, LOSSES)?;
        let losses = PerCpuArray::try_from(losses).map_err(|error| map_error(LOSSES, error))?;
        let losses_by_process = take_map(&mut loaded, LOSSES_BY_PROCESS)?;
        let losses_by_process = HashMap::try_from(losses_by_process)
            .map_err(|error| map_error(LOSSES_BY_PROCESS, error))?;
        let snapshots = take_map(&mut loaded, SNAPSHOTS)?;
        let snapshots =
            HashMap::try_from(snapshots).map_err(|error| map_error(SNAPSHOTS, error))?;
        let begun = take_map(&mut loaded, BEGUN)?;
        let begun = HashMap::try_from(begun).map_err(|error| map_error(BEGUN, error))?;
        let log = if options.log_level == 0 { None } else { open_log(&loaded) };
        let records = register(records).map_err(EbpfError::Ring)?;
        loaded.attach(&root)?;
        Ok(Self {
            loaded,
            records,
            losses,
            losses_by_process,
            snapshots,
            begun: Arc::new(BegunMap(begun)),
            ledger: KernelLossDelta::default(),
            log,
        })
    }

    /// Returns what the audit does without on this host.
    pub(crate) fn fallbacks(&self) -> &[Fallback] {
        &self.loaded.fallbacks
    }

    /// Returns the attached programs.
    pub(crate) fn programs(&self) -> impl Iterator<Item = Program> {
        self.loaded.programs()
    }

    /// Returns where the programs are found that processes began, if they are kept on this host.
    pub(crate) fn begun_programs(&self) -> Option<Arc<dyn BegunPrograms>> {
        let is_kept = self.programs().any(|program| program == Program::Exec);
        is_kept.then(|| Arc::clone(&self.begun) as Arc<dyn BegunPrograms>)
    }

    /// Waits until there are records, or lines of the eBPF programs' own log, which it passes on.
    ///
    /// # Errors
    /// Returns an error if the ring cannot be waited for.
    pub(crate) async fn wait(&mut self) -> io::Result<()> {
        loop {
            let Some(log) = &mut self.log else {
                // Ready until `drain` meets the end of the ring.
                return self.records.readable_mut().await.map(drop);
            };
            tokio::select! {
                ready = self.records.readable_mut() => return ready.map(drop),
                ready = log.readable_mut() => flush_log(ready?),
            }
        }
    }

    /// Hands out the records that are there, at most `most`. Returns whether the ring is empty.
    pub(crate) fn drain(&mut self, most: usize, mut take: impl FnMut(&[u8])) -> bool {
        for _ in 0..most {
            let Some(record) = self.records.get_mut().next() else {
                self.rest();
                return true;
            };
            take(&record);
        }
        false
    }

    /// Lets the next [`wait`](Self::wait) wait.
    ///
    /// A record that came after the last look is not missed: the kernel tells of every record
    /// that comes when the reader has met the end, and on a runtime of one thread the telling is
    /// taken in only after this has returned.
    fn rest(&mut self) {
        let waker = std::task::Waker::noop();
        let mut context = std::task::Context::from_waker(waker);
        if let std::task::Poll::Ready(Ok(mut guard)) =
            self.records.poll_read_ready_mut(&mut context)
        {
            guard.clear_ready();
        }
    }

    /// Has the next packet or `connect` of a process followed by a new snapshot of it: the last one
    /// was lost or has been forgotten.
    pub(crate) fn request_snapshot(&mut self, process: &ProcessKey) {
        let key = zerocopy::transmute!(SnapshotKey::from(*process));
        // There may be none: then one follows anyway.
        let _ = self.snapshots.remove(&key);
    }

    /// Returns what was lost since the last call, or since the programs were loaded.
    ///
    /// # Errors
    /// Returns an error if the counters cannot be read.
    pub(crate) fn take_losses(&mut self) -> Result<Vec<Lost>, EbpfError> {
        let mut totals = Totals::default();
        for (loss, sum) in Loss::ALL.into_iter().zip(&mut totals) {
            let counters =
                self.losses.get(&(loss as u32), 0).map_err(|error| map_error(LOSSES, error))?;
            *sum = counters.iter().copied().fold(0, u64::saturating_add);
        }
        if !self.ledger.has_grown(&totals) {
            return Ok(Vec::new());
        }
        // Whose they were is worth less than that they were: what cannot be read is nobody's.
        let counts: BTreeMap<LossKey, LossCount> = self
            .losses_by_process
            .iter()
            .map_while(Result::ok)
            .map(|(key, count)| (zerocopy::transmute!(key), zerocopy::transmute!(count)))
            .collect();
        Ok(self.ledger.take(&totals, &counts))
    }

    /// Returns whether the kernel lets the counters be read with the rights held now.
    pub(crate) fn can_read_losses(&self) -> bool {
        self.losses.get(&0, 0).is_ok()
    }
}

fn take_map(loaded: &mut Loaded, name: &'static str) -> Result<aya::maps::Map, EbpfError> {
    loaded
        .maps
        .remove(name)
        .ok_or_else(|| map_error(name, aya::maps::MapError::InvalidName { name: name.to_owned() }))
}

fn map_error(name: &'static str, error: aya::maps::MapError) -> EbpfError {
    EbpfError::Map { name, error: Box::new(error) }
}

/// Registers a ring with the runtime.
fn register<T: AsRawFd>(ring: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: a ring owns its map's descriptor, which stays open and the same until it is dropped.
    unsafe { AsyncFd::register(ring) }.map_err(io::Error::from)
}

/// Opens the eBPF programs' log; without it the audit goes on. aya-log looks for its map by a
/// program's number, which needs CAP_SYS_ADMIN.
fn open_log(loaded: &Loaded) -> Option<AsyncFd<EbpfLogger<&'static dyn log::Log>>> {
    let id = loaded.number().map_err(|error| error.to_string());
    let opened = id.and_then(|id| EbpfLogger::init_from_id(id).map_err(|error| error.to_string()));
    let opened = opened.and_then(|logger| register(logger).map_err(|error| error.to_string()));
    opened.inspect_err(|error| log::warn!("cannot read the eBPF programs' log error={error}")).ok()
}

fn flush_log(mut ready: AsyncFdReadyMutGuard<'_, EbpfLogger<&'static dyn log::Log>>) {
    ready.get_inner_mut().flush();
    ready.clear_ready();
}
